"""fit is the loop that one writes by hand; truncation, states, validation, and what ends a training."""

from __future__ import annotations

import sys
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

sys.path.insert(0, str(Path(__file__).parent))
from learners import TASK, every_step, many_to_one, series

t = tt.training
MSE = t.mean_squared_error


def test_it_is_the_loop_by_hand_to_the_last_bit():
    model, other = many_to_one(), many_to_one()
    trained = t.fit(model, TASK.batches(8, seed=1), TASK.loss, t.Adam(0.01, transforms=(t.ClipNorm(0.1),)), steps=20)
    optimiser, losses, norms = t.Adam(0.01, transforms=(t.ClipNorm(0.1),)), [], []
    for batch, _ in zip(TASK.batches(8, seed=1), range(20), strict=False):
        value, gradient = other.value_and_gradient(batch.x, batch.targets, MSE)
        norms.append(optimiser.step(other.flat, gradient))
        losses.append(value)
    assert np.array_equal(model.flat, other.flat)
    assert trained.history["loss"].tolist() == losses
    assert trained.history["norm"].tolist() == norms
    assert trained.steps == len(trained.history) == 20
    assert trained.reason == "steps"


def test_it_learns():
    model, task = many_to_one(units=16, cell="lstm"), tt.tasks.Adding(length=5)
    t.fit(model, task.batches(32, seed=0), task.loss, t.Adam(0.02), steps=300)
    assert t.evaluate(model, task.batch(1000, seed=9), MSE) < task.baseline / 10


def test_whole_windows_are_the_whole_gradient():
    """k1 = k2 = T is full BPTT, to the last bit."""
    batch, models = series(), [every_step() for _ in range(3)]
    for model, truncate in zip(models, (None, 24, (24, 24)), strict=True):
        t.fit(model, [batch] * 5, MSE, t.SGD(0.1), steps=5, truncate=truncate)
    assert np.array_equal(models[0].flat, models[1].flat)
    assert np.array_equal(models[0].flat, models[2].flat)


def test_windows_one_after_another_are_the_pieces_of_the_batch():
    """k1 = k2 = k: the pieces of Batch.pieces(k), each from the state that the one before left."""
    model, other, batch = every_step(), every_step(), series()
    trained = t.fit(model, [batch], MSE, t.SGD(0.1), steps=99, truncate=10)
    pieces, optimiser, state = batch.pieces(10), t.SGD(0.1), None
    for piece in pieces:
        found = other.forward_backward(piece.x, piece.targets, MSE, state=state)
        optimiser.step(other.flat, found.gradient)
        state = found.final_state
    assert np.array_equal(model.flat, other.flat)
    assert np.array_equal(trained.state, state)
    assert (trained.steps, trained.reason) == (3, "batches")


@pytest.mark.parametrize("lengths", [None, [24, 11, 4]])
def test_windows_that_overlap_cut_the_gradient_where_they_say(lengths):
    """With a rate of 0 the gradients of all updates, each of the losses of its k1 steps, add up to that of the loss
    cut after k2 − k1 … k2 steps: each is the one of a run over the window alone, from the state of the full run."""
    k1, k2, model, batch = 4, 10, every_step(), series()
    batch = batch._replace(lengths=None if lengths is None else np.array(lengths))
    seen = []

    class Watched(t.SGD):
        def step(self, flat, gradient):
            seen.append(gradient.copy())
            return super().step(flat, gradient)

    t.fit(model, [batch], MSE, Watched(0.0), steps=99, truncate=(k1, k2))
    states = model.unroll(batch.x, lengths=lengths).networks["0"].states
    expected = []
    for end in range(k1, 25, k1):
        start = max(0, end - k2)
        own = None if lengths is None else np.clip(np.array(lengths) - start, 0, end - start)
        weights = np.zeros((end - start, 3))
        weights[-k1:] = 1
        part = slice(start, end)
        expected.append(
            model.value_and_gradient(batch.x[part], batch.targets[part], MSE, own, states[start][None], weights)[1]
        )
    assert len(seen) == len(expected) == 6
    assert np.abs(np.array(seen) - expected).max() < 1e-14


