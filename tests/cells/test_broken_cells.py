"""Cells that cannot be right, and what is said of each: by @tt.cell, by check_cell, and by the first run of a network.

Never a page of Numba's own: one ValueError or TypeError that names the function, the line, and what to write.
"""

from __future__ import annotations

import linecache
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import scipy.special  # noqa: F401  named in the cells' text
from numba import njit

import throughtime as tt
from throughtime.cells.base import spec
from throughtime.engine import failures
from throughtime.scalar import tanh, tanh_slope


def plain_helper(u):
    return np.tanh(u)


@njit
def compiled_helper(u):
    return 1.0 / (1.0 + u * u)


@njit
def raising_helper(u):
    if u > 100.0:
        raise ValueError("too large")
    return u


@njit
def calls_clip(u):
    return np.clip(u, -1.0, 1.0)


@njit
def printing_helper(u):
    print(u)
    return u


class Counts:
    k = 2.0


LIST, ARRAY, DICT, NUMBER, PAIR, WHOLE = [1.0, 2.0], np.array([1.0, 2.0]), {"a": 1.0}, 2.0, (1.0, 2.0), 2
WHOLES, HALF = np.array([1, 2]), Fraction(1, 2)
HEAD = "class Made(NamedTuple):\n    a: float = 1.0\n"
STEP = "    def forward(cell, x, r, s):\n        u = x[0] + r[0]\n"
BACK = "    def backward(cell, ds, s, s_next, saved):\n        d = (ds[0],)\n        return d, d, (0.0,)\n"
METHOD = "    def phi(cell, u):\n        return u\n    K = 2.0\n"
_count = 0


def made(lines, back=BACK, **register):
    """A cell whose forward goes on with `lines`; its text can be read, as that of a cell in a file."""
    global _count
    _count += 1
    if not lines.startswith(" "):
        lines = f"        return ({lines},), (u,)\n"
    text, path = HEAD + STEP + lines + back + METHOD, f"<cell {_count}>"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    names = dict(globals())
    exec(compile(text, path, "exec"), names)
    return tt.cell(**register)(names["Made"])()


# what a line of forward is, and what the sentence has to say
BROKEN = {
    "plain helper": ("plain_helper(u)", r"`plain_helper` is a plain Python function; put the decorator @numba\.njit"),
    "clip": ("np.clip(u, -1.0, 1.0)", r"`np\.clip` .*write min\(max\(u, -1\.0\), 1\.0\)"),
    "erf": ("scipy.special.erf(u)", r"`scipy\.special\.erf` .*write math\.erf\(u\)"),
    "heaviside": ("np.heaviside(u, 0.0)", r"np\.heaviside.*relu_slope"),
    "list": ("u * LIST[0]", r"`LIST` is a list outside the cell; make it a field"),
    "object": ("u * HALF", r"`HALF` is an object of type Fraction; write its numbers as a float"),
    "class": ("u * Counts.k", r"`Counts` is a class; write its numbers"),
    "print": ("        print(u)\n        return (u,), (u,)\n", r"line 5, `print\(u\)`: `forward` prints"),
    "print in a helper": ("printing_helper(u)", r"`printing_helper` prints"),
    "dict": ("u * DICT['a']", r"`DICT` is a dict outside the cell"),
    "method": ("cell.phi(u)", r"`cell\.phi` is not a field"),
    "class constant": ("u * cell.K", r"`cell\.K` is not a field"),
    "sum": ("x[0].sum()", r"in line 5, `return \(x\[0\]\.sum\(\),\), \(u,\)`"),
    "generator": ("sum(v for v in x)", r"cannot be compiled"),
    "text": ("float(f'{u}')", r"cannot be compiled"),
    "None in one branch": ("u if u > 0.0 else None", r"of 1, 1 real numbers"),
    "raise": ("        if u > 100.0:\n            raise ValueError\n        return (u,), (u,)\n", r"line 6.*raises an"),
    "raise in a helper": ("raising_helper(u)", r"`raising_helper` raises an error"),
    "assert": ("        assert u < 100.0\n        return (u,), (u,)\n", r"asserts"),
    "try": (
        "        try:\n            v = 1.0 / u\n        except ZeroDivisionError:\n            v = 0.0\n"
        "        return (v,), (u,)\n",
        r"has a `try` block",
    ),
    "with": ("        with np.errstate():\n            u = 1.0 * u\n        return (u,), ()\n", r"`with` block"),
    "import": ("        import math\n        return (math.tanh(u),), (u,)\n", r"imports a module"),
    "global": ("        global NUMBER\n        NUMBER = 1.0\n        return (u,), (u,)\n", r"sets a global"),
    "list returned": ("        return (u,), tuple([u])\n", r"it makes a list"),
    "saved by a field": (
        "        if cell.a == 1.0:\n            return (u,), (u,)\n        return (u,), ()\n",
        r"in one branch than in another",
    ),
    "saved by a branch": (
        "        if u > 0.0:\n            return (u,), (u,)\n        return (u,), (u, u)\n",
        r"in one branch than in another",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "match"), BROKEN.values(), ids=BROKEN.keys())
