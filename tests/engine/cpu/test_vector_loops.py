"""The mathematics of a block of units is packed arithmetic, seen in LLVM's own words, whatever the cell does."""

from __future__ import annotations

import re
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
import pytest

import throughtime as tt
from throughtime import jit
from throughtime.cells.base import spec
from throughtime.engine.cpu import build
from throughtime.engine.cpu.register_tile import lanes

pytestmark = pytest.mark.skipif(
    not llvm.get_host_cpu_features().get("fma", False), reason="without fused multiply-add LLVM calls a function for it"
)
PLAIN = "forward_block", "backward_block", "tangent_block", "apply_block"
STAGES = "stage_block", "stage_backward_block", "stage_tangent_block", "stage_apply_block"
WORKS = r"= (?:tail )?(?:fmul|fadd|fsub|fdiv|call)\b.*?"


class Own(NamedTuple):
    """A cell as a user writes it: a loop, a choice, functions of tt.scalar."""

    rate: float = 0.5

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        for _ in range(2):
            u = u * cell.rate + tt.scalar.tanh(u)
        h = tt.scalar.sigmoid(u) if u > 0 else u
        return (h,), (x[0] + r[0],)

    def backward(cell, ds, s, s_next, saved):
        u = saved[0]
        slope = 1.0 + 0.0 * u
        for _ in range(2):
            slope *= cell.rate + tt.scalar.tanh_slope(u)
            u = u * cell.rate + tt.scalar.tanh(u)
        du = (ds[0] * slope * (tt.scalar.sigmoid_slope(u) if u > 0 else 1.0),)
        return du, du, (0.0,)


def words(cell, dtype, name):
    """A function of pointwise.py for a cell, optimised, as LLVM's text; compiled here and now."""
    record = spec(type(cell))
    kernels = build.Kernels(record, np.dtype(dtype), bool(record.parameters))
    kernels._address(name)
    return jit._kept[-1].inspect_llvm()


def packed_and_not(text, dtype):
    """Arithmetic on vectors of the machine's width, and on single numbers."""
    kind = {"float32": "float", "float64": "double"}[dtype]
    one = re.findall(rf"{WORKS} {kind} (?:%|@llvm|0x|[-0-9])[^\n]*", text)
    many = re.findall(rf"{WORKS}<{lanes(np.dtype(dtype))} x {kind}>[^\n]*", text)
    return len(many), one


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["tanh", "relu", "sigmoid", "euler_tanh", "gru", "lstm", "cho_gru", "lru", "own"])
def test_all_is_packed(name, dtype, monkeypatch):
    monkeypatch.setattr(jit, "_kept_code", lambda function: None)
    cell = tt.cell()(Own)() if name == "own" else tt.Network(name, 1, 1).cell
    # what relu hands on is a choice, which is no arithmetic
    for function in (*PLAIN, *(STAGES if name == "cho_gru" else ())):
        many, one = packed_and_not(words(cell, dtype, function), dtype)
        assert not one, f"{function}: {one[:3]}"
        assert many or (name, function) == ("relu", "tangent_block"), function


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_the_wish_it_would_show(dtype, monkeypatch):
    """A test of the test: left alone, such a loop is written out, if not that of every cell."""
    monkeypatch.setattr(jit, "_kept_code", lambda function: None)
    cell, function = tt.Network("rate", 1, 1).cell, "backward_block"
    monkeypatch.setattr("throughtime.engine.cpu.vector_loops._closing", lambda function: ())
    _, one = packed_and_not(words(cell, dtype, function), dtype)
    assert one
