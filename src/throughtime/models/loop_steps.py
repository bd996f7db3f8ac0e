"""What one step of a closed loop does to a state and to perturbations of it, piece by piece.

Dimensions: M states (times and sequences together), S numbers of a state, K perturbations, I inputs, N units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells.base import spec
from ..cells.on_arrays import emitted, sent_slopes
from ..cells.versions import in_force
from ..network.network import Network
from ..network.unrolled import Unrolled
from ..refuse import direction
from ..refuse.called import told
from .fitting_pieces import is_bare, is_recurrent
from .model import Model
from .pooling import POOLINGS
from .readout import Readout
from .repeat import Repeat

Array = np.ndarray


def can_close(model: Any) -> None:
    """ValueError or TypeError for a model that cannot hear itself."""
    if not hasattr(model, "pieces"):
        net = ": make one of it, `tt.models.Chain([net, tt.models.Readout(…)])`" if isinstance(model, Network) else ""
        raise TypeError(f"`model` is {told(model)}; a closed loop is of a `tt.models.Chain`{net}.")
    inputs, outputs = model.sizes
    if not inputs:
        raise ValueError(
            "This model reads tokens, and what it says are logits: a token is sampled from them, which has no "
            "derivative. Write `tt.models.generate(model, start, steps)` to let it read itself."
        )
    if model.one_in or model.one_out or any(leaf in POOLINGS or isinstance(leaf, Repeat) for leaf in _leaves(model)):
        raise ValueError(
            "This model takes or gives one vector for a sequence; to hear itself it takes and gives one at each step."
        )
    if inputs != outputs:
        raise ValueError(
            f"This model takes {inputs} numbers at a step and gives {outputs}; to hear itself it gives as many as it "
            f"takes: end it with a Readout of {inputs} outputs."
        )
    if not model.recurrent:
        raise ValueError("This model has no recurrent piece, and so no state; a loop of it has nothing to carry.")
    for piece in _leaves(model):
        if isinstance(piece, Network):
            direction.one_way(piece, "A closed loop")
        elif is_recurrent(piece):
            raise TypeError(
                f"This model holds a {type(piece).__name__}, a recurrent piece of its own kind; the loop of a model "
                "goes through its networks alone."
            )


def _leaves(piece: Any) -> list[Any]:
    """All pieces inside, of chains in chains too."""
    if not hasattr(piece, "pieces"):
        return [piece]
    return [leaf for inner in piece.pieces for leaf in _leaves(inner)]


def size_of(piece: Any) -> int:
    """Numbers of the state of a piece."""
    return sum(leaf.state_size for leaf in _leaves(piece) if isinstance(leaf, Network))


def blocks(piece: Any) -> bool:
    """Whether its output is a function of its state alone: no way leads past its networks."""
    if isinstance(piece, Network):
        return True
    return not getattr(piece, "skips", False) and any(map(blocks, getattr(piece, "pieces", ())))


def silence_for(state: Any, inputs: int) -> list[Array]:
    """Inputs of one step that may fit a state in PyTorch's shapes, by the first array in it: (L, B, N) of a batch;
    (L, N) of one sequence, or (B, S)."""
    while isinstance(state, (dict, tuple, list)) and len(state):
        parts = list(state.values() if isinstance(state, dict) else state)
        state = next((part for part in parts if part is not None), None)
    shape = np.shape(state)
    if len(shape) == 3:
        return [np.zeros((1, shape[1], inputs))]
    return [np.zeros((1, inputs)), np.zeros((1, shape[0] if len(shape) == 2 else 1, inputs))]


def state_of(piece: Any, flat: Array) -> Any:
    """(M, S) as `piece.unroll` takes it: an array for one network, a dict by the names of several pieces."""
    if isinstance(piece, Network):
        return flat
    solid = [inner for inner in piece.pieces if not is_bare(inner)]
    found, at = {}, 0
    for number, inner in enumerate(solid):
        size = size_of(inner)
        if is_recurrent(inner):
            found[str(number)] = state_of(inner, np.ascontiguousarray(flat[:, at : at + size]))
        at += size
    return next(iter(found.values())) if len(found) == 1 else found


# ----------------------------------------------------------------------------------------- what is said in a state


def shown(piece: Any, s: Array, ds: Array | None = None, x: Any = None, dx: Any = None) -> tuple[Any, Any]:
    """The output of a piece whose state is s (M, S) already, and its derivatives (M, O, K) from those of the state, ds
    (M, S, K). x, dx: what goes into it at that step, None where its output is a function of the state alone."""
    if isinstance(piece, Network):
        return _sent(piece, s, ds)
    if not hasattr(piece, "pieces"):
        return _through(piece, x, dx)
    y, dy, at = x, dx, 0
    last = max((k for k, inner in enumerate(piece.pieces) if blocks(inner)), default=0)
    for k, inner in enumerate(piece.pieces):
        size = size_of(inner)
        if k >= last:
            own = slice(at, at + size)
            y, dy = shown(inner, s[:, own], None if ds is None else ds[:, own], y, dy)
        at += size
    if getattr(piece, "skips", False):
        y, dy = x + y, None if dy is None else dx + dy
    return y, dy


def _sent(net: Network, s: Array, ds: Array | None) -> tuple[Array, Array | None]:
    """What the units of the last layer send, and its derivatives."""
    cell, n = in_force(net.cells[-1]), net.hidden_sizes[-1]
    first = net.state_size - net.unit_states[-1] * n
    own = tuple(s[:, a : a + n] for a in range(first, net.state_size, n))
    with np.errstate(all="ignore"):
        y = emitted(cell, own)[0]
        if ds is None:
            return np.ascontiguousarray(y), None
        slopes = zip(sent_slopes(cell, own), range(first, net.state_size, n), strict=True)
        terms = [_rows(slope, own[0]) * ds[:, a : a + n] for slope, a in slopes if np.any(slope)]
        return np.ascontiguousarray(y), sum(terms, np.zeros_like(ds[:, :n]))


def _rows(factor: Any, like: Array) -> Array:
    """A factor for each unit, (M, N, 1), from an array or a number."""
    return np.broadcast_to(np.asarray(factor, like.dtype), like.shape)[:, :, None]


def _through(piece: Any, x: Array, dx: Array | None) -> tuple[Array, Array | None]:
    """A piece without a state, over x (M, I), and its derivatives (M, O, K) from those of x."""
    y = piece.unroll(x[None]).output[0]
    return y, None if dx is None else _derivative(piece, x) @ dx


def _derivative(piece: Any, x: Array) -> Array:
    """dy/dx (M, O, I) of a piece without a state, or of a part of it that is the same for all: one row of it for each
    number that comes out, sent back through its own run."""
    if isinstance(piece, Readout):
        return piece.parameters["weight"]
    if not isinstance(piece, Model):  # a dropout at rest
        return np.eye(x.shape[1], dtype=x.dtype)
    outputs = piece.sizes[1]
    run = piece.unroll(np.repeat(x, outputs, axis=0)[None])
    back = run.backprop(np.tile(np.eye(outputs, dtype=x.dtype), (len(x), 1))[None]).input
    return np.asarray(back).reshape(len(x), outputs, x.shape[1])


# ------------------------------------------------------------------------------------------------------- one step


def step_jacobians(model: Any, states: Array, carries_input: bool) -> Array:
    """(M, S, S): the derivatives of the next states of the loop by the states (M, S), all of which are taken one step
    further."""
    M, S = states.shape
    identity = np.broadcast_to(np.eye(S, dtype=states.dtype), (M, S, S))
    if carries_input:
        inputs = S - size_of(model)
        own, x, dx = states[:, :-inputs], states[:, -inputs:], identity[:, -inputs:]
    else:
        own = states
        x, dx = shown(model, states, identity)
    x = np.ascontiguousarray(x)
    run = model.unroll(x[None], state_of(model, np.ascontiguousarray(own)))
    found, dy, at = _pushed(model, run, x, dx, 0)
    assert at == size_of(model)
    return np.concatenate([*found, dy] if carries_input else found, axis=1)


def _pushed(piece: Any, run: Any, x: Array, dx: Array, at: int) -> tuple[list[Array], Array, int]:
    """Perturbations of the state, the identity, and of what goes in, dx (M, I, K), taken through one step of a piece:
    those of the states of its networks, (M, S, K) each, of what comes out, (M, O, K), and where the next state begins.
    """
    if isinstance(piece, Network):
        ds = by_input(run) @ dx
        ds[:, :, at : at + piece.state_size] += run.jacobian(1)
        dy = _sent(piece, run.states[1], ds)[1]
        assert dy is not None
        return [ds], dy, at + piece.state_size
    if not hasattr(piece, "pieces"):
        return [], _derivative(piece, x) @ dx, at
    inner_run = run.inner if getattr(piece, "skips", False) else run
    found, y, dy = list[Array](), x, dx
    for inner, (_, own) in zip(piece.pieces, inner_run.runs, strict=True):
        more, dy, at = _pushed(inner, own, y, dy, at)
        found, y = found + more, own.output[0]
    return found, dx + dy if getattr(piece, "skips", False) else dy, at


def by_input(run: Unrolled) -> Array:
    """(M, S, I): the derivatives of the states after one step by its input, all layers; M sequences of one step."""
    net, parts = run.network, []
    given: Any = None  # derivatives of what enters the layer by the input, (M, I, I) or None for the identity
    for k in range(net.num_layers):
        local, weights, n = run.derivatives(k), run.made_with(), net.hidden_sizes[k]
        w_ih, like, own = weights[f"weight_ih_l{k}"], local.states[0][1], list[Array]()
        if run.norms:
            unit = np.eye(net.input_size, dtype=like.dtype)
            given = np.broadcast_to(unit, (len(like), *unit.shape)) if given is None else given
            given = run.norms[k].tangent_of_rows(given[None], 0)[0]
        dx = [w_ih[a : a + n] if given is None else w_ih[a : a + n] @ given for a in range(0, len(w_ih), n)]
        with np.errstate(all="ignore"):
            dr = _through_stage(local, weights.get(f"weight_hh_l{k}"), dx, like)
            for by_gate, by_part in zip(local.by_input, local.by_recurrent, strict=True):
                own.append(_summed(zip((*by_gate, *by_part), (*dx, *dr), strict=False), like, net.input_size))
            given = _summed(zip(local.sent_after, own, strict=True), like, net.input_size)
        parts += own
    return np.concatenate(parts, axis=1)


def _through_stage(local: Any, w_hh: Any, dx: list[Array], like: Array) -> list[Any]:
    """What a step's input does to the parts of r by way of the stage, (M, N, I) each; 0 for those of the state."""
    record, n = spec(local.cell), like.shape[1]
    da = [_summed(zip(by_gate, dx, strict=True), like, dx[0].shape[-1]) for by_gate in local.stage_by_input]
    dr: list[Any] = [0.0] * (record.parts if da else 0)
    for b, (signal, part) in enumerate(record.blocks):
        if signal >= record.signals:
            dr[part] = dr[part] + w_hh[b * n : (b + 1) * n] @ da[signal - record.signals]
    return dr


def _summed(terms: Any, like: Array, inputs: int) -> Array:
    """Σ of a factor for each unit times its derivatives by the inputs, (M, N, I)."""
    found = np.zeros((*like.shape, inputs), like.dtype)
    for factor, derivatives in terms:
        found = found + _rows(_first(factor), like) * derivatives
    return found


def _first(part: Any) -> Any:
    """(M, N) of the one step that there is, or the number that it is."""
    return part[0] if np.ndim(part) else part
