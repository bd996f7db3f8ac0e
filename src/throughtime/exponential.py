"""The exponential in compiled code, in both precisions, and how scalar functions get a compiled form.

The exponential, on the CPU: x = k·ln2 + r with k whole and |r| ≤ ln2/2, so that exp(x) = 2^k (1 + y), y = expm1(r).
ln2 is split into two parts (Cody and Waite 1980), the first with so few bits that k times it is exact. Then
y = r + r²·q(r), where the polynomial q interpolates (expm1(r) - r)/r² at the Chebyshev nodes of the interval, one
degree above the lowest that would do: its relative error, 5e-19 (5e-10 in float32), is far below the rounding.
"""

from typing import Any, NamedTuple

import numpy as np

from .jit import intrinsic, ir, overload
from .jit import number_types as types

# "numpy": the check for division by zero would keep a loop scalar. forceinline: a call left standing would too.
# fastmath must be refused aloud: an overload that is silent about it inherits its caller's flags, and with `reassoc`
# LLVM cancels the rounding shift: exp(0.3) was then 1.0 on a processor without fused multiply-add.
OPTIONS = {"cpu": {"error_model": "numpy", "fastmath": False, "forceinline": True}, "cuda": {}}


class Precision(NamedTuple):
    """The numbers of the exponential in one floating-point type."""

    real: type
    integer: ir.IntType
    mantissa: int  # bits after the point
    shift: float  # 1.5·2^mantissa + 2·bias: adding it rounds to a whole number and leaves k + 2·bias in the low bits
    lowest: float  # exp is 0 from here down
    highest: float  # exp is infinite from here up
    saturated: float  # tanh(x/2) is 1 from here up
    log2_e: float
    ln2_high: float
    ln2_low: float
    q: tuple[float, ...]  # coefficients, constant first


SINGLE = Precision(
    real=np.float32,
    integer=ir.IntType(32),
    mantissa=23,
    shift=1.5 * 2**23 + 2 * 127,
    lowest=-104.0,
    highest=89.0,
    saturated=20.0,
    log2_e=1.4426950408889634,
    ln2_high=0.693145751953125,
    ln2_low=1.4286068203094173e-06,
    q=(0.5, 0.16666667, 0.041666467, 0.0083333105, 0.0013933642, 0.00019890981),
)
DOUBLE = Precision(
    real=np.float64,
    integer=ir.IntType(64),
    mantissa=52,
    shift=1.5 * 2**52 + 2 * 1023,
    lowest=-746.0,
    highest=710.0,
    saturated=40.0,
    log2_e=1.4426950408889634,
    ln2_high=0.6931471805598903,
    ln2_low=5.497923018708371e-14,
    q=(
        0.5,
        0.1666666666666667,
        0.04166666666666667,
        0.008333333333326141,
        0.0013888888888883752,
        0.00019841269874800493,
        2.4801587325533363e-05,
        2.7557255425746435e-06,
        2.7557273661348637e-07,
        2.510520637395701e-08,
        2.0914679376583935e-09,
    ),
)
PRECISIONS = {types.float32: SINGLE, types.float64: DOUBLE}


@intrinsic
def split_exponential(typing_context: Any, x: Any) -> Any:
    """(a, b, y) with exp(x) = (1 + y)·a·b: a and b powers of two, y = expm1(r). For x from lowest to highest, or NaN.

    2^k comes in two factors because it may be subnormal or above the largest float where exp(x) is not. The order of
    these operations is part of the result; `fma` rounds once, by a library call where the processor has none.
    """
    numbers = PRECISIONS[x]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        (x,) = arguments

        def constant(value: float) -> Any:
            return ir.Constant(x.type, float(numbers.real(value)))

        def power(exponent: Any) -> Any:
            return builder.bitcast(builder.shl(exponent, ir.Constant(numbers.integer, numbers.mantissa)), x.type)

        shifted = builder.fma(x, constant(numbers.log2_e), constant(numbers.shift))
        k = builder.fsub(shifted, constant(numbers.shift))
        r = builder.fma(k, constant(-numbers.ln2_high), x)
        r = builder.fma(k, constant(-numbers.ln2_low), r)
        q = constant(numbers.q[-1])
        for coefficient in numbers.q[-2::-1]:
            q = builder.fma(q, r, constant(coefficient))
        y = builder.fma(builder.fmul(r, r), q, r)
        bits = builder.bitcast(shifted, numbers.integer)
        half = builder.lshr(bits, ir.Constant(numbers.integer, 1))
        parts = power(half), power(builder.sub(bits, half)), y
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(x, 3)(x), generate


def compiles(function: Any, *targets: str) -> Any:
    """Decorator: the decorated function takes a `Precision` and returns what `function` becomes in compiled code."""

    def decorate(make: Any) -> Any:
        def choose(x: Any) -> Any:
            if x in PRECISIONS:
                return make(PRECISIONS[x])
            if isinstance(x, types.Integer):
                return lambda x: function(float(x))
            return None

        for target in targets:
            overload(function, target=target, jit_options=OPTIONS[target], strict=False)(choose)
        return make

    return decorate