def test_a_stream_carries_its_state_and_another_batch_does_not():
    for continues in (True, False):
        model, first, second = every_step(), series(10), series(10, seed=1, continues=continues)
        trained = t.fit(model, [first, second], MSE, t.SGD(0.0), steps=2)
        whole = model.unroll(np.concatenate([first.x, second.x]) if continues else second.x)
        assert np.array_equal(trained.state, whole.final_state)


def test_the_state_is_an_argument_and_comes_back():
    """Two calls, the state handed on, are one."""
    one, two, batches = every_step(), every_step(), [series(10, seed=k, continues=k > 0) for k in range(4)]
    t.fit(one, batches, MSE, t.SGD(0.1), steps=4)
    optimiser = t.SGD(0.1)
    state = t.fit(two, batches[:2], MSE, optimiser, steps=2).state
    t.fit(two, batches[2:], MSE, optimiser, steps=2, state=state)
    assert np.array_equal(one.flat, two.flat)


def test_a_piece_without_targets_only_carries_the_state():
    task = tt.tasks.Adding(length=20)
    model = every_step(task.inputs, outputs=task.outputs)
    trained = t.fit(model, [task.batch(4, seed=0).aligned()], MSE, t.SGD(0.1), steps=99, truncate=6)
    assert trained.steps == 1  # the last of four pieces has the targets
    assert len(trained.history) == 1


def test_masks_and_lengths_of_tasks_count():
    task = tt.tasks.EmbeddedReber()
    batch = task.batch(4, seed=0)
    model = every_step(task.inputs, outputs=task.outputs) if not task.tokens else None
    if model is None:
        net = tt.Network("gru", 4, 8, seed=0)
        model = tt.models.Chain([tt.models.Embedding(task.inputs, 4, seed=0), net, tt.models.Readout(8, task.outputs)])
    trained = t.fit(model, [batch], task.loss, t.SGD(0.0), steps=1)
    expected = t.cross_entropy(
        model.unroll(batch.x, lengths=batch.lengths).output, batch.targets, batch.lengths, batch.mask
    )
    assert trained.history["loss"][0] == expected[0]


def test_one_target_for_a_sequence_cannot_be_cut():
    with pytest.raises(ValueError, match=r"those of whole sequences; pass `batch.aligned\(\)`"):
        t.fit(many_to_one(), TASK.batches(4, seed=0), TASK.loss, t.SGD(0.1), steps=1, truncate=3)


def test_divergence_keeps_the_last_good_parameters_and_tells_the_norms():
    model, before = many_to_one(), []
    batches = TASK.batches(8, seed=0)
    with pytest.raises(t.Diverged, match=r"norms of the gradient up to there: .*Take a lower rate, or clip") as caught:
        t.fit(model, batches, TASK.loss, t.SGD(1e60), steps=50, callbacks=lambda now: before.append(model.flat.copy()))
    error = caught.value
    assert error.step == len(error.history) - 1 > 0
    assert not np.isfinite(error.history["loss"][-1]) or not np.isfinite(error.history["norm"][-1])
    assert np.isfinite(error.history["norm"][:-1]).all()
    assert np.isfinite(model.flat).all()
    good = before[-2] if len(before) > 1 else many_to_one().flat
    assert np.array_equal(model.flat, good)


def test_nan_from_the_start_says_to_look_at_the_data():
    batch = TASK.batch(4, seed=0)
    batch.x[0, 0] = np.nan
    with pytest.raises(t.Diverged, match="`x` of this batch holds NaN or infinity"):
        t.fit(many_to_one(), [batch], TASK.loss, t.SGD(0.1), steps=1)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_whatever_ends_a_training_has_the_history(kind):
    def fail(now):
        if now.step == 3:
            raise kind("enough")

    with pytest.raises(kind) as caught:
        t.fit(many_to_one(), TASK.batches(4, seed=0), TASK.loss, t.SGD(0.1), steps=9, callbacks=[fail])
    assert len(caught.value.history) == 3


