"""A readout in closed form: against least squares with rows for the penalty, and against the model's own gradient."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt
from throughtime.models import Chain, Dropout, LayerNorm, Readout, Residual, last
from throughtime.training import ridge as fit_ridge
from throughtime.training.ridge import ROWS

T, B, N, O = 40, 3, 6, 2
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(T, B, 2)), RNG.normal(size=(T, B, O)) + 3.0
LENGTHS = np.array([T, 11, 25])


def net(cell="gru", inputs=2, **options):
    return tt.Network(cell, inputs, N, seed=1, **options)


def expected(h, y, penalty, bias=True):
    """W, b: least squares of [h 1] with rows √penalty·1 for W below; another way than the library's."""
    rows = np.concatenate([h, np.ones((len(h), 1))], axis=1) if bias else h
    below = np.sqrt(penalty) * np.eye(h.shape[1], rows.shape[1])
    found = np.linalg.lstsq(np.concatenate([rows, below]), np.concatenate([y, np.zeros((len(below), y.shape[1]))]))[0]
    return (found[:-1].T, found[-1]) if bias else (found.T, 0.0)


def chosen(h, y, warmup=0, lengths=None):
    steps = np.arange(len(h))[:, None]
    which = (steps >= warmup) & (steps < (np.full(h.shape[1], len(h)) if lengths is None else lengths))
    return h[which], y[which]


