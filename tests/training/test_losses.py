"""Losses: closed forms, central differences, PyTorch, and that what does not count changes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

t = tt.training
T, B, O = 6, 3, 4
RNG = np.random.default_rng(3)
OUTPUT = RNG.normal(size=(T, B, O))
TARGETS = {
    t.cross_entropy: RNG.integers(0, O, (T, B)),
    t.binary_cross_entropy: RNG.uniform(0, 1, (T, B, O)),
    t.mean_squared_error: RNG.normal(size=(T, B, O)),
}
LENGTHS, WEIGHTS = [6, 3, 0], RNG.uniform(0, 2, (T, B))
REAL = np.arange(T)[:, None] < np.array(LENGTHS)
COUNTING = {
    "all": ({}, np.ones((T, B))),
    "lengths": ({"lengths": LENGTHS}, REAL),
    "mask": ({"weights": WEIGHTS > 1}, WEIGHTS > 1),
    "weights": ({"weights": WEIGHTS}, WEIGHTS),
    "both": ({"lengths": LENGTHS, "weights": WEIGHTS}, WEIGHTS * REAL),
}
EVERY = pytest.mark.parametrize("loss", TARGETS, ids=lambda loss: loss.__name__)
HOWEVER = pytest.mark.parametrize("how", COUNTING)
EPS = np.finfo(float).eps


@EVERY
@HOWEVER
def test_as_pytorch_has_it(loss, how, torch):
    """A weighted mean of PyTorch's losses of single steps. Some ten roundings of numbers of order 1."""
    options, weights = COUNTING[how]
    f = torch.nn.functional
    y = torch.tensor(OUTPUT, requires_grad=True)
    target = torch.tensor(TARGETS[loss])
    if loss is t.cross_entropy:
        each = f.cross_entropy(y.reshape(-1, O), target.reshape(-1), reduction="none").reshape(T, B)
    elif loss is t.binary_cross_entropy:
        each = f.binary_cross_entropy_with_logits(y, target, reduction="none").mean(-1)
    else:
        each = f.mse_loss(y, target, reduction="none").mean(-1)
    w = torch.tensor(np.asarray(weights, float))
    expected = (each * w).sum() / w.sum()
    expected.backward()
    value, gradient = loss(OUTPUT, TARGETS[loss], **options)
    assert value == pytest.approx(float(expected.detach()), rel=20 * EPS)
    assert np.abs(gradient - y.grad.numpy()).max() < 20 * EPS


@EVERY
@HOWEVER
def test_the_gradient_is_that_of_the_value(loss, how):
    """Central differences in a random direction have an error of second order: the slope is 2."""
    options, _ = COUNTING[how]
    direction = RNG.normal(size=OUTPUT.shape)
    exact = (loss(OUTPUT, TARGETS[loss], **options)[1] * direction).sum()
    errors = []
    for h in (1e-1, 1e-2):
        up, down = (loss(OUTPUT + sign * h * direction, TARGETS[loss], **options)[0] for sign in (1, -1))
        errors.append(abs((up - down) / (2 * h) - exact))
    if loss is t.mean_squared_error:  # a square has no third derivative
        assert max(errors) < 1e-13
    else:
        assert np.log10(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)


@EVERY
def test_what_does_not_count_may_hold_anything(loss):
    clean = loss(OUTPUT, TARGETS[loss], LENGTHS)
    output, targets = OUTPUT.copy(), TARGETS[loss].copy()
    output[~REAL] = np.nan
    targets[~REAL] = -7 if loss is t.cross_entropy else np.nan
    value, gradient = loss(output, targets, LENGTHS)
    assert value == clean[0]
    assert np.array_equal(gradient, clean[1])
    assert not gradient[~REAL].any()


@EVERY
def test_nan_that_counts_is_nan(loss):
    output = OUTPUT.copy()
    output[2, 1] = np.nan
    value, gradient = loss(output, TARGETS[loss])
    assert np.isnan(value)
    assert np.isnan(gradient[2, 1]).all()
    gradient[2, 1] = 0
    assert np.isfinite(gradient).all()


@EVERY
def test_one_for_a_sequence(loss):
    """(B, O) is (1, B, O) without its axis; a sequence without a step does not count."""
    alone, gradient = loss(OUTPUT[0], TARGETS[loss][0])
    value, three = loss(OUTPUT[:1], TARGETS[loss][:1])
    assert value == alone
    assert np.array_equal(gradient, three[0])
    lengths = loss(OUTPUT[0], TARGETS[loss][0], lengths=[5, 0, 2])
    mask = loss(OUTPUT[0], TARGETS[loss][0], weights=[1, 0, 1])
    assert lengths[0] == mask[0]
    assert np.array_equal(lengths[1], mask[1])


