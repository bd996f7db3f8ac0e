"""Sine and cosine in compiled code on the CPU, in both precisions, as arithmetic that becomes vectors.

|x| = k·π/2 + r with k whole and |r| ≤ π/4; the two last bits of k say which of sin r and cos r is which, and its sign.
π/2 is the sum of three floats (Cody and Waite 1980). With a fused multiply-add |x| - k·P1 is exact: both are whole
multiples of 2^-53, and their difference is below 1. What the others take away is carried in a second float.
Then sin r = r + r³·S(r²) and cos r = 1 - r²/2 + r⁴·C(r²), S and C through the Chebyshev nodes of r² from 0 to 0.64.
float32 is worked out in float64. From 2^45 = 3.5e13 on, where k has nearly all the bits of a float, the result is NaN.
"""

import math
from typing import Any

import numpy as np

from .exponential import PRECISIONS, Precision
from .jit import intrinsic, ir
from .jit import number_types as types

HIGHEST = 2.0**45
TWO_OVER_PI = 0.6366197723675814
HALF_PI = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33
SINE = (
    -0.16666666666666663, 0.008333333333330467, -0.00019841269836043575, 2.7557315738586845e-06,
    -2.5051057394492127e-08, 1.5912864224903485e-10,
)  # fmt: skip
COSINE = (
    0.041666666666666664, -0.0013888888888887096, 2.4801587298318395e-05, -2.755731704403567e-07,
    2.0876099692314926e-09, -1.1379338585298136e-11,
)  # fmt: skip
SINE_SINGLE = -0.16666666663409865, 0.008333331704724155, -0.00019839996607644324, 2.7238454628945354e-06
COSINE_SINGLE = 0.041666666663949484, -0.0013888887530147357, 2.4800525153789957e-05, -2.7291384736662117e-07

DOUBLE, INTEGER = ir.DoubleType(), ir.IntType(64)


def _real(value: float) -> Any:
    return ir.Constant(DOUBLE, value)


def _reduced(b: Any, x: Any, precise: bool) -> tuple[Any, Any, Any]:
    """(r, what r was rounded by, k in the low bits of a whole number)."""
    shift = _real(1.5 * 2**52)
    shifted = b.fma(x, _real(TWO_OVER_PI), shift)
    k = b.fsub(shifted, shift)
    bits, back = b.bitcast(shifted, INTEGER), b.fneg(k)
    r = b.fma(back, _real(HALF_PI[0]), x)
    if not precise:
        return b.fma(back, _real(HALF_PI[1]), r), None, bits
    second = b.fmul(back, _real(HALF_PI[1]))
    rest = b.fma(back, _real(HALF_PI[1]), b.fneg(second))
    total = b.fadd(r, second)  # and what is lost of it (Knuth)
    part = b.fsub(total, r)
    lost = b.fadd(b.fsub(r, b.fsub(total, part)), b.fsub(second, part))
    low = b.fma(back, _real(HALF_PI[2]), b.fadd(lost, rest))
    r = b.fadd(total, low)
    return r, b.fsub(low, b.fsub(r, total)), bits


def _polynomial(b: Any, z: Any, coefficients: tuple[float, ...]) -> Any:
    found = _real(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        found = b.fma(found, z, _real(coefficient))
    return found


@intrinsic
def sine_and_cosine(typing_context: Any, x: Any) -> Any:
    """(sin x, cos x) for x from 0 to HIGHEST, or NaN. The order of these operations is part of the result."""
    precise = PRECISIONS[x].real == np.float64

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        given = arguments[0] if precise else b.fpext(arguments[0], DOUBLE)
        r, low, bits = _reduced(b, given, precise)
        z = b.fmul(r, r)
        half = b.fmul(z, _real(0.5))
        left = b.fsub(_real(1.0), half)  # 1 - r²/2
        s = _polynomial(b, z, SINE if precise else SINE_SINGLE)
        c = b.fmul(b.fmul(z, z), _polynomial(b, z, COSINE if precise else COSINE_SINGLE))
        if precise:
            sine = b.fadd(r, b.fma(b.fmul(r, z), s, b.fmul(low, left)))
            rounded = b.fsub(b.fsub(_real(1.0), left), half)
            cosine = b.fadd(left, b.fadd(rounded, b.fma(b.fneg(r), low, c)))
        else:
            sine, cosine = b.fma(b.fmul(r, z), s, r), b.fadd(left, c)
        one, top = ir.Constant(INTEGER, 1), ir.Constant(INTEGER, 63)
        odd, second = b.and_(bits, one), b.and_(b.lshr(bits, one), one)
        other = b.icmp_unsigned("!=", odd, ir.Constant(INTEGER, 0))

        def signed(value: Any, bit: Any) -> Any:
            value = b.bitcast(b.xor(b.bitcast(value, INTEGER), b.shl(bit, top)), DOUBLE)
            return value if precise else b.fptrunc(value, arguments[0].type)

        parts = signed(b.select(other, cosine, sine), second), signed(b.select(other, sine, cosine), b.xor(odd, second))
        return context.make_tuple(b, signature.return_type, parts)

    return types.UniTuple(x, 2)(x), generate


def sin_cpu(numbers: Precision) -> Any:
    one, highest, nan = map(numbers.real, (1, HIGHEST, np.nan))

    def compiled(x):
        size = abs(x)
        sine, _ = sine_and_cosine(nan if size >= highest else size)
        return math.copysign(one, x) * sine

    return compiled


def cos_cpu(numbers: Precision) -> Any:
    highest, nan = map(numbers.real, (HIGHEST, np.nan))

    def compiled(x):
        size = abs(x)
        _, cosine = sine_and_cosine(nan if size >= highest else size)
        return cosine

    return compiled
