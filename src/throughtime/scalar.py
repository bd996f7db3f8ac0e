"""The scalar functions of which cells are written: exp, tanh, logistic, softplus, rectifier, slopes, sine, cosine.

Each is a plain Python function of a float or an array of floats and returns the type that it was given. Called from
compiled code it is something else: straight-line arithmetic that turns into vector instructions inside a loop on the
CPU, and the device's own `exp` and `tanh` in a CUDA kernel.

Slopes take the pre-activation. `1 - tanh(x)**2` is exactly 0 for x > 19 (9 in float32), and the logarithm of a zero
slope puts minus infinity into a Lyapunov spectrum; 4e/(1+e)² with e = exp(-2|x|) keeps every digit.

The exponential itself is in exponential.py, sine and cosine in circular.py. Errors are those measured against mpmath
for compiled code, in units of the result's last place. Outside it they are NumPy's, up to half again as large.
"""

import math
from typing import Any

import numpy as np

from .circular import cos_cpu, sin_cpu
from .exponential import OPTIONS, Precision, compiles, split_exponential
from .jit import overload
from .refuse import room

__all__ = [
    "cos", "exp", "quotient", "relu", "relu_slope", "sigmoid", "sigmoid_slope", "sin", "softplus", "tanh", "tanh_slope",
]  # fmt: skip


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


def softplus(x: Any) -> Any:
    """ln(1 + e^x), within 3 ulp; its slope is sigmoid(x), and ln sigmoid(x) is -softplus(-x).

    >>> float(softplus(0.0)), float(softplus(1000.0)), bool(softplus(-700.0) > 0)
    (0.6931471805599453, 1000.0, True)
    """
    x = _numbers(x)
    return np.maximum(x, 0.0) + np.log1p(exp(-np.abs(x)))


@compiles(softplus, "cpu")
def softplus_cpu(numbers: Precision) -> Any:
    """ln(1 + y) = y - s (y - s² p(s²)) with s = y/(2 + y) <= 1/3: 2 atanh(s) of which s alone is taken apart."""
    two = numbers.real(2)
    if numbers.real == np.float32:
        a, b, c, d, e = map(numbers.real, LOGARITHM_SINGLE)

        def single(x):
            y = exp(-abs(x))
            s = y / (two + y)
            z = s * s
            p = (((e * z + d) * z + c) * z + b) * z + a
            return relu(x) + (y - s * (y - z * p))

        return single
    a, b, c, d, e, f, g, h, i, j = map(numbers.real, LOGARITHM_DOUBLE)

    def double(x):
        y = exp(-abs(x))
        s = y / (two + y)
        z = s * s
        p = ((((((((j * z + i) * z + h) * z + g) * z + f) * z + e) * z + d) * z + c) * z + b) * z + a
        return relu(x) + (y - s * (y - z * p))

    return double


@compiles(softplus, "cuda")
def softplus_cuda(numbers: Precision) -> Any:
    return lambda x: relu(x) + math.log1p(math.exp(-abs(x)))


# (2 atanh(s) - 2s)/s³ by powers of s², through the Chebyshev nodes of s² from 0 to 1/9: off by 1e-16 and 1e-8, of which
# the logarithm sees a twentieth.
LOGARITHM_DOUBLE = (
    0.6666666666666666, 0.40000000000014585, 0.2857142856710876, 0.22222222717427864, 0.18181789436132859,
    0.15385570064958623, 0.13314144209654935, 0.12001072809590713, 0.08800738486144674, 0.1616404561194353,
)  # fmt: skip
LOGARITHM_SINGLE = (
    0.6666666732052742,
    0.3999970633192972,
    0.28592357994302836,
    0.21706575800880373,
    0.2322432922402335,
)


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


def sin(x: Any) -> Any:
    """sin x of x in radians, within 1 ulp; NaN for |x| ≥ 2^45 = 3.5e13 in compiled code on the CPU. sin(-0.0) is -0.0.

    >>> float(sin(0.0)), float(sin(np.pi / 2))
    (0.0, 1.0)
    """
    with np.errstate(invalid="ignore"):
        return np.sin(_numbers(x))


def cos(x: Any) -> Any:
    """cos x of x in radians, within 1 ulp; NaN for |x| ≥ 2^45 = 3.5e13 in compiled code on the CPU. d sin(x)/dx.

    >>> float(cos(0.0)), float(cos(np.pi))
    (1.0, -1.0)
    """
    with np.errstate(invalid="ignore"):
        return np.cos(_numbers(x))


compiles(sin, "cpu")(sin_cpu)
compiles(cos, "cpu")(cos_cpu)
compiles(sin, "cuda")(lambda numbers: lambda x: math.sin(x))
compiles(cos, "cuda")(lambda numbers: lambda x: math.cos(x))
