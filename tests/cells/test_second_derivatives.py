"""Second derivatives of cells: dual numbers beside differences of the first ones, corners, and what falls back."""

from __future__ import annotations

import math
from typing import NamedTuple

import networks
import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import CELLS
from throughtime.cells.base import spec
from throughtime.cells.dual_numbers import dual
from throughtime.cells.on_arrays import on_arrays, signal_slopes
from throughtime.cells.second_derivatives import change_of_cotangents, change_of_slopes, change_of_stage_cotangents

STEP = 1e-3


def a_cell(name):
    found = networks.library_cell(name)
    return CELLS[name]() if isinstance(found, str) else found


def drawn(cell, seed=0):
    """A point, a direction, both (x, r, s), and cotangents, of 3 x 4 units."""
    record, rng = spec(cell), np.random.default_rng(seed)

    def three():
        return tuple(
            tuple(rng.standard_normal((3, 4)) for _ in range(count))
            for count in (record.gates, record.parts, record.states)
        )

    return three(), three(), tuple(rng.standard_normal((3, 4)) for _ in range(record.states))


def units_own(cell, seed=2):
    """Parameters of the units, as a tuple of none or one tuple."""
    rng = np.random.default_rng(seed)
    names = spec(cell).parameters
    return (tuple(rng.standard_normal((3, 4)) for _ in names),) if names else ()


def along(cell, point, direction, cotangent, stage=False):
    """The change of the cotangents by differences of fourth order, h⁴ beside fifth derivatives of some 10: 1e-11."""
    own = units_own(cell)

    def at(e):
        x, r, s = (
            tuple(a + e * v for a, v in zip(own, way, strict=True)) for own, way in zip(point, direction, strict=True)
        )
        s_next, saved = on_arrays(cell.forward, (x, r, s, *own))
        if stage:
            return flat(on_arrays(cell.stage_backward, (cotangent, s, saved, *own)))
        return flat(on_arrays(cell.backward, (cotangent, s, s_next, saved, *own)))

    h = STEP
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def flat(found):
    return np.array([np.broadcast_to(value, (3, 4)) for part in found for value in part])


@pytest.mark.parametrize("name", networks.CELLS)
def test_of_every_cell(name):
    cell = a_cell(name)
    point, direction, cotangent = drawn(cell)
    if name == "relu":  # away from its corner
        point = ((np.sign(point[0][0]) * (1 + np.abs(point[0][0])),), (0.1 * point[1][0],), point[2])
    if name == "ind_rnn":
        point = ((np.sign(point[0][0]) * (9 + np.abs(point[0][0])),), (), point[2])
    for k in networks.POSITIVE.get(name, ()):  # away from its pole
        point[2][k][...] = 0.2 + np.abs(point[2][k])
    found = flat(change_of_cotangents(cell, cotangent, *point, direction, *units_own(cell)))
    expected = along(cell, point, direction, cotangent)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", [name for name in networks.CELLS if spec(a_cell(name)).stage])
