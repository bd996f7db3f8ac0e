"""A pass over time is one file and one line: what a new one takes, and what is refused where something is forgotten."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from test_loops import T, close, draw, on_gpu

from throughtime.engine.cuda import compiler, device
from throughtime.engine.cuda.kernel_names import BLOCKS, ROWS, STATES, UNITS, N, arrive, emit, position, wait
from throughtime.engine.cuda.pass_kernels import Pass
from throughtime.engine.cuda.passes import PASSES
from throughtime.engine.cuda.register_arrays import read, write
from throughtime.engine.cuda.thread_exchange import side_by_side


class SumSizes(NamedTuple):
    batch: int
    per: int
    s_at: int
    s_row: int
    first: int = 0


def total(cell, states, out, lengths, arrivals, sizes):
    """out[b, unit] = the sum over time of what the unit sends."""
    size = SumSizes(*sizes)
    lane, group, net, row0, rows = position(size.first, size.per)
    unit, b = group * UNITS + lane % UNITS, net * size.per + row0 + lane // UNITS
    side_by_side(BLOCKS)
    if lane // UNITS < min(rows, ROWS) and unit < N:
        found = states.dtype.type(0)
        for t in range(1, lengths[b] + 1):
            found += emit(cell, read(states, size.s_at + (t * size.batch + b) * size.s_row + unit, N, STATES))[0]
        write(out, b * N + unit, 1, (found,))
    wait(arrivals, arrive(arrivals))


def example(layer):
    run(layer)


TOTAL = Pass(total, example)


def run(layer):
    out = device.empty(layer.batch * layer.units, layer.states.dtype)
    sizes = SumSizes(batch=layer.batch, per=layer.per, s_at=layer.offset, s_row=layer.size)
    layer.run(TOTAL, layer.plan(TOTAL), (layer.states.reshape(-1), out, layer.lengths), sizes)
    return out


@pytest.mark.parametrize("cell", ["lstm", "rate"])
def test_a_new_pass(cell, schedule):
    p = draw(cell, 5, 2, 2, [T, 2, 1, 0], "float64")
    layer = on_gpu(p, False)
    sent = device.to_host(layer.sent_at_all_times())
    alive = np.arange(1, T + 1)[:, None, None] <= p.lengths[:, None]
    close(p, run(layer), np.where(alive, sent[1:], 0).sum(0).reshape(-1), "sums")


@pytest.mark.parametrize("each", PASSES, ids=lambda each: each.kernel.__name__)
def test_an_example_launches_its_pass(each, monkeypatch):
    layer, launched = on_gpu(draw("lstm", 3, 1, 1, None, "float64"), False), []
    monkeypatch.setattr(device, "launch", lambda kernel, *_: launched.append(kernel.fn.__name__))
    each.example(layer)
    assert each.kernel.__name__ in launched


def test_a_name_that_is_forgotten():
    names = dict.fromkeys(("position", "emit", "wait", "N", "STATES", "UNITS", "ROWS", "BLOCKS"), 1)
    with pytest.raises(TypeError, match="total is compiled without a value for arrive"):
        compiler.kernel(total, "test", names, 32)
    with pytest.raises(TypeError, match="compiled without a value for"):
        compiler.part(total, "test", {})
