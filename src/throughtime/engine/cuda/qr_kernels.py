"""The kernels of batched QR, cut for a type of numbers and a size of blocks; their parts are in the files beside."""

from functools import cache
from typing import Any

import numpy as np

from . import block_reductions, cholesky_qr, compiler, householder, wide_cholesky, wide_qr
from .cholesky_qr import EACH
from .register_arrays import vec

PARTS = (
    *(block_reductions.added, block_reductions.greatest, block_reductions.greatest_of_block),
    *(cholesky_qr.square_lengths, cholesky_qr.multiply, cholesky_qr.columns_by_columns, cholesky_qr.store),
    *(cholesky_qr.subtract, cholesky_qr.own_squares, cholesky_qr.factorise, cholesky_qr.solve, cholesky_qr.one_pass),
    *(householder.mirror, householder.reflect),
    *wide_cholesky.PARTS,
    *wide_qr.PARTS,
)  # each after those that it calls


def constants(dtype: Any, side: int) -> dict[str, Any]:
    """How the kernels are cut: blocks of side**2 threads, tiles of EACH*side columns."""
    real, bytes_, tile = np.dtype(dtype).type, np.dtype(dtype).itemsize, EACH * side
    depth, pitch, largest = min(tile, 128 // bytes_), tile + vec(bytes_), np.finfo(dtype).max
    found: dict[str, Any] = {
        "SIDE": side, "THREADS": side * side, "LANES": min(32, side * side), "TILE": tile, "DEPTH": depth,
        "PITCH": pitch, "SQUARE": tile * pitch, "RIGHT": depth * pitch, "EXCHANGE": 3 * tile,
        "ROUNDING": real(8.0 * np.finfo(dtype).eps), "DEVIATION": real(0.1), "HUGE": largest, "ZERO": real(0),
        "ONE": real(1), "NAN": real(np.nan), "INFINITY": real(np.inf),
    }  # fmt: skip
    line, panel = depth + vec(bytes_), min(16, side * side)
    return found | {
        "ACROSS": min(tile, side * side), "AHEAD": min(panel, 64 // bytes_), "CORNER": panel**2, "HALF": real(0.5),
        "LINE": line, "PAIR": 2 * panel, "PANEL": panel, "SLAB": tile * line, "SLABS": 2 * tile * line,
        "STRIPS": 2 * tile * panel, "VEC": vec(bytes_),
    }  # fmt: skip


@cache
def _names(dtype: Any, side: int) -> dict[str, Any]:
    """Constants and parts, which the kernels of one cut share: a part is compiled once for all of them."""
    names, name = constants(dtype, side), f"{np.dtype(dtype)}-{side}"
    for function in PARTS:
        names[function.__name__] = compiler.part(function, name, names)
    return names


@cache
def compiled(kernel: Any, dtype: Any, side: int) -> Any:
    """A kernel, cut for one dtype."""
    # Two blocks on a multiprocessor hide each other's barriers; some in float64 do not fit their 128 registers.
    blocks = 2 if side == 16 and (np.dtype(dtype) == np.float32 or kernel is wide_cholesky.gram) else 1
    return compiler.kernel(kernel, f"{np.dtype(dtype)}-{side}", _names(dtype, side), side * side, blocks)
