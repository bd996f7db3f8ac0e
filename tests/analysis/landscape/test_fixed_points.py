"""Fixed points, slow points and cycles against closed forms, and by what they claim: F^p(s) = s and its slope."""

from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot
from networks import library_cell
from scipy.optimize import brentq

import throughtime as tt
from throughtime.analysis import fixed_points

EDGE = np.arccosh(np.sqrt(2.0))  # u where 2 sech²u = 1: the saddle-nodes of h = tanh(2h + b) have 2h + b = ±u


@tt.cell(gates=1, states=1)
class Logistic(NamedTuple):
    """s' = r s (1 − s), the logistic map in every unit."""

    rate: float = 3.2

    def forward(cell, x, r, s):
        return (cell.rate * s[0] * (1.0 - s[0]) + x[0] + r[0],), ()

    def backward(cell, ds, s, s_next, saved):
        return ds, ds, (cell.rate * (1.0 - 2.0 * s[0]) * ds[0],)


@tt.cell(gates=1, states=2)
class Henon(NamedTuple):
    """(x, y)' = (1 − a x² + y, b x)."""

    a: float = 1.4
    b: float = 0.3

    def forward(cell, x, r, s):
        return (1.0 - cell.a * s[0] * s[0] + s[1] + x[0] + r[0], cell.b * s[0]), ()

    def backward(cell, ds, s, s_next, saved):
        return (ds[0],), (ds[0],), (cell.b * ds[1] - 2.0 * cell.a * s[0] * ds[0], ds[0])


def one_unit(weight=2.0):
    net = tt.Network("tanh", 1, 1, bias=False)
    net.parameters["weight_hh_l0"][...] = weight
    net.parameters["weight_ih_l0"][...] = 1.0
    return net


def uncoupled(cell, units=1):
    net = tt.Network(cell, 1, units, bias=False, seed=0)
    for value in net.parameters.values():
        value[...] = 0.0
    return net


def strong(name, layers=1, units=6):
    """A random network of gain 2 with biases: several fixed points are likely."""
    net = tt.Network(library_cell(name), 2, units, num_layers=layers, seed=0)
    rng = np.random.default_rng(3)
    for key, value in net.parameters.items():
        value[...] = rng.standard_normal(value.shape) * (2.0 / np.sqrt(units) if "weight" in key else 0.3)
    return net


@pytest.mark.parametrize("b", [0.0, 0.2, -0.5])
def test_a_bistable_unit(b):
    """h = tanh(2h + b): three roots, found by bisection between the saddle-nodes' positions (±u − b)/2."""
    found = fixed_points(one_unit(), [b], starts=64)
    low, high = (-EDGE - b) / 2, (EDGE - b) / 2
    between = ((-1, low), (low, high), (high, 1))
    roots = [brentq(lambda h: np.tanh(2 * h + b) - h, *ends, xtol=1e-15) for ends in between]
    order = np.argsort(found.points[:, 0])
    np.testing.assert_allclose(found.points[order, 0], roots, atol=1e-14)
    np.testing.assert_allclose(found.eigenvalues[order, 0], 2 / np.cosh(2 * np.array(roots) + b) ** 2, rtol=1e-12)
    assert found.unstable_directions[order].tolist() == [0, 1, 0]
    assert found.stable.tolist() == [True, True, False]
    assert found.hits.sum() == 64
    assert found.residual.max() < 1e-15
    assert found.slow_points.size == 0


@pytest.mark.parametrize("b", [0.54, 0.6, -0.7])
def test_beyond_the_saddle_node_its_ghost_is_a_slow_point(b):
    """One fixed point is left; q has its minimum where F' = 1, at h = (∓u − b)/2 exactly."""
    found = fixed_points(one_unit(), [b], starts=64)
    ghost = (-np.sign(b) * EDGE - b) / 2
    assert found.points.shape == (1, 1)
    np.testing.assert_allclose(found.slow_points, [[ghost]], atol=1e-7)
    np.testing.assert_allclose(found.slow_eigenvalues, [[1.0]], atol=1e-6)
    np.testing.assert_allclose(found.slow_speed, [abs(np.tanh(2 * ghost + b) - ghost)], rtol=1e-9)


def test_two_bistable_units_have_nine():
    net = tt.Network("tanh", 1, 2, bias=False)
    net.parameters["weight_hh_l0"][...] = 2 * np.eye(2)
    found = fixed_points(net)
    assert found.unstable_directions.tolist() == [0] * 4 + [1] * 4 + [2]
    assert len(np.unique(found.points.round(9) + 0.0, axis=0)) == 9


