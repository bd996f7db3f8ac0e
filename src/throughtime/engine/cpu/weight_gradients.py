"""Gradients that are products over the rows of a chunk of steps: of weights, biases, input. Names as in loops.py."""

import numpy as np

from ...jit import PLACEHOLDER
from .primitives import copy, move, wide
from .register_tile import tile

BLOCK = WIDTH = VECTORS = GATES = BACK = LANES = SHARED = PLACEHOLDER
product_back = product_packed = pack_strips = accumulate = pack_rows = PLACEHOLDER
ROWS = 64  # whose dL/dx are worked out together: a part of the first cache under all panels


def weight_gradients(dx, dr, x, sent, grads, which, rows, I, N, d_at, d_row, x_at, x_row, e_at, e_row, index, threads):
    """One thread's share of dW_ih += dx^T x, dW_hh += dr^T sent and the biases, over a chunk's rows in their order, to
    the gradients number `which` of each array; those that are not wanted are empty."""
    wide()
    g_ih, g_hh, gb_ih, gb_hh = grads
    P = (N + BLOCK - 1) // BLOCK
    d = np.empty(rows * WIDTH, x.dtype)
    edge = np.zeros(32 * BACK, x.dtype)
    sent_panels = np.empty((N + BACK - 1) // BACK * BACK * rows if g_hh.size else 0, x.dtype)
    x_panels = np.empty((I + BACK - 1) // BACK * BACK * rows if g_ih.size else 0, x.dtype)
    if g_hh.size:
        pack_rows(sent, e_at, e_row, rows, N, sent_panels)
    if g_ih.size:
        pack_rows(x, x_at, x_row, rows, I, x_panels)
    for p in range(P * index // threads, P * (index + 1) // threads):
        count = min(BLOCK, N - p * BLOCK)
        for side in range(2):  # of the recurrence, of the input
            weights, bias = (g_hh, gb_hh) if side == 0 else (g_ih, gb_ih)
            if weights.size + bias.size == 0:
                continue
            if side == 0 or not SHARED or g_hh.size + gb_hh.size == 0:  # otherwise it is there already
                for m in range(rows):
                    copy(d, m * WIDTH, dr if side == 0 else dx, d_at + m * d_row + p * WIDTH, WIDTH)
            if bias.size:
                bias_gradient(d, rows, bias, which * GATES * N + p * BLOCK, N, count)
            if weights.size:
                y, columns = (sent_panels, N) if side == 0 else (x_panels, I)
                for g in range(GATES):
                    at = ((which * GATES + g) * N + p * BLOCK) * columns
                    accumulate(d, g * BLOCK, WIDTH, count, y, rows, weights, at, columns, columns, edge)


def bias_gradient(d, rows, bias, at, N, count):
    """bias += sum_m d[m, :] for a block's gates, in the order of m: a product with ones, which costs nothing extra."""
    ones, sums = np.ones(1, d.dtype), np.zeros(WIDTH, d.dtype)
    for g in range(GATES):
        for n in range(count):
            sums[g * BLOCK + n] = bias[at + g * N + n]
    tile(1, VECTORS, 1, (ones, 0, 0, 0), (d, 0, 0, WIDTH), rows, (sums, 0, 0, 0), (sums, 0, 0, 0))
    for g in range(GATES):
        for n in range(count):
            bias[at + g * N + n] = sums[g * BLOCK + n]


def input_gradients(d, w_ih, grad_x, at, rows, I, depth, index, threads):
    """One thread's share of dL/dx = dx W_ih for the rows of a chunk."""
    first, last, d_row = rows * index // threads, rows * (index + 1) // threads, depth + LANES
    panels = (I + BACK - 1) // BACK
    packs = panels > 1
    out, strips = np.empty(ROWS * BACK, d.dtype), np.empty(ROWS * depth if packs else 0, d.dtype)
    zeros = np.zeros(BACK, d.dtype)
    for low in range(first, last, ROWS):
        here = min(ROWS, last - low)
        whole = here // LANES * LANES if packs else 0
        pack_strips(d, low * d_row, d_row, whole, depth, strips)
        for q in range(panels):
            product_packed(strips, whole, depth, w_ih, q, zeros, 0, out)
            if whole < here:
                rest = (low + whole) * d_row
                product_back(d, rest, d_row, here - whole, depth, w_ih, q, q + 1, zeros, 0, out, whole * BACK)
            count = min(BACK, I - q * BACK)
            for m in range(here):
                move(grad_x, (at + low + m) * I + q * BACK, 0, out, m * BACK, 0, 1, count, BACK)
