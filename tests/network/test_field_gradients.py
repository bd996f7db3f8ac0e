"""Gradients by the fields of cells, against differences of fourth order of the loss in the field.

h = 2.5e-4: what the differences leave out is h⁴/30 = 1e-16 times fifth derivatives, which are some 10^6 times the loss
where units are driven hard; what they round is 1e-16/h of the loss. Both stay below 1e-8 of it, which is asked for.
"""

from __future__ import annotations

import math
import pickle
from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope

H = 2.5e-4


@tt.cell(gates=2, states=2)
class Sender(NamedTuple):
    """Two states, and fields in the step, in what is sent, and in both."""

    rate: float = 0.3
    gain: float = 1.4
    both: float = 0.7

    def forward(cell, x, r, s):
        gate, pull = x[0] + r[0], x[1] + cell.both * r[1]
        z = sigmoid(gate)
        return (s[0] + cell.rate * (z * tanh(pull) - s[0]), s[1] + 0.5 * cell.rate * (s[0] - s[1])), (gate, pull)

    def backward(cell, ds, s, s_next, saved):
        gate, pull = saved
        d = cell.rate * ds[0]
        dx = d * tanh(pull) * sigmoid_slope(gate), d * sigmoid(gate) * tanh_slope(pull)
        ds0 = ds[0] - d + 0.5 * cell.rate * ds[1]
        return dx, (dx[0], cell.both * dx[1]), (ds0, ds[1] - 0.5 * cell.rate * ds[1])

    def emit(cell, s):
        return tanh(cell.gain * s[0]) + cell.both * s[1] * s[0]

    def emit_slope(cell, s):
        return cell.gain * tanh_slope(cell.gain * s[0]) + cell.both * s[1], cell.both * s[0]


@tt.cell()
class Branching(NamedTuple):
    """It takes a branch, four times differentiable where the two sides meet, and calls what is for numbers only."""

    slope: float = 0.05
    gain: float = 0.8

    def forward(cell, x, r, s):
        u = x[0] + r[0] - 0.1
        return ((u - cell.slope * u**5 * math.exp(-u) if u > 0.0 else u) + 0.3 * s[0],), (u,)

    def backward(cell, ds, s, s_next, saved):
        u = saved[0]
        d = (ds[0] * (1.0 - cell.slope * u**4 * (5.0 - u) * math.exp(-u)) if u > 0.0 else ds[0],)
        return d, d, (0.3 * ds[0],)

    def emit(cell, s):
        return math.sin(cell.gain * s[0])

    def emit_slope(cell, s):
        return (cell.gain * math.cos(cell.gain * s[0]),)


CELL = pytest.mark.parametrize(
    "cell", [tt.LeakyTanh(0.3), tt.Rate(0.3), Sender(), Branching()], ids=lambda cell: type(cell).__name__
)


class Problem:
    """A network with weights from U(-1, 1), its input and the gradients of its output and final state."""

    def __init__(self, cell, T=6, B=3, N=5, lengths=None, batch_first=False, dtype="float64", seed=0, **options):
        rng = np.random.default_rng(seed)

        def init(network, _):
            return {name: rng.uniform(-1, 1, shape) / np.sqrt(N) * 1.5 for name, shape in network.shapes.items()}

        self.net = tt.Network(cell, 2, N, init=init, batch_first=batch_first, dtype=dtype, **options)
        self.options = options | {"batch_first": batch_first, "dtype": dtype}
        self.x = rng.standard_normal((T, B, 2)).swapaxes(0, 1) if batch_first else rng.standard_normal((T, B, 2))
        self.lengths = lengths
        self.state = rng.standard_normal((B, self.net.state_size)) if not self.net.bidirectional else None
        run = self.run()
        self.g = rng.standard_normal(run.output.shape)
        parts = run.final_state if isinstance(run.final_state, tuple) else (run.final_state,)
        parts = tuple(rng.standard_normal(part.shape) for part in parts)
        self.at_end = parts if isinstance(run.final_state, tuple) else parts[0]

    def run(self, cell=None):
        cell = self.net.cell if cell is None else cell
        made = tt.Network(cell, 2, self.net.hidden_size, init=lambda *_: self.net.parameters, **self.options)
        return made.unroll(self.x, state=self.state, lengths=self.lengths)

    def loss(self, cell):
        """By the fields of every layer and direction at once."""
        run = self.run(cell)
        ours = run.final_state if isinstance(run.final_state, tuple) else (run.final_state,)
        theirs = self.at_end if isinstance(self.at_end, tuple) else (self.at_end,)
        return float((run.output * self.g).sum() + sum((a * b).sum() for a, b in zip(ours, theirs, strict=True)))


