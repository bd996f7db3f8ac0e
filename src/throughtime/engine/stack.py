"""Through the layers of a network, once, for both machines: forward, back, perturbations, Jacobians.

What lies where in a state, what a layer hands to the next one and what carries over from time to time is known here
only; the engines (`engine.of`) know one layer and direction, the callers sequences and names.

Dimensions: T time steps, B sequences, L layers, D directions, N units of a layer, S numbers of a state of all of them;
M = B·K rows of K perturbations of each sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..cells.base import spec
from . import of
from .back import Back, Into, in_pieces, piece_of
from .normalised import Normalised
from .once import once

Array = Any  # of the machine
MOST_BYTES = 1 << 25  # of the perturbations that pass from layer to layer; longer windows go in pieces


@dataclass
class Stack:
    """Layers one above the other, unrolled over their input. `layers[k][d]`: an engine's layer k, direction d."""

    device: str
    layers: list[list[Any]]
    states: Array  # (T+1, B, S)
    lengths: np.ndarray | None
    back_only: bool = False
    norms: Sequence[Normalised] = ()  # what the layers read, where that is normalised
    masked: bool = False  # whether there is noise in the recurrence
    every: int = 0  # steps after which states are kept, of a run that keeps but some

    @once
    def _columns(self) -> list[list[slice]]:
        return [
            [slice(one.offset, one.offset + spec(one.cell).states * int(one.units)) for one in of_layer]
            for of_layer in self.layers
        ]

    @property
    def engine(self) -> Any:
        return of(self.device)

    @property
    def steps(self) -> int:
        return int(self.layers[0][0].steps)

    @property
    def batch(self) -> int:
        return int(self.layers[0][0].batch)

    @property
    def size(self) -> int:
        return int(self.states.shape[2])

    def columns(self, k: int, d: int = 0) -> slice:
        """Where the state of layer k, direction d, lies among the S numbers."""
        return self._columns[k][d]

    def without_noise(self) -> None:
        """ValueError where masks were drawn: a run with them goes back only."""
        if self.masked:
            raise ValueError(
                "This run was made with `noise`, for training, and has no more than gradients and products going back; "
                "take the run without, `net.unroll(x)`."
            )

    def at_ends(self) -> Array:
        """(B, S): the state of every sequence at its own end, of each direction."""
        last = self.engine.arrays.empty(self.states.shape[1:], self.states.dtype)
        for of_layer in self._columns:
            for d, columns in enumerate(of_layer):
                self.engine.arrays.move(last[:, columns], self.states[0 if d else self.steps, :, columns])
        return last

    def parts_from_end(self) -> Iterator[tuple[Stack, int]]:
        """The steps in pieces, of one direction, the last first, each with the time at which it begins."""
        yield self, 0

    def sent(self, k: int, d: int) -> Array:
        """(T+1, B, N): what layer k, direction d, sends at the times of the states."""
        return self.layers[k][d].sent_at_all_times()

    def given(self, k: int, x: Array) -> Array:
        """What layer k reads, (T, B, I); x: the input of all."""
        if self.norms:
            return self.norms[k].output
        return self.engine.arrays.joined([layer.output() for layer in self.layers[k - 1]]) if k else x

    def back(
        self,
        carry: Array,
        grad_output: Array | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        copies: int = 1,
        grad_states: Array | None = None,
        to_weights: bool = False,
        to_input: bool = False,
        into: Into | None = None,
        apart: bool = False,
    ) -> Back:
        """Cotangents `carry` (M, S) of states[stop], and grad_output (steps, M, N·D) of what the last layer sends on
        the way, taken back to states[start]. grad_states (steps+1, M, S), if given, receives those of every state.
        apart: without what enters at the same time by grad_output. into: on the CPU, the arrays to which the gradients
        of the parameters are added."""
        stop = self.steps if stop is None else stop
        if len(self.layers) == len(self.layers[0]) == 1 and not self.norms:  # the whole state is one layer's
            to = {} if into is None else {"into": into.arrays[0][0], "each": into.each}
            whole = of(self.device).backprop(
                self.layers[0][0], carry, grad_output, start=start, stop=stop, copies=copies, grad_states=grad_states,
                apart=apart, to_weights=to_weights, to_input=to_input, **to,
            )  # fmt: skip
            return Back(whole.carry, [[whole.parameters]], whole.x)
        within: dict[str, Any] = {"start": start, "stop": stop}
        back = partial(self._through, copies=copies, to_weights=to_weights, to_input=to_input, into=into, apart=apart)
        if len(self.layers) > len(self.layers[0]) == 1 and not (to_weights and into is None) and self.device == "cpu":
            own, M, steps = [layer for (layer,) in self.layers], len(carry), stop - start
            piece = piece_of(own, M, steps, max(layer.units for layer in own))
            if piece < steps:  # what passes between layers is of a piece of time
                x = self.engine.arrays.empty((steps, M, own[0].inputs), carry.dtype) if to_input else None
                carry = in_pieces(back, carry, grad_output, grad_states, x, piece=piece, **within)
                return Back(carry, [list(arrays) for arrays in into.arrays] if into else [], x)
        return back(carry, grad_output, grad_states=grad_states, **within)

    def _through(
        self, carry: Array, grad_output: Array | None, *, start: int, stop: int, copies: int, grad_states: Array | None,
        to_weights: bool, to_input: bool, into: Into | None, apart: bool,
    ) -> Back:  # fmt: skip
        """The same, layer by layer."""
        arrays, backprop, top = self.engine.arrays, self.engine.backprop, len(self.layers) - 1
        out, found, g = arrays.empty(carry.shape, carry.dtype), list[list[Any]](), grad_output
        of_norms = [(np.zeros_like(own.weight), np.zeros_like(own.bias)) for own in self.norms if to_weights]
        norms = of_norms if into is None else into.norms
        for k in range(top, -1, -1):
            x, of_layer, directions = None, [], self.layers[k]
            to_norm = to_weights and k < len(norms) and any(own is not None for own in norms[k])
            for d, layer in enumerate(directions):
                columns, n = self._columns[k][d], layer.units
                of_g = g if g is None or len(directions) == 1 else g[:, :, d * n : (d + 1) * n]
                through = partial(
                    backprop, layer, copies=copies, apart=apart or k < top, to_weights=to_weights,
                    to_input=to_input or k > 0 or to_norm, **({} if into is None else into.of(k, d)),
                )  # fmt: skip
                if x is None or into is None or start == stop:
                    own = through(carry[:, columns], of_g, start=start, stop=stop, grad_states=grad_states)
                    of_layer.append(own.parameters)
                    x, end = own.x if x is None else arrays.add(x, own.x), own.carry
                else:  # added to what the first direction brings, a piece of time after another
                    piece = piece_of(directions, len(carry), stop - start, x.shape[2])
                    of_layer.append(into.arrays[k][d])
                    at: dict[str, Any] = {"start": start, "stop": stop, "piece": piece, "onward": True, "add": True}
                    end = in_pieces(through, carry[:, columns], of_g, grad_states, x, **at)
                arrays.move(out[:, columns], end)
            found.append(of_layer)
            if self.norms and x is not None:
                x = self.norms[k].back(x, start, norms[k] if to_norm else None, into is not None and into.each)
            g = x
        return Back(out, found[::-1], g, of_norms)

    def cotangents(self, rows: Array, start: int, stop: int, copies: int) -> Array:
        """J_{start+1}^T ... J_stop^T u for rows u (M, S); of one direction."""
        piece = self._piece(rows)
        for b in range(stop, start, -piece):
            rows = self.back(rows, start=max(b - piece, start), stop=b, copies=copies).carry
        return rows

    def tangents(self, rows: Array, start: int, stop: int, copies: int) -> Array:
        """J_stop ... J_{start+1} v for rows v (M, S); of one direction."""
        if self.back_only:
            raise ValueError("Single steps go back only; forward take `run.jvp(v, t, t + 1)` of each time.")
        self.without_noise()
        if len(self.layers) == 1:
            return self.engine.tangent(self.layers[0][0], rows, None, start=start, stop=stop, copies=copies)[0]
        piece, arrays, top = self._piece(rows), self.engine.arrays, len(self.layers) - 1
        for a in range(start, stop, piece):
            b, x, out = min(a + piece, stop), None, arrays.empty(rows.shape, rows.dtype)
            for k, (layer,) in enumerate(self.layers):
                columns = self._columns[k][0]
                x = self.norms[k].tangent(x, a) if self.norms and x is not None else x
                own, x = self.engine.tangent(
                    layer, rows[:, columns], x, start=a, stop=b, copies=copies, to_output=k < top
                )
                arrays.move(out[:, columns], own)
            rows = out
        return rows

    def sent_back(self, g: Array, t: int) -> Array:
        """(B, S): what the gradient g (1, B, N) of what the last layer sends after step t brings into states[t+1]."""
        arrays, top = self.engine.arrays, len(self.layers) - 1
        out = (arrays.zeros if top else arrays.empty)((self.batch, self.size), self.states.dtype)
        arrays.move(out[:, self.columns(top)], self.engine.sent_back(self.layers[top][0], g, t))
        return out

    def single_steps(self, start: int, stop: int) -> Stack:
        """Each row (t, b) of the steps start ... stop-1 as a sequence of a single step, which goes back only."""
        lengths = np.full(self.batch, self.steps) if self.lengths is None else self.lengths
        alive = (np.arange(start, stop)[:, None] < lengths).astype(np.int64).reshape(-1)
        there = self.engine.arrays.from_host(alive)
        layers = [[layer.apart(start, there)] for (layer,) in self.layers]
        norms = [own.apart(start, stop) for own in self.norms]
        return Stack(
            self.device, layers, self.states, None if self.lengths is None else alive, True, norms, self.masked
        )

    def jacobians(self, start: int, stop: int) -> Array:
        """ds_{t+1}/ds_t for t = start ... stop-1, (steps, B, S, S)."""
        if self.back_only:
            raise ValueError("The Jacobians of single steps are `run.jacobians(start, stop)` of their run.")
        self.without_noise()
        layers = [layer for (layer,) in self.layers]
        between = [own.tangent_of_rows for own in self.norms]
        found = self.engine.jacobians.of_layers(layers, start, stop, **({"between": between} if between else {}))
        return self._by_products(start, stop) if found is None else found

    def _by_products(self, start: int, stop: int) -> Array:
        """The same by products with unit vectors: where an engine writes the matrices of one layer only."""
        arrays, B, S, dtype = self.engine.arrays, self.batch, self.size, self.states.dtype
        unit = arrays.from_host(np.eye(S, dtype=dtype))
        if self.layers[0][0].networks == 1 and start < stop:  # all steps at once: row i is J^T e_i
            rows = arrays.empty(((stop - start) * B, S, S), dtype)
            arrays.move(rows, arrays.repeated(unit, len(rows)))
            found = self.single_steps(start, stop).back(rows.reshape((len(rows) * S, S)), start=0, stop=1, copies=S)
            return arrays.shaped(found.carry, (stop - start, B, S, S))
        out = arrays.empty((stop - start, B, S, S), dtype)
        columns = arrays.compact(arrays.repeated(unit, B)).reshape((B * S, S))
        for t in range(start, stop):  # the sequences of a network lie together at each time, and apart over all
            products = self.tangents(columns, t, t + 1, S).reshape((B, S, S))  # row i is J e_i
            arrays.move(out[t - start], arrays.compact(products, (0, 2, 1)))
        return out

    def _piece(self, rows: Array) -> int:
        """Time steps that perturbations take through one layer before the next layer takes them."""
        if len(self.layers) == 1:
            return max(1, self.steps)
        units = max(int(one.units) for (one,) in self.layers)
        return max(1, MOST_BYTES // max(1, len(rows) * units * rows.dtype.itemsize))


def forward(
    device: str,
    cells: Sequence[Any],
    parameters: Sequence[Sequence[tuple[Array, ...]]],
    x: Array,
    initial: Array,
    lengths: np.ndarray | None,
    norms: Sequence[tuple[Array, Array]] = (),
    patterns: Sequence[Sequence[Any]] | None = None,
    method: str | None = None,
    masks: Sequence[Sequence[tuple[Array, Array]]] | None = None,
    *,
    reverse: bool = False,
    like: Sequence[Sequence[Any]] | None = None,
    source: Sequence[Sequence[Any]] | None = None,
) -> tuple[Stack, Array]:
    """The layers run over x (T, B, I) from the state `initial` (B, S), with `cells[k]` and `parameters[k][d]`: w_ih,
    w_hh, b_ih, b_hh and the unit parameters of layer k and direction d. norms[k]: w and b of the normalisation of what
    layer k reads, patterns[k][d]: where the weights w_hh are, None where everywhere, method: how it goes through time,
    masks[k][d]: of the noise in the recurrence; all on the CPU. reverse: of one direction, which begins at the end.
    like[k][d], source[k][d]: see `cpu.unroll`. Also what the last layer sends, (T, B, N·D), 0 in the padding."""
    engine = of(device)
    how: dict[str, Any] = {} if method is None else {"method": method}
    given = ("pattern", patterns), ("masks", masks), ("like", like), ("source", source)
    by_layer = [(name, value) for name, value in given if value is not None]
    arrays, T, B = engine.arrays, int(x.shape[0]), int(x.shape[1])
    place = 0  # where the state of a layer and direction begins
    states = arrays.empty((T + 1, B, initial.shape[1]), initial.dtype)
    if whole := device == "cpu" and len(parameters[0]) == 1:
        states[T if reverse else 0] = initial
    ends = arrays.every(B, T) if lengths is None else arrays.from_host(lengths)
    layers, read = list[list[Any]](), list[Normalised]()
    for k, directions in enumerate(parameters):
        cell, of_layer = cells[k], []
        if norms:
            read.append(Normalised.of(x, *norms[k]))
            x = read[k].output
        for d, weights in enumerate(directions):
            *_, units = weights[1].shape
            columns = slice(place, place + spec(cell).states * int(units))
            if not whole:
                arrays.move(states[T if d or reverse else 0, :, columns], initial[:, columns])
            for name, value in by_layer:
                how[name] = value[k][d]
            of_layer.append(engine.unroll(cell, weights, x, states, place, ends, reverse or d > 0, **how))
            place = columns.stop
        layers.append(of_layer)
        x = arrays.joined([layer.output() for layer in of_layer]) if len(of_layer) > 1 else of_layer[0].output()
    if lengths is not None:
        x = arrays.pad(arrays.copy(x), ends)
    return Stack(device, layers, states, lengths, False, read, masks is not None), x
