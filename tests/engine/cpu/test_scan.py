"""The scan over pieces of time against the loop over its steps: the same numbers to rounding, in all that is asked.

Tolerances are c·eps·scale: a scan rounds each number of a sequence as often as the loop does, in another order, and in
sums over T steps; c = 100 where T is some thousand and factors stay below 1.
"""

from __future__ import annotations

from typing import NamedTuple

import networks
import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import CELLS, spec
from throughtime.cells.linear import is_linear
from throughtime.scalar import sigmoid, tanh, tanh_slope

LINEAR = ("min_gru", "min_lstm", "lru")


@tt.cell(gates=2, states=3, sends={}, parameters=("rate",))
class Chain(NamedTuple):
    """Three stages of a filter, one into the next, one mixed by what comes in; it shows tanh of the last, weighted."""

    weight: float = 0.7

    def forward(cell, x, r, s, p):
        keep = sigmoid(x[1])
        first = keep * s[0] + p[0] * x[0] - 0.1 * s[2]
        return (first, 0.5 * s[0] + 0.4 * s[1], 0.3 * s[1] + keep * 0.5 * s[2]), (x[0], x[1])

    def backward(cell, ds, s, s_next, saved, p):
        keep = sigmoid(saved[1])
        dkeep = (ds[0] * s[0] + 0.5 * ds[2] * s[2]) * keep * sigmoid(-saved[1])
        by_s = keep * ds[0] + 0.5 * ds[1], 0.4 * ds[1] + 0.3 * ds[2], 0.5 * keep * ds[2] - 0.1 * ds[0]
        return (p[0] * ds[0], dkeep), (), by_s, (ds[0] * saved[0],)

    def emit(cell, s):
        return cell.weight * tanh(s[2]) + s[0]

    def emit_slope(cell, s):
        return (1.0, 0.0, cell.weight * tanh_slope(s[2]))


@tt.cell(sends={})
class Growing(NamedTuple):
    """s' = 2 s + x: in float32 two to the power of a section is no number any more."""

    def forward(cell, x, r, s):
        return (2.0 * s[0] + x[0],), ()

    def backward(cell, ds, s, s_next, saved):
        return ds, (), (2.0 * ds[0],)


def made(name):
    return {"chain": Chain, "growing": Growing}[name]() if name in ("chain", "growing") else CELLS[name]()


CASES = {  # T, B, I, N, options
    "one step": (1, 1, 1, 1, {}),
    "few steps": (7, 2, 3, 5, {}),
    "one piece each": (31, 1, 2, 1, {}),
    "a section and a bit": (2100, 1, 2, 1, {}),
    "several sections": (5000, 3, 2, 3, {}),
    "wide": (300, 2, 3, 33, {}),
    "layers": (700, 2, 3, 5, {"num_layers": 2}),
    "both ways": (700, 2, 3, 2, {"bidirectional": True}),
    "both ways, ends": (1500, 3, 2, 2, {"bidirectional": True, "num_layers": 2, "lengths": (1500, 640, 0)}),
    "ends": (2500, 4, 2, 3, {"lengths": (1, 2500, 0, 1300)}),
    "no bias": (400, 1, 2, 4, {"bias": False}),
    "nothing": (0, 2, 2, 3, {}),
}


def runs(name, case, dtype, seed=0):
    """The same network over the same input by loop and by scan, and a loss on all that comes out."""
    T, B, I, N, options = CASES[case]
    options = dict(options)
    lengths = options.pop("lengths", None)
    net = tt.Network(made(name), I, N, dtype=dtype, seed=0, **options)
    rng = np.random.default_rng(seed)
    x, state = rng.standard_normal((T, B, I)).astype(dtype), rng.standard_normal((B, net.state_size)).astype(dtype)
    if net.bidirectional:
        state = None
    found = [net.unroll(x, state, lengths, method=method) for method in ("loop", "scan")]
    ends = found[0].final_state
    final = [rng.standard_normal(part.shape).astype(dtype) for part in (ends if isinstance(ends, tuple) else (ends,))]
    final = tuple(final) if len(final) > 1 else final[0]
    return net, found, rng.standard_normal(found[0].output.shape).astype(dtype), final


def alike(a, b, dtype, c=100):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    assert np.abs(a - b).max(initial=0) <= c * np.finfo(dtype).eps * np.abs(a).max(initial=0)