def slope(function, cell, field):
    """The derivative of function(cell) by a field."""
    value = getattr(cell, field)
    at = {k: np.asarray(function(cell._replace(**{field: value + k * H}))) for k in (-2, -1, 1, 2)}
    return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * H)


def close(ours, theirs, scale=1.0):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8 * max(np.abs(theirs).max(), scale))


LENGTHS = pytest.mark.parametrize("lengths", [None, [4, 0, 6]], ids=["whole", "padded"])


@LENGTHS
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@CELL
def test_against_differences_of_the_loss(cell, layers, bidirectional, lengths):
    p = Problem(cell, num_layers=layers, bidirectional=bidirectional, lengths=lengths)
    found = p.run().backprop(p.g, p.at_end).cells
    assert len(found) == layers * (1 + bidirectional)
    for field in cell._fields:
        expected = slope(p.loss, cell, field)
        assert all(getattr(own, field) != 0.0 for own in found)
        close(sum(getattr(own, field) for own in found), expected, abs(p.loss(cell)))


@LENGTHS
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", [name for name, cls in tt.CELLS.items() if cls._fields])
def test_every_field_of_every_cell_of_the_library(name, layers, lengths):
    """A field that only says how parameters start has the gradient 0."""
    inside = {"lru": {"r_min": 0.2, "r_max": 0.9}}  # where there is room on both sides
    cell = tt.CELLS[name](**inside.get(name, {}))
    p = Problem(cell, num_layers=layers, lengths=lengths)
    found = p.run().backprop(p.g, p.at_end).cells
    for field in cell._fields:
        close(sum(getattr(own, field) for own in found), slope(p.loss, cell, field), abs(p.loss(cell)))


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 4, 3), (7, 1, 17), (3, 2, 33)], ids=str)
def test_at_the_least_sizes_and_odd_ones(size):
    T, B, N = size
    p = Problem(Sender(), T=T, B=B, N=N, num_layers=2)
    found = p.run().backprop(p.g, p.at_end).cells
    for field in Sender._fields:
        close(sum(getattr(own, field) for own in found), slope(p.loss, p.net.cell, field), abs(p.loss(p.net.cell)))


@pytest.mark.parametrize("layers", [1, 2])
@CELL
def test_of_each_layer_by_itself(cell, layers):
    """The loss of the upper layer's cell is that of a network of one layer, which hears what the lower one sends."""
    p = Problem(cell, num_layers=layers)
    run = p.run()
    found = run.backprop(p.g).cells
    top = {
        name.replace(f"_l{layers - 1}", "_l0"): w for name, w in p.net.parameters.items() if f"_l{layers - 1}" in name
    }
    x = p.x if layers == 1 else run.sent(layers - 2)[1:]
    state = p.state[:, run.columns(layers - 1)]

    def loss(cell):
        net = tt.Network(cell, x.shape[2], p.net.hidden_size, init=lambda *_: top)
        return float((net.unroll(x, state=state).output * p.g).sum())

    for field in cell._fields:
        close(getattr(found[-1], field), slope(loss, cell, field), abs(loss(cell)))


def restarted(p, window, cell):
    """Σ_t of the loss at time t, begun `window` steps before from the states that the run had there."""
    whole = p.run()
    ends = np.full(p.x.shape[1], whole.steps) if p.lengths is None else np.asarray(p.lengths)
    total = 0.0
    for t in range(whole.steps):
        start = max(0, t + 1 - window)
        net = tt.Network(cell, 2, p.net.hidden_size, init=lambda *_: p.net.parameters, **p.options)
        lengths = np.clip(ends - start, 0, t + 1 - start)
        run = net.unroll(p.x[start : t + 1], state=whole.states[start], lengths=lengths)
        total += (run.output[-1] * p.g[t]).sum()
        parts = run.final_state if isinstance(run.final_state, tuple) else (run.final_state,)
        at_end = p.at_end if isinstance(p.at_end, tuple) else (p.at_end,)
        for part, g in zip(parts, at_end, strict=True):
            total += (part * g)[:, ends == t + 1].sum()
    return total


