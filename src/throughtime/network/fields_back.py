"""The gradients of a loss by the fields of a network's cell, from a run and the gradients of its states.

    dL/df = Σ_t λ_{t+1} · ∂forward/∂f (x_t, r_t, s_t) + Σ_t (dL/de_t) · ∂emit/∂f (s_t)

with λ_{t+1} the gradient of a layer's state after step t, what the layer above hears of it included, and dL/de_t that
of what its units send: to the output, to the layer above, and by W_hh to the units of the next step; for the signals of
a stage likewise. x_t and r_t are worked out again, all times at once.

Dimensions: T time steps, B sequences, N units, K networks on the GPU side by side, of B/K sequences each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells.base import spec
from ..cells.field_derivatives import by_field
from ..cells.on_arrays import emitted, on_arrays, sent_slopes, staged
from ..engine.back import Into
from ..engine.blas import single_blas
from . import clipped, truncated
from .field_gradients import Deferred, FieldGradients

Array = np.ndarray
NO_FIELDS = Deferred(tuple)
PIECE = 1 << 18  # numbers of one state or gate that are worked out at once


def deferred(run: Any, g: Any, at_end: Any, window: int | None, most: float | None, each: bool) -> Deferred:
    """The gradients of `of_fields`. The gradient of the output is kept as it is, and not a copy, which on the CPU would
    be a good part of all memory: whether it has changed is seen."""
    if not any(map(len, run.network.cells)):
        return NO_FIELDS
    if run._stack.masked:
        return Deferred(run._stack.without_noise)
    if run.checkpoint:
        return Deferred(run._stack.everything, "what a loss says of the fields of cells")
    copy = run.engine.arrays.copy
    given = window, most, each
    if g is None or run.device != "cpu":
        return Deferred(of_fields, run, None if g is None else copy(g), copy(at_end), *given)
    return Deferred(_unless_changed, _sums(g), run, g, copy(at_end), *given)


def _unless_changed(sums: Array, run: Any, g: Array, *given: Any) -> tuple[FieldGradients, ...]:
    if not np.array_equal(_sums(g), sums, equal_nan=True):
        raise ValueError(
            "`grad_output` has other numbers now than when `backprop` was called, and the gradients by fields are "
            "worked out when somebody looks: look at `.cells` before you change it, or hand in a copy."
        )
    return of_fields(run, g, *given)


def _sums(g: Array) -> Array:
    """(T, B): of the numbers at each place, each with a weight of its own; two gradients will hardly share them."""
    with np.errstate(all="ignore"):
        return np.asarray(np.einsum("tbn,n->tb", g, np.sqrt(np.arange(2.0, g.shape[2] + 2.0)).astype(g.dtype)))


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
        given = sides.given(k)
        below = np.zeros(given.shape) if k else None
        of_layer, N = [], int(layers[k][0].units)
        for d in range(len(layers[k])):
            arriving = None if g is None else g[:, :, d * N : (d + 1) * N]
            totals = _Layer(sides, k, d, given).back(costates, arriving, k + 1 < len(layers), below)
            of_layer.append(FieldGradients({name: sides.summed(value, each) for name, value in totals.items()}))
        if below is not None and run._stack.norms:
            below = run._stack.norms[k].back(below, 0)
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
        self.run, self.dtype, self.to_host = run, run.network.dtype, run.engine.arrays.to_host
        self.networks, self.stacked = run.network.networks, run.network.stacked
        with run._on():
            self.states, self.input = self.to_host(run.states), self.to_host(run.input)
        T, B = run.steps, self.states.shape[1]
        lengths = np.full(B, T) if run.lengths is None else np.asarray(run.lengths)
        self.alive = (np.arange(T)[:, None] < lengths)[:, :, None]

    def given(self, k: int) -> Array:
        """What layer k reads, (T, B, I)."""
        if k == 0:
            return np.asarray(self.run._stack.norms[0].output) if self.run._stack.norms else self.input
        with self.run._on():
            return np.asarray(self.to_host(self.run.given(k)))

    def times(self, rows: Array, matrices: Array) -> Array:
        """rows (n, B, M) times the matrix (M, M') of their network, of (K, M, M')."""
        n, B, M = rows.shape
        return (rows.reshape(n, self.networks, B // self.networks, M) @ matrices).reshape(n, B, -1)

    def of_each(self, values: Array) -> Array:
        """(K, M) for every sequence of a network: (B, M), or (1, M) where there is one network."""
        return values if self.networks == 1 else np.repeat(values, self.states.shape[1] // self.networks, axis=0)

    def summed(self, value: Array, each: bool) -> Any:
        """The sum over sequences of (B,) or (B, N), of each network by itself where there are several."""
        if not each:
            value = value.reshape(self.networks, -1, *value.shape[1:]).sum(axis=1)
            value = value if self.stacked else value[0]
        return value.astype(self.dtype) if value.ndim else float(value)


class _Layer:
    """One direction of one layer."""

    def __init__(self, sides: _Sides, k: int, d: int, given: Array) -> None:
        self.sides, self.layer, self.given = sides, sides.run._layers[k][d], given
        self.N, self.cell, self.columns = int(self.layer.units), self.layer.cell, sides.run._stack.columns(k, d)
        self.record = spec(self.cell)
        early, late = slice(None, -1), slice(1, None)
        self.before = late if d else early
        self.after = early if d else late
        with sides.run._on():
            own = [sides.to_host(value).astype(np.float64) for value in self.layer.parameters]
        if sides.run.device == "cpu":  # where an engine has no axis for several networks
            own = [value[None] for value in own]
        self.w_ih, w_hh, b_ih, b_hh, *p = own
        self.blocks = [w_hh[:, b * self.N : (b + 1) * self.N] for b in range(len(self.record.blocks))]
        self.b_ih, self.b_hh, *self.p = (sides.of_each(value) for value in (b_ih, b_hh, *p))

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
        self.own, self.at, self.cell, self.record = own, at, own.cell, own.record
        self.s, self.s_next = self._parts(before), self._parts(after)
        self.alive = own.sides.alive[at]
        self.p = (tuple(own.p),) if own.p else ()

    def back(self, costates: Array, g: Array | None, above: bool, below: Array | None) -> dict[str, Array]:
        own, cell, names = self.own, self.cell, self.cell._fields
        ds = self._parts(costates)
        if above and g is not None:
            slopes = sent_slopes(cell, self.s_next)
            ds = tuple(value + slope * g for value, slope in zip(ds, slopes, strict=True))
        x, r = self._drives()
        found = {name: _inner(ds, by_field(cell, name, _forward, (x, r, self.s, *self.p))) for name in names}
        by_stage, by_signals = dict[str, tuple](), dict[str, tuple]()
        if self.record.stage:
            first = r[: self.record.first]
            by_stage = {name: by_field(cell, name, _stage, (x, first, self.s, *self.p)) for name in names}
        if self.record.emits:
            by_signals = {name: by_field(cell, name, _signals, (self.s,)) for name in names}
        if below is not None or _any(by_stage) or _any(by_signals):
            da, de, dx = self._back_to_signals(ds)
            if below is not None:
                below[self.at] += np.where(self.alive, own.sides.times(_side_by_side(dx, self.s[0]), own.w_ih), 0.0)
            for name, slopes in by_stage.items():
                found[name] = found[name] + _inner(da, slopes)
            for name, slopes in by_signals.items():
                found[name] = found[name] + _inner(de, slopes)
                if g is not None and np.any(slopes[0]):
                    found[name] = found[name] + g * by_field(cell, name, _signals, (self.s_next,))[0]
        return {name: np.where(self.alive, value, 0.0) for name, value in found.items()}

    def _drives(self) -> tuple[tuple, tuple]:
        """x and r of the steps."""
        own, sides, cell = self.own, self.own.sides, self.cell
        given = own.given[self.at].astype(np.float64, copy=False)
        x = self._parts(sides.times(given, own.w_ih.swapaxes(1, 2)) + own.b_ih)
        r: list[Any] = [np.broadcast_to(bias, self.s[0].shape) for bias in self._parts(own.b_hh[None])]
        self._feed(r, emitted(cell, self.s), 0)
        if self.record.stage:
            self._feed(r, staged(cell, x, tuple(r[: self.record.first]), self.s, *self.p), self.record.signals)
        return x, tuple(r)

    def _feed(self, r: list[Any], signals: tuple, first: int) -> None:
        """Add to the parts of r what signals, numbered from `first` on, bring there."""
        for (signal, part), w in zip(self.record.blocks, self.own.blocks, strict=True):
            if 0 <= signal - first < len(signals):
                r[part] = r[part] + self.own.sides.times(signals[signal - first], w.swapaxes(1, 2))

    def _back_to_signals(self, ds: tuple) -> tuple[tuple, tuple, tuple]:
        """From the gradient of the next states those of the stage's signals, the state's, and x."""
        own, cell, record = self.own, self.cell, self.record
        saved = tuple(part.astype(np.float64) for part in own.layer.saved_by_unit(self.at.start, self.at.stop))
        dx, dr, *_ = on_arrays(cell.backward, (ds, self.s, self.s_next, saved, *self.p))
        da: tuple = ()
        if record.stage:
            da = self._fed(dr, record.signals, record.staged)
            more_x, more_r, *_ = on_arrays(cell.stage_backward, (da, self.s, saved, *self.p))
            dx = tuple(a + b for a, b in zip(dx, more_x, strict=True))
            dr = tuple(a + b for a, b in zip(dr, more_r, strict=False))  # of the parts that the state feeds
        return da, self._fed(dr, 0, record.signals), dx

    def _fed(self, dr: tuple, first: int, count: int) -> tuple:
        """The gradients of `count` signals from those of the parts of r that they feed."""
        found: list[Any] = [np.zeros_like(self.s[0])] * count
        for (signal, part), w in zip(self.record.blocks, self.own.blocks, strict=True):
            if 0 <= signal - first < count:
                wide = np.broadcast_to(dr[part], self.s[0].shape)
                found[signal - first] = found[signal - first] + self.own.sides.times(wide, w)
        return tuple(found)

    def _parts(self, value: Array) -> tuple[Array, ...]:
        """The blocks of N numbers that lie side by side."""
        N = self.own.N
        return tuple(np.array(value[:, :, j : j + N], np.float64) for j in range(0, value.shape[2], N))


def by_sending(cell: Any, s: tuple[Array, ...], g: Array) -> FieldGradients:
    """dL/df by what units of state s send alone, from the gradient g of that; the last axis is that of the units."""
    found = {}
    for name, value in cell._asdict().items():
        slope = by_field(cell, name, _signals, (s,))[0] if spec(cell).emits else 0.0
        products = np.broadcast_to(slope * g, g.shape)
        found[name] = products.reshape(-1, g.shape[-1]).sum(axis=0) if np.ndim(value) else float(products.sum())
    return FieldGradients(found)


def _forward(cell: Any, *given: Any) -> tuple:
    return cell.forward(*given)[0]


def _stage(cell: Any, *given: Any) -> tuple:
    return cell.stage(*given)


def _signals(cell: Any, s: Any) -> tuple:
    return (cell.emit(s),) if spec(cell).signals == 1 else cell.emit(s)


def _any(by_name: dict[str, tuple]) -> bool:
    return any(np.any(part) for parts in by_name.values() for part in parts)


def _side_by_side(blocks: tuple, like: Array) -> Array:
    return np.concatenate([np.broadcast_to(block, like.shape) for block in blocks], axis=2)


def _inner(one: tuple, other: tuple) -> Any:
    """Σ_i one_i other_i."""
    return sum(a * b for a, b in zip(one, other, strict=True))
