"""The closed loop of a network between linear maps, as a network of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cells.array_fields import of_units
from ..cells.base import spec
from ..cells.on_arrays import on_arrays
from ..cells.versions import in_force
from ..network.network import Network
from ..network.parameters import MATRICES
from .dropout import Dropout
from .readout import Readout

Array = np.ndarray
TRIALS = 64  # random arguments by which a cell is tried


def network_of(model: Any) -> Network | None:
    """With x = A y + a before the network and y = B h + b behind it: W_hh + W_ih A B in place of W_hh, W_ih A in place
    of W_ih, and the rest in the biases. None where the network has several layers, a cell that does not feel the sum of
    x and r alone, or company that is not linear."""
    pieces = _flattened(model)
    nets = [k for k, piece in enumerate(pieces) if isinstance(piece, Network)]
    if len(nets) != 1 or not all(isinstance(piece, (Network, Readout, Dropout)) for piece in pieces):
        return None
    net = pieces[nets[0]]
    if net.num_layers > 1 or net.layer_norm or not _feels_the_sum(net):
        return None
    before, after = _linear(pieces[: nets[0]]), _linear(pieces[nets[0] + 1 :])
    w_ih, w_hh, b_ih, b_hh, *own = (np.asarray(part, np.float64) for part in net.layer(0))
    inputs = model.sizes[0]
    w_in, fixed = (w_ih, b_ih) if before is None else (w_ih @ before[0], b_ih + w_ih @ before[1])
    heard, constant = (np.eye(inputs), np.zeros(inputs)) if after is None else after
    values = {
        "weight_ih_l0": w_in, "weight_hh_l0": w_hh + w_in @ heard,
        "bias_ih_l0": fixed + w_in @ constant, "bias_hh_l0": b_hh,
        **{f"{name}_l0": value for name, value in zip(spec(net.cell).parameters, own, strict=True)},
    }  # fmt: skip
    return Network(net.cell, inputs, net.hidden_size, dtype=net.dtype, init=lambda network, rng: values)


def _flattened(piece: Any) -> list[Any]:
    """Pieces one after another; a chain with a skip around it stays one."""
    if not hasattr(piece, "pieces") or getattr(piece, "skips", False):
        return [piece]
    return [inner for own in piece.pieces for inner in _flattened(own)]


def _linear(pieces: Sequence[Any]) -> tuple[Array, Array] | None:
    """All of these as one map W x + b, in float64; None where there are none."""
    found = None
    for piece in pieces:
        if isinstance(piece, Readout):
            weight = np.asarray(piece.parameters["weight"], np.float64)
            bias = np.asarray(piece.parameters.get("bias", np.zeros(len(weight))), np.float64)
            found = (weight, bias) if found is None else (weight @ found[0], weight @ found[1] + bias)
    return found


def _feels_the_sum(net: Network) -> bool:
    """Whether a step depends on x and r by x + r alone, by trial: forward(x, r, s) = forward(x + r, 0, s)."""
    record, rng = spec(net.cell), np.random.default_rng(0)
    if not record.plain:
        return False
    cell = of_units(in_force(net.cell), np.arange(TRIALS) % net.hidden_size)
    p = tuple(np.resize(np.asarray(part, np.float64), TRIALS) for part in net.layer(0)[len(MATRICES) :])
    own = (p,) if record.parameters else ()
    x, r = (tuple(rng.normal(size=(record.gates, TRIALS))) for _ in range(2))
    s = tuple(rng.normal(size=(record.states, TRIALS)))
    both, none = tuple(a + b for a, b in zip(x, r, strict=True)), tuple(np.zeros(TRIALS) for _ in r)
    with np.errstate(all="ignore"):
        ours, theirs = (on_arrays(cell.forward, (*given, s, *own))[0] for given in ((x, r), (both, none)))
    return all(np.allclose(a, b, rtol=1e-12, atol=1e-12, equal_nan=True) for a, b in zip(ours, theirs, strict=True))