def test_of_every_stage(name):
    cell = a_cell(name)
    point, direction, _ = drawn(cell)
    cotangent = tuple(np.random.default_rng(3).standard_normal((3, 4)) for _ in spec(cell).stage)
    found = flat(change_of_stage_cotangents(cell, cotangent, *point, direction, *units_own(cell)))
    expected = along(cell, point, direction, cotangent, stage=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", networks.CELLS)
def test_of_what_units_send(name):
    cell = a_cell(name)
    (_, _, s), (_, _, v), _ = drawn(cell, 1)
    for signal in range(spec(cell).signals):
        found = change_of_slopes(cell, s, v, signal)
        if not spec(cell).emits:
            assert not np.any(found)
            continue

        def at(e, signal=signal):
            moved = tuple(a + e * w for a, w in zip(s, v, strict=True))
            return np.array([np.broadcast_to(value, (3, 4)) for value in signal_slopes(cell, moved)[signal]])

        h = STEP
        expected = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
        np.testing.assert_allclose(np.array(found), expected, rtol=0, atol=1e-9)


@tt.cell()
class Branching(NamedTuple):
    """tanh above -1, a line of the same slope below: code that arrays cannot run, with a corner of its slope at -1."""

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        if u > -1.0:
            return (math.tanh(u),), (u,)
        return (math.tanh(-1.0) + 0.5 * (u + 1.0),), (u,)

    def backward(cell, ds, s, s_next, saved):
        d = ds[0] * (1.0 - s_next[0] * s_next[0]) if saved[0] > -1.0 else ds[0] * 0.5
        return (d,), (d,), (0.0,)


def test_a_cell_that_branches_falls_back_on_differences():
    """d²tanh/du² = −2 tanh sech² to 1e-9; 0 below the corner, and beside it one of the two sides and no spike."""
    u = np.array([-5.0, -1.5, -1.0 - 1e-6, -1.0 + 1e-6, -0.5, 0.0, 0.3, 2.0])
    one, zero = np.ones_like(u), np.zeros_like(u)
    found = change_of_cotangents(Branching(), (one,), (u,), (zero,), (zero,), ((one,), (zero,), (zero,)))[0][0]
    smooth = -2 * np.tanh(u) / np.cosh(u) ** 2
    expected = np.where(u > -1.0, smooth, 0.0)
    far = np.abs(u + 1) > 1e-3
    np.testing.assert_allclose(found[far], expected[far], rtol=0, atol=1e-9)
    assert np.abs(found[~far]).max() < 1.0


def test_a_rectifier_has_none_and_no_spike_at_its_corner():
    u = np.array([-1.0, -1e-9, 0.0, 1e-9, 1.0])
    one, zero = np.ones_like(u), np.zeros_like(u)
    found = change_of_cotangents(tt.cells.Relu(), (one,), (u,), (zero,), (zero,), ((one,), (zero,), (zero,)))
    assert not flat_of(found).any()


def flat_of(found):
    return np.array([value for part in found for value in part])


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (lambda x: x * x * x - 2.0 / x + x**3.0, lambda x: 6 * x * x + 2 / (x * x)),
        (lambda x: np.exp(-np.abs(x)) + np.sqrt(x * x), lambda x: np.sign(x) * (1 - np.exp(-np.abs(x)))),
        (lambda x: np.where(x > 0.0, np.sin(x), np.cos(x)), lambda x: np.where(x > 0, np.cos(x), -np.sin(x))),
        (lambda x: np.maximum(x, 0.5) + np.minimum(x, 0.5), lambda x: np.ones_like(x)),
        (lambda x: np.tanh(x) + np.sinh(x) + np.cosh(x), lambda x: 1 / np.cosh(x) ** 2 + np.cosh(x) + np.sinh(x)),
        (lambda x: np.expm1(x) + np.log(1.0 + x * x), lambda x: np.exp(x) + 2 * x / (1 + x * x)),
        (lambda x: np.arctan(x) - np.square(x) + np.reciprocal(x), lambda x: 1 / (1 + x * x) - 2 * x - 1 / x**2),
        (lambda x: np.log1p(np.exp(x)), lambda x: 1 / (1 + np.exp(-x))),
        (lambda x: 2.0**x, lambda x: 2.0**x * np.log(2.0)),
    ],
)
def test_the_rules_of_dual_numbers(function, derivative):
    x = np.array([-1.7, -0.3, 0.2, 0.9, 2.5])
    found = function(dual(x, 3.0))
    np.testing.assert_allclose(found.slope, 3.0 * derivative(x), rtol=1e-13)


def test_no_slope_is_lost_in_silence():
    x = dual(np.array([1.0]), 1.0)
    for lost in (math.exp, float, bool, np.cbrt, np.cumsum, lambda x: x[0], lambda x: x.astype(float), np.add.reduce):
        with pytest.raises(TypeError):
            lost(x)
    y = x
    y *= 2.0  # makes another
    assert x.slope[0] == 1.0
    assert y.slope[0] == 2.0