def test_early_stopping_keeps_the_best_parameters():
    model, losses, kept = many_to_one(), [5.0, 3.0, 4.0, np.nan, 3.5, 1.0], {}

    def held_out(now):
        kept[len(kept)] = now.flat.copy()
        return losses[len(kept) - 1]

    trained = t.fit(
        model, TASK.batches(4, seed=0), TASK.loss, t.SGD(0.1), steps=99, validation=held_out, validate_every=2,
        patience=3,
    )  # fmt: skip
    assert (trained.reason, trained.steps, trained.best_step, trained.best_loss) == ("validation", 10, 4, 3.0)
    assert np.array_equal(model.flat, kept[1])
    assert trained.history.at("validation").tolist() == [1, 3, 5, 7, 9]
    assert np.array_equal(trained.history["validation"], losses[:5], equal_nan=True)


def test_validation_on_batches_is_evaluate():
    model, held = many_to_one(), [TASK.batch(4, seed=5), TASK.batch(8, seed=6)]
    trained = t.fit(model, TASK.batches(4, seed=0), TASK.loss, t.SGD(0.0), steps=1, validation=held, validate_every=1)
    each = [t.evaluate(model, batch, MSE) for batch in held]
    assert trained.history["validation"][0] == pytest.approx((4 * each[0] + 8 * each[1]) / 12, rel=1e-15)


def test_evaluate_goes_along_a_stream():
    stream = tt.tasks.text_stream(b"to be or not to be, " * 20, batch=2, length=7)
    net = tt.Network("tanh", 3, 5, seed=0)
    model = tt.models.Chain([tt.models.Embedding(stream.inputs, 3, seed=0), net, tt.models.Readout(5, stream.outputs)])
    batches = list(stream.held_out_batches())
    x, targets = (np.concatenate([batch[k] for batch in batches]) for k in (0, 1))
    whole = t.cross_entropy(model.unroll(x).output, targets)[0]
    assert t.evaluate(model, stream.held_out_batches(), t.cross_entropy) == pytest.approx(whole, rel=1e-14)


def test_a_callback_stops_and_sees_the_run():
    seen = []

    def look(now):
        seen.append((now.step, now.loss, now.run.networks["0"].states.shape))
        return "stop" if now.step == 2 else None

    trained = t.fit(many_to_one(), TASK.batches(4, seed=0), TASK.loss, t.SGD(0.1), steps=9, callbacks=look)
    assert (trained.reason, trained.steps) == ("callback", 2)
    assert seen[1] == (2, trained.history["loss"][1], (7, 4, 8))


def test_float32_stays_float32():
    model = many_to_one(dtype="float32")
    t.fit(model, TASK.batches(4, seed=0), TASK.loss, t.Adam(0.01), steps=3)
    assert model.flat.dtype == np.float32


def test_the_same_bits_for_any_number_of_threads(threads):
    """A network that is large enough for a team."""
    found, batch = [], series(30, 16, inputs=8)
    for count in (1, 2, 3):
        threads(count)
        model = every_step(8, 96, cell="lstm")
        t.fit(model, [batch] * 3, MSE, t.Adam(0.01), steps=3, truncate=(10, 20))
        found.append(model.flat)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_what_is_frozen_does_not_learn():
    model = many_to_one()
    before = model.state_dict()
    frozen = t.Frozen.named(model, "0.weight_hh*", "1.bias")
    t.fit(model, TASK.batches(8, seed=0), TASK.loss, t.AdamW(0.01, transforms=(frozen,)), steps=5)
    for name, value in model.parameters.items():
        assert np.array_equal(value, before[name]) == (name in ("0.weight_hh_l0", "1.bias")), name


def test_a_progress_bar_shows_loss_and_norm(capsys):
    t.fit(many_to_one(), TASK.batches(4, seed=0), TASK.loss, t.SGD(0.1), steps=3, progress=True)
    said = capsys.readouterr().err
    assert "loss" in said
    assert "norm" in said


