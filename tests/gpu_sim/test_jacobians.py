"""The Jacobians of the GPU against finite differences of the cells' own forward functions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from throughtime.cells import CELLS, spec
from throughtime.engine.cuda import jacobians
from throughtime.engine.cuda.device import to_device, to_host


def step(cell, x, w_hh, s, nets):
    """One step of K networks, x (B, G*N) and s (B, S*N): the next states and what was saved, (B, saved, N)."""
    record, units = spec(cell), w_hh.shape[2]

    def split(a, count):
        return tuple(a[:, k * units : (k + 1) * units] for k in range(count))

    own = split(s, record.states)
    sent = cell.emit(own) if record.emits else own[0]
    r = np.einsum("kgn,kbn->kbg", w_hh, sent.reshape(nets, -1, units)).reshape(x.shape)
    s_next, saved = cell.forward(split(x, record.gates), split(r, record.gates), own)
    return np.concatenate(s_next, 1), np.array(saved).reshape(record.saved, len(x), units).swapaxes(0, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "nets", "units"), [("tanh", 1, 18), ("lstm", 2, 5), ("gru", 1, 3), ("rate", 3, 4)])
def test_jacobians(name, nets, units, dtype):
    rng = np.random.default_rng(0)
    cell, offset = CELLS[name](), 2
    record, per, steps = spec(cell), 2, 3
    batch, size = nets * per, record.states * units
    w_hh = rng.normal(size=(nets, record.gates * units, units)) / np.sqrt(units)
    x = rng.normal(size=(steps, batch, record.gates * units))
    states = np.full((steps + 1, batch, offset + size + 1), np.nan)
    states[0, :, offset : offset + size] = rng.normal(size=(batch, size))
    saved = np.empty((steps, batch, record.saved, units))
    for t in range(steps):
        s_next, saved[t] = step(cell, x[t], w_hh, states[t, :, offset : offset + size], nets)
        states[t + 1, :, offset : offset + size] = s_next
    lengths = np.full(batch, steps)
    lengths[-1] = 2
    layer = SimpleNamespace(
        cell=cell, fields=type(cell)(*(dtype(value) for value in cell)), record=record, units=units, batch=batch,
        per=per, offset=offset, size=states.shape[2], parameters=(None, to_device(w_hh.astype(dtype))),
        states=to_device(states.astype(dtype)), saved=to_device(saved.astype(dtype).reshape(-1)),
        lengths=to_device(lengths),
    )  # fmt: skip
    found = to_host(jacobians.jacobians(layer, 1, steps))
    expected, h = np.empty(found.shape), 1e-6
    for t in range(1, steps):
        s = states[t, :, offset : offset + size]
        for k in range(size):
            move = h * np.eye(size)[k]
            ahead, behind = (step(cell, x[t], w_hh, s + sign * move, nets)[0] for sign in (1, -1))
            expected[t - 1, :, :, k] = (ahead - behind) / (2 * h)
    expected[1, -1] = np.eye(size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype is np.float32 else 1e-8)
    assert jacobians.jacobians(layer, 2, 2).shape == (0, batch, size, size)
