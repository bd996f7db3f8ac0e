"""The scalar functions that cells are written with: exp, tanh, the logistic function, the rectifier, and their slopes.

Each is a plain Python function of a float or an array of floats and returns the type that it was given. Called from
compiled code it is something else: straight-line arithmetic that turns into vector instructions inside a loop on the
CPU, and the device's own `exp` and `tanh` in a CUDA kernel.

Slopes take the pre-activation. `1 - tanh(x)**2` is exactly 0 for x > 19 (9 in float32), and the logarithm of a zero
slope puts minus infinity into a Lyapunov spectrum; 4e/(1+e)² with e = exp(-2|x|) keeps every digit.

The exponential, on the CPU: x = k·ln2 + r with k whole and |r| ≤ ln2/2, so that exp(x) = 2^k (1 + y), y = expm1(r).
ln2 is split into two parts (Cody and Waite 1980), the first with so few bits that k times it is exact. Then
y = r + r²·q(r), where the polynomial q interpolates (expm1(r) - r)/r² at the Chebyshev nodes of the interval, one
degree above the lowest that would do: its relative error, 5e-19 (5e-10 in float32), is far below the rounding.

Errors are those measured against mpmath for compiled code, in units of the result's last place. Outside compiled code
they are NumPy's, up to half again as large.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from .jit import intrinsic, ir, overload
from .jit import number_types as types
from .refuse import room

__all__ = ["exp", "quotient", "relu", "relu_slope", "sigmoid", "sigmoid_slope", "tanh", "tanh_slope"]

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


def _numbers(x: Any) -> Any:
    """A float or an array of floats as it came, whole numbers as floats; TypeError in words for anything else."""
    if isinstance(x, (float, np.floating)) or (isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.nbytes < 2**30):
        return x
    try:
        found = np.asarray(x)
    except Exception as error:  # ragged lists, and what an object of another library raises
        raise TypeError(f"`x` is an object of type {type(x).__name__}; expected a number or an array.") from error
    if found.dtype.kind not in "biuf":
        raise TypeError(f"`x` is an object of type {type(x).__name__}; expected a real number or an array of such.")
    room.check("The result for `x`", found.size, 4 * 8)  # and three arrays on the way
    return found[()] if found.dtype.kind == "f" else found[()].astype(float)


def exp(x: Any) -> Any:
    """e^x, within 1 ulp, subnormal results included.

    >>> float(exp(0.0)), float(exp(1000.0))
    (1.0, inf)
    """
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(_numbers(x))


@compiles(exp, "cpu")
def exp_cpu(numbers: Precision) -> Any:
    one, lowest, highest = map(numbers.real, (1, numbers.lowest, numbers.highest))

    def compiled(x):  # each comparison is false for NaN, which so passes through
        x = lowest if x < lowest else x
        x = highest if x > highest else x
        a, b, y = split_exponential(x)
        return (one + y) * a * b

    return compiled


@compiles(exp, "cuda")
def exp_cuda(numbers: Precision) -> Any:
    return lambda x: math.exp(x)


def quotient(a: Any, b: Any) -> Any:
    """a / b for b from 1 to 4: on the GPU this needs no branch, see engine/cuda/division.py.

    >>> quotient(1.0, 4.0)
    0.25
    """
    a, b = _numbers(a), _numbers(b)
    try:
        np.broadcast_shapes(np.shape(a), np.shape(b))
    except ValueError as error:
        raise ValueError(f"`a` has shape {np.shape(a)} and `b` {np.shape(b)}, which do not fit each other.") from error
    with np.errstate(all="ignore"):
        return a / b if np.all(b) else np.divide(a, b)  # Python's own floats know no division by 0


@overload(quotient, target="cpu", jit_options=OPTIONS["cpu"], strict=False)
def quotient_cpu(a: Any, b: Any) -> Any:
    return lambda a, b: a / b


def tanh(x: Any) -> Any:
    """(e^x - e^-x)/(e^x + e^-x) = expm1(2x)/(expm1(2x) + 2), within 2.5 ulp; tanh(-0.0) is -0.0.

    >>> float(tanh(1e-300)), float(tanh(np.inf))
    (1e-300, 1.0)
    """
    return np.tanh(_numbers(x))


@compiles(tanh, "cpu")
def tanh_cpu(numbers: Precision) -> Any:
    one, two, saturated = map(numbers.real, (1, 2, numbers.saturated))

    def compiled(x):
        z = two * abs(x)
        z = saturated if z > saturated else z
        a, b, y = split_exponential(z)
        power = a * b
        e = power * y + (power - one)  # expm1(z); the product and the bracket are exact
        return math.copysign(e / (e + two), x)

    return compiled


@compiles(tanh, "cuda")
def tanh_cuda(numbers: Precision) -> Any:
    return lambda x: math.tanh(x)


def tanh_slope(x: Any) -> Any:
    """d tanh(x)/dx = sech²(x) = 4e/(1 + e)² with e = exp(-2|x|), within 4 ulp at any x.

    >>> bool(tanh_slope(30.0) > 0)
    True
    """
    with np.errstate(over="ignore"):  # -2|x| at the largest floats
        e = exp(-2.0 * np.abs(_numbers(x)))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


@compiles(tanh_slope, "cpu", "cuda")
def tanh_slope_compiled(numbers: Precision) -> Any:
    one, minus_two, four = map(numbers.real, (1, -2, 4))

    def compiled(x):
        e = exp(minus_two * abs(x))
        return quotient(four * e, (one + e) * (one + e))

    return compiled


def sigmoid(x: Any) -> Any:
    """The logistic function 1/(1 + e^-x), within 2.5 ulp; for x < 0 it is e^x/(1 + e^x): accurate however small.

    >>> float(sigmoid(0.0)), bool(sigmoid(-700.0) > 0)
    (0.5, True)
    """
    x = _numbers(x)
    e = exp(-np.abs(x))
    return np.where(np.less(x, 0), e, e.dtype.type(1)) / (1.0 + e)


@compiles(sigmoid, "cpu", "cuda")
def sigmoid_compiled(numbers: Precision) -> Any:
    one, zero = map(numbers.real, (1, 0))

    def compiled(x):
        e = exp(-abs(x))
        return quotient(e if x < zero else one, one + e)

    return compiled


def sigmoid_slope(x: Any) -> Any:
    """d sigmoid(x)/dx = e/(1 + e)² with e = exp(-|x|), within 4 ulp at any x.

    >>> float(sigmoid_slope(0.0))
    0.25
    """
    e = exp(-np.abs(_numbers(x)))
    return e / ((1.0 + e) * (1.0 + e))


@compiles(sigmoid_slope, "cpu", "cuda")
def sigmoid_slope_compiled(numbers: Precision) -> Any:
    one = numbers.real(1)

    def compiled(x):
        e = exp(-abs(x))
        return quotient(e, (one + e) * (one + e))

    return compiled


def relu(x: Any) -> Any:
    """max(x, 0), exact; NaN stays NaN.

    >>> float(relu(-3.0)), float(relu(2.0))
    (0.0, 2.0)
    """
    return np.maximum(_numbers(x), 0.0)


@compiles(relu, "cpu", "cuda")
def relu_compiled(numbers: Precision) -> Any:
    zero = numbers.real(0)
    return lambda x: zero if x <= zero else x


def relu_slope(x: Any) -> Any:
    """d relu(x)/dx: 1 for x > 0, 0 for x ≤ 0 (PyTorch's choice at 0), NaN for NaN.

    >>> float(relu_slope(0.0)), float(relu_slope(2.0))
    (0.0, 1.0)
    """
    return np.heaviside(_numbers(x), 0.0)


@compiles(relu_slope, "cpu", "cuda")
def relu_slope_compiled(numbers: Precision) -> Any:
    one, zero = map(numbers.real, (1, 0))

    def compiled(x):
        step = zero if x <= zero else x
        return one if x > zero else step

    return compiled
