"""Gradients by fields of cells with stages, several signals, none, parameters, and a value of a field for each unit.

Against differences of fourth order of the loss, as tests/network/test_field_gradients.py: 1e-8 of the loss's size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from test_field_gradients import Branching, Problem, Sender, close, restarted, slope

import throughtime as tt
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope


@tt.cell(
    gates=("g", "n"), states=2, sends={"y": ("g", "n"), "z": ("n",)}, stage={"a": ("n", "q"), "b": ("n",)},
    parameters=("tau",),
)  # fmt: skip
class Everything(NamedTuple):
    """Two signals, two of a stage, a parameter of the units, and fields in each of its functions and in all."""

    step: float = 0.6
    staged: float = 0.8
    sent: float = 1.3
    all_of_it: float = 0.7

    def emit(cell, s):
        return tanh(cell.sent * s[0]), cell.all_of_it * s[1]

    def emit_slope(cell, s):
        return (cell.sent * tanh_slope(cell.sent * s[0]), 0.0), (0.0, cell.all_of_it)

    def stage(cell, x, r, s, p):
        gate = sigmoid(x[0] + r[0])
        return cell.staged * gate * s[0], cell.all_of_it * gate * s[1] + 0.3 * p[0] * r[1]

    def stage_backward(cell, da, s, saved, p):
        gate = sigmoid(saved[0])
        d = (cell.staged * da[0] * s[0] + cell.all_of_it * da[1] * s[1]) * sigmoid_slope(saved[0])
        by_r = 0.3 * p[0] * da[1]
        return (
            (d, 0.0),
            (d, by_r),
            (cell.staged * gate * da[0], cell.all_of_it * gate * da[1]),
            (0.3 * saved[2] * da[1],),
        )

    def forward(cell, x, r, s, p):
        u = x[1] + r[1] + r[2] + cell.all_of_it * r[3]
        n = tanh(u)
        return (s[0] + cell.step * p[0] * (n - s[0]), s[1] + 0.5 * (n * sigmoid(x[0] + r[0]) - s[1])), (
            x[0] + r[0], u, r[1],
        )  # fmt: skip

    def backward(cell, ds, s, s_next, saved, p):
        n, gate = tanh(saved[1]), sigmoid(saved[0])
        du = (cell.step * p[0] * ds[0] + 0.5 * gate * ds[1]) * tanh_slope(saved[1])
        dg = 0.5 * n * ds[1] * sigmoid_slope(saved[0])
        ds_prev = ds[0] - cell.step * p[0] * ds[0], 0.5 * ds[1]
        return (dg, du), (dg, du, du, cell.all_of_it * du), ds_prev, (cell.step * (n - s[0]) * ds[0],)

    def initial(cell, units, rng):
        return (rng.uniform(0.3, 0.9, units),)


@tt.cell(gates=("z", "n"), sends={})
class Alone(NamedTuple):
    """It hears no other unit, and sends what a field says to the layer above."""

    sharp: float = 1.2
    gain: float = 0.9

    def forward(cell, x, r, s):
        z = cell.sharp * x[0]
        return (s[0] + sigmoid(z) * (x[1] - s[0]),), (x[0], x[1])

    def backward(cell, ds, s, s_next, saved):
        z = cell.sharp * saved[0]
        d = ds[0] * sigmoid(z)
        return (cell.sharp * sigmoid_slope(z) * (saved[1] - s[0]) * ds[0], d), (), (ds[0] - d,)

    def emit(cell, s):
        return tanh(cell.gain * s[0])

    def emit_slope(cell, s):
        return (cell.gain * tanh_slope(cell.gain * s[0]),)


CELL = pytest.mark.parametrize("cell", [Everything(), Alone()], ids=lambda cell: type(cell).__name__)
LENGTHS = pytest.mark.parametrize("lengths", [None, [4, 0, 6]], ids=["whole", "padded"])


@CELL
def test_the_cells_are_right(cell):
    assert "agrees" in tt.check_cell(cell)


@LENGTHS
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@CELL
def test_against_differences_of_the_loss(cell, layers, bidirectional, lengths):
    p = Problem(cell, num_layers=layers, bidirectional=bidirectional, lengths=lengths)
    found = p.run().backprop(p.g, p.at_end).cells
    for field in cell._fields:
        assert all(getattr(own, field) != 0.0 for own in found)
        close(sum(getattr(own, field) for own in found), slope(p.loss, cell, field), abs(p.loss(cell)))


@pytest.mark.parametrize("window", [1, 3])
@CELL
def test_of_a_window(cell, window):
    p = Problem(cell, num_layers=2, lengths=[4, 0, 6])
    found = p.run().backprop(p.g, p.at_end, window=window).cells
    for field in cell._fields:
        expected = slope(lambda cell: restarted(p, window, cell), cell, field)
        close(sum(getattr(own, field) for own in found), expected, abs(p.loss(cell)))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", [Everything(), Alone(), Sender(), Branching(), tt.LeakyTanh(), tt.Rate()],
                         ids=lambda cell: type(cell).__name__)  # fmt: skip
def test_of_fields_with_a_value_for_each_unit(cell, layers):
    """Unit by unit: the gradient by one value of the array, of the other units' left as they are."""
    rng = np.random.default_rng(3)
    for field in cell._fields:
        value = getattr(cell, field) * rng.uniform(0.6, 1.4, 5)
        p = Problem(cell._replace(**{field: value}), num_layers=layers, lengths=[4, 0, 6])
        found = p.run().backprop(p.g, p.at_end).cells
        assert all(getattr(own, field).shape == (5,) for own in found)
        for other in cell._fields:
            assert other == field or isinstance(getattr(found[0], other), float)
        for unit in range(5):

            def loss(one, p=p, unit=unit, field=field, value=value):
                moved = value.copy()
                moved[unit] = getattr(one, field)
                return p.loss(p.net.cell._replace(**{field: moved}))

            one = cell._replace(**{field: value[unit]})
            close(sum(getattr(own, field)[unit] for own in found), slope(loss, one, field), abs(p.loss(p.net.cell)))


