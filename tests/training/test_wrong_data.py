"""What a user hands in by mistake, in every place of a training: a sentence with what to write, or the right answer.

Nothing has been trained when a sentence comes, and none is a trace from the inside.
"""

from __future__ import annotations

import itertools
import pickle
import warnings

import numpy as np
import pytest

import throughtime as tt

m, t = tt.models, tt.training
MSE, CE, BCE = t.mean_squared_error, t.cross_entropy, t.binary_cross_entropy
T, B, S = 6, 2, 9
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((T, B, 3)), RNG.standard_normal((T, B, 2))
CLASSES, TOKENS, SOURCE = np.array([0, 4]), np.zeros((T, B), int), np.ones((S, B), int)
ENDS = [T, 3]


def of_steps(**options):
    return m.many_to_many("tanh", 3, 2, hidden_size=4, seed=0, **options)


def of_classes(**options):
    return m.many_to_one("tanh", 3, 5, hidden_size=4, seed=0, **options)


def letters():
    return m.language_model("tanh", 5, hidden_size=4, embedding=3, seed=0)


def both():
    encoder = m.Chain([m.Embedding(7, 4, seed=0), tt.Network("tanh", 4, 8, seed=1)])
    return m.EncoderDecoder(encoder, m.language_model("tanh", 5, hidden_size=8, embedding=3, seed=2))


def value(model, x, targets, loss, **options):
    return model.value_and_gradient(x, targets, loss, **options)[0]


def fit(model, batches, loss=MSE, optimiser=None, steps=2, **options):
    return t.fit(model, batches, loss, optimiser or t.SGD(0.1), steps=steps, **options)


def sgd(*transforms, rate=0.1):
    return t.SGD(rate, transforms=transforms)


