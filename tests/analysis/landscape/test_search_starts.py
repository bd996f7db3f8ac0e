"""Searches for fixed points start where the states of the network live, and no start ends the search of another."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from test_fixed_points import Henon, Logistic, uncoupled

import throughtime as tt
from throughtime.analysis import fixed_points
from throughtime.analysis.landscape.autonomous_map import AutonomousMap
from throughtime.analysis.landscape.levenberg import decomposed, each, levenberg
from throughtime.analysis.landscape.search_starts import living_box
from throughtime.scalar import tanh, tanh_slope


def box(net):
    return living_box(AutonomousMap(net, None, 1), np.random.default_rng(0))


def network(cell, weights, bias=0.0, **options):
    weights = np.atleast_2d(weights)
    net = tt.Network(cell, 1, weights.shape[1], **options)
    for value in net.parameters.values():
        value[...] = 0.0
    net.parameters["weight_hh_l0"][...] = weights
    net.parameters["bias_hh_l0"][...] = bias
    return net


# ---------------------------------------------------------------------------------------------- where states live


@pytest.mark.parametrize(("cell", "leaks"), [(tt.Rate, (1.0, 0.1, 0.02, 0.001)), (tt.LeakyTanh, (0.5, 0.02))])
def test_three_bistable_units_have_twenty_seven(cell, leaks):
    """x = 2 tanh x has the roots 0 and ±1.915, h = tanh 2h 0 and ±.9575: three choices for each of three units."""
    root = 1.9150080481545 if cell is tt.Rate else 0.9575040240773
    for leak in leaks:
        found = fixed_points(network(cell(leak=leak), 2.0 * np.eye(3)), starts=600)
        exact = np.array(list(itertools.product((-root, 0.0, root), repeat=3)))
        assert len(found.points) == 27
        assert max(np.abs(found.points - point).max(axis=1).min() for point in exact) < 1e-9
        assert found.lost == 0
        assert found.hits.sum() == 600


def test_the_default_number_of_starts_finds_them_too():
    counts = [len(fixed_points(network(tt.Rate(), 2.0 * np.eye(3)), seed=seed).points) for seed in range(4)]
    assert min(counts) == 27


@pytest.mark.parametrize("units", [1, 2, 3])
def test_strong_tanh_units(units):
    """h = tanh(5 h): three roots for each unit."""
    assert len(fixed_points(network("tanh", 5.0 * np.eye(units))).points) == 3**units


def relu_points(w, b):
    """All fixed points of h = max(W h + b, 0): those of each linear piece that lie in it."""
    found = []
    for active in itertools.product((False, True), repeat=len(b)):
        d = np.diag(np.array(active, dtype=float))
        h = np.linalg.solve(np.eye(len(b)) - d @ w, d @ b)
        if ((w @ h + b > 0.0) == active).all():
            found.append(h)
    return np.array(found).reshape(-1, len(b))


@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_relu_networks_against_the_enumeration_of_their_pieces(scale):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        w, b = 1.5 * rng.standard_normal((4, 4)), scale * rng.standard_normal(4)
        exact, found = relu_points(w, b), fixed_points(network("relu", w, b))
        assert len(found.points) == len(exact)
        for h in exact:
            assert np.abs(found.points - h).max(axis=1).min() < 1e-9 * (1.0 + np.abs(h).max())


@pytest.mark.parametrize(("weight", "bias"), [(0.999, 1.0), (0.99999, 1.0), (-0.9, 1e4), (1.5, 300.0)])
def test_linear_units_rest_far_from_one(weight, bias):
    found = fixed_points(network("linear", weight, bias))
    np.testing.assert_allclose(found.points, [[bias / (1.0 - weight)]], rtol=1e-10)
    assert found.lost == 0


def test_an_lstm_whose_memory_goes_far():
    """c* = i g/(1 − f) with a forget gate that is closed by one part in a thousand."""
    net = network("lstm", np.zeros((4, 1)))
    net.parameters["bias_hh_l0"][...] = [0.5, 7.0, 1.0, -0.3]
    i, f, o = (1 / (1 + np.exp(-b)) for b in (0.5, 7.0, -0.3))
    c = i * np.tanh(1.0) / (1 - f)
    found = fixed_points(net)
    np.testing.assert_allclose(found.points, [[o * np.tanh(c), c]], rtol=1e-9)
    assert c > 500


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm", "rate", "sigmoid"])
def test_random_networks_against_a_dense_search(cell):
    """Strong weights and biases: as many points as from 2000 starts all over the box where the states live."""
    for seed in range(2):
        net = tt.Network(cell, 1, 2, seed=0)
        rng = np.random.default_rng(seed)
        for name, value in net.parameters.items():
            value[...] = rng.standard_normal(value.shape) * (3.0 if "weight" in name else 1.0)
        found, radius = fixed_points(net), box(net)
        dense = fixed_points(
            net, starts=radius * rng.uniform(-1.0, 1.0, (2000, net.state_size)), bound=3 * radius.max()
        )
        assert len(found.points) == len(dense.points)
        for point in dense.points:
            assert np.abs(found.points - point).max(axis=1).min() < 1e-6 * (1 + np.abs(point).max())
            assert (np.abs(point) <= radius).all()


def test_boxes_follow_the_network_whatever_its_cell():
    assert (box(network("tanh", 5.0 * np.ones((3, 3)))) == 1.0).all()
    assert (box(network("gru", np.zeros((6, 2)))) == 1.0).all()
    w = np.array([[0.0, 3.0, -2.5], [1.0, 0.0, 0.0], [0.2, 0.2, 0.1]])
    rows = np.abs(w).sum(axis=1) * np.tanh(8.0) + 0.25  # |x| of a rate unit is at most Σ|W| + |b|
    radius = box(network(tt.Rate(leak=0.02), w, 0.25))
    assert (radius >= rows * 0.99).all()
    assert (radius <= np.maximum(1.0, 2.0 * rows)).all()
    assert box(network("linear", 0.999, 1.0))[0] == 1024.0
    assert box(network("linear", 1.5))[0] == 2.0**20
    assert box(uncoupled(Logistic(3.2)))[0] == 2.0**20


@tt.cell()
class Switch(NamedTuple):
    """h' = 5 + 5 tanh(2.5 (h − 3)): rests near 0 and 10, and between them, though [−1, 1] is taken into itself."""

    def forward(cell, x, r, s):
        return (5.0 + 5.0 * tanh(2.5 * (s[0] - 3.0)) + x[0] + r[0],), (s[0],)

    def backward(cell, ds, s, s_next, saved):
        return ds, ds, (12.5 * tanh_slope(2.5 * (saved[0] - 3.0)) * ds[0],)


