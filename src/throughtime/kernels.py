"""One layer's step, its unrolled loop and the way back as kernels, to be called from other people's `@njit` functions.

    k = throughtime.kernels.of(net)    compiled functions and packed weights of one layer
    k.step(k.weights, x, state)        x (B, I), state (B, S) -> next state (B, S)
    k.unroll(k.weights, x, states)     x (T, B, I), states (T+1, B, S) with states[0] given; fills the rest -> saved
    k.backprop(k.weights, x, states, saved, grad_output, grad_last)
                                       grad_output (T, B, N), grad_last (B, S)
                                       -> dW_ih, dW_hh, db_ih, db_hh, grad_x (T, B, I), grad_first (B, S)

Of a cell whose units have parameters, their gradients (N,) come after those of the biases, in their order. Of one that
sends nothing, dW_hh and db_hh are empty.

All arrays are C-contiguous and of the network's dtype; each call looks at its arguments first, also in compiled code,
and raises ValueError for shapes that do not fit and arrays of another dtype or order, TypeError for what is no array.
The functions are Numba dispatchers: a `@njit` function names them as globals, and takes `k.weights` as an argument, for
it holds addresses of this process. They run in the calling thread and release the GIL if the caller does.

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

import zlib
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .engine.cpu import board, build, unit_numbers
from .engine.cpu.build import BACKWARD, FORWARD, Shape, kernels
from .engine.cpu.operands import Addresses, Gradients, Steps
from .engine.cpu.panels import depth_of, pack_backward, pack_forward
from .engine.cpu.taken import array_type, count_type, in_words, taken, tuple_type
from .engine.sizes import Backward, Forward, Places, Share
from .jit import PLACEHOLDER, inlined, named_in, specialise
from .network.network import Network
from .refuse import arguments, expected, words

__all__ = ["LayerKernels", "of"]


class LayerKernels(NamedTuple):
    """The compiled functions of one layer and its packed weights, a snapshot of the parameters."""

    step: Any
    unroll: Any
    backprop: Any
    weights: tuple  # fields, addresses, packed weights forward and back, what the cell counts, (inputs, units)

    def __repr__(self) -> str:
        inputs, units = self.weights[-1]
        sizes = f"{inputs} inputs, {units} units, {self.weights[0].dtype}"
        return f"LayerKernels(step, unroll, backprop, weights: {sizes})"


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
    if network.device == "cuda":
        raise ValueError('`network` is on the GPU, and the kernels are those of the CPU: pass `network.to("cpu")`.')
    if network.layer_norm:
        raise ValueError(
            "`network` has layer_norm, and kernels take what its layers read, normalised already: make a network "
            "without it of the same weights, and normalise before you call them."
        )
    reverse = arguments.flag("reverse", reverse)
    layer = arguments.step("layer", layer, 0, network.num_layers - 1)
    if reverse and not network.bidirectional:
        raise ValueError(
            "This network has no reverse direction; build it with `bidirectional=True`, or leave `reverse` out."
        )
    cell = network.cells[layer]
    compiled = kernels(cell, network.dtype)
    weights = tuple(p.copy() for p in network.layer(layer, reverse))
    inputs, units = weights[0].shape[1], weights[1].shape[1]
    pointwise = compiled.addresses(*FORWARD, *BACKWARD)
    fields = unit_numbers.fields(compiled, cell, weights)
    forward, backward = pack_forward(compiled, weights), pack_backward(compiled, weights)
    shape = compiled.shape
    packed = (fields, pointwise, forward, backward, _counts(shape), (inputs, units))
    return LayerKernels(*_functions(shape), packed)


def _counts(shape: Shape) -> tuple[int, ...]:
    """What the functions were compiled for, so that they know the weights of another cell."""
    wires = zlib.crc32(repr((shape.sends, shape.stage)).encode())
    counts = (shape.gates, shape.states, shape.saved, shape.emits, shape.shared, shape.fields, shape.parameters)
    return (*map(int, counts), wires)


@cache
def _functions(shape: Shape) -> tuple[Any, Any, Any]:
    def compiled(function: Any, **names: Any) -> Any:
        return specialise(function, shape.name, **named_in(function, shape.constants | names))

    sent = compiled(_sent, loop=build.loop(shape, "unroll"))
    given = _arguments(shape) | {"fits": compiled(_fits, COUNTS=_counts(shape)), "run": sent}
    unroll, step = compiled(_unroll, **given), compiled(_step, **given)
    back = compiled(_backprop, **given, loop=build.loop(shape, "backprop"), each=_rows(shape.parameters))
    last = "backprop(weights, x, states, saved, grad_output, grad_last)"
    step, unroll = in_words(step, "step(weights, x, state)"), in_words(unroll, "unroll(weights, x, states)")
    return step, unroll, in_words(back, last)


def _rows(count: int) -> Any:
    """The tuple of the first rows of a matrix."""
    if count == 0:
        return inlined(lambda matrix: ())
    others, last = _rows(count - 1), count - 1
    return inlined(lambda matrix: others(matrix) + (matrix[last],))


def _arguments(shape: Shape) -> dict[str, Any]:
    """The functions that look at the arguments, by the names under which the kernels call them."""
    vector = array_type(shape.dtype, 1)
    name, real = shape.dtype.name, f"C-contiguous and {shape.dtype.name}"
    found: dict[str, Any] = {}
    shapes = {"x": "(T, B, I)", "states": "(T+1, B, S)", "grad_output": "(T, B, N)", "grad_last": "(B, S)"}
    for key, axes in (shapes | {"state": "(B, S)", "x_now": "(B, I)", "saved": "(n,)"}).items():
        what = f"{key.removesuffix('_now')} {axes}, {real}"
        how = f"as np.ascontiguousarray(…, np.{name}) makes it" if key != "saved" else "as `unroll` returned it"
        how += ", and not read-only." if key == "states" else "."
        wanted = array_type(shape.dtype, axes.count(",") + 1 - (key == "saved"))
        found[f"taken_{key}"] = taken(what, wanted, how, written=key == "states")
    integers = [count_type(n) for n in (len(Addresses._fields), len(_counts(shape)), 2)]
    packed = (tuple_type((vector,) * count) for count in ((6, 3) if shape.staged else (4, 2)))
    kinds = vector, integers[0], *packed, *integers[1:]
    how = f"the `weights` of tt.kernels.of(net) for a network of {name}."
    return found | {"taken_weights": taken("weights", tuple_type(kinds), how)}


BLOCK = WIDTH = RWIDTH = AWIDTH = QWIDTH = FIELD_STEP = BACK = KEPT = LANES = COUNTS = PLACEHOLDER
FIRST = GATES = PARTS = STATES = SIGNALS = WIRED = RAGGED = EMITS = SHARED = STAGED = PARAMETERS = BESIDE = PLACEHOLDER
taken_weights = taken_x = taken_x_now = taken_state = taken_states = taken_saved = PLACEHOLDER
taken_grad_output = taken_grad_last = loop = run = fits = each = PLACEHOLDER


def _fits(weights):
    """Raises unless the packed weights are those of a layer of the cell that this was compiled for."""
    fields, _, forward, backward, counts, (inputs, units) = weights
    if counts != COUNTS:
        raise ValueError(
            "`weights` belong to another kind of cell: take functions and weights from one k = tt.kernels.of(net), "
            "and write k.step(k.weights, …)."
        )
    panels, columns, backs = (units + BLOCK - 1) // BLOCK, (inputs + BACK - 1) // BACK, (units + BACK - 1) // BACK
    of_r, of_x = depth_of(units, BLOCK, FIRST, RAGGED), depth_of(units, BLOCK, GATES, RAGGED)
    w_ih, b_ih, w_hh, b_hh = forward[:4]
    right = inputs > 0 and units > 0 and fields.size >= max(1, panels * FIELD_STEP) and b_ih.size == panels * WIDTH
    right = right and w_ih.size == panels * inputs * WIDTH and w_hh.size == panels * SIGNALS * units * RWIDTH
    right = right and b_hh.size == panels * RWIDTH and backward[0].size == SIGNALS * backs * of_r * BACK
    if STAGED:
        right = right and forward[4].size == panels * STAGED * units * AWIDTH and forward[5].size == panels * AWIDTH
        right = right and backward[2].size == STAGED * backs * panels * AWIDTH * BACK
    if not (right and backward[1].size == columns * of_x * BACK):
        raise ValueError("`weights` do not fit together: take them as they are from k = tt.kernels.of(net), k.weights.")


def _sent(weights, x, states, saved):
    """The unrolled loop; returns what the units send, flat, and the distance of its rows."""
    fields, pointwise, forward, _, _, (inputs, units) = weights
    steps, batch = x.shape[0], x.shape[1]
    flat = states.reshape(-1)
    own = SIGNALS * units
    sent, row = (np.empty((steps + 1) * batch * own, x.dtype), own) if EMITS else (flat, STATES * units)
    if steps * batch > 0:
        known = Steps(fields, flat, saved, np.full(batch, steps))
        places = Places(x_at=0, x_row=inputs, s_at=0, s_row=STATES * units, e_at=0, e_row=row)
        size = Forward(steps=steps, batch=batch, inputs=inputs, units=units, places=places[:], reverse=0, packs=0)
        share, meeting = Share(0, batch, 0, units, member=0, team=1, lockstep=0), np.zeros(board.ALONE, np.int64)
        beside: Any = ()
        if STAGED:  # what the stage sent stands behind what the steps saved
            kept = saved.size - steps * batch * STAGED * units
            beside = saved[kept:], forward[4], forward[5]
        m, v = np.empty((0, 0), x.dtype), np.empty(0, x.dtype)  # the weights are packed already
        none = m, m, v, v, m, m, v, v
        loop(pointwise, forward[:4], none, known[:], x.reshape(-1), sent, beside, size[:], share[:], meeting)
    return sent, row


def _unroll(weights, x, states):
    """Fill states (T+1, B, S) from states[0] for the input x (T, B, I); returns what the way back will need."""
    weights, x, states = taken_weights(weights), taken_x(x), taken_states(states)
    fits(weights)
    inputs, units = weights[5]
    if x.shape[2] != inputs:
        raise ValueError(
            "unroll: `x` (T, B, I) has another number of inputs I than the layer, which k.weights[-1] tells."
        )
    if states.shape != (x.shape[0] + 1, x.shape[1], STATES * units):
        raise ValueError(
            "unroll: `states` must have the shape (T+1, B, S), one time more than `x` (T, B, I) and the same batch, "
            "with S the units times the cell's states: np.zeros((len(x) + 1, x.shape[1], S), x.dtype)."
        )
    saved = np.empty(x.shape[0] * x.shape[1] * ((units + BLOCK - 1) // BLOCK * KEPT + STAGED * units), x.dtype)
    run(weights, x, states, saved)
    return saved


def _step(weights, x, state):
    """The state after one step: x (B, I), state (B, S)."""
    weights, x, state = taken_weights(weights), taken_x_now(x), taken_state(state)
    fits(weights)
    inputs, units = weights[5]
    batch, size = state.shape
    if x.shape[1] != inputs:
        raise ValueError("step: `x` (B, I) has another number of inputs I than the layer, which k.weights[-1] tells.")
    if x.shape[0] != batch or size != STATES * units:
        raise ValueError(
            "step: `state` must have the shape (B, S), with the batch B of `x` (B, I) and S the units times the cell's "
            "states: np.zeros((len(x), S), x.dtype)."
        )
    states = np.empty((2, batch, size), x.dtype)
    for b in range(batch):
        for n in range(size):
            states[0, b, n] = state[b, n]
    saved = np.empty(batch * ((units + BLOCK - 1) // BLOCK * KEPT + STAGED * units), x.dtype)
    run(weights, x.reshape(1, batch, x.shape[1]), states, saved)
    return states[1]


def _backprop(weights, x, states, saved, grad_output, grad_last):
    """dW_ih, dW_hh, db_ih, db_hh, grad_x and grad_first from the gradients of the output and of the last state."""
    weights, x, states, saved = taken_weights(weights), taken_x(x), taken_states(states), taken_saved(saved)
    grad_output, grad_last = taken_grad_output(grad_output), taken_grad_last(grad_last)
    fits(weights)
    fields, pointwise, _, backward, _, (inputs, units) = weights
    steps, batch = x.shape[0], x.shape[1]
    if x.shape[2] != inputs:
        raise ValueError("backprop: `x` (T, B, I) has another number of inputs I than the layer, see k.weights[-1].")
    if states.shape != (steps + 1, batch, STATES * units):
        raise ValueError(
            "backprop: `states` must have the shape (T+1, B, S), and be those that `unroll` filled from `x`."
        )
    kept = steps * batch * ((units + BLOCK - 1) // BLOCK) * KEPT
    if saved.size != kept + steps * batch * STAGED * units:
        raise ValueError(
            "backprop: `saved` has another size than `unroll` returns: saved = k.unroll(k.weights, x, states)."
        )
    if grad_output.shape != (steps, batch, units):
        raise ValueError(
            "backprop: `grad_output` must have the shape (T, B, N), for every step that of the layer's output."
        )
    if grad_last.shape != (batch, STATES * units):
        raise ValueError("backprop: `grad_last` must have the shape (B, S), that of a state: states[-1].")
    padded = (units + BLOCK - 1) // BLOCK
    grad_x, carry = np.zeros((steps, batch, inputs), x.dtype), grad_last.copy()
    g_ih, g_hh = np.zeros((GATES * units, inputs), x.dtype), np.zeros((WIRED * units, units), x.dtype)
    gb_ih, gb_hh = np.zeros(GATES * units, x.dtype), np.zeros(PARTS * units, x.dtype)
    g_units = each(np.zeros((PARAMETERS, units), x.dtype))
    if steps * batch > 0:
        flat = states.reshape(-1)
        # what the units sent is not kept for those who send something else than h; it is made again
        sent, row = run(weights, x, states.copy(), saved.copy()) if EMITS else (flat, STATES * units)
        chunk = min(steps, max(1, 512 // batch))
        dr = np.empty(chunk * batch * (padded * RWIDTH + LANES), x.dtype)
        dx = dr if SHARED else np.empty(chunk * batch * (padded * WIDTH + LANES), x.dtype)
        beside: Any = ()
        if BESIDE:
            da = np.empty(chunk * batch * (padded * AWIDTH + LANES), x.dtype)
            dq = np.empty(chunk * batch * (padded * QWIDTH + LANES), x.dtype)
            beside = saved[kept:], backward[-1], da, dq
        known = Steps(fields, flat, saved, np.full(batch, steps))
        gradients = Gradients(
            output=grad_output.reshape(-1), states=np.zeros(1, x.dtype), x=grad_x.reshape(-1),
            parameters=(g_ih.reshape(-1), g_hh.reshape(-1), gb_ih, gb_hh) + g_units, carry=carry.reshape(-1),
            dr=dr, dx=dx,
        )  # fmt: skip
        places = Places(x_at=0, x_row=inputs, s_at=0, s_row=STATES * units, e_at=0, e_row=row)
        size = Backward(
            start=0, stop=steps, batch=batch, copies=1, inputs=inputs, units=units, places=places[:],
            g_at=0, g_row=units, o_at=0, o_row=0, reverse=0, chunk=chunk,
            from_output=1, to_states=0, to_input=1, to_weights=1, each=0, packs=0,
        )  # fmt: skip
        share, meeting = Share(0, batch, 0, units, member=0, team=1, lockstep=0), np.zeros(board.ALONE, np.int64)
        none, flat_x = np.empty((0, 0), x.dtype), x.reshape(-1)  # likewise
        of = gradients[:], size[:], share[:], meeting
        loop(pointwise, backward[:2], (none, none), known[:], flat_x, sent, beside, *of)
    return (g_ih, g_hh, gb_ih, gb_hh) + g_units + (grad_x, carry)
