"""Sums over whole arrays, in float64 and in one fixed order: of losses, and of the squares of a gradient.

Two launches: each block adds a part of the numbers, strided over the grid, and one block adds the parts. Squares are
summed as by Blue (1978), large, middling and small numbers apart and scaled by powers of 2, so that none overflows or
vanishes. As in LAPACK's dnrm2; NaN and infinity come as they are.
"""

import math
from functools import cache
from typing import Any

from . import compiler, device
from .block_reductions import added_of_block
from .toolkit import cuda

from .kernel_names import add_block  # isort: skip

THREADS, PER_BLOCK, MOST_BLOCKS = 256, 2048, 264
LARGE, SMALL = 2.0**500, 2.0**-500  # beyond which numbers are scaled
DOWN, UP = 2.0**-600, 2.0**600


def blocks_for(size: int) -> int:
    """Blocks that add so many numbers."""
    return max(1, min(MOST_BLOCKS, -(-size // PER_BLOCK)))


@cache
def kernel_of(function: Any) -> Any:
    """A kernel in which blocks of THREADS add."""
    names: dict[str, Any] = {"THREADS": THREADS}
    names["add_block"] = compiler.part(added_of_block, "sums", names)
    names["norm_of_parts"] = compiler.part(norm_of, "sums", {"add_block": names["add_block"]})
    return compiler.kernel(function, "sums", names, THREADS)


def total(x: Any) -> Any:
    """The sum of a flat float64 array, (1,)."""
    blocks = blocks_for(x.size)
    parts, out = device.empty(blocks, x.dtype), device.empty(1, x.dtype)
    device.launch(kernel_of(add_parts), (blocks, 1, 1), THREADS, (x, parts))
    device.launch(kernel_of(add_parts), (1, 1, 1), THREADS, (parts, out))
    return out


def squares(x: Any) -> Any:
    """The sums of the squares of a flat array that the blocks have found, flat (blocks, 3): of large numbers scaled
    down, of middling ones, and of small ones scaled up. `norm_of` makes a norm of them."""
    blocks = blocks_for(x.size)
    parts = device.empty(3 * blocks, "float64")
    device.launch(kernel_of(add_squares), (blocks, 1, 1), THREADS, (x, parts))
    return parts


def add_parts(x, out):
    """out[block] = the sum of every so many numbers of x."""
    shared = cuda.shared.array(THREADS, x.dtype)
    total = x.dtype.type(0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        total += x[i]
    total = add_block(total, shared)
    if cuda.threadIdx.x == 0:
        out[cuda.blockIdx.x] = total


def add_squares(x, parts):
    shared = cuda.shared.array(THREADS, parts.dtype)
    high, middle, low = parts.dtype.type(0), parts.dtype.type(0), parts.dtype.type(0)
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        value = abs(parts.dtype.type(x[i]))
        if value > LARGE:
            high += (value * DOWN) * (value * DOWN)
        elif value < SMALL:
            low += (value * UP) * (value * UP)
        else:
            middle += value * value
    high, middle, low = add_block(high, shared), add_block(middle, shared), add_block(low, shared)
    if cuda.threadIdx.x == 0:
        at = 3 * cuda.blockIdx.x
        parts[at], parts[at + 1], parts[at + 2] = high, middle, low


def norm_of(parts, shared):
    """The norm, by one block, for all its threads."""
    high, middle, low = parts.dtype.type(0), parts.dtype.type(0), parts.dtype.type(0)
    for k in range(3 * cuda.threadIdx.x, parts.size, 3 * THREADS):
        high += parts[k]
        middle += parts[k + 1]
        low += parts[k + 2]
    high, middle, low = add_block(high, shared), add_block(middle, shared), add_block(low, shared)
    if high > 0:  # middling numbers beside large ones, in their scale
        return math.sqrt(high + (middle * DOWN) * DOWN) * UP
    if middle > 0 or middle != middle:
        return math.sqrt(middle + (low * DOWN) * DOWN)
    return math.sqrt(low) * DOWN
