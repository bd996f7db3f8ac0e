"""One layer's step, its unrolled loop and the way back as kernels, to be called from other people's `@njit` functions.

    k = throughtime.kernels.of(net)    compiled functions and packed weights of one layer
    k.step(k.weights, x, state)        x (B, I), state (B, S) -> next state (B, S)
    k.unroll(k.weights, x, states)     x (T, B, I), states (T+1, B, S) with states[0] given; fills the rest -> saved
    k.backprop(k.weights, x, states, saved, grad_output, grad_last)
                                       grad_output (T, B, N), grad_last (B, S)
                                       -> dW_ih, dW_hh, db_ih, db_hh, grad_x (T, B, I), grad_first (B, S)

All arrays are C-contiguous and of the network's dtype; compiled code does not check that, nor shapes. The functions are
Numba dispatchers: a `@njit` function names them as globals, and takes `k.weights` as an argument, for it holds
addresses of this process. They run in the calling thread and release the GIL if the caller does.

>>> import numpy as np, throughtime as tt
>>> from numba import njit
>>> k = tt.kernels.of(tt.Network("tanh", 1, 4, seed=0))
>>> step = k.step
>>> @njit
... def settle(weights, x, state):
...     for n in range(1000):
...         state = step(weights, x, state)
...     return state
>>> settle(k.weights, np.ones((1, 1)), np.zeros((1, 4))).shape
(1, 4)
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from . import arguments, expected, words
from .engine import build, cpu
from .engine.build import BACKWARD, FORWARD, Shape, kernels
from .jit import specialise
from .network import Network

__all__ = ["LayerKernels", "of"]


class LayerKernels(NamedTuple):
    """The compiled functions of one layer and its packed weights, a snapshot of the parameters."""

    step: Any
    unroll: Any
    backprop: Any
    weights: tuple


@words.explained
def of(network: Network, layer: int = 0, *, reverse: bool = False) -> LayerKernels:
    """The kernels of one layer (and direction) of a network. Ask again after its parameters have changed.

    Raises:
        ValueError: if there is no such layer, or no reverse direction.

    Example:
        >>> import throughtime as tt
        >>> tt.kernels.of(tt.Network("lstm", 2, 8, num_layers=2), layer=1).weights[-1]
        (8, 8)
    """
    expected.network("network", network, "kernels.of", ensembles=False)
    reverse = arguments.flag("reverse", reverse)
    layer = arguments.step("layer", layer, 0, network.num_layers - 1)
    if reverse and not network.bidirectional:
        raise ValueError(
            "This network has no reverse direction; build it with `bidirectional=True`, or leave `reverse` out."
        )
    compiled = kernels(network.cell, network.dtype)
    weights = tuple(p.copy() for p in network.layer(layer, reverse))
    inputs, units = weights[0].shape[1], weights[1].shape[1]
    pointwise = compiled.pointwise(*FORWARD, *BACKWARD)
    fields = cpu.fields(network.cell, network.dtype)
    forward, backward = cpu.pack_forward(compiled, weights), cpu.pack_backward(compiled, weights)
    return LayerKernels(*_functions(compiled.shape), (fields, pointwise, forward, backward, (inputs, units)))


@cache
def _functions(shape: Shape) -> tuple[Any, Any, Any]:
    wanted = ("BLOCK", "WIDTH", "GATES", "STATES", "KEPT", "LANES", "EMITS", "SHARED")
    sizes = {name: shape.constants[name] for name in wanted}
    forward, backward = build.loop(shape, "unroll"), build.loop(shape, "backprop")
    sent = specialise(_sent, shape.name, loop=forward, **sizes)
    unroll = specialise(_unroll, shape.name, run=sent, **sizes)
    step = specialise(_step, shape.name, run=sent, **sizes)
    return step, unroll, specialise(_backprop, shape.name, loop=backward, run=sent, **sizes)


# Replaced in every compiled copy; here for readers and for tools.
BLOCK = WIDTH = GATES = STATES = KEPT = LANES = 1
EMITS = SHARED = False
loop: Any = None
run: Any = None


def _sent(weights, x, states, saved):
    """The unrolled loop; returns what the units send, flat, and the distance of its rows."""
    fields, pointwise, forward, _, (inputs, units) = weights
    steps, batch = x.shape[0], x.shape[1]
    flat = states.reshape(-1)
    sent, row = (np.empty((steps + 1) * batch * units, x.dtype), units) if EMITS else (flat, STATES * units)
    shape = (steps, batch, inputs, units, 0, inputs, 0, STATES * units, 0, row, 0)
    part = (0, batch, 0, units, 0, 1, 0)
    if steps * batch > 0:
        lengths, meeting = np.full(batch, steps), np.zeros(1, np.int64)
        loop(fields, pointwise, forward, x.reshape(-1), flat, sent, saved, lengths, shape, part, meeting)
    return sent, row


def _unroll(weights, x, states):
    """Fill states (T+1, B, S) from states[0] for the input x (T, B, I); returns what the way back will need."""
    units = weights[4][1]
    saved = np.empty(x.shape[0] * x.shape[1] * ((units + BLOCK - 1) // BLOCK) * KEPT, x.dtype)
    run(weights, x, states, saved)
    return saved


def _step(weights, x, state):
    """The state after one step: x (B, I), state (B, S)."""
    units = weights[4][1]
    batch, size = state.shape
    states = np.empty((2, batch, size), x.dtype)
    for b in range(batch):
        for n in range(size):
            states[0, b, n] = state[b, n]
    saved = np.empty(batch * ((units + BLOCK - 1) // BLOCK) * KEPT, x.dtype)
    run(weights, x.reshape(1, batch, x.shape[1]), states, saved)
    return states[1]


def _backprop(weights, x, states, saved, grad_output, grad_last):
    """dW_ih, dW_hh, db_ih, db_hh, grad_x and grad_first from the gradients of the output and of the last state."""
    fields, pointwise, _, backward, (inputs, units) = weights
    steps, batch = x.shape[0], x.shape[1]
    depth = (units + BLOCK - 1) // BLOCK * WIDTH
    grad_x, carry = np.zeros((steps, batch, inputs), x.dtype), grad_last.copy()
    g_ih, g_hh = np.zeros((GATES * units, inputs), x.dtype), np.zeros((GATES * units, units), x.dtype)
    gb_ih, gb_hh = np.zeros(GATES * units, x.dtype), np.zeros(GATES * units, x.dtype)
    if steps * batch > 0:
        flat = states.reshape(-1)
        # what the units sent is not kept for those who send something else than h; it is made again
        sent, row = run(weights, x, states.copy(), saved.copy()) if EMITS else (flat, STATES * units)
        chunk = min(steps, max(1, 512 // batch))
        dr = np.empty(chunk * batch * (depth + LANES), x.dtype)
        dx = dr if SHARED else np.empty(chunk * batch * (depth + LANES), x.dtype)
        places = (0, inputs, 0, STATES * units, 0, row, 0, units, 0, 0, 0, chunk)
        shape = (0, steps, batch, 1, inputs, units, *places, 1, 0, 1, 1)
        grads = (g_ih.reshape(-1), g_hh.reshape(-1), gb_ih, gb_hh)
        none, part = np.zeros(1, x.dtype), (0, batch, 0, units, 0, 1, 0)
        lengths, meeting = np.full(batch, steps), np.zeros(1, np.int64)
        loop(
            fields, pointwise, backward, x.reshape(-1), flat, sent, saved, grad_output.reshape(-1), none,
            grad_x.reshape(-1), grads, carry.reshape(-1), dr, dx, lengths, shape, part, meeting,
        )  # fmt: skip
    return g_ih, g_hh, gb_ih, gb_hh, grad_x, carry