def test_a_linear_network_has_one():
    net = tt.Network("linear", 3, 8, seed=0)
    w = net.parameters["weight_hh_l0"]
    x = np.array([1.0, -2.0, 0.5])
    drive = net.parameters["weight_ih_l0"] @ x + net.parameters["bias_ih_l0"] + net.parameters["bias_hh_l0"]
    found = fixed_points(net, x, starts=8)
    np.testing.assert_allclose(found.points, np.linalg.solve(np.eye(8) - w, drive)[None], atol=1e-13)
    np.testing.assert_allclose(np.sort(np.abs(found.eigenvalues[0])), np.sort(np.abs(np.linalg.eigvals(w))), atol=1e-12)


def test_an_lstm_without_weights_on_the_full_state():
    """c = f c + i g, h = o tanh(c): c* = i g/(1 − f); eigenvalues f for each c and 0 for each h."""
    net = tt.Network("lstm", 1, 3, seed=0)
    for value in net.parameters.values():
        value[...] = 0.0
    bias = np.array([[0.5, -0.2, 1.0], [2.0, 0.0, 1.0], [0.3, -1.0, 2.0], [0.1, 0.2, -0.3]])
    net.parameters["bias_hh_l0"][...] = bias.ravel()
    i, f, o = (1 / (1 + np.exp(-bias[k])) for k in (0, 1, 3))
    c = i * np.tanh(bias[2]) / (1 - f)
    found = fixed_points(net, starts=10)
    np.testing.assert_allclose(found.points, [np.concatenate([o * np.tanh(c), c])], atol=1e-14)
    np.testing.assert_allclose(found.eigenvalues[0], [*np.sort(f)[::-1], 0, 0, 0], atol=1e-14)
    h, cell_state = found.state(0)
    assert h.shape == cell_state.shape == (1, 3)
    np.testing.assert_array_equal(cell_state[0], found.points[0, 3:])


def test_a_gru_without_weights():
    """h = (1 − z) n + z h: h* = n, eigenvalue z."""
    net = tt.Network("gru", 1, 2, seed=0)
    for value in net.parameters.values():
        value[...] = 0.0
    net.parameters["bias_ih_l0"][...] = [0.0, 0.0, 1.0, -2.0, 0.7, -0.4]
    found = fixed_points(net, starts=10)
    np.testing.assert_allclose(found.points, np.tanh([[0.7, -0.4]]), atol=1e-13)
    np.testing.assert_allclose(found.eigenvalues[0], 1 / (1 + np.exp([-1.0, 2.0])), atol=1e-13)


def test_rate_units_share_the_fixed_points_of_tanh_units():
    """x = W tanh(x) is h = tanh(W h) with h = tanh(x); eigenvalues 1 − δ + δ eig(W diag sech²x)."""
    tanh, rate = strong("tanh"), strong("rate")
    for net in (tanh, rate):
        net.parameters["bias_ih_l0"][...] = net.parameters["bias_hh_l0"][...] = 0.0
    expected, found = fixed_points(tanh, starts=512), fixed_points(rate, starts=512)
    assert len(found.points) >= 3
    common = [np.abs(np.tanh(p) - expected.points).max(axis=1).min() for p in found.points]
    assert max(common) < 1e-12
    w, leak = rate.parameters["weight_hh_l0"], rate.cell.leak
    for point, values in zip(found.points, found.eigenvalues, strict=True):
        exact = 1 - leak + leak * np.linalg.eigvals(w / np.cosh(point) ** 2)
        np.testing.assert_allclose(np.sort(np.abs(values)), np.sort(np.abs(exact)), atol=1e-11)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", [*tt.CELLS, "adapting"])
def test_every_point_of_every_cell_is_what_it_claims(name, layers):
    net = strong(name, layers)
    if name in ("linear", "relu"):
        for k in range(layers):
            net.parameters[f"weight_hh_l{k}"] *= 0.3
    x = np.array([0.4, -0.2])
    found = fixed_points(net, x, starts=96)
    # the c of the LSTM of 1997 stands still only where g = 0 in all units, which no |h| < 1 may bring about
    assert len(found.points) or name == "lstm1997"
    assert (np.diff(found.unstable_directions) >= 0).all()
    for k in range(len(found.points)):
        run = net.unroll(np.tile(x, (3, 1)), state=found.state(k))
        np.testing.assert_allclose(run.states[1, 0], found.points[k], atol=1e-12)
        exact = np.linalg.eigvals(run.jacobian(1)[0])
        scale = np.linalg.norm(run.jacobian(1)[0], 2)
        assert abs(np.prod(exact) - np.prod(found.eigenvalues[k])) < 1e-9 * max(1.0, scale ** len(exact))
        assert abs(np.sum(exact) - np.sum(found.eigenvalues[k])) < 1e-10 * scale * len(exact)
        assert found.error[k] < 1e-10


