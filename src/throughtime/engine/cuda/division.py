"""Division on the device for the scalar functions of cells: straight-line arithmetic in place of a call.

The device's own division looks for denominators at the ends of the range and calls a function for them. What stands
behind a branch is not computed together with its neighbours: a unit of an LSTM waited for three divisions in a row. The
denominators of scalar.py lie between 1 and 4.
"""

from typing import Any

from llvmlite import ir
from numba import types

from ...exponential import OPTIONS
from ...jit import overload
from ...scalar import quotient
from .compiler import primitive

# Bits of the approximation double with every step of Newton's: from 23 to 24, and from 20 to 53.
STEPS = {32: 1, 64: 2}


def _divide(a, b):
    return a / b


@primitive(_divide)
def divide(_, a, b):
    """a / b for b from 1 to 4, to half a unit of the last place and a little; NaN in either gives NaN."""
    if a not in (types.float32, types.float64) or a != b:
        return None

    def codegen(context, build, sig, args):
        a, b = args
        one, minus = ir.Constant(a.type, 1.0), build.fsub(ir.Constant(a.type, -0.0), b)
        reciprocal = _approximate(build, b)
        for _ in range(STEPS[sig.args[0].bitwidth]):
            rest = build.fma(minus, reciprocal, one)
            reciprocal = build.fma(rest, reciprocal, reciprocal)
        found = build.fmul(a, reciprocal)
        return build.fma(build.fma(minus, found, a), reciprocal, found)

    return a(a, b), codegen


def _approximate(b: Any, value: Any) -> Any:
    letter, bits = ("f", 32) if isinstance(value.type, ir.FloatType) else ("d", 64)
    kind = ir.FunctionType(value.type, [value.type])
    return b.call(ir.InlineAsm(kind, f"rcp.approx.ftz.f{bits} $0, $1;", f"={letter},{letter}"), [value])


@overload(quotient, target="cuda", jit_options=OPTIONS["cuda"], strict=False)
def _quotient(a, b):
    return lambda a, b: divide(a, b)
