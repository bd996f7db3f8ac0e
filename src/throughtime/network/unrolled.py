"""Unrolled: a network unfolded over one input, and the ways through it: BPTT, and perturbations forward and back.

Dimensions: T time steps, B sequences, I inputs, N units, L layers, D directions, S the state size of the whole network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..cells.base import spec
from ..cells.versions import in_force
from ..engine import memory
from ..engine.cpu import jacobians
from ..engine.cpu import run as cpu
from ..refuse import arguments, checks, direction, room, words
from ..refuse.called import called
from . import norms, parameters
from .derivatives import LayerDerivatives
from .network import Network

Array = np.ndarray
MOST_BYTES = 1 << 25  # of the perturbations that pass from layer to layer; longer windows go in pieces


@called("gradients")
@dataclass(frozen=True)
class Gradients:
    """What backpropagation gives: the gradient of the loss with respect to everything it depends on.

    parameters     dict, as network.parameters
    input          in the shape of x
    initial_state  as final_state: h, or (h, c)
    states         (T+1, B, S): dL/ds_t, with the states of all layers at time t taken as independent, as in
                   run.jacobian and run.vjp: dL/ds_t = J_{t+1}^T dL/ds_{t+1} + what the output at t brings in

    >>> import numpy as np, throughtime as tt
    >>> g = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2))).backprop(np.ones((20, 8)))
    >>> g.input.shape, g.initial_state.shape, g.states.shape
    ((20, 2), (1, 8), (21, 1, 8))
    """

    parameters: dict[str, Array]
    input: Array
    initial_state: Array | tuple[Array, ...]
    states: Array

    def __repr__(self) -> str:
        norm = norms.norm([norms.norm(np.asarray(g)) for g in self.parameters.values()])
        return f"Gradients of {', '.join(self.parameters)}: norm {norm:.6g}; also .input, .initial_state, .states"


@called("a run")
@words.explain
class Unrolled(words.Sealed):
    """A network unfolded over one input, made by `network.unroll(x)`; it owns copies of the input and the parameters.

    output       (T, B, N*D), or (T, N*D) for one sequence, or (B, T, N*D) with batch_first: what the last layer sends,
                 0 in the padding
    final_state  h, or for an LSTM (h, c), each (L*D, B, N) or (L*D, N): every sequence's state at its own end
    states       (T+1, B, S): s_0, the initial state, to s_T; layer 0 (h, then c), [layer 0 reverse], layer 1, ...
                 After a sequence's end its state stands still. The reverse direction's entry t is its state between
                 inputs t-1 and t, come from the right: it starts at the sequence's end and its last is states[0].
    lengths      (B,) or None

    output and states are read-only views of what the way back needs; copy them to change them.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("lstm", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
    >>> run.output.shape, run.states.shape, [part.shape for part in run.final_state]
    ((20, 3, 8), (21, 3, 16), [(1, 3, 8), (1, 3, 8)])
    """

    def __init__(self, network: Network, x: Any, state: Any = None, lengths: Any = None) -> None:
        self.network = network
        self.input, self._had_batch = checks.sequence(x, network, partial(parameters.room_for_run, network))
        T, B, _ = self.input.shape
        self.lengths = checks.lengths(lengths, T, B)
        if self.lengths is not None:  # padding is never seen: NaN there would reach the weights' gradient as 0 * NaN
            self.input[np.arange(T)[:, None] >= self.lengths] = 0
        initial = checks.state(state, network, B, self._had_batch)
        states = memory.empty((T + 1, B, network.state_size), network.dtype)
        self._layers: list[list[cpu.Layer]] = []
        reaching, cell = self.input, in_force(network.cell)
        for k in range(network.num_layers):
            directions = []
            for d in range(network.num_directions):
                offset = self.columns(k, d).start
                states[-1 if d else 0, :, self.columns(k, d)] = initial[:, self.columns(k, d)]
                w_ih, w_hh, b_ih, b_hh = (memory.copy(p) for p in network.layer(k, bool(d)))
                directions.append(
                    cpu.unroll(cell, (w_ih, w_hh, b_ih, b_hh), reaching, states, offset, self.lengths, bool(d))
                )
            self._layers.append(directions)
            sent = [layer.sent[:-1] if layer.reverse else layer.sent[1:] for layer in directions]
            reaching = sent[0] if len(sent) == 1 else np.concatenate(sent, axis=2)
        if self.lengths is not None:
            reaching = np.where((np.arange(T)[:, None] < self.lengths)[:, :, None], reaching, network.dtype.type(0))
        self.states = _read_only(states)
        self.output = _read_only(self._outside(reaching))

    _sealed_by = "output"  # the last that __init__ sets

    def _unset(self, name: str) -> str:
        advice = words.near(name, dir(self))
        if not hasattr(self, name):
            return f"A run has no attribute `{name}` to set{advice and '; ' + advice}."
        return (
            f"`run.{name}` is what was computed, and setting it would change nothing else of the run; make another, "
            "`net.unroll(x)`, or keep your own array beside it."
        )

    def __getattr__(self, name: str) -> Any:
        raise words.NoSuchAttribute(self, name, "A run")

    @property
    def steps(self) -> int:
        """T, the time steps."""
        return len(self.input)

    @property
    def final_state(self) -> Array | tuple[Array, ...]:
        """h, or (h, c), each (L*D, B, N), or (L*D, N) for one sequence: the state of each sequence at its own end."""
        last = [self.states[0 if d else -1, :, self.columns(k, d)] for k, d in self._blocks()]
        return self._as_state(np.stack(last, axis=1))

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None, window: int | None = None) -> Gradients:
        """Backpropagation through time: the gradient of a loss L from dL/doutput and dL/dfinal_state.

            dL/ds_t = (ds_{t+1}/ds_t)^T dL/ds_{t+1} + (doutput_t/ds_t)^T dL/doutput_t

        grad_output has the shape of `output`, grad_final_state that of `final_state`; at least one is given. With
        `window=k` (truncated BPTT) the loss at time t flows back through at most k steps, t, t-1, ..., t-k+1, of all
        layers, for every t and not block by block; the work then grows with k. Sources: Werbos (1990); for the window
        Williams & Peng (1990), their BPTT(h) with h = k.

        ValueError or TypeError if a gradient does not fit, or if `window` is no positive integer or is given for a
        bidirectional network.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> run.backprop(np.ones((20, 8))).parameters["weight_hh_l0"].shape
        (8, 8)
        """
        g, at_end = checks.output_gradient(grad_output, self), checks.state_gradient(grad_final_state, self)
        checks.some_gradient(g, at_end)
        if at_end is None:
            at_end = np.zeros((self.input.shape[1], self.network.state_size), self.network.dtype)
        window = self._cut(window)
        if window is None:
            return self._backprop(g, at_end)
        from .truncated import backprop  # late, because it stands above this file

        return backprop(self, g, at_end, window)

    def _cut(self, window: Any) -> int | None:
        """The steps after which truncated BPTT cuts, None where there is nothing to cut."""
        if window is None:
            return None
        meaning = "it is a number of time steps, at least 1, or None for the full gradient"
        window = arguments.step("window", window, 1, meaning=meaning)
        direction.one_way(self.network, "`window`", ", or leave it out")
        return window if window < self.steps else None

    def _backprop(self, g: Array | None, carry: Array) -> Gradients:
        states = memory.empty(self.states.shape, self.network.dtype)
        parameters: dict[str, Array] = {}
        initial = np.empty_like(carry)
        for k in reversed(range(self.network.num_layers)):
            reached: Array | None = None
            for d, layer in enumerate(self._layers[k]):
                columns, n = self.columns(k, d), self.network.hidden_size
                part = g if g is None else g[:, :, d * n : (d + 1) * n]
                below_top = k + 1 < self.network.num_layers
                back = cpu.backprop(layer, carry[:, columns], part, grad_states=states, apart=below_top)
                initial[:, columns] = back.carry
                self._name(parameters, k, d, back.parameters)
                reached = back.x if reached is None else reached + back.x
            g = reached
        assert g is not None
        in_order = {name: parameters[name] for name in self.network.parameters}
        initial_state = self._as_state(initial.reshape(len(initial), len(self._blocks()), self._own))
        return Gradients(in_order, self._outside(g), initial_state, states)

    def jvp(self, v: Any, start: int, stop: int) -> Array:
        """Perturbations of states[start] taken forward to states[stop]: J_stop ... J_{start+1} v.

        J_t = ds_t/ds_{t-1} acts on the full state. v is (B, S), or (B, S, K) for K perturbations at once; the result
        has the same shape. ValueError if v does not fit, if not 0 <= start <= stop <= T, or if the network is
        bidirectional.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("lstm", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> run.jvp(np.ones((1, 16)), 0, 20).shape
        (1, 16)
        """
        rows, copies, back = self._perturbation("v", v, start, stop)
        piece = self._piece(rows)
        for a in range(start, stop, piece):
            b, reaching = min(a + piece, stop), None
            for k, (layer,) in enumerate(self._layers):
                columns, below_top = self.columns(k), k + 1 < len(self._layers)
                rows[:, columns], reaching = cpu.tangent(
                    layer, rows[:, columns], reaching, start=a, stop=b, copies=copies, to_output=below_top
                )
        return back(rows)

    def vjp(self, u: Any, start: int, stop: int) -> Array:
        """Cotangents of states[stop] taken back to states[start]: J_{start+1}^T ... J_stop^T u, on the full state.

        u is (B, S), or (B, S, K) for K cotangents at once; the result has the same shape. ValueError as for `jvp`.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> u, v = np.ones((1, 8)), np.arange(8.0)[None]
        >>> bool(np.isclose((run.vjp(u, 0, 20) * v).sum(), (u * run.jvp(v, 0, 20)).sum()))
        True
        """
        rows, copies, back = self._perturbation("u", u, start, stop)
        piece = self._piece(rows)
        for b in range(stop, start, -piece):
            a, reaching = max(b - piece, start), None
            for k in reversed(range(len(self._layers))):
                layer, columns = self._layers[k][0], self.columns(k)
                step = cpu.backprop(
                    layer, rows[:, columns], reaching, start=a, stop=b, copies=copies, to_weights=False, to_input=k > 0
                )
                rows[:, columns], reaching = step.carry, step.x
        return back(rows)

    def costates(self, u: Array, grad_output: Array | None, start: int, stop: int) -> Array:
        """dL/ds_t for t = start … stop, (stop-start+1, B, S), from u (B, S) at `stop` and what the outputs bring in.

        grad_output (stop-start, B, N), or None: its entry i belongs to the output after states[start+i+1], so the last
        one adds to u. As in Gradients.states, except that the first does not count what the output at `start` brings.
        ValueError for a bidirectional network, a window out of range, or what does not fit.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> run.costates(np.zeros((1, 8)), np.ones((5, 1, 8)), 10, 15).shape
        (6, 1, 8)
        """
        u, g = self._cotangents(u, grad_output, start, stop)
        states = memory.empty((stop - start + 1, *u.shape), self.network.dtype)
        for k in reversed(range(len(self._layers))):
            layer, below_top = self._layers[k][0], k + 1 < len(self._layers)
            back = cpu.backprop(
                layer, u[:, self.columns(k)], g, start=start, stop=stop, grad_states=states, apart=below_top,
                to_weights=False, to_input=k > 0,
            )  # fmt: skip
            g = back.x
        return states

    def pullback(
        self, u: Array, start: int, stop: int, grad_output: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Cotangents of states[stop], and of the outputs on the way, taken back to states[start]: the cotangent there,
        (B, S), and the gradients of the parameters by these steps alone, by name.

        u (B, S). grad_output (stop-start, B, N), or None: entry i is the gradient of the output after
        states[start+i+1], so the last one adds to u, and what the output at `start` brings in is not counted. A whole
        run from zeros is `run.backprop`. ValueError for a bidirectional network, a window out of range, or what does
        not fit.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> u, parameters = run.pullback(np.zeros((1, 8)), 0, 20, np.ones((20, 1, 8)))
        >>> whole = run.backprop(np.ones((20, 8)))
        >>> np.allclose(u, whole.states[0]), np.allclose(parameters["bias_hh_l0"], whole.parameters["bias_hh_l0"])
        (True, True)
        """
        u, above = self._cotangents(u, grad_output, start, stop)
        out, parameters = np.empty_like(u), dict[str, Array]()
        for k in reversed(range(len(self._layers))):
            columns = self.columns(k)
            back = cpu.backprop(self._layers[k][0], u[:, columns], above, start=start, stop=stop, to_input=k > 0)
            out[:, columns], above = back.carry, back.x
            self._name(parameters, k, 0, back.parameters)
        return out, {name: parameters[name] for name in self.network.shapes}

    def _cotangents(self, u: Any, grad_output: Any, start: int, stop: int) -> tuple[Array, Any]:
        """Both as arrays of this machine that the engine takes."""
        self._one_way("A cotangent of one state")
        self._window(start, stop)
        (B, S), dtype = self.states.shape[1:], self.network.dtype
        u = checks.array("u", u, {"batch": B, "state_size": S}, dtype)
        if grad_output is None:
            return u, None
        shape = {"steps": stop - start, "batch": B, "hidden_size": self.network.hidden_size}
        return u, checks.array("grad_output", grad_output, shape, dtype)

    def derivatives(
        self, k: int, start: int = 0, stop: int | None = None, units: int | None = None
    ) -> LayerDerivatives:
        """The local derivatives of layer k's units, or of its first `units`, from states[start] to states[stop],
        by default T: a `LayerDerivatives`, whose arrays (stop-start, B, N) are NumPy's on either machine.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> weights = run.network.parameters["weight_hh_l0"]
        >>> own = run.derivatives(0, 6, 7).by_recurrent[0][0][0, 0]
        >>> bool(np.allclose(own[:, None] * weights, run.jacobian(7)[0]))
        True
        """
        self._one_way("A derivative of one step")
        stop = self.steps if stop is None else stop
        self._window(start, stop)
        layer, n = self._layers[k][0], self.network.hidden_size
        places = range(layer.offset, layer.offset + self._own, n)
        chosen = slice(0, n if units is None else units)
        states = tuple(self.states[start : stop + 1, :, a : a + n][:, :, chosen] for a in places)
        saved = tuple(part[:, :, chosen] for part in layer.saved_by_unit(start, stop))
        return LayerDerivatives(layer.cell, states, saved)

    def columns(self, k: int, d: int = 0) -> slice:
        """Where the state of layer k, direction d, lies among the S numbers of a state.

        >>> import numpy as np, throughtime as tt
        >>> tt.Network("lstm", 2, 8, num_layers=2).unroll(np.ones((20, 2))).columns(1)
        slice(16, 32, None)
        """
        place = (k * self.network.num_directions + d) * self._own
        return slice(place, place + self._own)

    def sent(self, k: int, d: int = 0) -> Array:
        """(T+1, B, N): what layer k, direction d, sends, at the times of `states`; from 1 to T it is the input of the
        layer above, or the output.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
        >>> bool(np.array_equal(run.sent(0)[1:], run.output))
        True
        """
        return _read_only(self._layers[k][d].sent)

    @property
    def cell(self) -> Any:
        """The cell in the version of its code that this run was made with."""
        return self._layers[0][0].cell

    @property
    def engine(self) -> Any:
        """The engine's module, with the functions and array operations of the run's machine."""
        return self.network.engine

    def jacobian(self, t: int) -> Array:
        """(B, S, S): ds_t/ds_{t-1} for t = 1 ... T, on the full state of all layers; rows are outputs, columns inputs.

        ValueError if t is out of range or the network is bidirectional.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("linear", 2, 3, seed=0).unroll(np.ones((5, 2)))
        >>> bool(np.allclose(run.jacobian(1)[0], run.network.parameters["weight_hh_l0"]))
        True
        """
        self._one_way("A Jacobian")
        meaning = f"jacobian(t) is d states[t]/d states[t-1], for t = 1 to {self.steps}"
        t = arguments.step("t", t, 1, self.steps, meaning)
        return self.jacobians(t - 1, t)[0]

    def jacobians(self, start: int = 0, stop: int | None = None) -> Array:
        """(stop-start, B, S, S): the Jacobians of all steps from states[start] to states[stop], by default T, at once.

            jacobians(start, stop)[i] = ds_{start+i+1}/ds_{start+i} = jacobian(start + i + 1)

        All are held in memory together: (stop-start) B S^2 numbers. ValueError if not 0 <= start <= stop <= T or if
        the network is bidirectional.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 3, seed=0).unroll(np.ones((20, 2)))
        >>> of_all = run.jacobians()
        >>> of_all.shape, bool(np.array_equal(of_all[6], run.jacobian(7)))
        ((20, 1, 3, 3), True)
        """
        self._one_way("A Jacobian")
        stop = self.steps if stop is None else stop
        self._window(start, stop)
        B, S = self.states.shape[1:]
        advice = "Take them for fewer steps at once, by `start` and `stop`."
        room.check(
            f"{stop - start} Jacobians ({B}, {S}, {S})", (stop - start) * B * S * S, self.network.dtype.itemsize, advice
        )
        return jacobians.jacobian([layer for (layer,) in self._layers], int(start), int(stop))

    def output_cotangent(self, t: int, g: Any) -> Array:
        """(B, S): what the gradient g (B, N) of the output after input t-1 brings into states[t], for t = 1 ... T."""
        self._one_way("The cotangent of one state")
        t = arguments.step("t", t, 1, self.steps)
        layer, n = self._layers[-1][0], self.network.hidden_size
        g = checks.array("g", g, {"batch": self.states.shape[1], "hidden_size": n}, self.network.dtype)
        out = np.zeros(self.states.shape[1:], self.network.dtype)
        for j, slope in enumerate(cpu.slopes(layer, t)):
            out[:, layer.offset + j * n : layer.offset + (j + 1) * n] = slope * g
        if self.lengths is not None:
            out[t > self.lengths] = 0
        return out

    def made_with(self) -> dict[str, Array]:
        """The parameters that the run was made with, by name; those of the network may have changed since."""
        found: dict[str, Array] = {}
        for k, d in self._blocks():
            self._name(found, k, d, self._layers[k][d].parameters)
        return found

    def __repr__(self) -> str:
        T, B, S = self.states.shape
        return f"{self.network!r} unrolled over {T - 1} steps of {B} sequences; state size {S}"

    # ------------------------------------------------------------------------------------------ places and shapes

    @property
    def _own(self) -> int:
        """Numbers in the state of one layer and direction."""
        return spec(self.network.cell).states * self.network.hidden_size

    def _blocks(self) -> list[tuple[int, int]]:
        return [(k, d) for k in range(self.network.num_layers) for d in range(self.network.num_directions)]

    def _outside(self, own: Array) -> Array:
        """(T, B, .) as the user sees it."""
        if not self._had_batch:
            return own[:, 0]
        return own.swapaxes(0, 1) if self.network.batch_first else own

    def _as_state(self, blocks: Array) -> Array | tuple[Array, ...]:
        """(B, L*D, S*N) as h, or (h, c), in PyTorch's shapes."""
        n = self.network.hidden_size
        parts = [np.ascontiguousarray(blocks[:, :, j * n : (j + 1) * n].swapaxes(0, 1)) for j in range(self._own // n)]
        parts = parts if self._had_batch else [part[:, 0] for part in parts]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def _name(self, parameters: dict[str, Array], k: int, d: int, grads: Any) -> None:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.network.bias else ("weight_ih", "weight_hh")
        for name, grad in zip(names, grads, strict=False):
            parameters[f"{name}_l{k}{'_reverse' if d else ''}"] = grad

    def _one_way(self, what: str) -> None:
        direction.one_way(self.network, what, ", or use `run.backprop`")

    def _window(self, start: int, stop: int) -> None:
        for label, t in (("start", start), ("stop", stop)):
            arguments.step(label, t, 0, self.steps, f"times of states go from 0 to T = {self.steps}")
        if start > stop:
            raise ValueError(
                f"`start` is {start} and `stop` is {stop}; a window goes from states[start] to states[stop], "
                "start <= stop."
            )

    def _perturbation(self, name: str, value: Any, start: int, stop: int) -> tuple[Array, int, Any]:
        """The perturbations as rows (B*K, S), K, and the way back to the shape in which they came."""
        self._one_way("A product with Jacobians")
        self._window(start, stop)
        B, S = self.states.shape[1:]
        given, had_copies = checks.perturbation(name, value, B, S, self.network.dtype)
        K = given.shape[2]
        rows = np.array(given.transpose(0, 2, 1), order="C").reshape(B * K, S)

        def back(rows: Array) -> Array:
            out = rows.reshape(B, K, S).transpose(0, 2, 1)
            return np.ascontiguousarray(out) if had_copies else np.ascontiguousarray(out[:, :, 0])

        return rows, K, back

    def _piece(self, rows: Array) -> int:
        """Time steps that perturbations take through one layer before the next layer takes them."""
        if len(self._layers) == 1:
            return max(1, self.steps)
        return max(1, MOST_BYTES // max(1, len(rows) * self.network.hidden_size * rows.dtype.itemsize))


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
