"""Products and packing on the GPU against NumPy, at sizes that fill no tile. Whole numbers make them exact."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from throughtime.engine.cuda import arrays, device, plans, projections, tiled_matmul, weight_packing
from throughtime.engine.cuda.device import to_device, to_host

DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SMALLEST = 32  # sums along a side of the smallest tile


def whole_numbers(seed, *shape, dtype):
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def by_network(array, nets):
    """(T, K*per, n) as (K, T*per, n)."""
    steps, batch, n = array.shape
    return array.reshape(steps, nets, batch // nets, n).transpose(1, 0, 2, 3).reshape(nets, -1, n)


def over_batch(rows, steps):
    """The way back."""
    nets, _, n = rows.shape
    return rows.reshape(nets, steps, -1, n).transpose(1, 0, 2, 3).reshape(steps, -1, n)


@DTYPE
@pytest.mark.parametrize(
    ("nets", "per", "steps", "gates_times_units", "inputs"),
    [(1, 3, 4, 5, 2), (1, 1, 37, 36, 17), (3, 2, 2, 8, 33)],
)
def test_input_part(dtype, nets, per, steps, gates_times_units, inputs):
    x = whole_numbers(0, steps, nets * per, inputs, dtype=dtype)
    w, b = (whole_numbers(k, nets, gates_times_units, *n, dtype=dtype) for k, n in ((1, (inputs,)), (2, ())))
    expected = over_batch(by_network(x, nets) @ w.transpose(0, 2, 1) + b[:, None], steps)
    flat = to_device(x.reshape(-1))
    out = to_host(projections.input_part(flat, inputs, to_device(w), to_device(b), steps, nets * per))
    np.testing.assert_array_equal(out, expected.reshape(-1))
    expected = over_batch(by_network(x, nets) @ w.transpose(0, 2, 1), steps)
    out = to_host(projections.input_part(flat, inputs, to_device(w), None, steps, nets * per))
    np.testing.assert_array_equal(out, expected.reshape(-1))


@DTYPE
def test_input_from_columns_of_the_states(dtype):
    steps, batch, first, inputs, size = 3, 2, 5, 6, 13
    states = whole_numbers(0, steps + 1, batch, size, dtype=dtype)
    w = whole_numbers(1, 1, 4, inputs, dtype=dtype)
    x, row = device.rows(to_device(states)[1:, :, first : first + inputs])
    assert row == size
    out = to_host(projections.input_part(x, row, to_device(w), None, steps, batch))
    np.testing.assert_array_equal(out, (states[1:, :, first : first + inputs] @ w[0].T).reshape(-1))


def a_layer(dtype, nets, per, steps, units, gates, inputs, **other):
    w_ih = whole_numbers(1, nets, gates * units, inputs, dtype=dtype)
    known = {"networks": nets, "per": per, "batch": nets * per, "units": units, "inputs": inputs, "steps": steps}
    record = SimpleNamespace(gates=gates, parts=gates, plain=True, parameters=())
    return SimpleNamespace(**known, record=record, parameters=(to_device(w_ih),), **other), w_ih


@DTYPE
@pytest.mark.parametrize(("nets", "per", "copies"), [(1, 2, 1), (1, 2, 3), (3, 1, 2)])
def test_input_gradients(dtype, nets, per, copies):
    steps, units, gates, inputs = 3, 9, 4, 5
    layer, w_ih = a_layer(dtype, nets, per, steps, units, gates, inputs)
    dx = whole_numbers(2, steps, nets * per * copies, gates * units, dtype=dtype)
    out = to_host(projections.input_gradients(layer, to_device(dx.reshape(-1)), steps, copies))
    np.testing.assert_array_equal(out, over_batch(by_network(dx, nets) @ w_ih, steps))


@DTYPE
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("emits", [False, True])
@pytest.mark.parametrize(
    ("nets", "per", "start", "stop", "shared"), [(1, 3, 0, 5, True), (3, 2, 1, 4, False), (1, 2, 2, 2, True)]
)
def test_weight_gradients(dtype, reverse, emits, nets, per, start, stop, shared):
    steps, units, gates, inputs, offset = 5, 6, 2, 3, 4
    batch, size = nets * per, offset + 2 * units + 1
    x = whole_numbers(0, steps, batch, inputs + 2, dtype=dtype)
    states = whole_numbers(1, steps + 1, batch, size, dtype=dtype)
    own = whole_numbers(2, steps + 1, batch, units, dtype=dtype)
    dx = whole_numbers(3, stop - start, batch, gates * units, dtype=dtype)
    dr = dx if shared else whole_numbers(4, *dx.shape, dtype=dtype)
    flat_x, x_row = device.rows(to_device(x)[:, :, 1 : 1 + inputs])
    sent, sends = (own, (0, units)) if emits else (states, (offset, size))
    layer, _ = a_layer(
        dtype, nets, per, steps, units, gates, inputs,
        x=flat_x, x_row=x_row, sent=to_device(sent.reshape(-1)), sends=sends, reverse=reverse,
    )  # fmt: skip
    room = np.full(gates * units * batch, 99, dtype)  # a piece of a longer array
    d = [to_device(np.concatenate([array.reshape(-1), room])) for array in (dx, dr)]
    found = projections.weight_gradients(layer, d[0], d[0] if shared else d[1], None, start, stop)
    before = (own if emits else states[:, :, offset : offset + units])[int(reverse) :][start:stop]
    dx, dr, x, before = (by_network(a, nets) for a in (dx, dr, x[start:stop, :, 1 : 1 + inputs], before))
    expected = (dx.transpose(0, 2, 1) @ x, dr.transpose(0, 2, 1) @ before, dx.sum(1), dr.sum(1))
    assert len({id(array) for array in found}) == 4
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(to_host(ours), theirs)


@DTYPE
@pytest.mark.parametrize("form", [tiled_matmul.ALONG_BOTH, tiled_matmul.ALONG_LEFT, tiled_matmul.OVER])
@pytest.mark.parametrize("cut", range(3))
@pytest.mark.parametrize("vectors", [True, False])
def test_every_tile(dtype, form, cut, vectors, monkeypatch):
    """With copies of 16 bytes and of single numbers, of tiles that are not full and terms that end within a slab."""
    copies = []
    made = tiled_matmul.kernel
    monkeypatch.setattr(tiled_matmul, "kernel", lambda *key: copies.append(key[-1]) or made(*key))
    cut = tiled_matmul.CUTS[np.dtype(dtype).itemsize][cut]
    rows, columns, terms = (cut.tall - 4, cut.broad // 2 + 4, 20) if vectors else (cut.tall - 3, cut.broad // 2 + 1, 19)
    if cut.tall == SMALLEST:
        columns += SMALLEST
    left = whole_numbers(0, *((terms, rows) if form == tiled_matmul.OVER else (rows, terms)), dtype=dtype)
    right = whole_numbers(1, *((columns, terms) if form == tiled_matmul.ALONG_BOTH else (terms, columns)), dtype=dtype)
    out = device.empty(rows * columns, dtype)
    start = whole_numbers(2, columns, dtype=dtype)
    operands = [(to_device(a.reshape(-1)), 0, 0, a.shape[1]) for a in (left, right)]
    per = terms if form == tiled_matmul.OVER else rows
    tiled_matmul.multiply(form, *operands, to_device(start), out, (rows, columns, terms, 1, per, per), cut)
    expected = (left.T if form == tiled_matmul.OVER else left) @ (right.T if form == tiled_matmul.ALONG_BOTH else right)
    np.testing.assert_array_equal(to_host(out).reshape(rows, columns), expected + start)
    assert copies == [16 // out.dtype.itemsize if vectors else 1]


@DTYPE
def test_vectors_of_an_ensemble(dtype):
    """Copies of 16 bytes with several networks, the input in columns of a wider array, at a place that allows it."""
    nets, per, steps, inputs, units = 2, 2, 3, 8, 4
    states = whole_numbers(0, steps, nets * per, inputs + 8, dtype=dtype)
    w = whole_numbers(1, nets, units, inputs, dtype=dtype)
    x = states[:, :, 4 : 4 + inputs]
    flat, row = device.rows(to_device(states)[:, :, 4 : 4 + inputs])
    out = to_host(projections.input_part(flat, row, to_device(w), None, steps, nets * per))
    np.testing.assert_array_equal(out, over_batch(by_network(x, nets) @ w.transpose(0, 2, 1), steps).reshape(-1))
    d, out = whole_numbers(2, steps, nets * per, units, dtype=dtype), device.empty(nets * units * inputs, dtype)
    left, right = (to_device(d.reshape(-1)), 0, per * units, units), (flat, 0, per * row, row)
    shape = (units, inputs, steps * per, nets, per, nets * per)
    tiled_matmul.multiply(tiled_matmul.OVER, left, right, None, out, shape)
    expected = by_network(d, nets).transpose(0, 2, 1) @ by_network(x, nets)
    np.testing.assert_array_equal(to_host(out), expected.reshape(-1))


@DTYPE
def test_long_sums_are_cut_into_slices(dtype, monkeypatch):
    monkeypatch.setattr(tiled_matmul, "FEWEST", 8)
    nets, per, steps, rows, columns = 2, 3, 13, 5, 7
    assert tiled_matmul.division(np.dtype(dtype).itemsize, rows, columns, steps * per, nets, True)[1] == 4
    d = whole_numbers(0, steps, nets * per, rows, dtype=dtype)
    x = whole_numbers(1, steps, nets * per, columns, dtype=dtype)
    out = device.empty(nets * rows * columns, dtype)
    left, right = ((to_device(a.reshape(-1)), 0, per * n, n) for a, n in ((d, rows), (x, columns)))
    tiled_matmul.multiply(
        tiled_matmul.OVER, left, right, None, out, (rows, columns, steps * per, nets, per, nets * per)
    )
    expected = by_network(d, nets).transpose(0, 2, 1) @ by_network(x, nets)
    np.testing.assert_array_equal(to_host(out).reshape(expected.shape), expected)


def test_same_bits_in_every_schedule(schedule):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 17, 19)).astype(np.float32), rng.normal(size=(1, 33, 19)).astype(np.float32)
    out = to_host(projections.input_part(to_device(x.reshape(-1)), 19, to_device(w), None, 2, 17))
    np.testing.assert_allclose(out.reshape(2, 17, 33), x @ w[0].T, rtol=1e-5, atol=1e-6)
    SEEN.setdefault("bits", out.tobytes())
    assert out.tobytes() == SEEN["bits"]


SEEN: dict[str, bytes] = {}


def test_divisions():
    """Large results get large tiles, small ones many blocks; slices only where terms are many."""
    large, medium, small = tiled_matmul.CUTS[4]
    assert tiled_matmul.division(4, 16384, 4096, 1024, 1, False) == (large, 1)
    assert tiled_matmul.division(4, 2048, 512, 64, 1, False) == (medium, 1)
    assert tiled_matmul.division(4, 200, 32, 8, 1, False) == (small, 1)
    assert tiled_matmul.division(4, 4096, 1024, 16384, 1, True) == (large, 1)
    assert tiled_matmul.division(4, 128, 32, 100, 1, True)[1] == 1
    cut, slices = tiled_matmul.division(4, 128, 32, 32768, 1, True)
    assert slices * (128 // cut.tall) * -(-32 // cut.broad) >= tiled_matmul.MULTIPROCESSORS - 4


PLANS = [plans.Plan(True, True, 4, 1, 8, 1), plans.Plan(False, True, 8, 2, 3, 2)]


@DTYPE
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("nets", "gates", "units"), [(1, 1, 5), (2, 4, 7)])
def test_packing(dtype, plan, nets, gates, units):
    w = whole_numbers(0, nets, gates * units, units, dtype=dtype)
    groups, step = plan.blocks(units) * plan.groups, 16 // w.itemsize * plan.lanes
    width = -(-units // step) * step
    wide = np.zeros((nets, gates, groups * plan.units, width), dtype)
    wide[:, :, :units, :units] = w.reshape(nets, gates, units, units)
    packed = to_host(weight_packing.pack(to_device(w), gates, plan, transposed=False))
    np.testing.assert_array_equal(packed, wide.swapaxes(1, 2).reshape(-1))
    width = -(-gates * units // step) * step
    expected = np.zeros((nets, groups * plan.units, width), dtype)
    expected[:, :units, : gates * units] = w.transpose(0, 2, 1)
    packed = to_host(weight_packing.pack(to_device(w), gates, plan, transposed=True))
    np.testing.assert_array_equal(packed, expected.reshape(-1))


@DTYPE
def test_transposed_packing_of_several_tiles(dtype):
    plan = plans.Plan(False, True, 16, 1, 16, 1)
    w = whole_numbers(0, 2, 4 * 35, 35, dtype=dtype)
    packed = to_host(weight_packing.pack(to_device(w), 4, plan, transposed=True)).reshape(2, 48, -1)
    np.testing.assert_array_equal(packed[:, :35, :140], w.transpose(0, 2, 1))
    assert not packed[:, 35:].any()
    assert not packed[:, :, 140:].any()


@DTYPE
def test_small_work(dtype):
    a, b = (whole_numbers(k, 3, 4, 5, dtype=dtype) for k in range(2))
    out = arrays.add(to_device(a), to_device(b))
    np.testing.assert_array_equal(to_host(out), a + b)
    lengths = np.array([3, 0, 2, 1])
    arrays.pad(out, to_device(lengths))
    expected = np.where(np.arange(3)[:, None, None] < lengths[:, None], a + b, 0)
    np.testing.assert_array_equal(to_host(out), expected)
    wide = whole_numbers(2, 3, 4, 9, dtype=dtype)
    target = to_device(wide)
    arrays.move(target[:, :, 4:7], to_device(a)[:, :, 1:4])
    wide[:, :, 4:7] = a[:, :, 1:4]
    np.testing.assert_array_equal(to_host(target), wide)
