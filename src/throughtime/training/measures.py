"""What a monitor can measure of a network while it learns, by name: each takes a run and gives a number or an array.

Dimensions: T time steps, B sequences, N units, L layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..analysis.gradients.by_lag import gradient_by_lag
from ..analysis.gradients.decay import gradient_norms
from ..analysis.lyapunov.spectrum import lyapunov_spectrum
from ..cells import CELLS
from ..engine.blas import single_blas
from ..refuse import numeric

Array = numeric.Array
GATES = {
    CELLS["lstm"]: {"input": 0, "forget": 1, "output": 3},
    CELLS["gru"]: {"reset": 0, "update": 1},
}  # cell -> name -> number of its block
LOW, HIGH = 0.1, 0.9  # Karpathy, Johnson & Li 2015


def exponent(run: Any) -> float:
    """The largest Lyapunov exponent along the run's input, nats per step; the mean over its sequences."""
    found = lyapunov_spectrum(run.network, run.input, k=1, seed=0, lengths=run.lengths)
    return float(np.mean(found.exponents))


def horizon(run: Any) -> float:
    """The steps back over which the gradient of the last output changes by a factor e; the median over sequences."""
    return float(np.median(gradient_norms(run, at_last(run)).horizon))


def by_lag(run: Any) -> Array:
    """(T,) the share of each lag in the gradient of the recurrent weights, of the sum of all outputs."""
    return gradient_by_lag(run, np.ones_like(run.output)).share


def saturation(run: Any) -> Array:
    """(L, gates, 2): the share of units and steps in which a gate is below 0.1, and above 0.9; LSTM i, f, o, GRU r, z.
    All layers have one cell.

    Source: Karpathy, Johnson & Li 2015, arXiv:1506.02078. ValueError for a cell without gates, or two directions.
    """
    net = run.network
    kind = type(net.cells[0])
    if any(type(cell) is not kind for cell in net.cells) or kind not in GATES or net.num_directions == 2:
        raise ValueError(f'"saturation" is of the gates of an LSTM or a GRU of one direction; this network is {net!r}.')
    real = np.ones(run.states.shape[:2], bool)[1:]
    if run.lengths is not None:
        real = np.arange(len(real))[:, None] < run.lengths
    found = np.zeros((net.num_layers, len(GATES[kind]), 2))
    for layer in range(net.num_layers):
        units, first = net.hidden_sizes[layer], run.columns(layer).start
        x, h = run.given(layer), run.states[:, :, first : first + units]
        own = {key.removesuffix(f"_l{layer}"): v for key, v in run.made_with().items() if key.endswith(f"_l{layer}")}
        for g, block in enumerate(GATES[kind].values()):
            rows = slice(block * units, (block + 1) * units)
            with single_blas():
                u = x @ own["weight_ih"][rows].T + h[:-1] @ own["weight_hh"][rows].T
            u = u + sum(own[bias][rows] for bias in ("bias_ih", "bias_hh") if bias in own)
            edge = np.log(HIGH / (1 - HIGH))  # σ(edge) = 0.9, σ(−edge) = 0.1
            found[layer, g] = (u < -edge)[real].mean(), (u > edge)[real].mean()
    return found


def at_last(run: Any) -> Array:
    """dL/doutput of the sum of each sequence's last real output."""
    g = np.zeros_like(run.output)
    batch = g.shape[1]
    last = np.full(batch, len(g)) if run.lengths is None else np.maximum(run.lengths, 1)
    g[last - 1, np.arange(batch)] = 1
    return g


MEASURES = {"exponent": exponent, "horizon": horizon, "by_lag": by_lag, "saturation": saturation}
