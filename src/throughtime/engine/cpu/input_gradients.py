"""The gradient of a layer's input, for the rows of a chunk of steps. Names as in loops.py."""

import numpy as np

from ...jit import PLACEHOLDER
from .by_address import pack_strips, product
from .matmul import narrow_panel
from .spans import move

BACK = LANES = PLACEHOLDER
ROWS = 64  # whose dL/dx are worked out together: a part of the first cache under all panels


def input_gradients(to, d, w_ih, grad_x, at, rows, I, depth, index, threads):
    """One thread's share of dL/dx = dx W_ih for the rows of a chunk."""
    first, last, d_row = rows * index // threads, rows * (index + 1) // threads, depth + LANES
    panels, narrow = (I + BACK - 1) // BACK, narrow_panel(I, BACK, LANES)
    out, strips = np.empty(ROWS * BACK, d.dtype), np.empty(ROWS * depth, d.dtype)
    zeros = np.zeros(BACK, d.dtype)
    for low in range(first, last, ROWS):
        here = min(ROWS, last - low)
        pack_strips(to.strips_back, d, low * d_row, d_row, here, depth, strips)
        for q in range(panels):
            place = low * d_row
            product(to.product_back, d, place, d_row, strips, here, depth, w_ih, q, q + 1, zeros, 0, out, 0, narrow)
            count = min(BACK, I - q * BACK)
            for m in range(here):
                move(grad_x, (at + low + m) * I + q * BACK, 0, out, m * BACK, 0, 1, count, BACK)
