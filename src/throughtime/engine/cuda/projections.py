"""What is done for all steps at once: the input part, and the gradients of the weights and of the input."""

from typing import Any

from . import device
from .tiled_matmul import ALONG_BOTH, ALONG_LEFT, OVER, add_slices, multiply
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


def weight_gradients(layer: Any, dx: Any, dr: Any, start: int, stop: int) -> tuple[Any, Any, Any, Any]:
    """The gradients of w_ih, w_hh, b_ih, b_hh: sums over the steps and each network's sequences.

    dx and dr are flat (stop-start, B, G*N), with one row for each sequence, and one array where the cell's are.
    """
    nets, per, batch, rows = layer.networks, layer.per, layer.batch, layer.record.gates * layer.units
    terms, first = (stop - start) * per, start * batch
    sent_at, sent_row = layer.sends
    before = (first + layer.reverse * batch) * sent_row + sent_at
    g_ih = device.empty((nets, rows, layer.inputs), dx.dtype)
    g_hh = device.empty((nets, rows, layer.units), dx.dtype)
    for d, source, at, row, out in (
        (dx, layer.x, first * layer.x_row, layer.x_row, g_ih), (dr, layer.sent, before, sent_row, g_hh)
    ):  # fmt: skip
        left, right = (d, 0, per * rows, rows), (source, at, per * row, row)
        multiply(OVER, left, right, None, out.reshape(-1), (rows, out.shape[2], terms, nets, per, batch))
    biases = [device.empty((nets, rows), dx.dtype) for _ in range(2)]
    size, parts = nets * rows, None
    slices = max(1, min(terms // 32, (1 << 18) // max(1, size)))
    for d, out in zip((dx, dr), biases):
        if parts is None or dr is not dx:
            parts = device.empty(slices * size, dx.dtype)
            shape = (rows, terms, slices, -(-terms // slices), max(1, per), batch, nets)
            device.for_each(sum_rows, slices * size, (d, parts, shape))
        device.for_each(add_slices, size, (parts, out.reshape(-1), slices))
    return g_ih, g_hh, biases[0], biases[1]