def test_equal_values_sum_to_that_of_the_one_number():
    p, q = (Problem(tt.Rate(leak), num_layers=2) for leak in (0.3, np.full(5, 0.3)))
    for one, many in zip(p.run().backprop(p.g).cells, q.run().backprop(q.g).cells, strict=True):
        assert many.leak.sum() == pytest.approx(one.leak, rel=1e-12)
    each = q.run().backprop(q.g, per_sequence=True).cells[0].leak
    assert each.shape == (3, 5)
    np.testing.assert_allclose(each.sum(axis=0), q.run().backprop(q.g).cells[0].leak, rtol=1e-12)
    assert (
        Problem(tt.Rate(np.full(5, 0.3)), dtype="float32").run().backprop(p.g.astype("float32")).cells[0].leak.dtype
        == "float32"
    )


def test_of_layers_of_unlike_cells():
    rng = np.random.default_rng(0)
    cells = [tt.Rate(0.3), "gru", Everything(), tt.LeakyTanh(np.linspace(0.2, 0.5, 4))]
    net = tt.Network(cells, 2, [3, 6, 5, 4], seed=1)
    x, g = rng.standard_normal((6, 3, 2)), rng.standard_normal((6, 3, 4))
    found = net.unroll(x).backprop(g).cells
    assert [list(vars(own)) for own in found] == [["leak"], [], list(Everything._fields), ["leak"]]

    def loss(k, cell):
        own = [*net.cells[:k], cell, *net.cells[k + 1 :]]
        return (tt.Network(own, 2, [3, 6, 5, 4], init=lambda *_: net.parameters).unroll(x).output * g).sum()

    close(found[0].leak, slope(lambda cell: loss(0, cell), tt.Rate(0.3), "leak"))
    for field in Everything._fields:
        close(getattr(found[2], field), slope(lambda cell: loss(2, cell), Everything(), field))
    assert found[3].leak.shape == (4,)
