"""Layer normalisation on the device, of rows of numbers, and its way back; the equations are those of normalised.py.

    y = w n + b,   n = (x − μ)/σ;    dx = (v − mean v − n mean(v n))/σ with v = w g,    dw = Σ_r g n,    db = Σ_r g

A row by the LANES threads of a warp, whose sums are taken in one fixed order.

Dimensions: R rows, I numbers of a row.
"""

import math
from functools import cache
from typing import Any

from . import compiler, device, projections
from .block_reductions import added
from .tiled_matmul import Slices
from .toolkit import cuda

from .kernel_names import LANES, add_lanes  # isort: skip

EACH, WARP = 256, 32  # threads of a block, and of a row


def forward(x: Any, weight: Any, bias: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """y and n (R, I), and 1/σ (R,), of C-contiguous x (R, I)."""
    count, columns = (int(n) for n in x.shape)
    y, n = (device.empty((count, columns), x.dtype) for _ in range(2))
    scale = device.empty(count, x.dtype)
    arguments = (x.reshape(-1), weight, bias, x.dtype.type(epsilon), y.reshape(-1), n.reshape(-1), scale, columns)
    _launch(normalise_rows, count, arguments)
    return y, n, scale


def back(g: Any, weight: Any, n: Any, scale: Any) -> tuple[Any, Any, Any]:
    """dx (R, I), dw and db (I,), from C-contiguous g = dL/dy (R, I)."""
    count, columns = (int(length) for length in g.shape)
    dx, products, later = device.empty((count, columns), g.dtype), device.empty(g.size, g.dtype), Slices()
    arguments = (g.reshape(-1), weight, n.reshape(-1), scale, dx.reshape(-1), products, columns)
    _launch(back_through_rows, count, arguments)
    dw, db = (projections.sums(own, columns, 1, count, 1, 1, later) for own in (products, g.reshape(-1)))
    later.add()
    return dx, dw.reshape(-1), db.reshape(-1)


def _launch(function: Any, count: int, arguments: tuple) -> None:
    if count:
        device.launch(_kernel(function), (-(-count * WARP // EACH), 1, 1), EACH, arguments)


@cache
def _kernel(function: Any) -> Any:
    names: dict[str, Any] = {"LANES": WARP}
    return compiler.kernel(function, "row", names | {"add_lanes": compiler.part(added, "row", names)}, EACH)


def normalise_rows(x, weight, bias, epsilon, y, n, scale, columns):
    place = cuda.grid(1)
    r, lane = place // LANES, place % LANES
    if r < scale.size:
        at, count = r * columns, x.dtype.type(columns)
        total = x.dtype.type(0)
        for c in range(lane, columns, LANES):
            total += x[at + c]
        mean = add_lanes(total) / count
        total = x.dtype.type(0)
        for c in range(lane, columns, LANES):
            total += (x[at + c] - mean) * (x[at + c] - mean)
        one = x.dtype.type(1) / math.sqrt(add_lanes(total) / count + epsilon)
        for c in range(lane, columns, LANES):
            own = (x[at + c] - mean) * one
            n[at + c] = own
            y[at + c] = weight[c] * own + bias[c]
        if lane == 0:
            scale[r] = one


def back_through_rows(g, weight, n, scale, dx, products, columns):
    place = cuda.grid(1)
    r, lane = place // LANES, place % LANES
    if r < scale.size:
        at, count = r * columns, g.dtype.type(columns)
        whole, along = g.dtype.type(0), g.dtype.type(0)
        for c in range(lane, columns, LANES):
            v = g[at + c] * weight[c]
            whole += v
            along += v * n[at + c]
            products[at + c] = g[at + c] * n[at + c]
        whole, along = add_lanes(whole) / count, add_lanes(along) / count
        for c in range(lane, columns, LANES):
            dx[at + c] = scale[r] * (g[at + c] * weight[c] - whole - n[at + c] * along)
