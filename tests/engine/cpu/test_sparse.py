"""Loops over the weights of a pattern beside those over all weights: the same bits forward, back and along tangents,
and the gradient of the weights of the pattern to rounding, as its sums run in another order."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells.base import spec
from throughtime.engine.cpu import run as cpu
from throughtime.engine.cpu import sparse
from throughtime.engine.cpu.sparse import Pattern


@pytest.fixture
def always(monkeypatch):
    """Whatever the size and the density, weights are taken by their pattern."""
    monkeypatch.setattr(sparse, "SMALLEST", 1)
    monkeypatch.setattr(sparse, "FEW", 1.0)
    monkeypatch.setattr(sparse, "MANY", 1.0)


def layer_of(cell, units, batch, steps, density, dtype, reverse, seed=0):
    """The same layer with its pattern and without, and the pattern."""
    rng, record = np.random.default_rng(seed), spec(cell)
    rows = record.gates * units
    pattern = rng.random((rows, units)) < density
    sizes = (rows, 3), (rows, units), (rows,), (rows,)
    parameters = tuple(rng.normal(size=size).astype(dtype) for size in sizes)
    parameters[1][~pattern] = 0.0
    x, lengths = rng.normal(size=(steps, batch, 3)).astype(dtype), rng.integers(0, steps + 1, batch)
    start = rng.normal(size=(batch, record.states * units)).astype(dtype)
    layers = []
    for own in (None, Pattern(pattern)):
        states = np.zeros((steps + 1, *start.shape), dtype)
        states[steps if reverse else 0] = start
        layers.append(cpu.unroll(cell, parameters, x, states, 0, lengths, reverse, own))
    assert layers[0].pattern is None
    assert layers[1].pattern is not None
    return *layers, pattern


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("units", "batch", "steps", "density"),
    [
        (1, 1, 3, 1.0), (5, 3, 4, 0.0), (17, 1, 5, 0.2), (33, 8, 4, 0.1), (40, 21, 6, 0.3), (64, 70, 3, 0.05),
        (9, 2, 40, 0.5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("cell", [tt.Tanh(), tt.Rate(), tt.GRU(), tt.LSTM()], ids=lambda cell: type(cell).__name__)
def test_the_same_as_of_all_weights(cell, units, batch, steps, density, dtype, reverse, always):
    dense, few, pattern = layer_of(cell, units, batch, steps, density, dtype, reverse)
    assert np.array_equal(dense.states, few.states)
    rng = np.random.default_rng(1)
    g = rng.normal(size=(steps, batch, units)).astype(dtype)
    last = rng.normal(size=dense.states[0].shape).astype(dtype)
    for each in (False, True):
        shapes = [(batch,) * each + p.shape for p in dense.parameters]
        theirs, ours = (
            cpu.backprop(one, last, g, into=tuple(np.zeros(shape, dtype) for shape in shapes), each=each)
            for one in (dense, few)
        )
        assert np.array_equal(theirs.carry, ours.carry)
        assert np.array_equal(theirs.x, ours.x)
        for k in (0, 2, 3):
            assert np.array_equal(theirs.parameters[k], ours.parameters[k])
        assert not ours.parameters[1][..., ~pattern].any()
        difference = np.abs(theirs.parameters[1] - ours.parameters[1])[..., pattern]
        # of steps·batch terms, each rounded to eps of itself, in two orders
        scale = np.abs(theirs.parameters[1]).max(initial=1.0) * steps * batch
        assert difference.max(initial=0.0) <= 4 * np.finfo(dtype).eps * scale
    if not reverse:
        v = rng.normal(size=(batch * 3, last.shape[1])).astype(dtype)
        theirs, ours = (cpu.tangent(one, v, start=0, stop=steps, copies=3, to_output=True) for one in (dense, few))
        assert np.array_equal(theirs[0], ours[0])
        assert np.array_equal(theirs[1], ours[1])
        u = rng.normal(size=v.shape).astype(dtype)
        theirs, ours = (cpu.backprop(one, u, start=0, stop=steps, copies=3, to_weights=False) for one in (dense, few))
        assert np.array_equal(theirs.carry, ours.carry)


@pytest.mark.parametrize(("units", "batch"), [(70, 1), (70, 3), (40, 40)])
def test_the_same_bits_for_any_number_of_threads(units, batch, always, threads):
    """Threads share the rows, or the units where rows are few."""
    found = []
    for count in (1, 2, 3):
        threads(count)
        _, few, _ = layer_of(tt.GRU(), units, batch, 30, 0.1, "float64", False)
        back = cpu.backprop(few, np.ones(few.states[0].shape), np.ones((30, batch, units)))
        found.append((few.states, back.carry, back.x, *back.parameters))
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            assert np.array_equal(one, same)


def test_where_it_pays(monkeypatch):
    """By size, density and the number of sequences; never for what has a stage, several signals or unit parameters."""
    rng = np.random.default_rng(0)
    few, more, many = (Pattern(rng.random((300, 300)) < density) for density in (0.02, 0.08, 0.3))
    tanh = spec(tt.Tanh())
    assert few.pays(tanh, 1, np.float64)
    assert not more.pays(tanh, 1, np.float64)
    assert more.pays(tanh, 32, np.float64)
    assert not many.pays(tanh, 32, np.float64)
    assert not Pattern(few.matrix[:100, :100]).pays(tanh, 32, np.float64)


P = tt.parametrise
WAYS = {
    "sparse": lambda pattern: P.sparse(pattern),
    "masked": lambda pattern: P.masked(pattern),
    "dale": lambda pattern: P.dale(np.where(np.arange(len(pattern)) % 5, 1, -1), pattern=pattern),
    "diagonal": lambda pattern: P.diagonal(),
}


@pytest.mark.parametrize("way", WAYS)
def test_networks_with_a_pattern_take_it(way):
    """A network large and sparse enough is run by its pattern, with the numbers of one that holds all weights."""
    pattern = np.random.default_rng(0).random((280, 280)) < 0.02
    net = tt.Network("tanh", 3, 280, num_layers=2, parametrise={"weight_hh_l0": WAYS[way](pattern)}, seed=0)
    weights = net.weights()
    twin = tt.Network("tanh", 3, 280, num_layers=2, init=lambda *_: weights)
    x = np.random.default_rng(1).normal(size=(6, 3, 3))
    run, theirs = net.unroll(x), twin.unroll(x)
    patterns = [of_layer[0].pattern for of_layer in run._layers]
    assert patterns[0] is not None
    assert patterns[1] is None
    assert all(of_layer[0].pattern is None for of_layer in theirs._layers)
    assert np.array_equal(run.states, theirs.states)
    g = np.ones(run.output.shape)
    expected = run.to_parameters(theirs.backprop(g).parameters)
    for name, value in run.backprop(g).parameters.items():
        assert np.allclose(value, expected[name], rtol=0, atol=1e-13 * (1 + np.abs(expected[name]).max()))
    assert np.array_equal(run.jacobian(3), theirs.jacobian(3))
    v = np.random.default_rng(2).normal(size=(3, 560, 2))
    assert np.array_equal(run.jvp(v, 0, 6), theirs.jvp(v, 0, 6))
    assert np.array_equal(run.vjp(v, 0, 6), theirs.vjp(v, 0, 6))
    single = run.single_steps().pullback(np.ones((18, 560)), 0, 1)[1]
    other = run.to_parameters(theirs.single_steps().pullback(np.ones((18, 560)), 0, 1)[1])
    for name, value in single.items():
        assert np.allclose(value, other[name], rtol=0, atol=1e-12 * (1 + np.abs(other[name]).max()))