def test_the_two_cycle_of_the_logistic_map():
    """x = (r + 1 ± √((r − 3)(r + 1)))/2r, multiplier 4 + 2r − r²; the fixed points are left out."""
    r = 3.2
    found = fixed_points(uncoupled(Logistic(r)), period=2, starts=64)
    root = np.sqrt((r - 3) * (r + 1))
    exact = [(r + 1 - root) / (2 * r), (r + 1 + root) / (2 * r)]
    np.testing.assert_allclose(np.sort(found.orbits[0, :, 0]), exact, atol=1e-13)
    assert found.orbits.shape == (1, 2, 1)
    np.testing.assert_allclose(found.eigenvalues, [[4 + 2 * r - r * r]], atol=1e-12)
    points = fixed_points(uncoupled(Logistic(r)), starts=64)
    np.testing.assert_allclose(np.sort(points.points[:, 0]), [0, 1 - 1 / r], atol=1e-13)
    np.testing.assert_allclose(np.sort(points.eigenvalues[:, 0].real), [2 - r, r], atol=1e-12)


def test_how_many_cycles_the_logistic_map_has():
    """At r = 4: 2 fixed points, 1 two-cycle, 2 three-cycles, 3 four-cycles, all of multiplier ±2^p (0 alone: 4)."""
    net = uncoupled(Logistic(4.0))
    starts = np.linspace(0.001, 0.999, 400)[:, None]
    for period, count in ((1, 2), (2, 1), (3, 2), (4, 3)):
        found = fixed_points(net, period=period, starts=starts)
        inside = (found.points[:, 0] > 1e-6) & (found.points[:, 0] < 1)
        assert len(found.points) == count
        np.testing.assert_allclose(np.abs(found.eigenvalues[inside, 0]), 2.0**period, rtol=1e-9)
        assert (found.unstable_directions == 1).all()


def test_the_henon_map_a_cell_with_two_states():
    a, b = 1.4, 0.3
    found = fixed_points(uncoupled(Henon(a, b)), starts=64)
    x = (-(1 - b) + np.array([1, -1]) * np.sqrt((1 - b) ** 2 + 4 * a)) / (2 * a)
    np.testing.assert_allclose(np.sort(found.points[:, 0]), np.sort(x), atol=1e-12)
    np.testing.assert_allclose(found.points[:, 1], b * found.points[:, 0], atol=1e-13)
    for point, values in zip(found.points, found.eigenvalues, strict=True):
        np.testing.assert_allclose([values.sum(), values.prod()], [-2 * a * point[0], -b], atol=1e-11)
    two = fixed_points(uncoupled(Henon(a, b)), period=2, starts=64)
    assert len(two.points) == 1
    # x of the two-cycle: a² x² − a(1−b) x + (1−b)² − a = 0
    np.testing.assert_allclose(two.orbits[0, :, 0].sum(), (1 - b) / a, atol=1e-12)
    np.testing.assert_allclose(two.orbits[0, :, 0].prod(), ((1 - b) ** 2 - a) / a**2, atol=1e-12)


def test_a_line_of_fixed_points_is_neutral():
    net = tt.Network("linear", 1, 2, bias=False)
    net.parameters["weight_hh_l0"][...] = np.diag([1.0, 0.5])
    found = fixed_points(net, starts=20)
    assert len(found.points) == 20
    assert (found.neutral_directions == 1).all()
    assert not found.stable.any()
    assert (found.index == 0).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cell", ["tanh", "leaky_tanh", "lstm", "gru"])
def test_indices_of_bounded_states_sum_to_one_and_tell_a_missing_point(cell, seed):
    init = tt.init.gaussian(gain=3.0, bias_std=0.3)
    net = tt.Network(cell, 1, 4, init=init, seed=seed)
    found = fixed_points(net, starts=1000, seed=seed)
    slopes = net.unroll(np.zeros((1, len(found.points), 1)), state=states_of(found)).jacobian(1)
    assert (found.index == np.linalg.slogdet(np.eye(net.state_size) - slopes)[0]).all()
    assert found.index.sum() == 1  # the Lefschetz number of a ball
    for left_out in range(len(found.points)):
        assert np.delete(found.index, left_out).sum() in (0, 2)


def states_of(found):
    """All points as one batch, as `unroll` takes them."""
    each = [found.state(k) for k in range(len(found.points))]
    if isinstance(each[0], tuple):
        return tuple(np.stack(parts, axis=1) for parts in zip(*each, strict=True))
    return np.stack(each, axis=1)