@LENGTHS
@pytest.mark.parametrize("window", [1, 2, 5, 9])
@pytest.mark.parametrize("layers", [1, 2])
@CELL
def test_of_a_window_each_loss_is_begun_anew(cell, layers, window, lengths):
    p = Problem(cell, num_layers=layers, lengths=lengths)
    found = p.run().backprop(p.g, p.at_end, window=window).cells
    for field in cell._fields:
        expected = slope(lambda cell: restarted(p, window, cell), cell, field)
        close(sum(getattr(own, field) for own in found), expected, abs(p.loss(cell)))


@LENGTHS
@pytest.mark.parametrize("layers", [1, 2])
@CELL
def test_clipped_on_the_way_they_come_from_the_clipped_gradients(cell, layers, lengths):
    """Σ_t u_{t+1} · ∂(one step of all layers)/∂f, and what the output brings in by itself."""
    p = Problem(cell, num_layers=layers, lengths=lengths)
    whole = p.run()
    grads = whole.backprop(p.g, p.at_end, clip_state=0.5)
    free = whole.backprop(p.g, p.at_end)
    assert abs(grads.states - free.states).max() > 0.1
    ends = np.full(3, whole.steps) if lengths is None else np.asarray(lengths)

    def steps(cell):
        net, total = tt.Network(cell, 2, 5, init=lambda *_: p.net.parameters, **p.options), 0.0
        for t in range(whole.steps):
            run = net.unroll(p.x[t : t + 1], state=whole.states[t], lengths=(ends > t).astype(int))
            total += (run.states[1] * grads.states[t + 1]).sum()
            # of the output what the state itself brings in is there already
            held = tt.Network(p.net.cell, 2, 5, init=lambda *_: p.net.parameters, **p.options)
            state = held.unroll(p.x[t : t + 1], state=whole.states[t], lengths=(ends > t).astype(int)).states[1]
            sent = net.unroll(p.x[:1], state=state).sent(layers - 1)[0]
            total += (sent * p.g[t])[ends > t].sum()
        return total

    for field in cell._fields:
        close(sum(getattr(own, field) for own in grads.cells), slope(steps, cell, field), abs(p.loss(cell)))


@pytest.mark.parametrize("how", [{}, {"window": 2}], ids=["whole", "window"])
@pytest.mark.parametrize("cell", [tt.Rate(0.3), Sender()], ids=["Rate", "Sender"])
def test_of_each_sequence_their_sum_is_the_usual_one(cell, how):
    p = Problem(cell, num_layers=2, lengths=[4, 0, 6])
    run = p.run()
    (_, whole), (_, each) = (run.backprop(p.g, p.at_end, per_sequence=own, **how).cells for own in (False, True))
    for field in cell._fields:
        assert getattr(each, field).shape == (3,)
        close(getattr(each, field).sum(), getattr(whole, field))
        assert getattr(each, field)[1] == 0.0


def test_what_the_layout_of_the_input_is_does_not_matter():
    p, turned = Problem(Sender()), Problem(Sender(), batch_first=True)
    turned.x, turned.g = p.x.swapaxes(0, 1), p.g.swapaxes(0, 1)
    for own in ("at_end", "state"):
        setattr(turned, own, getattr(p, own))
    turned.net.load_state_dict(p.net.state_dict())
    ours, theirs = (q.run().backprop(q.g, q.at_end).cells[0] for q in (p, turned))
    assert vars(ours) == vars(theirs)
    one = p.net.unroll(p.x[:, 0], state=p.state[0]).backprop(p.g[:, 0]).cells[0]
    close(one.gain, p.run().backprop(p.g, per_sequence=True).cells[0].gain[0])


