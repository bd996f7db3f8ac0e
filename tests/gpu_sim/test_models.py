"""Models on the device against those on the CPU: runs, gradients, losses, optimisers, training."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from whole import ALL

import throughtime as tt
from throughtime.engine.cuda import device

training = tt.training
TOLERANCE = {"float64": 1e-11, "float32": 3e-5}


def host(value):
    return device.to_host(value)


def close(found, expected, dtype="float64", name=""):
    tolerance = TOLERANCE[dtype]
    found = found if isinstance(found, np.ndarray) else host(found)
    assert found.dtype == expected.dtype, name
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def of_numbers(dtype="float64"):
    """In two directions, of which `last` takes one at each end."""
    net = tt.Network("lstm", 3, 4, bidirectional=True, seed=0, dtype=dtype)
    return tt.models.Chain([net, tt.models.last, tt.models.Readout(8, 5, seed=1, dtype=dtype)])


def of_steps(dtype="float64"):
    """A chain in a chain; a mean."""
    inner = tt.models.Chain(
        [tt.Network("tanh", 3, 2, seed=0, dtype=dtype), tt.models.Readout(2, 3, bias=False, seed=1, dtype=dtype)]
    )
    return tt.models.Chain(
        [inner, tt.Network("tanh", 3, 4, seed=2, dtype=dtype), tt.models.mean, tt.models.Readout(4, 5, dtype=dtype)]
    )


def of_tokens(dtype="float64"):
    """With a dropout, which draws the same on both machines."""
    return tt.models.Chain([
        tt.models.Embedding(5, 3, seed=0, dtype=dtype), tt.models.Dropout(0.3, seed=1),
        tt.Network("gru", 3, 4, seed=2, dtype=dtype), tt.models.Readout(4, 5, seed=3, dtype=dtype),
    ])  # fmt: skip


def of_blocks(dtype="float64"):
    """A skip around a normalisation and a network."""
    block = [tt.models.LayerNorm(3, dtype=dtype), tt.Network("tanh", 3, 3, seed=1, dtype=dtype)]
    block[0].parameters["weight"][...] = [0.5, 2.0, -1.0]
    return tt.models.Chain([
        tt.models.Readout(2, 3, seed=0, dtype=dtype), tt.models.Residual(block), tt.models.LayerNorm(3, dtype=dtype),
    ])  # fmt: skip


MODELS = {"blocks": of_blocks, "numbers": of_numbers, "steps": of_steps, "tokens": of_tokens}


def x_of(model, rng, steps=3, batch=3):
    if model.sizes[0]:
        return rng.standard_normal((steps, batch, model.sizes[0]))
    return rng.integers(0, 5, (steps, batch))


@pytest.mark.parametrize("lengths", [None, [3, 1, 0]])
@pytest.mark.parametrize("name", MODELS)
def test_runs_and_gradients(name, lengths):
    model, rng = MODELS[name](), np.random.default_rng(0)
    there, x = model.to("cuda"), x_of(model, rng)
    run, other = model.unroll(x, lengths=lengths), there.unroll(x, lengths=lengths)
    close(other.output, run.output)
    close(there.predict(x, lengths=lengths), model.predict(x, lengths=lengths))
    assert list(other.networks) == list(run.networks)
    g = rng.standard_normal(run.output.shape)
    wanted, found = run.backprop(g), other.backprop(g)
    for key, value in wanted.parameters.items():
        close(found.parameters[key], value, name=key)
    if wanted.input is not None:
        close(found.input, wanted.input)


def test_training_as_forward_backward_sees_it():
    """One vector of gradients, a state to go on from, dropouts."""
    model, there = of_tokens(), of_tokens().to("cuda")
    rng, state, other = np.random.default_rng(1), None, None
    for _ in range(2):
        x, targets = rng.integers(0, 5, (4, 3)), rng.integers(0, 5, (4, 3))
        wanted = model.forward_backward(x, targets, training.cross_entropy, state=state, lengths=[4, 3, 1])
        found = there.forward_backward(x, targets, training.cross_entropy, state=other, lengths=[4, 3, 1])
        close(np.array(float(found.value)), np.array(wanted.value))
        close(found.gradient, wanted.gradient)
        state, other = wanted.final_state, found.final_state
        close(other, state)


def test_a_model_moves_both_ways():
    model, rng = of_steps(), np.random.default_rng(2)
    there = model.to("cuda")
    assert there.to("cuda") is there
    assert repr(there).endswith("parameters) on the GPU")
    assert there.pieces[0].device == there.pieces[1].device == "cuda"
    for other in (there.to("cpu"), pickle.loads(pickle.dumps(there)).to("cpu"), copy.copy(there).to("cpu")):
        assert np.array_equal(other.flat, model.flat)
        assert all(np.array_equal(other.parameters[key], value) for key, value in model.parameters.items())
    vector = rng.standard_normal(model.flat.size)
    there.write(vector)
    assert np.array_equal(there.state_dict()["1.weight_hh_l0"], there.named(vector)["1.weight_hh_l0"])
    close(there.pieces[1].parameters["weight_hh_l0"], there.named(vector)["1.weight_hh_l0"])
    there.load_state_dict(model.state_dict())
    assert np.array_equal(host(there.flat), model.flat)
    model.flat[...] = 0
    assert host(there.flat).any()


def test_objective():
    x, targets, rng = np.ones((4, 3, 3)), np.ones((3, 5)), np.random.default_rng(3)
    model = of_numbers()
    there, vector = model.to("cuda"), rng.standard_normal(model.flat.size)
    wanted = model.objective(x, targets, training.mean_squared_error)(vector)
    found = there.objective(x, targets, training.mean_squared_error)(vector)
    close(np.array(found[0]), np.array(wanted[0]))
    close(found[1], wanted[1])


REFUSED = {
    "a piece": (
        lambda: tt.models.Chain([tt.Network("tanh", 3, 2, bidirectional=True), tt.models.sum_directions]),
        "Piece 1, sum_directions",
    ),
    "inside": (
        lambda: tt.models.Chain([tt.models.Chain([tt.models.Repeat(3), tt.Network("tanh", 3, 3)])]),
        r"Piece 0\.0, Repeat",
    ),
    "alone": (lambda: tt.models.Attention("dot", 3, 3), "Attention works on the CPU only"),
    "noise": (lambda: tt.models.Chain([tt.Network("tanh", 3, 2)], noise=tt.Zoneout(0.1)), "`noise` of a chain"),
    "checkpoint": (lambda: tt.models.Chain([tt.Network("tanh", 3, 2)], checkpoint=4), "`checkpoint` of a chain"),
    "layer_norm": (lambda: tt.models.Chain([tt.Network("tanh", 3, 2, layer_norm=True)]), "piece 0 has `layer_norm`"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_stays_on_the_cpu_is_named(case):
    make, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        make().to("cuda")


# ------------------------------------------------------------------------------------------------------------ losses

LOSSES = {
    "cross_entropy": lambda rng, shape: rng.integers(0, shape[-1], shape[:-1]),
    "mean_squared_error": lambda rng, shape: rng.standard_normal(shape),
    "binary_cross_entropy": lambda rng, shape: rng.random(shape),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype):
    rng, loss = np.random.default_rng(4), getattr(training, name)
    for shape, lengths, weights in (
        ((3, 2, 4), None, None), ((3, 2, 40), [3, 1], None), ((2, 3), None, [1.0, 0.0]),
        ((3, 2, 2), [2, 0], np.ones((3, 2))),
    ):  # fmt: skip
        y, targets = 3 * rng.standard_normal(shape).astype(dtype), LOSSES[name](rng, shape)
        if lengths is not None:
            y[lengths[1] :, 1] = np.nan  # not looked at
        wanted, found = loss(y, targets, lengths, weights), loss(device.to_device(y), targets, lengths, weights)
        close(np.array(float(found[0])), np.array(wanted[0]), dtype)
        close(found[1], wanted[1], dtype)
    y = np.full((2, 2, 3), np.nan, dtype)
    assert np.isnan(float(loss(device.to_device(y), LOSSES[name](rng, y.shape))[0]))


def test_the_value_of_a_loss_serves_as_a_number():
    y = device.to_device(np.zeros((2, 1, 4)))
    value, _ = training.cross_entropy(y, np.zeros((2, 1), int))
    assert value == np.log(4.0)
    assert value < 2
    assert 2 * value - value == np.log(4.0)
    assert f"{value:.3f}" == "1.386"
    with pytest.raises(ValueError, match=r"shape \(3, 1\); for an output \(2, 1, 4\)"):
        training.cross_entropy(y, np.zeros((3, 1), int))


# -------------------------------------------------------------------------------------------------------- optimisers

P = 300
OPTIMISERS = {
    "SGD": lambda **o: training.SGD(0.1, **o),
    "momentum": lambda **o: training.SGD(0.1, momentum=0.9, nesterov=True, **o),
    "RMSprop": lambda **o: training.RMSprop(0.01, **o),
    "centred": lambda **o: training.RMSprop(0.01, momentum=0.5, centred=True, **o),
    "Adam": lambda **o: training.Adam(training.Cosine(0.1, steps=4), **o),
    "amsgrad": lambda **o: training.Adam(0.1, amsgrad=True, **o),
    "AdamW": lambda **o: training.AdamW(0.1, decay=0.1, **o),
}
TRANSFORMS = {
    "none": (),
    "decay first": (training.WeightDecay(0.1), training.ClipNorm(1.0)),
    "norm first": (training.ClipNorm(3.0), training.ClipValue(0.3), training.Frozen(np.arange(P) % 3 == 0)),
}


WAYS = [*((name, "norm first") for name in OPTIMISERS), ("SGD", "none"), ("AdamW", "decay first")]


@pytest.mark.parametrize(("name", "transforms"), WAYS)
def test_optimisers(name, transforms):
    """In the two precisions by turns, or with THROUGHTIME_TESTS=all in both."""
    rng, turn = np.random.default_rng(5), WAYS.index((name, transforms)) % 2
    for dtype in TOLERANCE if ALL else [*TOLERANCE][turn:][:1]:
        one, other = (OPTIMISERS[name](transforms=TRANSFORMS[transforms]) for _ in range(2))
        flat = rng.standard_normal(P).astype(dtype)
        there = device.to_device(flat)
        for size in (1.0, 0.001):
            gradient = (size * rng.standard_normal(P)).astype(dtype)
            wanted, found = one.step(flat, gradient), other.step(there, device.to_device(gradient))
            np.testing.assert_allclose(found, wanted, rtol=TOLERANCE[dtype])
            np.testing.assert_allclose(other.clipped_norm, one.clipped_norm, rtol=TOLERANCE[dtype])
            assert (other.clipped, other.last_rate) == (one.clipped, one.last_rate)
            close(there, flat, dtype)
        for key, value in one.state.items():
            close(other.state[key], value, dtype, key)
        again = copy.deepcopy(other)
        again.step(flat, gradient)  # goes on on the CPU
        one.state = other.state
        other.step(there, gradient)
        close(there, flat, dtype)


def test_norms_that_overflow_or_vanish():
    for x in (
        [3e200, 4e200],
        [3e-200, 4e-200],
        [3e-320, 0.0],
        [1e200, 1.0, 1e-200],
        [1.0, np.inf],
        [1.0, np.nan, 1e200],
    ):
        gradient, flat = np.array(x), np.zeros(len(x))
        wanted = training.SGD(0.0).step(flat.copy(), gradient.copy())
        found = training.SGD(0.0).step(device.to_device(flat), gradient)
        np.testing.assert_allclose(found, wanted, rtol=1e-14, atol=0)


def test_what_computes_in_numpy_is_refused():
    class Signs(training.Optimiser):
        def _update(self, flat, gradient, rate):
            flat -= rate * np.sign(gradient)

    flat = device.to_device(np.ones(2))
    with pytest.raises(ValueError, match=r"Signs computes in NumPy.*SGD, RMSprop, Adam and AdamW"):
        Signs(0.1).step(flat, np.ones(2))
    with pytest.raises(ValueError, match=r"transform <?lambda>? computes in NumPy"):
        training.SGD(0.1, transforms=(lambda g, flat: g,)).step(flat, np.ones(2))
    with pytest.raises(ValueError, match="expected"):
        training.SGD(0.1).step(flat, device.to_device(np.ones(3)))
    assert host(flat).tolist() == [1.0, 1.0]


# ---------------------------------------------------------------------------------------------------------------- fit


def small():
    net = tt.Network("tanh", 2, 3, seed=0)
    return tt.models.Chain([net, tt.models.last, tt.models.Readout(3, 1, seed=1)])


TASK = tt.tasks.Adding(length=3)
COLUMNS = ("step", "loss", "norm", "clipped_norm", "clipped", "rate")


def adam():
    return training.Adam(
        training.Cosine(0.05, steps=20), transforms=(training.WeightDecay(0.01), training.ClipNorm(0.5))
    )


def both(model, batches, loss, **options):
    there = model.to("cuda")
    wanted = training.fit(model, batches(), loss, adam(), **options)
    found = training.fit(there, batches(), loss, adam(), **options)
    close(there.flat, model.flat)
    for name in COLUMNS:
        np.testing.assert_allclose(found.history[name], wanted.history[name], rtol=1e-9, atol=1e-11, err_msg=name)
    assert (found.steps, found.reason, found.best_step) == (wanted.steps, wanted.reason, wanted.best_step)
    return found, wanted


def test_twenty_updates():
    both(small(), lambda: TASK.batches(2, seed=0), TASK.loss, steps=20)


def test_truncated_with_a_carried_state():
    """Pieces that overlap, lengths, a batch that goes on from the one before; dropout."""
    rng = np.random.default_rng(6)
    text = [(*rng.integers(0, 5, (2, 5, 2)), np.array([5, 3]), None, k > 0) for k in range(2)]
    found, wanted = both(of_tokens(), lambda: text, "cross_entropy", steps=6, truncate=(2, 3))
    close(found.state, wanted.state)


def test_validation_and_measures():
    held = [TASK.batch(3, seed=1)]
    options = {"validation": held, "validate_every": 2, "patience": 2}
    found, wanted = both(small(), lambda: TASK.batches(2, seed=0), TASK.loss, steps=5, **options)
    np.testing.assert_allclose(found.history["validation"], wanted.history["validation"], rtol=1e-9)
    monitor = training.Monitor(every=2, probe=held[0], measure=["horizon"])
    training.fit(small().to("cuda"), TASK.batches(2, seed=0), TASK.loss, adam(), steps=3, monitor=monitor)
    other = training.Monitor(every=2, probe=held[0], measure=["horizon"])
    training.fit(small(), TASK.batches(2, seed=0), TASK.loss, adam(), steps=3, monitor=other)
    np.testing.assert_allclose(monitor.history["horizon"], other.history["horizon"], rtol=1e-9)


def test_callbacks_see_every_step():
    seen = []
    there = small().to("cuda")

    def note(now):
        seen.append((now.step, now.loss, now.norm, len(now.history)))
        return "stop" if now.step == 2 else None

    found = training.fit(there, TASK.batches(2, seed=0), TASK.loss, adam(), steps=9, callbacks=note)
    assert found.reason == "callback"
    assert [(step, rows) for step, _, _, rows in seen] == [(1, 1), (2, 2)]
    assert [loss for _, loss, _, _ in seen] == found.history["loss"].tolist()


def test_numbers_are_fetched_now_and_then(monkeypatch):
    """Once for all updates, not at each."""
    from throughtime.engine.cuda import update_rows

    fetched, fetch = [], update_rows.UpdateRows.fetch
    monkeypatch.setattr(update_rows.UpdateRows, "fetch", lambda self, n: fetched.append(n) or fetch(self, n))
    training.fit(small().to("cuda"), TASK.batches(2, seed=0), TASK.loss, adam(), steps=5)
    assert fetched == [5]


@pytest.mark.parametrize("bad", [0, 2])
def test_divergence(bad):
    """What was queued behind the step that broke has changed nothing."""
    good = np.ones((3, 2, 2)), np.ones((2, 1))
    broken = good[0].copy(), good[1]
    broken[0][1, 0, 0] = np.nan
    batches = [broken if k == bad else good for k in range(5)]
    ends = []
    for model in (small(), small().to("cuda")):
        optimiser = training.Adam(0.1)
        with pytest.raises(training.Diverged) as error:
            training.fit(model, batches, "mean_squared_error", optimiser, steps=5)
        ends.append((str(error.value), error.value.step, optimiser.steps, error.value.history["loss"]))
        state = model.state_dict()
    for found, wanted in zip(ends[1], ends[0], strict=True):
        if isinstance(wanted, np.ndarray):
            np.testing.assert_allclose(found, wanted, rtol=1e-9)
        else:
            assert found == wanted
    here = small()
    with pytest.raises(training.Diverged):
        training.fit(here, batches, "mean_squared_error", training.Adam(0.1), steps=5)
    for key, value in here.parameters.items():
        close(state[key], value, name=key)


def test_checkpoints(tmp_path):
    """A training goes on to the same bits, and on the other machine."""
    path = str(tmp_path / "training.tt")
    first, again, whole = (small().to("cuda") for _ in range(3))
    training.fit(first, TASK.batches(2, seed=0), TASK.loss, adam(), steps=2, checkpoint=path)
    here, rest = small(), str(tmp_path / "other.tt")
    (tmp_path / "other.tt").write_bytes((tmp_path / "training.tt").read_bytes())
    training.fit(again, TASK.batches(2, seed=0), TASK.loss, adam(), steps=4, checkpoint=path)
    training.fit(whole, TASK.batches(2, seed=0), TASK.loss, adam(), steps=4)
    assert np.array_equal(host(again.flat), host(whole.flat))
    training.fit(here, TASK.batches(2, seed=0), TASK.loss, adam(), steps=4, checkpoint=rest)
    close(whole.flat, here.flat)
    training.load_checkpoint(path, here)
    assert np.array_equal(here.flat, host(whole.flat))
    whole.save(str(tmp_path / "model.tt"))
    assert np.array_equal(tt.load(str(tmp_path / "model.tt")).flat, host(whole.flat))


def test_what_fit_does_on_the_cpu_only():
    there = small().to("cuda")
    for options, words in (
        ({"clip_state": 1.0}, "`clip_state`"),
        ({"penalties": [training.Omega(0.1)]}, "`penalties`"),
    ):
        with pytest.raises(ValueError, match=f"{words} is given and works on the CPU only"):
            training.fit(there, TASK.batches(2, seed=0), TASK.loss, adam(), steps=1, **options)


def test_what_computes_on_the_cpu_takes_a_copy_there():
    """Writing, a loop of the model with itself, whether a task is solved; a readout in closed form says so."""
    writer = of_tokens()
    wanted, found = (tt.models.generate(model, [1], 4, seed=0) for model in (writer, writer.to("cuda")))
    assert np.array_equal(found.tokens, wanted.tokens)
    forecaster = tt.models.Chain([tt.Network("tanh", 2, 3, seed=0), tt.models.Readout(3, 2, seed=1)])
    x, there = np.ones((4, 1, 2)), forecaster.to("cuda")
    assert np.array_equal(there.closed_loop().forecast(x, 3), forecaster.closed_loop().forecast(x, 3))
    assert training.solves(small().to("cuda"), TASK, size=2) is training.solves(small(), TASK, size=2)
    with pytest.raises(ValueError, match="`ridge` works on the CPU"):
        training.ridge(there, x, x, 0.1)
    with pytest.raises(TypeError, match="is on the GPU; an ensemble trains models on the CPU"):
        tt.Ensemble([small(), small().to("cuda")])
    with pytest.raises(ValueError, match=r"`pieces\[0\]` is on the GPU"):
        tt.models.Chain([there, tt.models.Readout(2, 2)])
