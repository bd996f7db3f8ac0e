"""Gradients that are sums over the rows of a chunk: of weights, biases, unit parameters. Names as in loops.py."""

import numpy as np

from ...jit import PLACEHOLDER
from .primitives import copy, wide
from .register_tile import tile
from .spans import move

RAGGED = BLOCK = BLOCK_VECTORS = WIDTH = PARTS = SIGNALS = WIRES = BACK = QWIDTH = PARAMETERS = PLACEHOLDER
accumulate = pack_rows = PLACEHOLDER


def weight_gradients(
    d, d_at, d_row, y, y_at, y_row, columns, weights, w_at, bias, b_at, rows, N, index, threads
):  # fmt: skip
    """One thread's share of dW += d^T y and the bias of one product, over a chunk's rows in their order.

    y has `columns` numbers for each of its SIGNALS; a square of weights belongs to each of WIRES, (signal, part): the
    rows of the first begin at row w_at. d and bias have all PARTS; those that are not wanted are empty.
    """
    wide()
    if weights.size + bias.size == 0:
        return
    P, size = (N + BLOCK - 1) // BLOCK, (columns + BACK - 1) // BACK * BACK * rows
    own = np.empty(rows * WIDTH, d.dtype)
    edge = np.zeros(32 * BACK, d.dtype)
    panels = np.empty(SIGNALS * size if weights.size else 0, d.dtype)
    if weights.size:
        for k in range(SIGNALS):
            pack_rows(y, y_at + k * columns, y_row, rows, columns, panels[k * size :])
    for p in range(P * index // threads, P * (index + 1) // threads):
        count = min(BLOCK, N - p * BLOCK)
        apart = count if RAGGED else BLOCK
        for m in range(rows):  # each part's together: a tile's eight numbers at a distance of WIDTH are slower
            for part in range(PARTS):
                copy(own, (part * rows + m) * BLOCK, d, d_at + m * d_row + p * WIDTH + part * apart, BLOCK)
        if bias.size:
            bias_gradient(own, rows, bias, b_at + p * BLOCK, N, count)
        if weights.size:
            for k in range(len(WIRES)):
                signal, part = WIRES[k]
                at, of_signal = (w_at + k * N + p * BLOCK) * columns, panels[signal * size :]
                accumulate(own, part * rows * BLOCK, BLOCK, count, of_signal, rows, weights, at, columns, columns, edge)


def bias_gradient(d, rows, bias, at, N, count):
    """bias += sum_m d[m, :] for a block's parts, in the order of m: a product with ones, which costs nothing extra."""
    ones, sums = np.ones(1, d.dtype), np.zeros(WIDTH, d.dtype)
    for g in range(PARTS):
        for n in range(count):
            sums[g * BLOCK + n] = bias[at + g * N + n]
    place = 0, BLOCK, 0
    tile(1, BLOCK_VECTORS, PARTS, ones, (0, 0, 0), d, (0, rows * BLOCK, BLOCK), rows, sums, place, sums, place)
    for g in range(PARTS):
        for n in range(count):
            bias[at + g * N + n] = sums[g * BLOCK + n]


def parameter_gradients(dq, at, q_row, grads, place, rows, N, index, threads):
    """One thread's share of the gradients of unit parameters, the sums of dq over a chunk's rows in their order."""
    wide()
    P, ones, sums = (N + BLOCK - 1) // BLOCK, np.ones(1, dq.dtype), np.zeros(BLOCK, dq.dtype)
    for k in range(PARAMETERS):
        grad = grads[4 + k]
        if grad.size:
            for p in range(P * index // threads, P * (index + 1) // threads):
                count, here = min(BLOCK, N - p * BLOCK), place + p * BLOCK
                move(sums, 0, 0, grad, here, 0, 1, count, BLOCK)
                panel = at + p * QWIDTH + k * BLOCK, 0, q_row
                tile(1, BLOCK_VECTORS, 1, ones, (0, 0, 0), dq, panel, rows, sums, (0, 0, 0), sums, (0, 0, 0))
                move(grad, here, 0, sums, 0, 0, 1, count, BLOCK)