def parts_of(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", [*LINEAR, "chain"])
def test_scan_is_loop(name, case, dtype):
    _, (loop, scan), grad, final = runs(name, case, dtype)
    alike(loop.output, scan.output, dtype)
    alike(loop.states, scan.states, dtype)
    there, here = loop.backprop(grad, final), scan.backprop(grad, final)
    for key, value in there.parameters.items():
        # sums over T·B rows, and of factors of which each carries some eps
        alike(value, here.parameters[key], dtype, 400)
    alike(there.input, here.input, dtype)
    alike(there.states, here.states, dtype)
    for a, b in zip(parts_of(there.initial_state), parts_of(here.initial_state), strict=True):
        alike(a, b, dtype)


@pytest.mark.parametrize("case", ["several sections", "both ways, ends"])
@pytest.mark.parametrize("name", [*LINEAR, "chain"])
def test_the_number_of_threads_changes_no_bit(name, case):
    found = []
    before = tt.get_num_threads()
    try:
        for threads in (1, 2, 3, 4):
            tt.set_num_threads(threads)
            _, (_, scan), grad, final = runs(name, case, "float32")
            grads = scan.backprop(grad, final)
            parts = dict(enumerate(parts_of(grads.initial_state)))
            numbers = {"output": scan.output, "states": scan.states, "input": grads.input, "of states": grads.states}
            found.append(numbers | dict(grads.parameters) | {f"state {k}": part for k, part in parts.items()})
    finally:
        tt.set_num_threads(before)
    for other in found[1:]:
        networks.same_bits(found[0], other)


@pytest.mark.parametrize("name", [*LINEAR, "chain"])
def test_what_a_scan_does_not_do_itself_is_that_of_the_loop(name):
    """Jacobians, perturbations, windows, gradients of each sequence, from what it made again."""
    net, (loop, scan), grad, final = runs(name, "ends", "float64")
    rng = np.random.default_rng(1)
    v = rng.standard_normal((4, net.state_size, 2))
    alike(loop.jacobians(100, 130), scan.jacobians(100, 130), "float64")
    for start, stop in ((0, 2500), (600, 1400)):
        alike(loop.jvp(v, start, stop), scan.jvp(v, start, stop), "float64")
        alike(loop.vjp(v, start, stop), scan.vjp(v, start, stop), "float64")
        alike(loop.vjp(v[:, :, 0], start, stop), scan.vjp(v[:, :, 0], start, stop), "float64")
    for options in ({"window": 3}, {"clip_state": 1.0}, {"per_sequence": True}, {"parameters": ["weight_ih_l0"]}):
        there, here = (run.backprop(grad, final, **options) for run in (loop, scan))
        assert there.parameters.keys() == here.parameters.keys()
        for key, value in there.parameters.items():
            alike(value, here.parameters[key], "float64", 400)
    only = scan.backprop(grad, input=False, states=False, parameters=[])
    assert (only.input, only.states, only.parameters) == (None, None, {})


def test_fields_with_a_value_for_each_unit():
    net = tt.Network(Chain(weight=np.linspace(0.1, 0.9, 5)), 2, 5, seed=0)
    x = np.random.default_rng(0).standard_normal((600, 2, 2))
    loop, scan = (net.unroll(x, method=method) for method in ("loop", "scan"))
    alike(loop.output, scan.output, "float64")
    there, here = (run.backprop(np.ones_like(x[:, :, :1]) * np.ones(5)) for run in (loop, scan))
    for key, value in there.parameters.items():
        alike(value, here.parameters[key], "float64", 400)


def test_nan_stays_in_its_sequence_and_after_its_time():
    net = tt.Network("min_gru", 2, 3, seed=0)
    x = np.random.default_rng(0).standard_normal((3000, 2, 2))
    x[1700, 1, 0] = np.nan
    run = net.unroll(x, method="scan")
    assert np.isfinite(run.states[:, 0]).all()
    assert np.isfinite(run.states[:1701, 1]).all()
    assert np.isnan(run.states[1701:, 1]).all()
    grads = run.backprop(np.ones_like(run.output))
    assert np.isfinite(grads.input[:, 0]).all()
    assert np.isnan(grads.input[1700, 1]).any()


def test_a_state_of_zero_stays_zero_where_everything_grows():
    net = tt.Network(Growing(), 1, 1, dtype="float32", bias=False)
    run = net.unroll(np.zeros((5000, 1, 1), np.float32), method="scan")
    assert not run.states.any()
    x = np.zeros((5000, 1, 1), np.float32)
    x[-3] = 1.0
    w = net.parameters["weight_ih_l0"].item()
    np.testing.assert_allclose(net.unroll(x, method="scan").output[-4:, 0, 0], [0.0, w, 2 * w, 4 * w], rtol=1e-6)


@pytest.mark.parametrize(
    ("steps", "units", "scans"), [(255, 1, False), (256, 1, True), (1000, 5, True), (1000, 16, False)]
)
def test_the_size_chooses(steps, units, scans):
    net, x = tt.Network("min_gru", 2, units, dtype="float32"), np.zeros((steps, 1, 2), np.float32)
    chosen, loop, scan = (net.unroll(x + 1, method=method) for method in (None, "loop", "scan"))
    networks.same_bits({"states": chosen.states}, {"states": (scan if scans else loop).states})
    assert (chosen._stack.layers[0][0].kept is None) == scans
    assert tt.Network("ind_rnn", 2, 1).unroll(np.zeros((1000, 2)))._stack.layers[0][0].kept is not None


# ---- which cells are linear
@pytest.mark.parametrize("name", CELLS)
def test_which_cells_of_the_library_are_linear(name):
    cls = CELLS[name]
    assert (spec(cls).parts == 0 and is_linear(cls)) == (name in LINEAR)


def test_what_the_code_does_not_show_is_not_linear():
    @tt.cell(sends={})
    class Branches(NamedTuple):
        def forward(cell, x, r, s):
            return (0.5 * s[0] + x[0] if s[0] > 0.0 else 0.2 * s[0] + x[0],), ()

        def backward(cell, ds, s, s_next, saved):
            slope = 0.5 if s[0] > 0.0 else 0.2
            return ds, (), (slope * ds[0],)

    @tt.cell(sends={})
    class Clips(NamedTuple):  # linear until it is not: one point would not show it
        def forward(cell, x, r, s):
            u = 0.5 * s[0] + x[0]
            return (min(u, 100.0),), (u,)

        def backward(cell, ds, s, s_next, saved):
            du = ds[0] if saved[0] < 100.0 else 0.0
            return (du,), (), (0.5 * du,)

    @tt.cell(sends={})
    class Wrong(NamedTuple):  # `backward` is not that of `forward`
        def forward(cell, x, r, s):
            return (0.5 * s[0] + x[0],), ()

        def backward(cell, ds, s, s_next, saved):
            return ds, (), (0.4 * ds[0],)

    @tt.cell(sends={})
    class Fields(NamedTuple):  # a branch on a field alone is none on the state
        a: float = 0.5

        def forward(cell, x, r, s):
            return (cell.a * s[0] + x[0],), ()

        def backward(cell, ds, s, s_next, saved):
            if cell.a > 0.0:
                return ds, (), (cell.a * ds[0],)
            d = cell.a * ds[0]
            return ds, (), (d,)

    assert [is_linear(cls) for cls in (Branches, Clips, Wrong, Fields, Chain)] == [False, False, False, True, True]
    with pytest.raises(ValueError, match=r"that of Clips is not, as far as its code shows"):
        tt.Network(Clips(), 1, 1).unroll(np.zeros((5, 1)), method="scan")


def test_a_scan_that_cannot_be_is_refused_in_words():
    with pytest.raises(ValueError, match=r"the units of GRU hear each other through W_hh"):
        tt.Network("gru", 1, 2).unroll(np.zeros((5, 1)), method="scan")
    with pytest.raises(ValueError, match=r'There is no method "pieces"'):
        tt.Network("gru", 1, 2).unroll(np.zeros((5, 1)), method="pieces")
    with pytest.raises(TypeError, match=r"The method is"):
        tt.Network("gru", 1, 2).unroll(np.zeros((5, 1)), method=1)
    with pytest.raises(ValueError, match=r"the units of Tanh hear each other"):  # in any of the layers
        tt.Network(["min_gru", "tanh"], 1, 2).unroll(np.zeros((5, 1)), method="scan")
