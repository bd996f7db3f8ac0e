"""Losses on the device: the value, a number that is fetched when it is read, and the gradient by the output.

A loss is a mean over rows, the share of each of which is given: one number for all, or (R,) in NumPy. What stands in a
row of share 0 is not looked at. Values are summed in float64.

Dimensions: R rows (time steps times sequences, or sequences), O outputs.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from . import compiler, device, sums
from .block_reductions import added, greatest
from .number import Number
from .toolkit import cuda

from .kernel_names import LANES, add_lanes, greatest_of_lanes  # isort: skip

EACH = 256  # threads of a block
LOWEST = -math.inf


def cross_entropy(y: Any, targets: np.ndarray, share: Any) -> tuple[Number, Any]:
    """Of logits y (…, O) and the classes in NumPy, (…)."""
    shape, classes, shares, one = _given(y, share)
    rows = math.prod(shape[:-1])
    each, gradient = device.empty(rows, np.float64), device.empty(shape, y.dtype)
    place = device.to_device(np.asarray(targets, np.int64).reshape(-1))
    arguments = (y.reshape(-1), place, shares, one, classes, each, gradient.reshape(-1))
    device.launch(_softmax_kernel(), (-(-rows * WARP // EACH), 1, 1), EACH, arguments)
    return Number(sums.total(each)), gradient


def mean_squared_error(y: Any, targets: Any, share: Any) -> tuple[Number, Any]:
    """Of y and targets (…, O), both on the device."""
    return _of_numbers(squared_errors, y, targets, share)


def binary_cross_entropy(y: Any, targets: Any, share: Any) -> tuple[Number, Any]:
    """Of logits y and targets (…, O), both on the device."""
    return _of_numbers(yes_and_no, y, targets, share)


def _of_numbers(function: Any, y: Any, targets: Any, share: Any) -> tuple[Number, Any]:
    shape, columns, shares, one = _given(y, share)
    each, gradient = device.empty(y.size, np.float64), device.empty(shape, y.dtype)
    numbers = (y.reshape(-1), targets.reshape(-1), shares, one, columns, each, gradient.reshape(-1))
    device.for_each(function, y.size, numbers)
    return Number(sums.total(each)), gradient


def _given(y: Any, share: Any) -> tuple[tuple[int, ...], int, Any, float]:
    shape = tuple(int(n) for n in y.shape)
    if isinstance(share, np.ndarray):
        return shape, shape[-1], device.to_device(np.asarray(share, np.float64).reshape(-1)), 0.0
    return shape, shape[-1], device.empty(0, np.float64), float(share)


WARP = 32


@cache
def _softmax_kernel() -> Any:
    lanes: dict[str, Any] = {"LANES": WARP}
    parts = {"add_lanes": added, "greatest_of_lanes": greatest}
    made = {name: compiler.part(part, "softmax", lanes) for name, part in parts.items()}
    return compiler.kernel(softmax_rows, "softmax", lanes | made, EACH)


def softmax_rows(y, targets, shares, one, classes, each, gradient):
    """A row by the LANES threads of a warp."""
    place = cuda.grid(1)
    r, lane = place // LANES, place % LANES
    if r < each.size:
        share, at = shares[r] if shares.size > 0 else one, r * classes
        if share == 0:
            for c in range(lane, classes, LANES):
                gradient[at + c] = 0
            if lane == 0:
                each[r] = 0
        else:
            top = y.dtype.type(LOWEST)
            for c in range(lane, classes, LANES):
                if y[at + c] > top:
                    top = y[at + c]
            top = greatest_of_lanes(top)
            total = y.dtype.type(0)
            for c in range(lane, classes, LANES):
                value = math.exp(y[at + c] - top)
                total += value
                gradient[at + c] = value
            total = add_lanes(total)
            weight, target = y.dtype.type(share), targets[r]
            factor = weight / total
            for c in range(lane, classes, LANES):
                found = gradient[at + c] * factor
                gradient[at + c] = found - weight if c == target else found
            if lane == 0:
                each[r] = (math.log(total) - (y[at + target] - top)) * share


def squared_errors(y, targets, shares, one, columns, each, gradient):
    place = cuda.grid(1)
    if place < each.size:
        share = (shares[place // columns] if shares.size > 0 else one) / columns
        if share == 0:
            each[place] = 0
            gradient[place] = 0
        else:
            error = y[place] - targets[place]
            each[place] = error * error * share
            gradient[place] = y.dtype.type(2) * error * y.dtype.type(share)


def yes_and_no(y, targets, shares, one, columns, each, gradient):
    place = cuda.grid(1)
    if place < each.size:
        share = (shares[place // columns] if shares.size > 0 else one) / columns
        if share == 0:
            each[place] = 0
            gradient[place] = 0
        else:
            own, t, nothing, whole = y[place], targets[place], y.dtype.type(0), y.dtype.type(1)
            small = math.exp(-abs(own))
            high = nothing if own < nothing else own
            each[place] = (high - own * t + math.log1p(small)) * share
            sigmoid = (whole if own >= nothing else small) / (whole + small)
            gradient[place] = (sigmoid - t) * y.dtype.type(share)