@EVERY
def test_float32_stays_float32(loss):
    targets = TARGETS[loss] if loss is t.cross_entropy else TARGETS[loss].astype("f4")
    value, gradient = loss(OUTPUT.astype("f4"), targets, LENGTHS, WEIGHTS)
    assert isinstance(value, float)
    assert gradient.dtype == np.float32
    assert value == pytest.approx(loss(OUTPUT, TARGETS[loss], LENGTHS, WEIGHTS)[0], rel=1e-6)  # 10 eps of float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_neither_overflow_nor_vanish(dtype):
    y = np.array([[[1e4, -1e4, 0.0]]], dtype)
    assert t.cross_entropy(y, [[0]])[0] == 0.0
    assert t.cross_entropy(y, [[1]])[0] == 2e4
    assert t.cross_entropy(y, [[2]])[1].tolist() == [[[1.0, 0.0, -1.0]]]
    assert t.binary_cross_entropy(y, [[[1.0, 0.0, 0.5]]])[0] == pytest.approx(np.log(2) / 3, rel=1e-6)
    assert t.binary_cross_entropy(y, [[[0.0, 1.0, 0.5]]])[0] == pytest.approx(2e4 / 3, rel=1e-4)
    masked = np.array([[[0.0, -np.inf, 0.0]]], dtype)  # a class that cannot be
    value, gradient = t.cross_entropy(masked, [[0]])
    assert value == pytest.approx(np.log(2), rel=1e-6)
    assert gradient.tolist() == [[[-0.5, 0.0, 0.5]]]
    assert t.cross_entropy(masked, [[1]])[0] == np.inf


def test_known_values():
    assert t.cross_entropy(np.zeros((T, B, O)), TARGETS[t.cross_entropy])[0] == pytest.approx(np.log(O), rel=4 * EPS)
    assert t.binary_cross_entropy(np.zeros((T, B, O)), TARGETS[t.binary_cross_entropy])[0] == pytest.approx(np.log(2))
    gradient = t.cross_entropy(OUTPUT, TARGETS[t.cross_entropy], weights=WEIGHTS)[1]
    assert np.abs(gradient.sum(axis=-1)).max() < 4 * EPS  # softmax sums to 1, onehot too


@EVERY
def test_batches_of_the_tasks_fit(loss):
    tasks = [task() for task in tt.tasks.TASKS.values() if task.loss is loss]
    assert tasks
    for task in tasks:
        batch = task.batch(2, seed=0).aligned()
        output = np.zeros((*batch.targets.shape[:2], task.outputs))
        value, gradient = loss(output, batch.targets, batch.lengths, batch.mask)
        assert np.isfinite(value)
        assert gradient.shape == output.shape


CE, BCE, MSE = t.cross_entropy, t.binary_cross_entropy, t.mean_squared_error
CLASSES = TARGETS[CE]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: CE(OUTPUT, CLASSES.astype(float)), TypeError, "classes, whole numbers below 4"),
        (lambda: CE(OUTPUT, CLASSES + 1), ValueError, "the class 4; an output of 4 numbers has 0 to 3"),
        (lambda: CE(OUTPUT, CLASSES - 1), ValueError, "the class -1"),
        (lambda: CE(OUTPUT, CLASSES.T), ValueError, r"If yours are \(batch, time\), pass `targets.T`"),
        (lambda: CE(OUTPUT, CLASSES[0]), ValueError, r"`batch.aligned\(\)`"),
        (lambda: CE(OUTPUT, np.eye(O)[CLASSES]), ValueError, r"pass `targets.argmax\(axis=-1\)`"),
        (lambda: CE(OUTPUT[0, 0], 1), ValueError, r"`output` has shape \(4,\)"),
        (lambda: CE("y", CLASSES), TypeError, "holds text"),
        (lambda: BCE(OUTPUT, TARGETS[BCE] + 1), ValueError, "from 0 to 1"),
        (lambda: MSE(OUTPUT[..., :1], OUTPUT[..., 0]), ValueError, r"pass `targets\[..., None\]`"),
        (lambda: MSE(OUTPUT, OUTPUT[0]), ValueError, r"`batch.aligned\(\)`"),
        (lambda: MSE(OUTPUT, OUTPUT, lengths=[7, 1, 1]), ValueError, "between 0 and the 6 time steps"),
        (lambda: MSE(OUTPUT, OUTPUT, lengths=[1, 1]), ValueError, r"`lengths` has shape \(2,\)"),
        (lambda: MSE(OUTPUT, OUTPUT, lengths=[0, 0, 0]), ValueError, "No step counts in this loss: all are padding"),
        (lambda: MSE(OUTPUT, OUTPUT, weights=np.zeros((T, B))), ValueError, "No step counts"),
        (lambda: CE(OUTPUT, CLASSES, weights=np.zeros((T, B), bool)), ValueError, "No step counts"),
        (lambda: MSE(OUTPUT[:0], OUTPUT[:0]), ValueError, "the batch is empty"),
        (lambda: MSE(OUTPUT, OUTPUT, weights=-WEIGHTS), ValueError, "a weight is at least 0"),
        (lambda: MSE(OUTPUT, OUTPUT, weights=WEIGHTS[0]), ValueError, r"expected \(time, batch\) = \(6, 3\)"),
        (lambda: MSE(OUTPUT), TypeError, "needs `targets`"),
    ],
)
def test_bad_input_is_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
