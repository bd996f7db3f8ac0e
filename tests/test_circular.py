"""Sine and cosine against mpmath: angles of every size, and those next to a multiple of a quarter turn."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from test_scalar import compiled, ulps

from throughtime import circular, scalar

BOTH = pytest.mark.parametrize("name", ["sin", "cos"])
DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])
HARDEST = 6381956970095103.0  # times 2^797 it is the float64 nearest to a multiple of pi/2, of all there are


def angles(dtype):
    rng, tiny = np.random.default_rng(0), np.log(float(np.finfo(dtype).smallest_subnormal))
    sizes = np.exp(rng.uniform(tiny, np.log(circular.HIGHEST), 1500)) * rng.choice([-1, 1], 1500)
    quarters = np.concatenate([np.arange(1, 300), rng.integers(1, 2**44, 800), rng.integers(1, 2**20, 300)]) * np.pi / 2
    few = [0.0, 1.0, np.nextafter(circular.HIGHEST, 0), 0.25 * np.pi, *np.ldexp(HARDEST, np.arange(-60, -10))]
    x = np.concatenate([rng.uniform(-10, 10, 1500), sizes, quarters, quarters / 2, few]).astype(dtype)
    x = np.concatenate([x, np.nextafter(x, dtype(0)), np.nextafter(x, dtype(np.inf))])
    return x[np.abs(x) < circular.HIGHEST]


@DTYPE
@BOTH
def test_within_one_unit_of_the_last_place(name, dtype):
    x = angles(dtype)
    result = compiled(name)(x)
    assert result.dtype == dtype
    with mp.workprec(300):
        errors = [ulps(*pair) for pair in zip(result, (getattr(mp, name)(mp.mpf(float(a))) for a in x), strict=True)]
    worst = np.argmax(errors)
    assert errors[worst] <= 1.0, f"{name}({x[worst]!r}) = {result[worst]!r}: {errors[worst]:.3f} ulp"


@DTYPE
@BOTH
def test_symmetry_and_beyond_the_last_angle(name, dtype):
    x, call = angles(dtype), compiled(name)
    sign = -1 if name == "sin" else 1
    np.testing.assert_array_equal(call(-x), sign * call(x))
    last = dtype(circular.HIGHEST)
    assert np.isfinite(call(np.array([np.nextafter(last, dtype(0))])))
    assert np.isnan(call(np.array([last, -last, np.finfo(dtype).max], dtype))).all()
    assert np.isfinite(getattr(scalar, name)(last)), "outside compiled code there is no last angle"


def test_constants_are_what_the_module_says():
    with mp.workprec(400):
        half_pi, rest = mp.pi / 2, mp.mpf(0)
        for part in circular.HALF_PI:
            assert part == float(half_pi - rest)
            rest += mp.mpf(part)
        assert float(2 / mp.pi) == circular.TWO_OVER_PI
        made = {
            "SINE": lambda z: (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z,
            "COSINE": lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        }
        half = mp.mpf("0.32")
        for (name, function), ending in ((item, end) for item in made.items() for end in ("", "_SINGLE")):
            given = getattr(circular, name + ending)
            n = len(given)
            nodes = [half + half * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
            values = mp.matrix([function(z) for z in nodes])
            found = mp.lu_solve(mp.matrix([[z**j for j in range(n)] for z in nodes]), values)
            assert given == tuple(float(c) for c in found), name + ending