@pytest.mark.parametrize("cell", [tt.LeakyTanh(0.3), Sender()], ids=["LeakyTanh", "Sender"])
def test_float32_is_that_of_float64_to_rounding(cell):
    double, single = (Problem(cell, num_layers=2, dtype=dtype) for dtype in ("float64", "float32"))
    ours = single.run().backprop(single.g.astype(np.float32))
    theirs = double.run().backprop(double.g)
    for one, other in zip(ours.cells, theirs.cells, strict=True):
        for field in cell._fields:
            # some thousand roundings of 6e-8, each of a term of the size of the sum
            assert abs(getattr(one, field) - getattr(other, field)) < 2e-4 * max(1.0, abs(getattr(other, field)))


def test_long_runs_go_piece_by_piece(monkeypatch):
    from throughtime.network import fields_back

    p = Problem(Sender(), T=23, num_layers=2, bidirectional=True, lengths=[20, 0, 23])
    at_once = p.run().backprop(p.g, p.at_end).cells
    monkeypatch.setattr(fields_back, "PIECE", 4 * 3 * 5)
    for one, other in zip(at_once, p.run().backprop(p.g, p.at_end).cells, strict=True):
        for field in Sender._fields:
            np.testing.assert_allclose(getattr(one, field), getattr(other, field), rtol=1e-12)


def test_they_are_of_what_was_handed_in_and_of_the_run_s_own_parameters():
    p = Problem(Sender(), num_layers=2)
    run = p.run()
    expected = [vars(own) for own in run.backprop(p.g, p.at_end).cells]
    at_end = tuple(part.copy() for part in p.at_end)
    grads = run.backprop(p.g, at_end)
    at_end[0][...], grads.states[...] = 0.0, 0.0
    run.network.parameters["weight_hh_l0"][...] = 0.0
    assert [vars(own) for own in grads.cells] == expected


@pytest.mark.parametrize(
    "change", [np.negative, lambda g: g[::-1].copy(), lambda g: g[..., ::-1].copy(), np.zeros_like]
)
def test_a_gradient_that_was_written_over_is_told(change):
    p = Problem(Sender(), num_layers=2, dtype="float32")
    g = p.g.astype("float32")
    run = p.run()
    seen, grads = run.backprop(g), run.backprop(g)
    expected = vars(seen.cells[0])
    g[...] = change(g)
    assert vars(seen.cells[0]) == expected
    with pytest.raises(ValueError, match=r"`grad_output` has other numbers now.*look at `.cells` before"):
        _ = grads.cells
    g[...] = p.g
    assert vars(grads.cells[0]) == expected
    p.g[2, 1] = np.nan
    assert np.isnan(run.backprop(p.g).cells[0].gain)


def test_the_run_is_let_go_of_once_they_are_known():
    import gc
    import weakref

    p = Problem(tt.Rate(0.3))
    run = p.run()
    grads, seen = run.backprop(p.g), weakref.ref(run)
    del run
    gc.collect()
    assert seen() is not None
    assert grads.cells is grads.cells
    gc.collect()
    assert seen() is None


def test_they_are_pickled_and_not_asked_for():
    p = Problem(tt.Rate(0.3))
    grads = p.run().backprop(p.g)
    again = pickle.loads(pickle.dumps(grads))
    assert vars(again.cells[0]) == vars(grads.cells[0])
    assert p.run().backprop(p.g, cells=False).cells is None
    assert tt.Network("gru", 2, 3).unroll(np.ones((4, 2))).backprop(np.ones((4, 3))).cells == ()
    with pytest.raises(TypeError, match=r"`cells` is .*; expected True or False"):
        p.run().backprop(p.g, cells=1)
    with pytest.raises(AttributeError, match="has no attribute `leek`; its fields: leak"):
        _ = grads.cells[0].leek


def test_nan_comes_out_as_nan_of_its_own_sequence():
    p = Problem(Sender(), num_layers=2)
    p.x[2, 1] = np.nan
    each = p.run().backprop(p.g, per_sequence=True).cells
    for own in each:
        for field in Sender._fields:
            assert np.isnan(getattr(own, field)).tolist() == [False, True, False]


def test_the_same_bits_for_any_number_of_threads(threads):
    found = []
    for count in (1, 2):
        threads(count)
        p = Problem(Sender(), T=40, B=8, N=33, num_layers=2)
        found.append([vars(own) for own in p.run().backprop(p.g, p.at_end).cells])
    assert found[0] == found[1]
