"""A run that keeps its states every k steps and computes the steps between them again on the way back.

Of T steps it holds T/k states and the activations of k steps, in place of T of both. One direction goes through all
layers piece by piece. Of two directions each goes through every layer by itself, as its pieces come from the other end;
what the layers send to one another is then kept too.

Sources: Chen et al. (2016), arXiv:1604.06174; Gruslys et al. (2016), arXiv:1606.03401, for recurrent networks.

Dimensions: T time steps, B sequences, L layers, D directions, N units of a layer, S numbers of a state of all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from . import memory, stack
from .back import Back, Into
from .stack import Stack

Array = Any


@dataclass
class Strand:
    """One direction of some layers over x (T, B, I), by pieces from cuts[j] to cuts[j+1]. given: what `stack.forward`
    takes of the layers; masks: of the whole run, there too; kept (pieces + 1, B, S): the states at the cuts."""

    given: dict[str, Any]
    masks: Sequence[Sequence[tuple[Array, Array]]] | None
    x: Array
    lengths: np.ndarray | None
    reverse: bool
    cuts: list[int]
    kept: Array
    last: tuple[int, Stack] | None = None  # the piece computed last

    def forward(self, out: Array) -> None:
        """Go through all pieces, keep the states at the cuts, and write what the last layer sends to out (T, B, N)."""
        for j in self._pieces(0, self.cuts[-1], not self.reverse):
            piece, sent = self._made(j)
            begin, end = self.cuts[j : j + 2]
            out[begin:end] = sent
            self.kept[j if self.reverse else j + 1] = piece.states[0 if self.reverse else piece.steps]

    def piece(self, j: int) -> Stack:
        """The steps of piece j with all that the way back needs."""
        return self.last[1] if self.last is not None and self.last[0] == j else self._made(j)[0]

    def parts(self, start: int, stop: int, onward: bool) -> Iterator[tuple[Stack, int, int, int]]:
        """The pieces between two times, from the first or from the last: each with the time at which it begins, and
        from where to where, in its own time, it lies between them."""
        for j in self._pieces(start, stop, onward):
            begin, end = self.cuts[j : j + 2]
            yield self.piece(j), begin, max(start - begin, 0), min(stop, end) - begin

    def back(
        self, carry: Array, g: Array | None, start: int, stop: int, grad_states: Array | None, grad_x: Array | None,
        **how: Any,
    ) -> Array:  # fmt: skip
        """`Stack.back` through all pieces between two times; grad_x (stop-start, M, I), if given, receives the gradient
        of x. Returns the gradient of the states at the other end."""
        if grad_states is not None and start == stop:
            grad_states[...] = carry
        for piece, begin, low, high in self.parts(start, stop, self.reverse):
            here = slice(begin + low - start, begin + high - start)
            at = None if grad_states is None else grad_states[here.start : here.stop + 1]
            states = at if at is None or at.flags.c_contiguous else memory.empty(at.shape, at.dtype)
            found = piece.back(
                carry, None if g is None else g[here], start=low, stop=high, grad_states=states,
                to_input=grad_x is not None, **how,
            )  # fmt: skip
            carry = found.carry
            if grad_x is not None:
                grad_x[here] = found.x
            if at is not None and states is not at:
                at[...] = states
        return carry

    def _pieces(self, start: int, stop: int, onward: bool) -> list[int]:
        found = [j for j in range(len(self.cuts) - 1) if self.cuts[j] < stop and self.cuts[j + 1] > start]
        return found if onward else found[::-1]

    def _made(self, j: int) -> tuple[Stack, Array]:
        self.last = None  # its memory is that of the next
        a, b = self.cuts[j : j + 2]
        lengths = None if self.lengths is None else np.clip(self.lengths - a, 0, b - a)
        masks = self.masks and [[(kept[a:b], heard) for kept, heard in of_layer] for of_layer in self.masks]
        initial = self.kept[j + 1 if self.reverse else j]
        made = stack.forward(
            x=self.x[a:b], initial=initial, lengths=lengths, masks=masks, reverse=self.reverse, **self.given
        )
        self.last = j, made[0]
        return made


@dataclass
class Checkpointed(Stack):
    """Layers that keep their states every `every` steps. `layers`, `states` and `norms` are of no step, and hold the
    weights; strands[k][d]: of layer k and direction d, or of all layers in one."""

    total: int = 0
    strands: list[list[Strand]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        return self.total

    def at_ends(self) -> Array:
        of_all = [own.kept[0 if own.reverse else -1] for of_layer in self.strands for own in of_layer]
        return np.concatenate(of_all, axis=1)

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
        stop, dtype, M = self.total if stop is None else stop, self.states.dtype, len(carry)
        if into is None:
            into = self._into(to_weights)
        how = {"copies": copies, "to_weights": to_weights}
        out, g, one_way, top = memory.empty(carry.shape, dtype), grad_output, len(self.strands[0]) == 1, None
        for k in range(len(self.strands) - 1, -1, -1):
            top, g = g, None
            for d, strand in enumerate(self.strands[k]):
                columns = slice(0, carry.shape[1]) if one_way else self.columns(k, d)
                n = self.layers[k][d].units
                own = None if top is None else top if one_way else top[:, :, d * n : (d + 1) * n]
                x = memory.empty((stop - start, M, strand.x.shape[2]), dtype) if to_input or k else None
                of_states = None if grad_states is None else grad_states[:, :, columns]
                of_layers = into if one_way else Into([[into.arrays[k][d]]], into.each, into.norms[k : k + 1])
                below = k < len(self.strands) - 1  # others hear what it sends
                out[:, columns] = strand.back(
                    carry[:, columns], own, start, stop, of_states, x, into=of_layers, apart=apart or below, **how
                )
                if x is not None:
                    g = x if g is None else self.engine.arrays.add(g, x)
        self._unpack()
        return Back(out, [list(own) for own in into.arrays], g, into.norms)

    def tangents(self, rows: Array, start: int, stop: int, copies: int) -> Array:
        for piece, _, low, high in self.strands[0][0].parts(start, stop, True):
            rows = piece.tangents(rows, low, high, copies)
        return rows

    def sent_back(self, g: Array, t: int) -> Array:
        (found,) = (part.sent_back(g, low) for part, _, low, _ in self.strands[0][0].parts(t, t + 1, True))
        return found

    def jacobians(self, start: int, stop: int) -> Array:
        parts = self.strands[0][0].parts(start, stop, True)
        out = memory.empty((stop - start, self.batch, self.size, self.size), self.states.dtype)
        for piece, begin, low, high in parts:
            out[begin + low - start : begin + high - start] = piece.jacobians(low, high)
        return out

    def parts_from_end(self) -> Iterator[tuple[Stack, int]]:
        for piece, begin, _, _ in self.strands[0][0].parts(0, self.total, False):
            yield piece, begin

    def sent(self, k: int, d: int) -> NoReturn:
        self.everything("what every layer sends")

    def given(self, k: int, x: Array) -> Any:
        return self.everything("what every layer reads") if k or self.norms else x

    def single_steps(self, start: int, stop: int) -> NoReturn:
        self.everything("all steps as steps of their own")

    def everything(self, what: str) -> NoReturn:
        """ValueError: only a run with all its steps has this."""
        raise ValueError(
            f"This run was made with `checkpoint` and keeps its states every {self.every} steps; {what} cannot be had "
            "of it: take the run without, `net.unroll(x)`, of all steps or of fewer."
        )

    def _into(self, wanted: bool) -> Into:
        """Zeros to which gradients of the parameters are added."""
        arrays = [
            [tuple(memory.zeros(p.shape, p.dtype) if wanted else None for p in one.parameters) for one in of_layer]
            for of_layer in self.layers
        ]
        return Into(
            arrays, False, [(np.zeros_like(own.weight), np.zeros_like(own.bias)) for own in self.norms if wanted]
        )

    def _unpack(self) -> None:
        """Let go of the packed weights."""
        for of_layer in self.layers:
            for layer in of_layer:
                layer.unpack()


def automatic(none: Stack, steps: int) -> int:
    """√T, in whole groups of the steps whose weight gradients are summed at once: the sums of each layer that has these
    groups then are those of a run that keeps everything. none: the layers, of no steps."""
    group = max(layer.summed(none.batch, steps) for of_layer in none.layers for layer in of_layer)
    return max(1, min(steps, -(-math.isqrt(steps) // group) * group))


def forward(
    every: int | None,
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
) -> tuple[Checkpointed, Array]:
    """As `stack.forward`, on the CPU, with the states kept every so many steps; None: about every √T."""
    T, B, _ = x.shape
    nothing = masks and [[(kept[:0], heard) for kept, heard in of_layer] for of_layer in masks]
    none, _ = stack.forward(
        device, cells, parameters, x[:0], initial, None if lengths is None else lengths * 0, norms, patterns, method,
        nothing,
    )  # fmt: skip
    layers, both = none.layers, len(none.layers[0]) == 2
    for of_layer in layers:
        for layer in of_layer:
            layer.whole = T
    every = automatic(none, T) if every is None else every
    onward = [0, *range(T - (T - 1) // every * every, T, every), T] if T else [0]  # the pieces are counted from where
    back = [*range(0, T, every), T]  # their way back begins, and the first of it is whole
    strands: list[list[Strand]] = []
    for k, d in [(k, d) for k in range(len(layers) if both else 1) for d in range(1 + both)]:
        of, way = slice(k, k + 1) if both else slice(None), slice(d, d + 1)
        given = {
            "device": device, "cells": cells[of], "parameters": [own[way] for own in parameters[of]],
            "norms": norms[of], "patterns": patterns and [own[way] for own in patterns[of]], "method": method,
            "like": [own[way] for own in layers[of]],
        }  # fmt: skip
        columns = none.columns(k, d) if both else slice(0, initial.shape[1])
        cuts = back if d else onward
        kept = memory.empty((len(cuts), B, columns.stop - columns.start), initial.dtype)
        kept[-1 if d else 0] = initial[:, columns]
        if not d:
            strands.append([])
            top = layers[k if both else -1]
            out = memory.empty((T, B, sum(int(one.units) for one in top)), initial.dtype)
        own_masks = masks and [own[way] for own in masks[of]]
        strand = Strand(given, own_masks, x, lengths, bool(d), cuts, kept)
        n = out.shape[2] // (1 + both)
        strand.forward(out[:, :, d * n : (d + 1) * n])
        strands[k].append(strand)
        x = out if d or not both else x
    made = Checkpointed(
        device,
        layers,
        none.states,
        lengths,
        norms=none.norms,
        masked=none.masked,
        every=every,
        total=T,
        strands=strands,
    )
    made._unpack()
    return made, out