def test_a_network_says_why_its_cell_does_not_compile(lines, match):
    cell = made(lines)
    with pytest.raises(ValueError, match=rf"`Made\.forward` .*{match}") as caught:
        tt.Network(cell, 1, 2, seed=0).unroll(np.ones((2, 1)))
    assert "numba.core" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["plain helper", "saved by a field", "raise"])
def test_check_cell_and_the_kernels_say_the_same(name):
    lines, match = BROKEN[name]
    cell = made("plain_helper(u) - np.tanh(u) + u" if name == "plain helper" else lines)  # whose derivative is right
    with pytest.raises(ValueError, match=match):
        tt.check_cell(cell)
    with pytest.raises(ValueError, match=match):
        tt.kernels.of(tt.Network(cell, 1, 2, seed=0))


def test_backward_and_emit_are_named():
    back = BACK.replace("(ds[0],)", "(ds[0] * np.clip(1.0, 0.0, 2.0),)")
    run = tt.Network(made("u", back), 1, 2, seed=0).unroll(np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"`Made\.backward` cannot be compiled, in line 7.*np\.clip"):
        run.backprop(np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"`Made\.backward` cannot be compiled"):
        run.jacobian(1)
    emit = "    def emit(cell, s):\n        return plain_helper(s[0])\n"
    emit += "    def emit_slope(cell, s):\n        return (1.0,)\n"
    with pytest.raises(ValueError, match=r"`Made\.emit` cannot be compiled, in line 10.*`plain_helper`"):
        tt.Network(made("u", BACK + emit), 1, 2, seed=0).unroll(np.ones((2, 1)))


# ---- what the decorator says ---------------------------------------------------------------------
REGISTERED = {
    "a tuple for a number": ("tanh(x)", r"`Made\.forward` must return .*saved\[0\]"),
    "where": ("np.where(u > 0.0, u, 0.0)", r"must return .*np\.where"),
    "complex": ("u * 1j", r"must return"),
    "an index too far": ("x[2]", r"`Made\.forward` fails for ordinary numbers, in line 5, .*IndexError"),
    "a name from nowhere": ("nowhere(u)", r"NameError.* What a cell uses stands above it"),
    "clip in a helper": ("calls_clip(u)", r"in line 5, .* does not compile by itself; it uses `clip`"),
    "no field": ("u * cell.gain", r"AttributeError"),
    "range of a field": ("        for k in range(cell.a):\n            u += 0.5\n        return (u,), ()\n", "integer"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "match"), REGISTERED.values(), ids=REGISTERED.keys())
def test_registration_says_what_plain_python_shows(lines, match):
    with pytest.raises(TypeError, match=match):
        made(lines)


@pytest.mark.parametrize("wrong", ["ds[0] * tanh_slope(saved)", "ds * saved[0]"])
def test_saved_for_its_first_number(wrong):
    with pytest.raises(TypeError, match=r"`Made\.backward` .*saved\[0\]"):
        made("u", BACK.replace("(ds[0],)", f"({wrong},)"))


@pytest.mark.parametrize("arguments", ["cell, x, r", "cell, x, r, s, k=1.0", "cell, x, r, s, *, k=1.0", "cell, *rest"])
def test_a_cell_function_takes_what_it_is_given(arguments):
    class Odd(NamedTuple):
        pass

    exec(f"def forward({arguments}):\n    return (1.0,), ()\nOdd.forward = forward", {"Odd": Odd})
    Odd.backward = lambda cell, ds, s, s_next, saved: (ds, ds, ds)
    with pytest.raises(TypeError, match=r"`Odd\.forward` takes .*write `def forward\(cell, x, r, s\):`"):
        tt.cell()(Odd)


def test_a_decorated_function_is_refused():
    class Odd(NamedTuple):
        pass

    Odd.forward = njit(lambda cell, x, r, s: ((x[0],), ()))
    Odd.backward = lambda cell, ds, s, s_next, saved: (ds, ds, ds)
    with pytest.raises(TypeError, match=r"`Odd\.forward` is an object of type CPUDispatcher; write a plain function"):
        tt.cell()(Odd)


def test_fields_without_a_default_are_tried_within_their_domain():
    """One half divides by zero here, and the others are found."""

    @tt.cell()
    class Domain(NamedTuple):
        power: float

        def forward(cell, x, r, s):
            return (x[0] + r[0] + math.sqrt(cell.power - 1.0),), ()

        def backward(cell, ds, s, s_next, saved):
            return ds, ds, (0.0,)

    run = tt.Network(Domain(5.0), 1, 1, bias=False, seed=0).unroll(np.zeros((1, 1)))
    assert run.states[1] == 2.0


def test_what_is_no_instance_with_numbers():
    cls = type(made("u"))
    with pytest.raises(TypeError, match=r"is the class Made; pass an instance: tt\.check_cell\(Made\(\)\)"):
        tt.check_cell(cls)
    for value in ("fast", None, True, 1j):
        with pytest.raises(TypeError, match=r"The field `a` of the cell Made is .*real number, or an array \(N,\)"):
            tt.check_cell(cls(value))
    for value in (np.ones((4, 4)), [], np.array([1.0, np.nan])):
        with pytest.raises(ValueError, match=r"`a` of the cell `Made` h(as shape|olds nan)"):
            tt.check_cell(cls(value))


