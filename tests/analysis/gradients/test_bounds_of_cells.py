"""Pascanu's bound of cells that say more than a plain one: closed forms where it covers them, and a word where not."""

from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime import analysis
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope

N = 6


@tt.cell(gates=("z", "n"), sends={})
class Alone(NamedTuple):
    """h' = (1 − σ(z)) h + σ(z) n: it hears no other unit."""

    def forward(cell, x, r, s):
        return (sigmoid(-x[0]) * s[0] + sigmoid(x[0]) * x[1],), (x[0], x[1])

    def backward(cell, ds, s, s_next, saved):
        d, slope = ds[0], sigmoid_slope(saved[0])
        return (d * slope * (saved[1] - s[0]), d * sigmoid(saved[0])), (), (d * sigmoid(-saved[0]),)

    def slope_bounds(cell, ranges, state_bound):
        x, r = ranges(state_bound)
        assert len(x) == 2
        assert r == []
        return ((),), ((sigmoid(-x[0].low),),), (1.0,)


@tt.cell(gates=("n",), parameters=("keep",))
class Keeping(NamedTuple):
    """h' = keep h + tanh(u)."""

    def forward(cell, x, r, s, p):
        u = x[0] + r[0]
        return (p[0] * s[0] + tanh(u),), (u,)

    def backward(cell, ds, s, s_next, saved, p):
        d = (tanh_slope(saved[0]) * ds[0],)
        return d, d, (p[0] * ds[0],), (s[0] * ds[0],)

    def slope_bounds(cell, ranges, state_bound, p):
        return ((1.0,),), ((abs(p[0]),),), (1.0,)


@tt.cell(gates=("g", "n"), sends={"h": ("n",)})
class OnePart(NamedTuple):
    """h' = σ(x_g) tanh(x_n + W h): one signal, which feeds one of two gates."""

    def forward(cell, x, r, s):
        u = x[1] + r[0]
        return (sigmoid(x[0]) * tanh(u),), (x[0], u)

    def backward(cell, ds, s, s_next, saved):
        d = sigmoid(saved[0]) * tanh_slope(saved[1]) * ds[0]
        return (sigmoid_slope(saved[0]) * tanh(saved[1]) * ds[0], d), (d,), (0.0,)

    def slope_bounds(cell, ranges, state_bound):
        return ((1.0,),), ((0.0,),), (1.0,)


@tt.cell(gates=("u",), states=2, sends={"a": ("u",), "b": ("u",)})
class TwoSignals(NamedTuple):
    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (u, u), ()

    def backward(cell, ds, s, s_next, saved):
        d = (ds[0] + ds[1],)
        return d, d, (0.0, 0.0)


@tt.cell(gates=("u",), sends={}, stage={"a": ("u",)})
class Staged(NamedTuple):
    def stage(cell, x, r, s):
        return (s[0],)

    def stage_backward(cell, da, s, saved):
        return (0.0,), (), da

    def forward(cell, x, r, s):
        return (x[0] + r[0],), ()

    def backward(cell, ds, s, s_next, saved):
        return ds, ds, (0.0,)


def network(cell):
    return tt.Network(cell, 2, N, seed=1)


@pytest.mark.parametrize("make", [tt.LeakyTanh, tt.Rate])
def test_fields_with_a_value_for_each_unit(make):
    """The largest leak stands before W, the slowest unit keeps most."""
    net = network(make(np.linspace(0.1, 0.6, N)))
    sigma = np.linalg.norm(net.parameters["weight_hh_l0"], 2)
    bound = analysis.pascanu_bound(net)
    assert bound.factor == pytest.approx(0.9 + 0.6 * sigma, rel=1e-14)


def test_units_that_hear_no_others():
    net = network(Alone())
    x, b = net.parameters["weight_ih_l0"][:N], net.parameters["bias_ih_l0"][:N]
    lowest = b - 0.5 * abs(x).sum(axis=1)
    bound = analysis.pascanu_bound(net, input_bound=0.5)
    assert bound.factor == pytest.approx((1 / (1 + np.exp(lowest))).max(), rel=1e-14)
    assert bound.must_vanish
    assert (bound.gamma.shape, bound.sigma.shape) == ((1, 0), (0,))
    assert "no W_hh: the units hear no others" in repr(bound)
    assert analysis.pascanu_bound(net).factor == 1.0  # without a bound on the input the gate may shut


def test_parameters_of_units_come_to_the_bounds():
    net = network(Keeping())
    net.parameters["keep_l0"][...] = np.linspace(-0.7, 0.3, N)
    sigma = np.linalg.norm(net.parameters["weight_hh_l0"], 2)
    assert analysis.pascanu_bound(net).factor == pytest.approx(0.7 + sigma, rel=1e-14)


def test_the_independently_recurrent_network_is_bounded_by_its_paper_s_own():
    """|recurrent|^lag (Li et al. 2018)."""
    net = tt.Network("ind_rnn", 2, N, seed=1)
    net.parameters["recurrent_l0"][...] = np.linspace(-0.95, 0.5, N)
    bound = analysis.pascanu_bound(net)
    np.testing.assert_allclose(bound.log_bound([0, 1, 30]), np.log(0.95) * np.array([0, 1, 30]), atol=1e-14)
    run = net.unroll(np.random.default_rng(0).standard_normal((30, 4, 2)))
    assert analysis.gradient_products(run, bound=bound).holds


def test_one_signal_for_some_of_the_gates():
    net = network(OnePart())
    sigma = np.linalg.norm(net.parameters["weight_hh_l0"], 2)
    assert net.parameters["weight_hh_l0"].shape == (N, N)
    assert analysis.pascanu_bound(net).factor == pytest.approx(sigma, rel=1e-14)
    given = analysis.SlopeBounds(gamma=[[0.5]], carried=[[0.1]], sent=[1.0])
    assert analysis.pascanu_bound(net, slopes=given).factor == pytest.approx(0.1 + 0.5 * sigma, rel=1e-14)


@pytest.mark.parametrize(("cell", "words"), [(TwoSignals(), "send 2 signals"), (Staged(), "send in a stage")])
def test_what_the_bound_is_not_about(cell, words):
    with pytest.raises(ValueError, match=rf"{words}.*gradient_products\(run\)"):
        analysis.pascanu_bound(network(cell))