def test_a_cell_that_rests_beyond_a_box_that_it_does_not_leave():
    found = fixed_points(uncoupled(Switch()))
    assert box(uncoupled(Switch()))[0] == 16.0
    assert found.unstable_directions.tolist() == [0, 0, 1]
    np.testing.assert_allclose(np.sort(found.points[:, 0]), [0.0, 2.83, 10.0], atol=0.02)


# ---------------------------------------------------------------------------------------------- none ends another


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("period", [1, 2, 5, 10, 100, 400])
def test_a_steep_linear_network(period, dtype):
    """W = [[10, 10], [10, 10]]: one fixed point, no cycle, and J^p beyond the numbers from p = 237 on."""
    found = fixed_points(network("linear", 10.0 * np.ones((2, 2)), 1.0, dtype=dtype), period=period)
    assert len(found.points) == (period == 1)
    assert found.starts == 512
    if period == 1:
        np.testing.assert_allclose(found.points, [[-1 / 19, -1 / 19]], rtol=1e-12)
    if period >= 10:
        assert found.lost == 512
        assert "512 reached neither" in repr(found)


def test_how_many_cycles_the_henon_map_has():
    """At a = 1.4, b = .3: 2 fixed points; 1, 0, 1, 0, 2, 4 cycles of period 2 … 7 (Biham & Wenzel, PRL 63, 1989)."""
    counts = [len(fixed_points(uncoupled(Henon()), period=p, starts=400).points) for p in range(1, 8)]
    assert counts == [2, 1, 0, 1, 0, 2, 4]


@pytest.mark.parametrize("cell", [*tt.CELLS, Henon(), Logistic(4.0)])
@pytest.mark.parametrize("period", [1, 7])
def test_any_cell_from_any_start(cell, period):
    """Huge weights, and starts up to the largest numbers: all are counted, and nothing is raised or warned of."""
    net = tt.Network(cell, 1, 3, seed=0)
    for value in net.parameters.values():
        value *= 100.0
    starts = (
        np.random.default_rng(0).standard_normal((20, net.state_size)) * 10.0 ** np.linspace(-300, 300, 20)[:, None]
    )
    found = fixed_points(net, period=period, starts=starts, iterations=60)
    assert found.starts == 20
    assert found.hits.sum() + found.lost <= 20
    assert np.isfinite(found.points).all()


def test_one_singular_matrix_does_not_stop_the_others():
    stack = np.array([np.eye(2), np.zeros((2, 2)), 2 * np.eye(2)])
    solved = each(np.linalg.solve, stack, np.ones((3, 2, 1)))
    np.testing.assert_array_equal(solved[[0, 2], :, 0], [[1, 1], [0.5, 0.5]])
    assert np.isnan(solved[1]).all()
    u, sigma, v = decomposed(np.array([[[1.0, 2.0], [2.0, 4.0]], [[np.nan, 0.0], [0.0, 1.0]]]))
    assert sigma[0, 0] == pytest.approx(5.0)
    np.testing.assert_allclose(u[0] * sigma[0] @ v[0], [[1, 2], [2, 4]], atol=1e-14)
    assert np.isnan(sigma[1]).all()


def test_levenberg_where_the_normal_equations_are_singular():
    """A of rank one and size 1e10: AᵀA + μI is singular to rounding, its SVD is not."""
    a = 1e10 * np.outer([1.0, 1.0], [1.0, 1.0])
    found = levenberg(lambda s: (s @ a.T - 3e10, np.repeat(a[None], len(s), axis=0)), np.zeros((4, 2)), 1e-5, 100)
    assert found.root.all()
    np.testing.assert_allclose(found.points.sum(axis=1), 3.0)


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("wrong", ["x", None, 3, {}, np.eye(2)])
def test_what_is_no_network(wrong):
    with pytest.raises(TypeError, match=r"(?s)`net` is .* takes a network"):
        fixed_points(wrong)


def test_a_run_in_place_of_its_network():
    net = network("tanh", [[1.0]])
    with pytest.raises(TypeError, match=r"pass `run\.network`"):
        fixed_points(net.unroll(np.zeros((2, 1))))


@pytest.mark.parametrize(
    "options",
    [{"period": 10**12}, {"starts": 10**12}, {"starts": np.array([[np.nan]])}, {"starts": "many"}, {"warmup": 0},
     {"iterations": 0}, {"seed": "x"}, {"distinct": np.nan}, {"x": "x"}],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_get_a_sentence(options):
    with pytest.raises((TypeError, ValueError), match=f"`{next(iter(options))}`"):
        fixed_points(network("tanh", [[1.0]]), **options)
