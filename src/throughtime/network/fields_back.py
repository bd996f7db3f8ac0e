"""The gradients of a loss by the fields of a network's cell, from a run and the gradients of its states.

    dL/df = Σ_t λ_{t+1} · ∂forward/∂f (x_t, r_t, s_t) + Σ_t (dL/de_t) · ∂emit/∂f (s_t)

with λ_{t+1} the gradient of a layer's state after step t, what the layer above hears of it included, and dL/de_t that
of what its units send: to the output, to the layer above, and by W_hh to the units of the next step. x_t and r_t are
worked out again, all times at once.

Dimensions: T time steps, B sequences, N units, S states of a unit, G gates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells.base import on_arrays, sent_slopes, spec
from ..cells.field_derivatives import by_field
from ..engine.blas import single_blas
from ..engine.stack import Into
from . import clipped, truncated
from .field_gradients import Deferred, FieldGradients

Array = np.ndarray
PIECE = 1 << 18  # numbers of one state or gate that are worked out at once


def deferred(run: Any, g: Any, at_end: Any, window: int | None, most: float | None, each: bool) -> Deferred:
    """The gradients of `of_fields`, of copies of what the user may change."""
    if not any(len(layer.cell) for of_layer in run._layers for layer in of_layer):
        return Deferred(tuple)
    copy = run.engine.arrays.copy
    return Deferred(of_fields, run, None if g is None else copy(g), copy(at_end), window, most, each)


@single_blas
def of_fields(
    run: Any, g: Any, at_end: Any, window: int | None, most: float | None, each: bool
) -> tuple[FieldGradients, ...]:
    """dL/df of each layer and direction, in the order of `run.final_state`, from the gradients g (T, B, N·D) of the
    output, or None, and at_end (B, S) of the final states; window, most: as the way back was cut or clipped."""
    to_host = run.engine.arrays.to_host
    with run._on():
        costates = to_host(_costates(run, g, at_end, window, most))
        g = None if g is None else to_host(g)
    sides, layers = _Sides(run), run._layers
    found: list[FieldGradients] = []
    for k in reversed(range(len(layers))):
        below = np.zeros(sides.given(k).shape) if k else None
        of_layer, N = [], int(layers[k][0].units)
        for d in range(len(layers[k])):
            arriving = None if g is None else g[:, :, d * N : (d + 1) * N]
            totals = _Layer(sides, k, d).back(costates, arriving, k + 1 < len(layers), below)
            of_layer.append(FieldGradients({name: sides.summed(value, each) for name, value in totals.items()}))
        found, g = of_layer + found, below
    return tuple(found)


def _costates(run: Any, g: Any, at_end: Any, window: int | None, most: float | None) -> Any:
    """(T+1, B, S): the gradients of the states from which the steps before them take theirs; layers independent."""
    stack, arrays = run._stack, run.engine.arrays
    none = Into([[(None,) * len(layer.parameters) for layer in of_layer] for of_layer in stack.layers], False)
    into = none if run.device == "cpu" else None
    if most is not None:
        return clipped.backprop(stack, g, at_end, most, into)[2]
    onward = arrays.empty(run.states.shape, run.states.dtype)
    if window is not None:
        truncated.backprop(stack, g, at_end, window, into, onward[1:])
    else:
        stack.back(at_end, g, grad_states=onward)
    return onward


class _Sides:
    """What all layers of a run read: arrays in NumPy, whichever machine the run is on."""

    def __init__(self, run: Any) -> None:
        to_host = run.engine.arrays.to_host
        self.run, self.dtype = run, run.network.dtype
        self.networks, self.stacked = run.network.networks, run.network.stacked
        weights = {name: to_host(value) for name, value in run.made_with().items()}
        with run._on():
            self.states, self.input = to_host(run.states), to_host(run.input)
            self.sent = {
                (k, d): to_host(layer.sent_at_all_times())
                for k, of_layer in enumerate(run._layers)
                for d, layer in enumerate(of_layer)
            }
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        T, B = run.steps, self.states.shape[1]
        lengths = np.full(B, T) if run.lengths is None else np.asarray(run.lengths)
        self.alive = (np.arange(T)[:, None] < lengths)[:, :, None]

    def given(self, k: int) -> Array:
        """What layer k was given, (T, B, I)."""
        if k == 0:
            return self.input
        ways = range(len(self.run._layers[k - 1]))
        sent = [self.sent[k - 1, d][:-1] if d else self.sent[k - 1, d][1:] for d in ways]
        return sent[0] if len(sent) == 1 else np.concatenate(sent, axis=2)

    def times(self, rows: Array, matrix: Any) -> Array:
        """rows (n, B, M) times a matrix (M, M'), of several networks on the GPU each with its own, (K, M, M')."""
        if matrix.ndim == 2:
            return rows @ matrix
        n, B, M = rows.shape
        return (rows.reshape(n, self.networks, B // self.networks, M) @ matrix).reshape(n, B, -1)

    def summed(self, value: Array, each: bool) -> Any:
        """The sum over sequences of (B,) or (B, N), of each network by itself where there are several."""
        if not each:
            value = value.reshape(self.networks, -1, *value.shape[1:]).sum(axis=1)
            value = value if self.stacked else value[0]
        return value.astype(self.dtype) if value.ndim else float(value)


class _Layer:
    """One direction of one layer."""

    def __init__(self, sides: _Sides, k: int, d: int) -> None:
        run, w, end = sides.run, sides.weights, f"_l{k}{'_reverse' if d else ''}"
        self.sides, self.layer = sides, run._layers[k][d]
        self.N, self.cell, self.columns = int(self.layer.units), self.layer.cell, run._stack.columns(k, d)
        self.before: slice
        self.after: slice
        self.before, self.after = (slice(1, None), slice(None, -1)) if d else (slice(None, -1), slice(1, None))
        self.w_ih, self.w_hh = w["weight_ih" + end], w["weight_hh" + end]
        self.b_ih, self.b_hh = (w.get(kind + end) for kind in ("bias_ih", "bias_hh"))
        self.given, self.sent = sides.given(k), sides.sent[k, d][self.before]

    def back(self, costates: Array, arriving: Array | None, above: bool, below: Array | None) -> dict[str, Array]:
        """The sums over time, (B,) or (B, N), for each field. arriving (T, B, N): the gradient of what is sent, to be
        added to the costates where it comes from a layer `above`; below (T, B, I): takes that of what was given."""
        B = costates.shape[1]
        fields = {name: np.ndim(value) for name, value in self.cell._asdict().items()}
        totals = {name: np.zeros((B, self.N) if own else B) for name, own in fields.items()}
        states = self.sides.states[:, :, self.columns]
        T, piece = len(costates) - 1, max(1, PIECE // max(1, B * self.N))
        for a in range(0, T, piece):
            at = slice(a, min(a + piece, T))
            now = _Piece(self, at, states[self.before][at], states[self.after][at])
            g = None if arriving is None else arriving[at].astype(np.float64, copy=False)
            with np.errstate(all="ignore"):  # padding saved nothing: whatever its memory holds
                each = now.back(costates[self.after][at][:, :, self.columns], g, above, below)
            for name, value in each.items():
                totals[name] += value.sum(axis=(0,) if fields[name] else (0, 2))
        return totals


class _Piece:
    """Some steps of a layer at once. Values (n, B, N), in float64."""

    def __init__(self, own: _Layer, at: slice, before: Array, after: Array) -> None:
        self.own, self.at, self.cell = own, at, own.cell
        self.s, self.s_next = self._parts(before), self._parts(after)
        self.alive = own.sides.alive[at]

    def back(self, costates: Array, g: Array | None, above: bool, below: Array | None) -> dict[str, Array]:
        own, sides, cell = self.own, self.own.sides, self.cell
        ds = self._parts(costates)
        if above and g is not None:
            slopes = sent_slopes(cell, self.s_next)
            ds = tuple(value + slope * g for value, slope in zip(ds, slopes, strict=True))
        x = self._mixed(own.given[self.at], own.w_ih, own.b_ih)
        r = self._mixed(own.sent[self.at], own.w_hh, own.b_hh)
        found = {name: _inner(ds, by_field(cell, name, _forward, (x, r, self.s))) for name in cell._fields}
        sent = {name: by_field(cell, name, _emit, (self.s,)) for name in cell._fields if spec(cell).emits}
        by_sending = any(np.any(part) for parts in sent.values() for part in parts)
        if by_sending or below is not None:
            saved = tuple(part.astype(np.float64) for part in own.layer.saved_by_unit(self.at.start, self.at.stop))
            dx, dr, _ = on_arrays(cell.backward, (ds, self.s, self.s_next, saved))
            if below is not None:
                below[self.at] += np.where(self.alive, sides.times(self._joined(dx), own.w_ih), 0.0)
            if by_sending:
                fed = (sides.times(self._joined(dr), own.w_hh),)
                for name, parts in sent.items():
                    found[name] = found[name] + _inner(fed, parts)
                    if g is not None:
                        found[name] = found[name] + _inner((g,), by_field(cell, name, _emit, (self.s_next,)))
        return {name: np.where(self.alive, value, 0.0) for name, value in found.items()}

    def _mixed(self, rows: Array, w: Array, bias: Array | None) -> tuple[Array, ...]:
        mixed = self.own.sides.times(rows.astype(np.float64, copy=False), np.swapaxes(w, -1, -2))
        if bias is not None:
            K, (n, B, M) = self.own.sides.networks, mixed.shape
            mixed = (mixed.reshape(n, K, B // K, M) + bias.reshape(K, 1, M)).reshape(n, B, M)
        return self._parts(mixed)

    def _parts(self, value: Array) -> tuple[Array, ...]:
        """The blocks of N numbers that lie side by side."""
        N = self.own.N
        return tuple(np.array(value[:, :, j : j + N], np.float64) for j in range(0, value.shape[2], N))

    def _joined(self, blocks: tuple) -> Array:
        return np.concatenate([np.broadcast_to(block, self.s[0].shape) for block in blocks], axis=2)


def _forward(cell: Any, x: Any, r: Any, s: Any) -> tuple:
    return cell.forward(x, r, s)[0]


def _emit(cell: Any, s: Any) -> tuple:
    return (cell.emit(s),)


def _inner(one: tuple, other: tuple) -> Any:
    """Σ_i one_i other_i."""
    return sum(a * b for a, b in zip(one, other, strict=True))


def by_sending(cell: Any, s: tuple[Array, ...], g: Array) -> FieldGradients:
    """dL/df by what units of state s send alone, from the gradient g of that; the last axis is that of the units."""
    found = {}
    for name, value in cell._asdict().items():
        slope = by_field(cell, name, _emit, (s,))[0] if spec(cell).emits else 0.0
        products = np.broadcast_to(slope * g, g.shape)
        found[name] = products.reshape(-1, g.shape[-1]).sum(axis=0) if np.ndim(value) else float(products.sum())
    return FieldGradients(found)
