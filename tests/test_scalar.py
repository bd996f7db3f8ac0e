"""The scalar functions against mpmath, over every magnitude that a float can have, as Python and as machine code."""

import hashlib
import os
import re
import subprocess
import sys

import llvmlite.binding
import mpmath as mp
import numpy as np
import pytest
from numba import njit

from throughtime import scalar
from throughtime.exponential import DOUBLE, SINGLE
from throughtime.scalar import sigmoid, tanh

PRECISIONS = {"float32": SINGLE, "float64": DOUBLE}
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}  # what a loop around these functions may ask for
HAS_FMA = llvmlite.binding.get_host_cpu_features().get("fma", False)

LIMITS = {
    "exp": (1.0, 4.0),
    "tanh": (2.5, 4.0),
    "sigmoid": (2.5, 4.0),
    "tanh_slope": (4.0, 8.0),
    "sigmoid_slope": (4.0, 8.0),
    "softplus": (3.0, 4.0),
}
"""name: (what the docstring promises of compiled code, what is asked of any), in units of the last place"""


def reference(name, x):
    """The function to 140 bits. Beyond ±2000 every result is the limit, in any of our types, or that of softplus, x."""
    given = mp.mpf(float(x))
    x = max(min(given, mp.mpf(2000)), mp.mpf(-2000))
    if name == "exp":
        return mp.exp(x)
    if name == "tanh":
        return mp.tanh(x)
    if name == "softplus":
        return max(given, 0) + mp.log1p(mp.exp(-abs(x)))
    e = mp.exp(-abs(x) * (2 if name == "tanh_slope" else 1))
    if name == "sigmoid":
        return (e if x < 0 else 1) / (1 + e)
    return e * (4 if name == "tanh_slope" else 1) / (1 + e) ** 2


def ulps(result, exact):
    """|result - exact| in spacings of the type at `exact`; infinity counts as the number after the largest float."""
    info = np.finfo(result.dtype)
    top = mp.ldexp(1, int(info.maxexp))
    got = mp.sign(mp.mpf(float(result))) * top if np.isinf(result) else mp.mpf(float(result))
    exact = min(exact, top)
    exponent = max(mp.frexp(abs(exact))[1] - 1 if exact else info.minexp, int(info.minexp)) - info.nmant
    return float(abs(got - exact) / mp.ldexp(1, int(exponent)))


def points(dtype):
    """Magnitudes of the whole range, the working range, subnormals, and both sides of every threshold."""
    rng = np.random.default_rng(0)
    info, numbers = np.finfo(dtype), PRECISIONS[np.dtype(dtype).name]
    tiny, largest = float(info.smallest_subnormal), float(info.max)
    magnitudes = np.exp(np.linspace(np.log(tiny), np.log(largest) * (1 - 1e-9), 500))
    subnormals = tiny * rng.integers(1, 2**info.nmant, 100)
    rounding = (rng.integers(0, -numbers.lowest / np.log(2), 100) + 0.5) * np.log(2)  # where k steps
    limits = np.log([largest, float(info.tiny)]).tolist() + [np.log(tiny), np.log(tiny) - np.log(2)]
    limits += [numbers.lowest, numbers.highest, numbers.saturated, 9.0109, 19.0615, 0.5, 1.0]
    edges = np.abs(np.concatenate([rounding, limits, np.divide(limits, 2)])).astype(dtype)
    edges = np.concatenate([edges, np.nextafter(edges, dtype(0)), np.nextafter(edges, dtype(np.inf))])
    positive = np.concatenate([magnitudes, subnormals, edges, [0.0, tiny, largest], rng.uniform(0, 3, 200)])
    spread = np.concatenate([rng.uniform(-40, 40, 600), rng.uniform(numbers.lowest, numbers.highest, 600)])
    return np.concatenate([positive, -positive, spread]).astype(dtype)


def compiled(name, **options):
    function = getattr(scalar, name)

    @njit(error_model="numpy", **options)
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    def call(x):
        out = np.empty_like(x)
        loop(x, out)
        return out

    call.loop = loop
    return call


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LIMITS)
def test_error_in_units_of_the_last_place(name, dtype):
    x = points(dtype)
    with mp.workprec(140):
        exact = [reference(name, value) for value in x]
        ways = {"compiled": compiled(name), "Python": getattr(scalar, name)}
        for (kind, call), limit in zip(ways.items(), LIMITS[name], strict=True):
            result = call(x)
            assert result.dtype == dtype
            errors = np.array([ulps(*pair) for pair in zip(result, exact, strict=True)])
            worst = np.argmax(errors)  # a NaN, if there is one
            assert errors[worst] <= limit, f"{kind} {name}({x[worst]!r}) = {result[worst]!r}: {errors[worst]:.3f} ulp"


