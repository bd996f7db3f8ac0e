"""Gradients that are sums over the rows of a chunk: of weights, biases, unit parameters. Names as in loops.py."""

import numpy as np

from ...jit import PLACEHOLDER, register_jitable
from .by_address import accumulate, pack_rows
from .primitives import copy, wide
from .register_tile import tile
from .spans import move

RAGGED = BLOCK = BLOCK_VECTORS = WIDTH = PARTS = SIGNALS = WIRES = BACK = LANES = QWIDTH = PARAMETERS = PLACEHOLDER


def weight_gradients(
    of_rows, of_sums, d, d_at, d_row, y, y_at, y_row, columns, weights, to_weights, w_at, bias, to_bias, b_at, rows, N,
    index, threads, room,
):  # fmt: skip
    """One thread's share of dW += d^T y and the bias of one product, over a chunk's rows in their order.

    y has `columns` numbers for each of its SIGNALS; a square of weights belongs to each of WIRES, (signal, part): the
    rows of the first begin at row w_at. d and bias have all PARTS. of_rows and of_sums are the addresses of what packs
    y and of what adds up; how large the room has to be says `room_for`.
    """
    wide()
    if to_weights + to_bias == 0:
        return
    sums, own, size = 8 * BACK, 8 * BACK + WIDTH + LANES, (columns + BACK - 1) // BACK * BACK * rows
    P, one, panels = (N + BLOCK - 1) // BLOCK, sums + WIDTH, own + rows * WIDTH
    room[one] = 1
    if to_weights:
        for k in range(SIGNALS):
            pack_rows(of_rows, y, y_at + k * columns, y_row, rows, columns, room, panels + k * size)
    for p in range(P * index // threads, P * (index + 1) // threads):
        count = min(BLOCK, N - p * BLOCK)
        apart = count if RAGGED else BLOCK
        for m in range(rows):  # each part's together: a tile's eight numbers at a distance of WIDTH are slower
            for part in range(PARTS):
                copy(room, own + (part * rows + m) * BLOCK, d, d_at + m * d_row + p * WIDTH + part * apart, BLOCK)
        if to_bias:  # the sums over m, in its order, as a product with a one, which costs nothing extra
            here, place, rows_of = b_at + p * BLOCK, (sums, BLOCK, 0), (own, rows * BLOCK, BLOCK)
            move(room, sums, BLOCK, bias, here, N, PARTS, count, BLOCK)
            tile(1, BLOCK_VECTORS, PARTS, room, (one, 0, 0), room, rows_of, rows, room, place, room, place)
            move(bias, here, N, room, sums, BLOCK, PARTS, count, BLOCK)
        if to_weights:
            for k in range(len(WIRES)):
                signal, part = WIRES[k]
                at, of_part, of_signal = (w_at + k * N + p * BLOCK) * columns, own + part * rows * BLOCK, signal * size
                accumulate(
                    of_sums, room, of_part, BLOCK, count, room, panels + of_signal, rows, weights, at, columns,
                    columns, room,
                )  # fmt: skip


@register_jitable
def room_for(parts, signals, columns, rows, block, back):
    """Numbers that weight_gradients needs: for the edge of `accumulate`, for sums and a one, and for d and y."""
    width = parts * block
    return 8 * back + width + block + rows * (width + signals * ((columns + back - 1) // back * back))


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