def test_indices_of_cycles_sum_to_one_with_those_of_shorter_periods():
    """x' = tanh(−2 x): 0 is fixed with slope −2, and ±h go into each other."""
    one, two = fixed_points(one_unit(-2.0), starts=16), fixed_points(one_unit(-2.0), period=2, starts=16)
    assert (one.index, one.eigenvalues.real) == ([1], [[-2.0]])
    assert (len(two.points), two.index) == (1, [1])
    of_zero = np.sign(1 - (-2.0) ** 2)  # as a fixed point of F²
    assert of_zero + two.period * two.index.sum() == 1


def test_saddles_that_no_trajectory_finds():
    """The odd map h = tanh(W h): 0 with the eigenvalues of W, the others in pairs ±h."""
    net = strong("tanh", units=10)
    net.parameters["bias_ih_l0"][...] = net.parameters["bias_hh_l0"][...] = 0.0
    found = fixed_points(net, starts=300)
    zero = int(np.abs(found.points).max(axis=1).argmin())
    exact = np.linalg.eigvals(net.parameters["weight_hh_l0"])
    assert found.unstable_directions[zero] == (np.abs(exact) > 1).sum()
    assert all(np.abs(found.points + p).max(axis=1).min() < 1e-9 for p in found.points)


def test_given_starts_float32_and_the_same_again():
    starts = np.array([[0.9], [-0.9], [0.8]])
    found = fixed_points(one_unit(), starts=starts)
    assert found.hits.sum() == found.starts == 3
    assert len(found.points) == 2
    single = tt.Network("tanh", 1, 1, bias=False, dtype="float32", batch_first=True)
    single.parameters["weight_hh_l0"][...] = 2.0
    assert fixed_points(single, starts=16).points.dtype == np.float64
    a, b = fixed_points(strong("gru"), seed=4, starts=32), fixed_points(strong("gru"), seed=4, starts=32)
    np.testing.assert_array_equal(a.points, b.points)


def test_starts_in_pieces_change_nothing(monkeypatch):
    whole = fixed_points(strong("lstm"), starts=40)
    monkeypatch.setattr("throughtime.analysis.landscape.autonomous_map.CHUNK_BYTES", 8 * 12**2 * 7)
    pieces = fixed_points(strong("lstm"), starts=40)
    np.testing.assert_allclose(pieces.points, whole.points, atol=1e-12)
    np.testing.assert_array_equal(pieces.hits, whole.hits)


def test_runaways_are_counted_as_lost():
    net = tt.Network("linear", 1, 1, bias=False)
    net.parameters["weight_hh_l0"][...] = 1.0
    net.parameters["weight_ih_l0"][...] = 1.0
    found = fixed_points(net, [1.0], starts=10)  # h + 1 = h has no solution: q is flat
    assert len(found.points) == 0
    assert "0 fixed points" in repr(found)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"x": np.zeros((3, 1))}, ValueError, "constant input"),
        ({"x": [np.nan]}, ValueError, "NaN"),
        ({"period": 0}, ValueError, "period"),
        ({"period": 1.5}, TypeError, "period"),
        ({"starts": 0}, ValueError, "starts"),
        ({"starts": np.zeros((3, 2))}, ValueError, "starts"),
        ({"starts": np.array([[np.inf]])}, ValueError, "starts"),
        ({"starts": np.zeros((0, 1))}, ValueError, "starts"),
        ({"tolerance": -1.0}, ValueError, "tolerance"),
        ({"bound": -1.0}, ValueError, "bound"),
    ],
)
def test_refuses_wrong_arguments(options, error, words):
    with pytest.raises(error, match=words):
        fixed_points(one_unit(), **options)


def test_refuses_networks_that_are_no_map():
    with pytest.raises(ValueError, match="bidirectional"):
        fixed_points(tt.Network("tanh", 1, 2, bidirectional=True))
    net = one_unit()
    net.parameters["weight_hh_l0"][...] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fixed_points(net)


def test_results_print_plot_and_convert():
    found = fixed_points(one_unit(), [0.54], starts=32)
    assert "1 fixed points (1 stable), 1 slow points" in repr(found)
    assert found.arrays()["orbits"].shape == (1, 1, 1)
    many = fixed_points(strong("lstm"), starts=64, period=2)
    assert "cycles of period 2" in repr(many)
    for result in (found, many, fixed_points(strong("tanh"), starts=64)):
        figure, ax = pyplot.subplots()
        assert result.plot(ax=ax)
        assert result.plot(ax=ax, kind="eigenvalues")
        figure.canvas.draw()
        pyplot.close(figure)
    with pytest.raises(ValueError, match="kind"):
        found.plot(kind="pie")