REFUSED = {
    # ---- x
    "wrong inputs": (lambda: value(of_steps(), X[..., :2], Y, MSE), ValueError, "this network has input_size=3"),
    "batch first": (lambda: of_steps().unroll(X.transpose(1, 2, 0)), ValueError, r"Sequences are \(time, batch, inp"),
    "time and batch exchanged": (lambda: value(of_steps(), X.swapaxes(0, 1), Y, MSE), ValueError, "that of the output"),
    "lists of unequal length": (lambda: of_steps().unroll([[[1, 2, 3]] * 2, [[1, 2, 3]]]), ValueError, "ragged list"),
    "nothing": (lambda: value(of_steps(), None, Y, MSE), TypeError, "`x` is None"),
    "objects": (lambda: of_steps().unroll(np.array([None])), TypeError, "dtype object"),
    "complex": (lambda: of_steps().unroll(X * 1j), TypeError, "real numbers"),
    "masked": (lambda: of_steps().unroll(np.ma.masked_array(X, X > 1)), ValueError, "masked entries"),
    "tokens for numbers": (lambda: of_steps().unroll(TOKENS), ValueError, "this network has input_size=3"),
    "time to one_to_one": (lambda: m.one_to_one("tanh", 3, 2, hidden_size=4).unroll(X), ValueError, "one vector for"),
    # ---- tokens
    "a token beyond": (lambda: letters().unroll(TOKENS + 5), ValueError, "holds the token 5; this embedding has 5"),
    "a negative token": (lambda: letters().unroll(TOKENS - 1), ValueError, "holds the token -1"),
    "float tokens": (lambda: letters().unroll(TOKENS * 1.0), TypeError, "dtype float64; an embedding takes tokens"),
    "True and False": (lambda: letters().unroll(TOKENS > 0), TypeError, "dtype bool; an embedding takes tokens"),
    "text": (lambda: letters().unroll("hello"), TypeError, r"np\.frombuffer\(text, np\.uint8\)"),
    "one-hot tokens": (lambda: letters().unroll(np.eye(5, dtype=int)[TOKENS]), ValueError, r"tokens are \(time, bat"),
    "no start": (lambda: m.generate(letters(), [], 3), ValueError, "at least one"),
    # ---- targets
    "one-hot": (
        lambda: value(of_classes(), X, np.eye(5)[CLASSES], CE),
        ValueError,
        r"pass `targets\.argmax\(axis=-1\)",
    ),
    "one-hot, whole": (lambda: value(of_classes(), X, np.eye(5, dtype=int)[CLASSES], CE), ValueError, "argmax"),
    "float classes": (lambda: value(of_classes(), X, CLASSES * 1.0, CE), TypeError, "classes, whole numbers below 5"),
    "a class beyond": (lambda: value(of_classes(), X, CLASSES + 1, CE), ValueError, "the class 5; .* has 0 to 4"),
    "classes in a column": (
        lambda: value(of_classes(), X, CLASSES[:, None], CE),
        ValueError,
        r"`targets\[\.\.\., 0\]`",
    ),
    "classes by name": (lambda: value(of_classes(), X, ["a", "b"], CE), TypeError, "holds text"),
    "a class a step": (lambda: value(of_classes(), X, TOKENS, CE), ValueError, r"expected \(2,\)"),
    "a class a sequence": (lambda: value(letters(), TOKENS, CLASSES, CE), ValueError, r"`batch\.aligned\(\)`"),
    "no targets": (lambda: value(of_steps(), X, None, MSE), TypeError, "`targets` is None"),
    "no axis of outputs": (lambda: value(of_steps(), X, Y[..., 0], MSE), ValueError, r"pass `targets\[\.\.\., None\]`"),
    "one step of them": (lambda: value(of_steps(), X, Y[:1], MSE), ValueError, "expected that of the output"),
    "not from 0 to 1": (lambda: value(of_steps(), X, Y, BCE), ValueError, "a target of binary_cross_entropy is from"),
    # ---- lengths and weights
    "negative length": (lambda: value(of_steps(), X, Y, MSE, lengths=[-1, T]), ValueError, r"`lengths\[0\]` is -1"),
    "beyond": (lambda: value(of_steps(), X, Y, MSE, lengths=[T + 1, T]), ValueError, "between 0 and the 6 time steps"),
    "half a step": (lambda: value(of_steps(), X, Y, MSE, lengths=[T, 2.5]), ValueError, "a length is a whole number"),
    "one length": (lambda: value(of_steps(), X, Y, MSE, lengths=T), ValueError, "one length for each sequence"),
    "three lengths": (lambda: value(of_steps(), X, Y, MSE, lengths=[T] * 3), ValueError, r"expected \(batch,\) = \(2,"),
    "a mask as lengths": (lambda: value(of_steps(), X, Y, MSE, lengths=[True] * B), TypeError, r"mask\.sum\(axis=0\)"),
    "lengths of 0": (lambda: value(of_steps(), X, Y, MSE, lengths=[0, 0]), ValueError, "No step counts in this loss"),
    "a mask of zeros": (lambda: value(of_steps(), X, Y, MSE, weights=np.zeros((T, B))), ValueError, "No step counts"),
    "negative weights": (lambda: value(of_steps(), X, Y, MSE, weights=-np.ones((T, B))), ValueError, "at least 0"),
    "weights of NaN": (lambda: value(of_steps(), X, Y, MSE, weights=np.full((T, B), np.nan)), ValueError, "or NaN"),
    "weights (B, T)": (lambda: value(of_steps(), X, Y, MSE, weights=np.ones((B, T))), ValueError, r"\(6, 2\), one for"),
    "weights of outputs": (lambda: value(of_steps(), X, Y, MSE, weights=np.ones(Y.shape)), ValueError, "one for each"),
    # ---- empty
    "no steps": (lambda: value(of_steps(), X[:0], Y[:0], MSE), ValueError, "the batch is empty"),
    "no sequences": (lambda: value(of_steps(), X[:, :0], Y[:, :0], MSE), ValueError, "the batch is empty"),
    "no batches": (lambda: fit(of_steps(), []), ValueError, "`batches` gives not one batch"),
    "an iterator at its end": (
        lambda: fit(of_steps(), iter(())),
        ValueError,
        "gone through is at its end: pass a list",
    ),
    "batches masked": (
        lambda: fit(of_steps(), [(X, Y, None, np.zeros((T, B)))] * 3),
        ValueError,
        "None of the 3 pieces",
    ),
    "masked for ever": (
        lambda: fit(m.Readout(3, 2), itertools.repeat((X[:1], Y[:1], None, np.zeros((1, B))))),
        ValueError,
        "Of 10000 pieces one after another none has a target that counts",
    ),
    # ---- losses
    "no loss": (
        lambda: value(of_steps(), X, Y, "mean_squared_error"),
        TypeError,
        r"`tt\.training\.mean_squared_error`",
    ),
    "no such loss": (lambda: fit(of_steps(), [(X, Y)], "mse"), ValueError, 'There is no loss "mse"'),
    "no gradient": (lambda: value(of_steps(), X, Y, lambda y, t: 1.0), TypeError, r"returns \(value, gradient by"),
    "no answer": (lambda: fit(of_steps(), [(X, Y)], lambda y, t: None), TypeError, "returned None"),
    "a gradient of None": (
        lambda: value(of_steps(), X, Y, lambda y, t: (1.0, None)),
        ValueError,
        "gradient .* is None",
    ),
    "two values": (
        lambda: value(of_steps(), X, Y, lambda y, t: (np.ones(2), y)),
        TypeError,
        "expected one real number",
    ),
    "a loss of one": (lambda: value(of_steps(), X, Y, lambda y: (1.0, y)), TypeError, r"is called with \(output, targ"),
    # ---- batches
    "one batch": (lambda: fit(of_steps(), (X, Y)), TypeError, r"`batches` is one batch; .*pass `\[batch\]`"),
    "x alone": (lambda: fit(of_steps(), [X] * 2), TypeError, r"A batch is an array .*a tuple \(x, targets\)"),
    "a dict": (lambda: fit(of_steps(), [{"x": X}]), TypeError, "A batch is an object of type dict"),
    "lengths beyond in fit": (
        lambda: fit(of_steps(), [(X, Y, [T + 1, T])]),
        ValueError,
        "between 0 and the 6 time ste",
    ),
    "one length in fit": (lambda: fit(of_steps(), [(X, Y, [T])]), ValueError, "one length for each sequence"),
    "words as lengths": (lambda: fit(of_steps(), [(X, Y, "ab")]), TypeError, "`lengths` holds text"),
    "mask (B, T) in fit": (lambda: fit(of_steps(), [(X, Y, None, np.ones((B, T)))]), ValueError, "one for each target"),
    "words as mask": (lambda: fit(of_steps(), [(X, Y, None, "m")]), TypeError, "`weights` holds text"),
    "another batch goes on": (
        lambda: fit(of_steps(), [(X, Y), (X[:, :1], Y[:, :1], None, None, True)]),
        ValueError,
        r"`state` has shape \(1, 2, 4\)",
    ),
    "both directions go on": (
        lambda: fit(of_steps(bidirectional=True), [(X, Y)], truncate=2),
        ValueError,
        "Take whole sequences",
    ),
    # ---- fit's other arguments
    "steps=0": (
        lambda: fit(of_steps(), [(X, Y)], steps=0),
        ValueError,
        "`steps` is 0; expected a whole number of at le",
    ),
    "patience alone": (lambda: fit(of_steps(), [(X, Y)], patience=3), ValueError, "counts validations, and there are"),
    "validation gone through": (
        lambda: fit(of_steps(), [(X, Y)], validation=iter([(X, Y)])),
        TypeError,
        r"`list\(…\)`",
    ),
    "a validation in words": (
        lambda: fit(of_steps(), [(X, Y)] * 2, validation=lambda model: "good", validate_every=1),
        TypeError,
        "`validation` returned 'good' .*one real number",
    ),
    "a class for an optimiser": (lambda: fit(of_steps(), [(X, Y)], MSE, t.Adam), TypeError, "is the class Adam"),
    "a network for a model": (lambda: fit(tt.Network("tanh", 3, 2), [(X, Y)]), TypeError, r"tt\.models\.Chain\(\[net"),
    "a callback says True": (
        lambda: fit(of_steps(), [(X, Y)], callbacks=lambda _: True),
        ValueError,
        "A callback retu",
    ),
    "truncated whole targets": (
        lambda: fit(of_classes(), [(X, CLASSES)], CE, truncate=2),
        ValueError,
        "whole sequences",
    ),
    # ---- schedules, transforms, what is written into
    "a rate of NaN": (
        lambda: fit(of_steps(), [(X, Y)], MSE, sgd(rate=lambda _: np.nan)),
        ValueError,
        "gives nan .* 0;",
    ),
    "later": (
        lambda: fit(of_steps(), [(X, Y)] * 3, MSE, sgd(rate=lambda k: np.nan if k else 0.1)),
        ValueError,
        "at step 1",
    ),
    "a schedule of two": (
        lambda: fit(of_steps(), [(X, Y)], MSE, sgd(rate=lambda k, epoch: 0.1)),
        TypeError,
        "A schedule is called with the",
    ),
    "a transform of one": (
        lambda: fit(of_steps(), [(X, Y)], MSE, sgd(lambda g: g)),
        TypeError,
        r"with \(gradient, flat\)",
    ),
    "a transform of None": (lambda: fit(of_steps(), [(X, Y)], MSE, sgd(lambda g, w: None)), ValueError, "gives None"),
    "frozen, another model": (
        lambda: fit(of_steps(), [(X, Y)], MSE, sgd(t.Frozen([True] * 3))),
        ValueError,
        "has 3 entries; there are 46",
    ),
    "out, the parameters": (
        lambda: value(model := of_steps(), X, Y, MSE, out=model.flat),
        ValueError,
        r"`out` looks into `model\.flat` itself",
    ),
    "out, read-only": (
        lambda: value(of_steps(), X, Y, MSE, out=np.broadcast_to(0.0, (46,))),
        ValueError,
        "`out` is read-only",
    ),
    # ---- encoder and decoder
    "a list of two": (lambda: both().unroll([SOURCE, TOKENS]), TypeError, "it is a tuple of two"),
    "the source alone": (lambda: both().unroll(SOURCE), TypeError, "it is a tuple of two"),
    "lengths of one": (
        lambda: fit(both(), [((SOURCE, TOKENS), TOKENS, [T, T])], CE),
        TypeError,
        "it is a tuple of two",
    ),
    "lengths exchanged": (
        lambda: value(both(), (SOURCE, TOKENS), TOKENS, CE, lengths=([T, T], [S, S])),
        ValueError,
        "the 6 time steps",
    ),
    "two batches": (lambda: both().unroll((SOURCE[:, :1], TOKENS)), ValueError, r"`x\[0\]` has 1 sequences"),
    "targets of the source": (lambda: value(both(), (SOURCE, TOKENS), SOURCE, CE), ValueError, r"expected \(6, 2\)"),
    "truncated": (lambda: fit(both(), [((SOURCE, TOKENS), TOKENS)], CE, truncate=2), ValueError, "are taken whole"),
    "one batch of two": (lambda: fit(both(), ((SOURCE, TOKENS), TOKENS), CE), TypeError, "`batches` is one batch"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_sentence(name):
    call, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        call()


def test_nothing_was_trained():
    model = of_steps()
    before = model.flat.copy()
    for batches in ([(X, Y[..., 0])], [(X, Y, [T + 1, T])], [], [(X, Y, None, np.zeros((T, B)))]):
        with pytest.raises(ValueError, match=r"."):
            fit(model, batches)
    assert np.array_equal(model.flat, before)


def test_torch(torch):
    x, y = torch.tensor(X), torch.tensor(Y)
    assert value(of_steps(), x, y, MSE, lengths=torch.tensor(ENDS)) == value(of_steps(), X, Y, MSE, lengths=ENDS)
    assert np.array_equal(letters().predict(torch.tensor(TOKENS)), letters().predict(TOKENS))
    found = of_steps()
    data = torch.utils.data.TensorDataset(x, y)
    fit(found, torch.utils.data.DataLoader(data, batch_size=T))
    expected = of_steps()
    fit(expected, [(X, Y)])
    assert np.array_equal(found.flat, expected.flat)
    refused = [
        (lambda: value(of_steps(), x.clone().requires_grad_(), Y, MSE), TypeError, r"pass `x\.detach\(\)`"),
        (lambda: value(of_steps(), x.bfloat16(), Y, MSE), TypeError, r"pass `x\.float\(\)`"),
        (lambda: value(of_steps(), X, Y, torch.nn.MSELoss()), TypeError, "`loss` is a torch module"),
        (lambda: value(of_steps(), X, Y, torch.nn.functional.mse_loss), TypeError, "`loss` is .*such as `tt"),
        (
            lambda: value(of_steps(), X, Y, lambda y, t: (1.0, torch.ones(Y.shape))),
            ValueError,
            "is a torch tensor; .*Num",
        ),
        (lambda: of_steps().load_state_dict(torch.nn.LSTM(3, 4)), TypeError, r"pass its `\.state_dict\(\)`"),
        (lambda: fit(of_steps(), [(X, Y)], MSE, torch.optim.SGD([x], 0.1)), TypeError, "expected one of tt.training"),
    ]
    for call, error, words in refused:
        with pytest.raises(error, match=words):
            call()


ALIKE = {
    "lists": lambda: value(of_steps(), X.tolist(), Y.tolist(), MSE),
    "lengths that are all": lambda: value(of_steps(), X, Y, MSE, lengths=[T, T]),
    "lengths in floats": lambda: value(of_steps(), X, Y, MSE, lengths=[float(T)] * B),
    "a mask of True": lambda: value(of_steps(), X, Y, MSE, weights=np.ones((T, B), bool)),
    "weights of 2": lambda: value(of_steps(), X, Y, MSE, weights=np.full((T, B), 2.0)),
    "Fortran": lambda: value(of_steps(), np.asfortranarray(X), np.asfortranarray(Y), MSE),
    "big-endian": lambda: value(of_steps(), X.astype(">f8"), Y.astype(">f8"), MSE),
}


@pytest.mark.parametrize("name", ALIKE)
def test_the_right_answer(name):
    expected = value(of_steps(), X, Y, MSE)
    assert ALIKE[name]() == pytest.approx(expected, rel=1e-15)  # the mean in another order


@pytest.mark.parametrize("kind", ["uint8", "int8", "int32", "uint64"])
def test_whole_numbers_do_not_wrap_around(kind):
    """Tokens, classes and targets of small types: as of int64, also where a difference of two of them would not fit."""
    top = min(np.iinfo(kind).max, 1000)
    targets = np.full((T, B, 2), top)
    assert value(of_steps(), X, targets.astype(kind), MSE) == value(of_steps(), X, targets.astype(float), MSE)
    assert value(of_classes(), X, CLASSES.astype(kind), CE) == value(of_classes(), X, CLASSES, CE)
    found = value(letters(), TOKENS.astype(kind), TOKENS.astype(kind), CE)
    assert found == value(letters(), TOKENS, TOKENS, CE)


def test_nan_in_the_data_shows_and_in_the_padding_does_not_matter():
    x, y = X.copy(), Y.copy()
    padding = np.arange(T)[:, None] >= ENDS
    x[padding], y[padding] = np.nan, np.nan
    assert value(of_steps(), x, y, MSE, lengths=ENDS) == value(of_steps(), X, Y, MSE, lengths=ENDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found, gradient = of_steps().value_and_gradient(x, Y, MSE)
    assert np.isnan(found)
    assert np.isnan(gradient).any()
    model = of_steps()
    before = model.flat.copy()
    with pytest.raises(t.Diverged, match="`x` of this batch holds NaN or infinity: mend the data") as stopped:
        fit(model, [(x, Y)] * 3)
    assert stopped.value.step == 0
    assert np.array_equal(model.flat, before)


def test_nan_in_the_data_of_a_later_step_is_told_as_such():
    masked, bad = np.full((T, B), True), Y.copy()
    bad[-1] = np.nan
    masked[-1] = False
    for batch, where in (((X * np.nan, Y), "`x`"), ((X, bad), "`targets`")):
        with pytest.raises(t.Diverged, match=f"{where} of this batch holds NaN or infinity: mend the data"):
            t.fit(of_steps(), [(X, Y), (X, Y, None, masked), batch], MSE, t.SGD(0.1), steps=3)
    with pytest.raises(t.Diverged, match="Take a lower rate"):  # NaN that does not count is no reason
        t.fit(of_steps(), [(X, Y), (X, bad, None, masked)], MSE, t.SGD(1e200), steps=3)
    source = np.full((S, B, 3), np.nan)
    pair = m.EncoderDecoder(tt.Network("tanh", 3, 8, seed=0), tt.Network("tanh", 3, 8, seed=1))
    with pytest.raises(t.Diverged, match=r"`x\[0\]` of this batch") as stopped:
        t.fit(pair, [((source, X), np.ones((T, B, 8)), ([S, S], ENDS))], MSE, t.SGD(0.1), steps=1)
    again = pickle.loads(pickle.dumps(stopped.value))  # as it comes out of another process
    assert (str(again), again.step, len(again.history)) == (str(stopped.value), 0, 1)


def test_batches_without_end_are_not_evaluated_for_ever():
    task = tt.tasks.Adding(length=5)
    model = m.many_to_one("tanh", task.inputs, task.outputs, hidden_size=4, seed=0)
    with pytest.raises(ValueError, match="`batches` have no end; pass some of them"):
        t.evaluate(model, task.batches(4, seed=0), MSE)
    assert t.evaluate(model, itertools.islice(task.batches(4, seed=0), 2), MSE) > 0
    series = tt.tasks.windows(np.sin(np.arange(50.0)), length=5)
    assert series.batches(seed=0).endless
    assert not series.held_out_batches().endless


def test_what_is_asked_of_a_function_of_ones_own_names_it():
    def halved(gradient, flat):
        return gradient[:3]

    def never(step):
        return None

    for optimiser, words in (
        (t.SGD(0.1, transforms=(halved,)), r"The transform halved gives an array of shape \(3,\) of float64; expected"),
        (t.SGD(never), r"The schedule never gives None \(NoneType\) at step 0"),
    ):
        with pytest.raises(ValueError, match=words):
            t.fit(of_steps(), [(X, Y)], MSE, optimiser, steps=1)


def test_tasks_in_place_of_batches_are_told_what_to_write():
    task = tt.tasks.Henon(length=5)
    with pytest.raises(TypeError, match=r"write `task.batches\(32, seed=0\)`"):
        t.fit(of_steps(), task, MSE, t.SGD(0.1), steps=1)
    with pytest.raises(TypeError, match="expected batches one after another: call it"):
        t.fit(of_steps(), task.batches, MSE, t.SGD(0.1), steps=1)


def test_names_of_columns_are_not_given_twice():
    def loss(model, run, gradients, step):
        return 1.0, np.zeros_like(model.flat)

    with pytest.raises(ValueError, match='`penalties` has one by the name "loss", a column that every history has'):
        t.fit(of_steps(), [(X, Y)], MSE, t.SGD(0.1), steps=1, penalties=[loss])
    with pytest.raises(ValueError, match='`measure` has one by the name "norm"'):
        t.Monitor(probe=X, measure={"norm": len})


def test_a_generator_of_some_batches_ends_the_training():
    trained = fit(of_steps(), ((X, Y) for _ in range(2)), steps=5)
    assert (trained.reason, trained.steps) == ("batches", 2)


def test_an_encoder_and_a_decoder_are_trained_and_judged_as_any_model():
    """Lengths of their own, a mask, validation, and one batch to `evaluate`."""
    x, ends = (SOURCE, TOKENS), ([S, 3], [T, 2])
    mask = (np.arange(T)[:, None] < ends[1]) * 1.0
    by_lengths, by_mask = both(), both()
    fit(by_lengths, [(x, TOKENS, ends)] * 3, CE, validation=[(x, TOKENS, ends)], validate_every=1)
    fit(by_mask, [(x, TOKENS, (ends[0], None), mask)] * 3, CE)
    assert np.allclose(by_lengths.flat, by_mask.flat, rtol=1e-12)
    assert t.evaluate(by_lengths, (x, TOKENS, ends), CE) == value(by_lengths, x, TOKENS, CE, lengths=ends)
