"""Triangular systems of a few rows solved by each thread for a column of its own, in registers, in LLVM's language.

t holds a column, t[i] for i < count. Rows of the matrix lie in shared memory, `count` numbers each, so that all threads
read the same 16 bytes at once.
"""

from typing import Any

from llvmlite import ir
from numba import types

from .compiler import primitive
from .register_arrays import I32, data, literal, load, load_vector, plus, vec


def _less(b: Any, row: Any, factor: Any, value: Any) -> Any:
    """value - row * factor."""
    return b.fma(row, b.fsub(ir.Constant(factor.type, -0.0), factor), value)


def _row(b: Any, base: Any, at: Any, low: int, count: int) -> dict[int, Any]:
    """Numbers low ... count - 1 of a row, whole vectors of them."""
    width = vec(8 if base.type.pointee == ir.DoubleType() else 4)
    found: dict[int, Any] = {}
    for i in range(low // width * width, count, width):
        found |= {i + j: value for j, value in enumerate(load_vector(b, base, plus(b, at, i), width))}
    return found


def _keep(b: Any, base: Any, values: list) -> None:
    for i, value in enumerate(values):
        b.store(value, b.gep(base, [ir.Constant(I32, i)]))


def _take_off(t, rows, at, values, count):
    for k, value in enumerate(values):
        for i in range(count):
            t[i] -= rows[at + k * count + i] * value


@primitive(_take_off)
def take_off(_, t, rows, at, values, count):
    """t[i] -= sum_k rows[k, i] values[k], for the rows from place `at` on and a tuple of values."""
    if not literal(count):
        return None
    number, signature = count.literal_value, types.void(t, rows, at, values, count)

    def codegen(context, b, sig, args):
        own, base = data(context, b, sig, args, 0), data(context, b, sig, args, 1)
        found = load(b, own, number)
        for k in range(len(values)):
            value, row = b.extract_value(args[3], k), _row(b, base, plus(b, args[2], k * number), 0, number)
            found = [_less(b, row[i], value, old) for i, old in enumerate(found)]
        _keep(b, own, found)
        return context.get_dummy_value()

    return signature, codegen


def _eliminate(t, rows, at, count):
    for j in range(count):
        for i in range(j + 1, count):
            t[i] -= rows[at + j * count + i] * t[j]
        t[j] *= rows[at + j * count + j]


@primitive(_eliminate)
def eliminate(_, t, rows, at, count):
    """t[i] -= sum_{j<i} rows[j, i] t[j], from i = 0 on; then each times rows[i, i]."""
    if not literal(count):
        return None
    number, signature = count.literal_value, types.void(t, rows, at, count)

    def codegen(context, b, sig, args):
        own, base = data(context, b, sig, args, 0), data(context, b, sig, args, 1)
        found = load(b, own, number)
        for j in range(number):
            row = _row(b, base, plus(b, args[2], j * number), j, number)
            for i in range(j + 1, number):
                found[i] = _less(b, row[i], found[j], found[i])
            found[j] = b.fmul(found[j], row[j])
        _keep(b, own, found)
        return context.get_dummy_value()

    return signature, codegen


def _step_down(t, row, at, factor, count):
    for i in range(count - 1):
        t[i] = t[i + 1] - row[at + i + 1] * factor


@primitive(_step_down)
def step_down(_, t, row, at, factor, count):
    """t[i] = t[i + 1] - row[i + 1] * factor: a row less to go, which every step finds at the head."""
    if not literal(count):
        return None
    number, signature = count.literal_value, types.void(t, row, at, factor, count)

    def codegen(context, b, sig, args):
        own, base = data(context, b, sig, args, 0), data(context, b, sig, args, 1)
        found, numbers = load(b, own, number), _row(b, base, args[2], 0, number)
        _keep(b, own, [_less(b, numbers[i], args[3], found[i]) for i in range(1, number)])
        return context.get_dummy_value()

    return signature, codegen