INF, NAN = np.inf, np.nan
VALUES = {  # at -inf, inf, -0.0, 0.0, nan
    "exp": (0, INF, 1, 1, NAN),
    "tanh": (-1, 1, -0.0, 0.0, NAN),
    "tanh_slope": (0, 0, 1, 1, NAN),
    "sigmoid": (0, 1, 0.5, 0.5, NAN),
    "sigmoid_slope": (0, 0, 0.25, 0.25, NAN),
    "softplus": (0, INF, np.log(2.0), np.log(2.0), NAN),
    "relu": (0, INF, 0, 0, NAN),
    "relu_slope": (0, 1, 0, 0, NAN),
    "sin": (NAN, NAN, -0.0, 0.0, NAN),
    "cos": (NAN, NAN, 1, 1, NAN),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("call", [compiled, lambda name: getattr(scalar, name)], ids=["compiled", "Python"])
def test_values_at_infinity_zero_and_nan(name, dtype, call):
    result = call(name)(np.array([-INF, INF, -0.0, 0.0, NAN], dtype))
    off = 3 * np.finfo(dtype).eps if name == "softplus" else 0  # ln 2 is not among the floats
    np.testing.assert_allclose(result, np.array(VALUES[name], dtype), rtol=off, atol=0)
    if name in ("tanh", "sin"):
        assert list(np.signbit(result[2:4])) == [True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_is_exact(dtype):
    x = points(dtype)
    for call in compiled, lambda name: getattr(scalar, name):
        np.testing.assert_array_equal(call("relu")(x), np.where(x > 0, x, dtype(0)))
        np.testing.assert_array_equal(call("relu_slope")(x), (x > 0).astype(dtype))


@pytest.mark.parametrize("name", VALUES)
def test_types_of_numbers(name):
    function = getattr(scalar, name)
    assert {type(function(0.7)), type(function(1))} == {np.float64}
    assert isinstance(function(np.float32(0.7)), np.float32)
    assert function(np.full((2, 3), 0.7, np.float32)).shape == (2, 3)
    assert njit(lambda x: function(x))(2) == pytest.approx(function(2.0), rel=1e-15)  # a whole number: float64


@pytest.mark.parametrize("numbers", [SINGLE, DOUBLE], ids=["float32", "float64"])
def test_constants_of_the_logarithm(numbers):
    with mp.workprec(400):
        given = scalar.LOGARITHM_SINGLE if numbers is SINGLE else scalar.LOGARITHM_DOUBLE
        n, half = len(given), mp.mpf(1) / 18
        nodes = [half + half * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
        values = mp.matrix([2 * mp.hyp2f1(1, 1.5, 2.5, z) / 3 for z in nodes])  # (2 atanh(s) - 2s)/s³, z = s²
        p = mp.lu_solve(mp.matrix([[z**j for j in range(n)] for z in nodes]), values)
        assert given == tuple(float(c) for c in p)


@pytest.mark.parametrize("numbers", [SINGLE, DOUBLE], ids=["float32", "float64"])
def test_constants_are_what_the_module_says(numbers):
    with mp.workprec(400):
        half, n = mp.log(2) / 2, len(numbers.q)
        nodes = [half * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
        values = mp.matrix([mp.hyp1f1(1, 3, r) / 2 for r in nodes])  # (expm1(r) - r)/r²
        q = mp.lu_solve(mp.matrix([[r**j for j in range(n)] for r in nodes]), values)
        assert [numbers.real(c) for c in numbers.q] == [numbers.real(float(c)) for c in q]
        assert numbers.log2_e == float(1 / mp.log(2))
        assert numbers.ln2_low == float(mp.log(2) - numbers.ln2_high)
    bits = np.frexp(numbers.lowest)[1]  # room for k, so that k times ln2_high is exact
    assert (numbers.ln2_high * 2.0 ** (numbers.mantissa + 1 - bits - 1)).is_integer()


@pytest.mark.skipif(not HAS_FMA, reason="this processor has no fused multiply-add, so that LLVM keeps the loop scalar")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_loops_become_vector_instructions(dtype):
    for name in (*LIMITS, "sin", "cos"):
        call = compiled(name)
        call(np.zeros(4, dtype))
        (code,) = call.loop.inspect_llvm().values()
        assert re.search(r"call <\d+ x \w+> @llvm\.fma\.v\d+f", code), name

    @njit(error_model="numpy", fastmath=FASTMATH)
    def lstm(z):  # the pointwise part of a cell, 16 units of one scratch array
        for i in range(16):
            c = sigmoid(z[16 + i]) * z[64 + i] + sigmoid(z[i]) * tanh(z[32 + i])
            z[80 + i] = c
            z[96 + i] = sigmoid(z[48 + i]) * tanh(c)

    lstm(np.zeros(112, dtype))
    (code,) = lstm.inspect_llvm().values()
    assert "@llvm.fma.v" in code
    assert not re.search(r"call \w+ @llvm\.fma\.f\d", code), "part of the loop stayed scalar"


def digest():
    """One hash of some functions' bits, in loops with and without fastmath (which must not reach inside them)."""
    bits = hashlib.sha256()
    for dtype in np.float32, np.float64:
        x = np.linspace(-60, 60, 1201).astype(dtype)
        for name in "exp", "tanh", "sin", "cos":
            plain, fast = compiled(name)(x), compiled(name, fastmath=FASTMATH)(x)
            np.testing.assert_array_equal(plain, fast)
            bits.update(plain.tobytes())
    return bits.hexdigest()


def fresh_python(code, **environment):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])} | environment
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def test_same_bits_on_a_processor_without_fma():
    code = "import test_scalar; print(test_scalar.digest())"
    assert fresh_python(code, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == digest()


def test_import_touches_no_cuda():
    code = "import sys, throughtime.scalar; print([name for name in sys.modules if name.startswith('numba.cuda')])"
    assert fresh_python(code) == "[]"