@pytest.mark.parametrize("penalty", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("warmup", [0, 5])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_readout_is_that_of_least_squares(penalty, warmup, lengths, bias):
    model = Chain([net(), Readout(N, O, bias=bias, seed=2)])
    before = model.parameters["0.weight_hh_l0"].copy()
    found = fit_ridge(model, X, Y, penalty, warmup=warmup, lengths=lengths)
    assert found.model is model
    rows = chosen(model.pieces[0].unroll(X, lengths=lengths).output, Y, warmup, lengths)
    weight, intercept = expected(*rows, penalty, bias)
    # both are backward stable: eps times the condition of h, some hundred here
    np.testing.assert_allclose(model.parameters["1.weight"], weight, rtol=1e-11, atol=1e-11)
    if bias:
        np.testing.assert_allclose(model.parameters["1.bias"], intercept, rtol=1e-11)
    assert found.steps == len(rows[0])
    assert found.error == pytest.approx(np.mean((rows[0] @ weight.T + intercept - rows[1]) ** 2), rel=1e-10)
    assert found.penalties.size == found.validation_errors.size == 0
    np.testing.assert_array_equal(model.parameters["0.weight_hh_l0"], before)


@pytest.mark.parametrize("make", [
    lambda: Chain([net(), Readout(N, O, seed=2)]),
    lambda: Chain([net(bidirectional=True), Readout(2 * N, O, seed=2)]),
    lambda: Chain([net("lstm", num_layers=2), Dropout(0.0), Readout(N, O, seed=2)]),
    lambda: Chain([Readout(2, N, seed=3), Residual([LayerNorm(N), net(inputs=N)]), Readout(N, O, seed=2)]),
    lambda: Chain([Readout(2, O, seed=2)]),
])  # fmt: skip
def test_the_gradient_of_the_loss_is_that_of_the_penalty(make):
    """At the minimum of Σ|e|² + λ|W|² the gradient of the mean is −2λW/(M O) for W and 0 for b: by backprop."""
    model, penalty = make(), 0.3
    found = fit_ridge(model, X, Y, penalty)
    value, gradient = model.value_and_gradient(X, Y, tt.training.mean_squared_error)
    names, last_name = model.named(gradient), list(model.parameters)[-1].replace("bias", "")
    weight = model.parameters[f"{last_name}weight"]
    np.testing.assert_allclose(names[f"{last_name}weight"], -2 * penalty * weight / (T * B * O), atol=1e-14)
    np.testing.assert_allclose(names[f"{last_name}bias"], 0, atol=1e-14)
    assert found.error == pytest.approx(value, rel=1e-12)


def test_many_to_one_counts_sequences():
    model = Chain([net(), last, Readout(N, O, seed=2)])
    x, y = RNG.normal(size=(9, 30, 2)), RNG.normal(size=(30, O))
    lengths = np.arange(30) % 9 + 1
    found = fit_ridge(model, x, y, 0.1, lengths=lengths)
    weight, intercept = expected(last(model.pieces[0].unroll(x, lengths=lengths)).output, y, 0.1)
    np.testing.assert_allclose(model.parameters["1.weight"], weight, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.parameters["1.bias"], intercept, rtol=1e-10, atol=1e-12)
    assert found.steps == 30


def test_the_penalty_is_chosen_by_the_end_of_every_sequence():
    penalties, warmup, part = [1e-4, 1.0, 30.0, 1e4], 4, 0.25
    model = Chain([net(), Readout(N, O, seed=2)])
    found = fit_ridge(model, X, Y, penalties, warmup=warmup, lengths=LENGTHS, validation=part)
    h = model.pieces[0].unroll(X, lengths=LENGTHS).output
    cuts = warmup + np.ceil((1 - part) * (LENGTHS - warmup)).astype(int)
    train, held = chosen(h, Y, warmup, cuts), [
        np.concatenate([a[c:n, b] for b, (c, n) in enumerate(zip(cuts, LENGTHS, strict=True))]) for a in (h, Y)
    ]  # fmt: skip
    errors = []
    for penalty in penalties:
        weight, intercept = expected(*train, penalty)
        errors.append(np.mean((held[0] @ weight.T + intercept - held[1]) ** 2))
    np.testing.assert_allclose(found.validation_errors, errors, rtol=1e-10)
    assert found.penalty == penalties[int(np.argmin(errors))]
    weight, _ = expected(*chosen(h, Y, warmup, LENGTHS), found.penalty)  # then fitted to all
    np.testing.assert_allclose(model.parameters["1.weight"], weight, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(found.penalties, penalties)


def test_time_is_taken_piece_by_piece():
    """Longer than a piece: the state is carried, and the result is that of all at once."""
    x = RNG.normal(size=(ROWS // 2 + 500, 2, 2))
    y, start = np.cumsum(x, axis=0) * 0.1, RNG.normal(size=(1, 2, N))
    model = Chain([net(), Readout(N, O, seed=2)])
    assert fit_ridge(model, x, y, 0.1, warmup=10, state=start).steps == 2 * (len(x) - 10)
    weight, intercept = expected(*chosen(model.pieces[0].unroll(x, state=start).output, y, 10), 0.1)
    np.testing.assert_allclose(model.parameters["1.weight"], weight, rtol=1e-10)
    np.testing.assert_allclose(model.parameters["1.bias"], intercept, rtol=1e-10)


def test_the_condition_is_not_squared():
    """Columns that differ by 1e-7: planted weights come back to eps·1e7; normal equations would lose them all."""
    common = RNG.normal(size=(500, 1, 1))
    x = common + 1e-7 * RNG.normal(size=(500, 1, 3))
    planted = np.array([[1.0, -2.0, 3.0]])
    model = Chain([Readout(3, 1, seed=0)])
    fit_ridge(model, x, x @ planted.T + 5.0, 0.0)
    np.testing.assert_allclose(model.parameters["0.weight"], planted, atol=1e-6)
    gram = (x[:, 0] - x[:, 0].mean(axis=0)).T @ (x[:, 0] - x[:, 0].mean(axis=0))
    assert np.linalg.cond(gram) > 1e13


def test_of_a_network_a_copy_is_taken():
    own = net("tanh")
    found = fit_ridge(own, X[:, 0], Y[:, 0], 1e-3)
    assert isinstance(found.model, Chain)
    assert found.model.predict(X[:, 0]).shape == (T, O)
    held = own.state_dict()
    found.model.flat += 1.0
    for name, value in held.items():
        np.testing.assert_array_equal(own.parameters[name], value)


def test_columns_without_a_say_have_no_weight():
    """A dead unit: without a penalty the least squares solution of smallest norm, not infinity."""
    x = np.concatenate([X, np.zeros((T, B, 1))], axis=2)
    model = Chain([Readout(3, O, seed=0)])
    fit_ridge(model, x, Y, 0.0)
    assert not model.parameters["0.weight"][:, 2].any()
    np.testing.assert_allclose(model.parameters["0.weight"][:, :2], expected(*chosen(X, Y), 0.0)[0], atol=1e-12)


def test_single_precision_is_fitted_in_double():
    model = Chain([net(dtype="float32"), Readout(N, O, dtype="float32", seed=2)])
    fit_ridge(model, X, Y, 1e-3)
    weight, _ = expected(*chosen(model.pieces[0].unroll(X).output.astype(float), Y), 1e-3)
    np.testing.assert_array_equal(model.parameters["1.weight"], weight.astype("float32"))


def test_a_reservoir_is_as_it_was_asked_for():
    model = tt.models.reservoir(2, 60, 3, leak=0.3, radius=0.7, incoming=5, input_scaling=0.4, bias_scaling=0.2, seed=4)
    inner = model.pieces[0]
    w_ih, w_hh, b_ih, b_hh = inner.layer(0)
    assert inner.cell == tt.LeakyTanh(leak=0.3)
    assert np.abs(np.linalg.eigvals(w_hh)).max() == pytest.approx(0.7, rel=1e-12)
    assert ((w_hh != 0).sum(axis=1) == 5).all()
    for values, scale in ((w_ih, 0.4), (b_ih, 0.2)):
        assert 0.9 * scale < np.abs(values).max() <= scale
        assert values.min() < 0 < values.max()
    assert not b_hh.any()
    assert not model.predict(X).any()
    assert tt.models.reservoir(2, 4, 1, seed=0).pieces[0].cell == tt.Tanh()  # fewer units than `incoming`
    again = tt.models.reservoir(2, 60, 3, leak=0.3, radius=0.7, incoming=5, input_scaling=0.4, bias_scaling=0.2, seed=4)
    np.testing.assert_array_equal(model.flat, again.flat)


def test_a_loop_learns_both_exponents_of_a_map():
    """The Hénon map from its states alone, by random features without memory (radius 0): .41922 and −1.62319, and −∞
    for the other 98 directions, which one step loses."""
    task = tt.tasks.Henon(length=4000)
    x = task.batch(1, seed=0).x
    model = tt.models.reservoir(2, 100, 2, radius=0.0, input_scaling=0.5, bias_scaling=0.5, seed=0)
    fit_ridge(model, x[:-1], x[1:], 1e-10, warmup=50)
    loop = model.closed_loop()
    start = loop.unroll(0, x=x).final_state
    found = tt.analysis.lyapunov_spectrum(loop, k=2, steps=20000, state=start, seed=0)
    assert (np.abs(found.exponents - task.exponents) < 5 * found.standard_error).all()
    assert (found.standard_error < 0.01).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_ridge(3, X, Y), r"`model` is 3 \(int\); `ridge` takes a network, or"),
        (lambda: fit_ridge(Chain([net(), LayerNorm(N)]), X, Y), "that ends with a Readout"),
        (lambda: fit_ridge(net(), X, Y[:-1]), r"`targets` has shape \(39, 3, 2\); .* says \(40, 3, 2\)"),
        (lambda: fit_ridge(net(), X, Y[:, :2]), r"`targets` has shape \(40, 2, 2\)"),
        (lambda: fit_ridge(Chain([net(), Readout(N, 1)]), X, Y), "says 1 numbers at a step"),
        (lambda: fit_ridge(net(), X, Y, -1.0), "`penalty` is a finite number of at least 0"),
        (lambda: fit_ridge(net(), X, Y, "a"), "`penalty` holds text"),
        (lambda: fit_ridge(net(), X, Y, [1.0, 2.0], validation=0.0), "`validation` is 0"),
        (lambda: fit_ridge(net(), X, Y, warmup=T), "No step counts.*`warmup`=40"),
        (lambda: fit_ridge(net(), X[:2], Y[:2], [1.0, 2.0], validation=0.01), "too few to hold some out"),
        (lambda: fit_ridge(net(), X, np.where(Y > 5, np.nan, Y)), "`targets` holds such a number"),
        (lambda: fit_ridge(net(), X * np.nan, Y), "what the readout hears holds such a number"),
        (lambda: fit_ridge(Chain([net(), last, Readout(N, O)]), X, Y[0], warmup=3), "one thing of a sequence"),
        (lambda: fit_ridge(net(), X, Y, burn_in=3), "`warmup="),
        (lambda: tt.models.reservoir(2, 9, 1, radius=-1), "`radius` is -1"),
        (lambda: tt.models.reservoir(2, 9, 1, leak=3.0), "`leak` of the cell is 3"),
        (lambda: tt.models.reservoir(2, 9, 1, incoming=0), "`incoming` is 0"),
    ],
)
def test_refusals(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()