MODEL, BATCHES, SGD = many_to_one(), [TASK.batch(2, seed=0)], t.SGD(0.1)


def wrong_gradient(output, targets):
    return 1.0, None


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"model": MODEL.pieces[0]}, TypeError, r"make one, `tt.models.Chain\(\[net, tt.models.Readout"),
        ({"model": None}, TypeError, "`fit` takes a model"),
        ({"batches": BATCHES[0]}, TypeError, r"one batch; expected batches one after another: pass `\[batch\]`"),
        ({"batches": 3}, TypeError, "expected batches one after another"),
        ({"batches": [1]}, TypeError, "A batch is 1"),
        ({"loss": "mse"}, ValueError, "no loss"),
        ({"loss": None}, TypeError, r"-> \(value, gradient\), or one of the names"),
        ({"loss": wrong_gradient}, ValueError, "The gradient that `wrong_gradient` returned"),
        ({"optimiser": 0.1}, TypeError, r"such as `Adam\(0.001\)`"),
        ({"optimiser": t.SGD(lambda step: float("nan"))}, ValueError, "gives nan"),
        ({"steps": 0}, ValueError, "`steps` is 0"),
        ({"steps": "3"}, TypeError, "`steps`"),
        ({"truncate": (4, 2)}, ValueError, "the losses of 2 steps would have no gradient"),
        ({"truncate": 0}, ValueError, "`truncate` is 0"),
        ({"patience": 3}, ValueError, "counts validations, and there are none"),
        ({"validation": TASK.batches(2)}, TypeError, r"pass `list\(…\)`"),
        ({"monitor": print}, TypeError, "expected a tt.training.Monitor"),
        ({"callbacks": [1]}, TypeError, "expected functions of the training"),
        ({"callbacks": lambda now: True}, ValueError, 'expected None, or "stop"'),
        ({"checkpoint": "x.tt"}, ValueError, "`batches` do not say theirs"),
        ({"checkpoint": "x.tt", "generators": [1]}, TypeError, "expected a dict of numpy Generators"),
        ({"epochs": 3}, TypeError, "has no argument `epochs`"),
        ({"batches": [TASK.batch(2, seed=0)._replace(lengths=np.array([7, 1]))]}, ValueError, "between 0 and the 6"),
        ({"batches": [TASK.batch(2, seed=0)._replace(targets=np.zeros(2))]}, ValueError, r"`targets\[..., None\]`"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(change, error, words):
    call = {"model": MODEL, "batches": BATCHES, "loss": MSE, "optimiser": SGD, "steps": 1} | change
    with pytest.raises(error, match=words):
        t.fit(**call)


def test_the_same_batch_again_and_again():
    trained = t.fit(many_to_one(), repeat(TASK.batch(8, seed=0)), TASK.loss, t.SGD(0.05), steps=50)
    assert trained.history["loss"][-1] < trained.history["loss"][0]


def test_states_are_clipped_on_the_way_back():
    """fit with clip_state is the loop by hand with it; without a limit that bites it is plain fit."""
    model, other, plain, far = (many_to_one() for _ in range(4))
    t.fit(model, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=5, clip_state=1e-3)
    optimiser = t.SGD(0.1)
    for batch, _ in zip(TASK.batches(8, seed=1), range(5), strict=False):
        found = other.forward_backward(batch.x, batch.targets, MSE, clip_state=1e-3)
        optimiser.step(other.flat, found.gradient)
    assert np.array_equal(model.flat, other.flat)
    t.fit(plain, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=5)
    t.fit(far, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=5, clip_state=1e9)
    np.testing.assert_allclose(far.flat, plain.flat, rtol=1e-12, atol=1e-14)
    assert not np.allclose(model.flat, plain.flat)
    with pytest.raises(ValueError, match="above 0"):
        t.fit(model, TASK.batches(8, seed=1), MSE, t.SGD(0.1), steps=5, clip_state=0)