# ---- float32 stays float32, as compiled code tells -----------------------------------------------
NARROW = ["u * ARRAY[0]",
          "u**2", "1.0 - np.tanh(u)**2", "u * NUMBER", "u * PAIR[1]", "compiled_helper(u)", "min(max(u, -1.0), 1.0)",
          "(lambda v: v * 2.0)(u)", "u if u > 0.0 else 0.0", "u**0.5", "abs(u)"]  # fmt: skip
WIDE = {
    "1 - u": r"integer literal.*line 5.*write 1\.0 for 1 ",
    "2 * u**2": r"integer literal.*write 2\.0 for 2 ",
    "u / 2": r"write 2\.0 for 2 ",
    "max(u, 0)": r"write 0\.0 for 0 ",
    "u * WHOLE": r"write 2\.0 for 2 ",
    "u * math.pi": r"`pi` is a float64; write 3\.14159",
    "u * WHOLES[0]": r"a whole number meets float32 there",
    "u + 0.5 * round(u)": r"write .*np\.rint\(u\) for .*round\(u\)",
}


@pytest.mark.parametrize("lines", NARROW)
def test_what_stays_in_float32_is_not_blamed(lines):
    failures.widened(spec(made(lines)))


@pytest.mark.parametrize("lines", WIDE)
def test_what_leaves_float32_is_named(lines):
    with pytest.raises(ValueError, match=rf"Made\.forward .*{WIDE[lines]}"):
        failures.widened(spec(made(lines)))


def test_noise_inside_a_cell_is_named():
    with pytest.raises(ValueError, match=r"Made\.forward gives other numbers .* net\.unroll\(x \+ noise\)"):
        tt.check_cell(made("u + 0.01 * np.random.normal()"))


def test_a_power_is_not_an_integer_literal():
    """1.0 - tanh(u)**2 takes float32 to float32: no word about it."""

    @tt.cell()
    class Power(NamedTuple):
        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (np.tanh(u),), (u,)

        def backward(cell, ds, s, s_next, saved):
            du = (ds[0] * (1.0 - np.tanh(saved[0]) ** 2),)
            return du, du, (0.0,)

    assert "is right" in tt.check_cell(Power())


# ---- facts about all instances -------------------------------------------------------------------
@tt.cell()
class Gain(NamedTuple):
    """h' = tanh(gain·x + r): dx and dr are one tuple for gain = 1 only."""

    gain: float = 1.0

    def forward(cell, x, r, s):
        u = cell.gain * x[0] + r[0]
        return (tanh(u),), (u,)

    def backward(cell, ds, s, s_next, saved):
        d = (ds[0] * tanh_slope(saved[0]),)
        if cell.gain == 1.0:
            return d, d, (0.0,)
        return (cell.gain * d[0],), d, (0.0,)


def test_dx_and_dr_are_one_where_the_code_says_so():
    assert not spec(Gain).shared
    assert all(
        spec(tt.CELLS[name]).shared for name in ("tanh", "relu", "linear", "sigmoid", "leaky_tanh", "rate", "lstm")
    )
    assert not spec(tt.GRU).shared


def test_gradients_of_a_cell_that_branches_on_a_field():
    assert "is right" in tt.check_cell(Gain())
    x = np.random.default_rng(0).normal(size=(4, 2))
    net = tt.Network(Gain(2.0), 2, 3, seed=0)
    found = net.unroll(x).backprop(np.ones((4, 3))).parameters["weight_ih_l0"]
    for place in np.ndindex(found.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = tt.Network(Gain(2.0), 2, 3, seed=0)
            moved.parameters["weight_ih_l0"][place] += step
            ends.append(moved.unroll(x).output.sum())
        assert found[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-8)  # rounding 1e-16 / 1e-6, and h²


def test_check_cell_tries_other_fields():
    """Right at the default alone: the sentence says where it is wrong."""

    @tt.cell()
    class Forgets(NamedTuple):
        gain: float = 1.0

        def forward(cell, x, r, s):
            u = cell.gain * x[0] + r[0]
            return (tanh(u),), (u,)

        def backward(cell, ds, s, s_next, saved):
            d = (ds[0] * tanh_slope(saved[0]),)
            return d, d, (0.0,)

    with pytest.raises(ValueError, match=r"Forgets\.backward .*x\[0\].*with the field gain=0\.5"):
        tt.check_cell(Forgets())


def test_check_cell_compares_the_compiled_step():
    """A cell that is another in compiled code is not praised."""

    @tt.cell()
    class Kinds(NamedTuple):
        """Twice u for an array, which plain Python is given here, and u for a number, which compiled code has."""

        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (u if isinstance(u, float) else 2.0 * u,), ()

        def backward(cell, ds, s, s_next, saved):
            d = (2.0 * ds[0],)
            return d, d, (0.0,)

    with pytest.raises(ValueError, match=r"Kinds compiled is not what it is in plain Python: .*the states differ by"):
        tt.check_cell(Kinds())
