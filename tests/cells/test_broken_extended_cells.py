"""Cells of the extended contract that cannot be right, and what is said of each: parameters, signals, stages."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import central_differences
from throughtime.cells.base import spec
from throughtime.engine import failures
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope

GATED = {
    "forward": "        z, n = x[0] + r[0] + p[0], x[1] + r[1]\n"
    "        k = sigmoid(z)\n        return (s[0] + k * (tanh(n) - s[0]),), (z, n)",
    "backward": "        z, n = saved\n        k, dz = sigmoid(z), ds[0] * (tanh(n) - s[0]) * sigmoid_slope(z)\n"
    "        dn = ds[0] * k * tanh_slope(n)\n        return (dz, dn), (dz, dn), (ds[0] * (1.0 - k),), (dz,)",
    "stage": "        return (sigmoid(x[0] + r[0] + p[0]) * s[0],)",
    "stage_backward": "        d = da[0] * s[0] * sigmoid_slope(saved[0])\n"
    "        return (d, 0.0), (d,), (da[0] * sigmoid(saved[0]),), (d,)",
    "initial": "        return (0.5,)",
}
TAKES = {
    "forward": "cell, x, r, s, p", "backward": "cell, ds, s, s_next, saved, p", "stage": "cell, x, r, s, p",
    "stage_backward": "cell, da, s, saved, p", "initial": "cell, units, rng", "emit": "cell, s",
    "emit_slope": "cell, s",
}  # fmt: skip
STAGED = {"gates": ("z", "n"), "sends": {"h": ("z",)}, "stage": {"kept": ("n",)}, "parameters": ("shift",)}


def extended(changed=None, register=STAGED, functions=GATED):
    """A minimal gated unit in which W acts after the gate, its functions by name; None leaves one out."""
    lines = ["class Gated(NamedTuple):"]
    for name, body in (functions | (changed or {})).items():
        lines += [f"    def {name}({TAKES[name]}):", body] if body else []
    names = {"NamedTuple": NamedTuple, "tanh": tanh, "tanh_slope": tanh_slope}
    exec("\n".join(lines), names | {"np": np, "sigmoid": sigmoid, "sigmoid_slope": sigmoid_slope}, found := {})
    return tt.cell(**register)(found["Gated"])()


def examined(cell):
    """What check_cell does before anything is compiled."""
    point = central_differences.drawn(cell, spec(cell), 64, np.random.default_rng(0))
    for near, said in central_differences.neighbours(cell, 64):
        central_differences.agree(near, spec(cell), point, said)


def test_the_gated_unit_is_right():
    examined(extended())


BACK_OF_GATED = GATED["backward"]
WRONG = {
    "forgotten p": (
        {"backward": BACK_OF_GATED.replace("(dz,)", "(0.0,)")},
        r"backward is wrong: the derivative of s_next\[0\] with respect to p\[0\] \(shift\) should be .* it is 0\.",
    ),
    "the stage given twice": (
        {"backward": BACK_OF_GATED.replace("(dz, dn), (dz, dn)",
         "(dz + dn * s[0] * sigmoid_slope(z), dn), (dz + dn * s[0] * sigmoid_slope(z), dn)")},
        r"s_next\[0\] with respect to x\[0\] \(z\).*what comes by way of the stage, stage_backward gives",
    ),
    "the stage's gradient of r alone": (
        {"stage_backward": GATED["stage_backward"].replace("return (d, 0.0)", "return (0.0, 0.0)")},
        r"stage_backward is wrong: .* of the stage's signal \[0\] with respect to x\[0\] \(z\)",
    ),
    "the stage's gradient of s": (
        {"stage_backward": GATED["stage_backward"].replace("(da[0] * sigmoid(saved[0]),)", "(0.0,)")},
        r"stage_backward is wrong: .* with respect to s\[0\]",
    ),
    "the stage's gradient of p": (
        {"stage_backward": GATED["stage_backward"].replace(", (d,)\n", "").replace("[0]),), (d,)", "[0]),), (0.0,)")},
        r"stage_backward is wrong: .* with respect to p\[0\] \(shift\)",
    ),
    "no factor da": (
        {"stage_backward": GATED["stage_backward"].replace("da[0] * s[0]", "(da[0] * s[0] + 0.1 * da[0] * da[0])")},
        r"stage_backward",
    ),
    "no factor dp": ({"backward": BACK_OF_GATED.replace("(dz,)", "(dz * dz,)")}, r"backward .*p\[0\] \(shift\)"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "match"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_in_the_extended_contract(changed, match):
    with pytest.raises(ValueError, match=rf"Gated\.{match}" if match[0] != "s" else match):
        examined(extended(changed))


STARTS = {
    "        return (0.5, 0.1)": (TypeError, r"returned tuple of 2; expected 1 arrays \(64,\) or numbers, of shift"),
    "        return 0.5": (TypeError, r"returned 0\.5 \(float\); expected 1 arrays"),
    "        return ([0.1, 0.2],)": (ValueError, r"returned for shift .*; expected 1 arrays \(64,\)"),
    "        return (float('nan'),)": (ValueError, r"returned for shift numbers that are not finite"),
}


@pytest.mark.parametrize(("body", "said"), STARTS.items(), ids=range(len(STARTS)))
def test_how_parameters_start(body, said):
    with pytest.raises(said[0], match=rf"`Gated\.initial\(cell, units, rng\)` {said[1]}"):
        tt.check_cell(extended({"initial": body}))


REFUSED = {
    "no dp": ({"backward": BACK_OF_GATED.removesuffix(", (dz,)")}, STAGED, r"Gated\.backward` must .*ds_prev, dp"),
    "no dp of the stage": (
        {"stage_backward": GATED["stage_backward"].removesuffix(", (d,)")}, STAGED, r"stage_backward` .*dx, dr, ds, dp",
    ),
    "all of r in the stage's": (
        {"stage_backward": GATED["stage_backward"].replace("(d,), (da", "(d, 0.0), (da")}, STAGED, r"stage_backward`",
    ),
    "a stage that reads what it makes": ({"stage": "        return (r[1] * s[0],)"}, STAGED, r"stage` .*IndexError"),
    "a number for the signals": ({"stage": "        return s[0]"}, STAGED, r"Gated\.stage` must return its signals"),
    "no stage": ({"stage": None}, STAGED, r"signals of a stage \(kept\) and needs `stage\(cell, x, r, s\)`"),
    "no signals of it": ({}, STAGED | {"stage": None, "sends": None}, r"`Gated` has `stage`, but no signals"),
    "initial without parameters": (
        {name: GATED[name] for name in ("initial",)}, {"gates": 2}, r"`stage`|`initial`, but no parameters",
    ),
    "no p": ({}, STAGED | {"parameters": ()}, r"has `initial`, but no parameters: write `@tt\.cell\(…, parameters="),
    "one signal for two": (
        {"emit": "        return s[0]", "emit_slope": "        return ((1.0,), (0.0,))"},
        STAGED | {"sends": {"h": ("z",), "k": ("z",)}}, r"Gated\.emit` must return a number for each signal",
    ),
    "slopes of one signal": (
        {"emit": "        return s[0], 2.0 * s[0]", "emit_slope": "        return (1.0,)"},
        STAGED | {"sends": {"h": ("z",), "k": ("z",)}}, r"emit_slope` must return for each signal one slope",
    ),
    "more signals than states": ({}, STAGED | {"sends": {"h": ("z",), "k": ("z",)}}, r"2 signals and has 1 states"),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "register", "match"), REFUSED.values(), ids=REFUSED.keys())
def test_registration_of_the_extended_contract(changed, register, match):
    with pytest.raises(TypeError, match=match):
        extended(changed, register)


def test_a_slope_of_the_second_signal():
    changed = {"emit": "        return s[0], 2.0 * s[0]", "emit_slope": "        return (1.0,), (1.0,)"}
    with pytest.raises(ValueError, match=r"Gated\.emit_slope is wrong: the slope of its signal k .* should be 2"):
        examined(extended(changed, STAGED | {"sends": {"h": ("z",), "k": ("z",)}}))


def test_what_does_not_compile_in_a_stage_is_named():
    cell = extended({"stage": "        return (np.clip(sigmoid(x[0] + r[0] + p[0]), 0.0, 1.0) * s[0],)"})
    with pytest.raises(ValueError, match=r"`Gated\.stage` cannot be compiled"):
        failures.examine(spec(cell), np.dtype("float64"))
    wide = extended({"stage": "        return ((1 - sigmoid(x[0] + r[0] + p[0])) * s[0],)"})
    with pytest.raises(ValueError, match=r"Gated\.stage .*integer literal"):
        failures.widened(spec(wide))
    raising = extended({"stage_backward": "        assert da[0] < 1e9\n" + GATED["stage_backward"]})
    with pytest.raises(ValueError, match=r"`Gated\.stage_backward` cannot be compiled.*asserts"):
        failures.look(spec(raising))


def test_a_field_forgotten_for_arrays_of_values():
    """Right for one value for all units, and wrong where each has its own."""
    functions = {
        "forward": "        return (x[0] + r[0] + cell.a * s[0],), ()",
        "backward": "        return ds, ds, (float(np.mean(cell.a)) * ds[0],)",
    }
    body = "\n".join(f"    def {name}({TAKES[name].removesuffix(', p')}):\n{text}" for name, text in functions.items())
    exec(f"class Gated(NamedTuple):\n    a: float = 0.5\n{body}", {"NamedTuple": NamedTuple, "np": np}, found := {})
    cell = tt.cell()(found["Gated"])()
    with pytest.raises(ValueError, match=r"Gated\.backward .*s\[0\].*field arrays of a, a value for each"):
        examined(cell)
