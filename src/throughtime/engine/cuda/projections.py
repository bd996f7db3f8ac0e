"""What is done for all steps at once: the input part, and the gradients of the weights and of the input."""

from typing import Any

from . import arrays, device
from .tiled_matmul import ALONG_BOTH, ALONG_LEFT, OVER, Slices, multiply
from .toolkit import cuda


def sum_rows(x, out, shape):
    """out[s, k, n]: the sums of the columns of x over one slice of the rows of network k."""
    columns, terms, slices, each, per, batch, nets = shape
    place = cuda.grid(1)
    if place < slices * nets * columns:
        n, net, part = place % columns, place // columns % nets, place // columns // nets
        low = part * each
        i, row = low % per, low // per * batch + net * per + low % per
        total = x.dtype.type(0)
        for _ in range(low, min(terms, low + each)):
            total += x[row * columns + n]
            i += 1
            row += 1
            if i == per:
                i = 0
                row += batch - per
        out[place] = total


def input_part(x: Any, x_row: int, w_ih: Any, b_ih: Any | None, steps: int, batch: int) -> Any:
    """x W_ih^T + b_ih of every row, flat (steps, batch, G*N). x is flat, its rows of I numbers x_row apart.

    w_ih (K, G*N, I), b_ih (K, G*N) or None; the batch holds batch/K rows of each network.
    """
    nets, columns, inputs = w_ih.shape
    per = batch // nets
    out = device.empty(steps * batch * columns, w_ih.dtype)
    left, right = (x, 0, per * x_row, x_row), (w_ih.reshape(-1), 0, columns * inputs, inputs)
    start = None if b_ih is None else b_ih.reshape(-1)
    multiply(ALONG_BOTH, left, right, start, out, (steps * per, columns, inputs, nets, per, batch))
    return out


def input_gradients(layer: Any, dx: Any, steps: int, copies: int) -> Any:
    """dx W_ih, (steps, B*copies, I), for dx flat (steps, B*copies, G*N)."""
    w_ih = layer.parameters[0]
    nets, terms, inputs = w_ih.shape
    per, batch = layer.per * copies, layer.batch * copies
    out = device.empty((steps, batch, inputs), w_ih.dtype)
    left, right = (dx, 0, per * terms, terms), (w_ih.reshape(-1), 0, terms * inputs, inputs)
    multiply(ALONG_LEFT, left, right, None, out.reshape(-1), (steps * per, inputs, terms, nets, per, batch))
    return out


def weight_gradients(layer: Any, dx: Any, dr: Any, dp: Any | None, start: int, stop: int) -> tuple[Any, ...]:
    """The gradients of w_ih, w_hh, b_ih, b_hh: sums over the steps and each network's sequences; and of the parameters
    of units.

    dx (stop-start, B, G*N) and dr (stop-start, B, R*N) are flat, with one row for each sequence, and one array where
    the cell's are; so is dp (B, P*N), which is summed over the steps already.
    """
    record, units, nets, per, batch = layer.record, layer.units, layer.networks, layer.per, layer.batch
    terms, first = (stop - start) * per, start * batch
    rows, parts = record.gates * units, record.parts * units
    sent_at, sent_row = layer.sends
    before = (first + layer.reverse * batch) * sent_row + sent_at
    g_ih, slices = device.empty((nets, rows, layer.inputs), dx.dtype), Slices()
    received = layer.x, first * layer.x_row, layer.x_row
    outer(g_ih, dx, 0, rows, received, terms, per, batch, slices)
    if record.plain:
        g_hh = device.empty((nets, rows, units), dx.dtype)
        outer(g_hh, dr, 0, rows, (layer.sent, before, sent_row), terms, per, batch, slices)
    else:
        staged_row = record.staged * units
        of_state, of_stage = (layer.sent, before, sent_row), (layer.staged, first * staged_row, staged_row)
        g_hh = _blocks(record, units, dr, of_state, of_stage, nets, terms, per, batch)
    b_ih = sums(dx, rows, nets, terms, per, batch, slices)
    b_hh = b_ih if dr is dx else sums(dr, parts, nets, terms, per, batch, slices)
    slices.add()
    b_hh = arrays.copy(b_ih) if dr is dx else b_hh
    own = []
    if dp is not None:
        whole = sums(dp, len(record.parameters) * units, nets, per, per, batch, slices)
        slices.add()
        own = [arrays.compact(whole[:, k * units : (k + 1) * units]) for k in range(len(record.parameters))]
    return g_ih, g_hh, b_ih, b_hh, *own


def outer(
    out: Any, d: Any, d_at: int, d_row: int, source: tuple, terms: int, per: int, batch: int, slices: Slices | None
) -> None:
    """out[k] = d^T source over the rows of network k, for d (·, B, d_row) from column d_at on.

    source: a flat array, the place of its first row and the numbers from row to row."""
    nets, rows, columns = (int(n) for n in out.shape)
    array, at, row = source
    left, right = (d, d_at, per * d_row, d_row), (array, at, per * row, row)
    multiply(OVER, left, right, None, out.reshape(-1), (rows, columns, terms, nets, per, batch), later=slices)


def _blocks(
    record: Any, n: int, dr: Any, of_state: tuple, of_stage: tuple, nets: int, terms: int, per: int, batch: int
) -> Any:
    """The gradient of w_hh of a cell that is not plain, (K, W*N, N), block by block; sources as in `outer`."""
    out = device.empty((nets, len(record.blocks) * n, n), dr.dtype)
    for k, (signal, part) in enumerate(record.blocks):
        staged = signal >= record.signals
        array, at, row = of_stage if staged else of_state
        number = signal - record.signals if staged else signal
        block = device.empty((nets, n, n), dr.dtype)
        outer(block, dr, part * n, record.parts * n, (array, at + number * n, row), terms, per, batch, None)
        arrays.move(out[:, k * n : (k + 1) * n], block)
    return out


def sums(
    d: Any, columns: int, nets: int, terms: int, per: int, batch: int, later: Slices, out: Any | None = None
) -> Any:
    """(K, columns): the sums over the rows of each network, in a fixed order, once `later` has added them; in the array
    `out`, or a fresh one."""
    out, size = device.empty((nets, columns), d.dtype) if out is None else out, nets * columns
    slices = max(1, min(terms // 32, (1 << 18) // max(1, size)))
    shape = (columns, terms, slices, -(-terms // slices), max(1, per), batch, nets)
    device.for_each(sum_rows, slices * size, (d, later.room(out.reshape(-1), slices), shape))
    return out
