"""How products with a run's Jacobians depend on its states and parameters: the gradient of

    φ = Σ_t Σ_k a_{t,k} · J_t q_{t,k},   J_t = ∂s_t/∂s_{t−1}

with the vectors a and q held fixed. One step is taken forward with its tangents q, and then back, all times at once:

    δx = W_ih δin,  δr = W_hh δe,  δs' = D_x δx + D_r δr + D_s δs      unit by unit but for W, layer after layer

and of a cell with a stage, before δs', δa = A_x δx + A_r δr + A_s δs and δr = W_hh δa for the parts that it feeds. What
W does is linear, so that of a cell only the second derivatives of a unit by itself are needed, and of these only their
sum over the vectors k (cells/second_derivatives.py).

Dimensions: M rows = times × sequences, K vectors a row, S state size, N units, G gates, R parts of r.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np

from ...cells.base import spec
from ...cells.on_arrays import emitted, staged
from ...cells.second_derivatives import change_of_cotangents, change_of_slopes, change_of_stage_cotangents
from ...network.parameters import kinds
from ...results import Array
from .normalised_rows import NormalisedRows
from .wires import Wires


def gradient_of_products(
    run: Any, a: Array, q: Array, start: int, *, slopes_held: bool = False
) -> tuple[Array, dict[str, Array]]:
    """∂φ/∂states[start], … of n times, (n, B, S), and ∂φ/∂θ with the states held fixed, by name.

    run: of one direction, on the CPU. a, q (n, B, K, S): entry i belongs to the step from states[start+i]. slopes_held:
    the derivatives of the units stay what they are too, so that φ moves by W alone; the first result is 0 then.
    """
    n, B, K, S = q.shape
    M, weights, depth = n * B, run.made_with(), run.network.num_layers
    lengths = np.full(B, run.steps) if run.lengths is None else np.asarray(run.lengths)
    alive = (np.arange(start, start + n)[:, None] < lengths).reshape(M)
    a, q = a.reshape(M, K, S), q.reshape(M, K, S)
    if not alive.all():
        a, q = (np.where(alive[:, None, None], v, 0.0) for v in (a, q))
    layers = list[_Layer]()
    for k in range(depth):
        layer = _Layer(run, k, start, n, alive)
        layer.enter(q[:, :, run.columns(k)], layers[-1].sent if layers else None)
        if not slopes_held or k + 1 < depth:
            layer.forward()
        layers.append(layer)
    by_state, found = np.zeros((M, S)), dict[str, Array]()
    by_given: Any = None  # the gradient by what a layer is given, and those by its tangents
    for k in reversed(range(depth)):
        own = run.columns(k)
        direct = layers[k].come_back(a[:, :, own], None if by_given is None else by_given[1])
        if slopes_held:
            by_given, of_norm = layers[k].by_given(None, layers[k].on_x @ layers[k].w_ih)
            found |= direct | of_norm
            continue
        by_state[:, own], by_read, parameters = layers[k].bend(by_given)
        by_given, of_norm = layers[k].by_given(*by_read)
        found |= {name: value + direct[name] for name, value in parameters.items()} | of_norm
    by_weights = {name: found[name].astype(w.dtype) for name, w in weights.items()}
    return by_state.reshape(n, B, S), run.to_parameters(by_weights)


def through_time(run: Any, enters: Array) -> tuple[Array, dict[str, Array]]:
    """dL/ds_t (T+1, B, S) and dL/dθ where L depends on the states by themselves with the gradients `enters`, likewise.

    dL/ds_t = J_{t+1}ᵀ dL/ds_{t+1} + enters_t,   dL/dθ = Σ_t (∂s_t/∂θ)ᵀ dL/ds_t
    """
    steps, (batch, size), dtype = run.steps, run.states.shape[1:], run.network.dtype
    states = enters.astype(dtype)
    for t in reversed(range(steps)):
        states[t] += run.vjp(states[t + 1], t, t + 1)
    _, parameters = run.single_steps().pullback(states[1:].reshape(steps * batch, size), 0, 1)
    return states, parameters


class _Layer:
    """The steps of one layer. Values (M, N), tangents (M, K, N), in float64."""

    def __init__(self, run: Any, k: int, start: int, n: int, alive: Array) -> None:
        self.run, self.k, self.times = run, k, slice(start, start + n)
        self.alive, self.whole, self.N = alive[:, None], bool(alive.all()), run.network.hidden_sizes[k]
        self.local = run.derivatives(k, start, start + n)
        self.cell, self.record = self.local.cell, spec(run.cells[k])
        w = {name: value.astype(np.float64) for name, value in run.made_with().items() if name.endswith(f"_l{k}")}
        self.w_ih = w[f"weight_ih_l{k}"]
        self.wires = Wires(self.record, w.get(f"weight_hh_l{k}"), self.N)
        biases = ((kind, count) for kind, count in (("bias_ih", self.record.gates), ("bias_hh", self.record.parts)))
        self.b_ih, self.b_hh = (self._parts(w.get(f"{kind}_l{k}", np.zeros(n * self.N)), n) for kind, n in biases)
        self.p = tuple(value.astype(np.float64) for value in self.local.parameters)

        self.norm = NormalisedRows(run, k, self.times, self._rows) if run.norms else None
        local = self.local
        sides = local.by_input, local.by_recurrent, local.by_state, local.by_parameter
        of_stage = local.stage_by_input, local.stage_by_recurrent, local.stage_by_state, local.stage_by_parameter
        # of x, r, s and p: [state after, or signal of the stage][gate, part, state or parameter]
        self.d, self.of_stage = ([[[self._rows(v) for v in row] for row in side] for side in own]
                                 for own in (sides, of_stage))  # fmt: skip
        self.before = [[self._rows(v) for v in slopes] for slopes in local.signals_before]
        self.after = [self._rows(v) for v in local.sent_after]

    @cached_property
    def s(self) -> list[Array]:
        """The states before the step, of each part."""
        return [self._rows(part) for part in self.local.before]

    @cached_property
    def s_next(self) -> list[Array]:
        """Those after it."""
        return [self._rows(part) for part in self.local.after]

    @cached_property
    def given(self) -> Array:
        """What the weights of the layer read, (M, inputs)."""
        return self._rows(self.run.given(self.k)[self.times])

    @cached_property
    def values(self) -> tuple[list[Array], list[Array], list[Array]]:
        """x, r and all that is sent in the step, by the state and then by the stage."""
        x = [v + b for v, b in zip(self._parts(self.given @ self.w_ih.T, self.record.gates), self.b_ih, strict=True)]
        sent = [self._rows(self.run.sent(self.k)[self.times])]
        sent += emitted(self.cell, tuple(self.s))[1:] if self.record.signals > 1 else []
        r = [np.broadcast_to(b, sent[0].shape) for b in self.b_hh]
        self.wires.ahead(sent, r)
        if self.record.stage:
            sent += staged(self.cell, tuple(x), tuple(r[: self.record.first]), tuple(self.s), self.p)
            self.wires.ahead(sent, r, stage=True)
        return x, r, sent

    def _rows(self, value: Any) -> Any:
        """(n, B, N) as (M, N), 0 in the padding; a number stays one."""
        if not np.ndim(value):
            return float(value)
        flat = value.reshape(len(self.alive), -1).astype(np.float64, copy=False)
        return flat if self.whole else np.where(self.alive, flat, 0.0)

    def enter(self, q: Array, given: Array | None) -> None:
        """Take up the tangents q (M, K, states) of the states, and those of what the layer is given."""
        self.ds = self._parts(q, self.record.states)
        self.dgiven = given if self.norm is None or given is None else self.norm.ahead(given)
        self.dsent = [_sum(_wide(slope) * v for slope, v in zip(own, self.ds, strict=True)) for own in self.before]

    @cached_property
    def _through(self) -> tuple[list[Any], list[Any], list[Any]]:
        """The tangents of x, of r, and of all that is sent in the step."""
        like, G, sent = self.ds[0], self.record.gates, list(self.dsent)
        dx = [np.zeros_like(like)] * G if self.dgiven is None else self._parts(self.dgiven @ self.w_ih.T, G)
        dr: list[Any] = [0.0] * self.record.parts
        self.wires.ahead(sent, dr)
        if self.record.stage:
            known = dx, dr[: self.record.first], self.ds
            sent += [self._moved(self.of_stage, known, k) for k in range(self.record.staged)]
            self.wires.ahead(sent, dr, stage=True)
        return dx, dr, sent

    def forward(self) -> None:
        """Take them one step on."""
        tangents = (*self._through[:2], self.ds)
        self.ds_next = [self._moved(self.d, tangents, i) for i in range(self.record.states)]
        self.sent = _sum(_wide(slope) * v for slope, v in zip(self.after, self.ds_next, strict=True))

    def come_back(self, a: Array, by_tangent: Array | None) -> dict[str, Array]:
        """The cotangents a (M, K, states) of the next states' tangents, and those of what is sent on, back to the
        gates; and the gradients of the parameters, of weights alone, by the tangents that go through them."""
        self.cotangents = self._parts(a, self.record.states)
        if by_tangent is not None:
            pairs = zip(self.cotangents, self.after, strict=True)
            self.cotangents = [v + _wide(slope) * by_tangent for v, slope in pairs]
        on_x, self.on_r = (self._back_to(side, self.cotangents) for side in self.d[:2])  # (M, K, N) each
        dsent = self.dsent
        if self.record.stage:
            dsent = self._through[2]
            self.on_stage = self.wires.back(self.on_r, stage=True)
            more = [self._back_to(side, self.on_stage) for side in self.of_stage[:2]]
            on_x, self.on_r = _added(on_x, more[0]), _added(self.on_r, more[1])
        self.on_x = np.concatenate(on_x, axis=2)
        w_ih = np.zeros_like(self.w_ih) if self.dgiven is None else _outer(self.on_x, self.dgiven)
        gates, parts = self.record.gates * self.N, self.record.parts * self.N
        return self._named(w_ih, self.wires.gradient(self.on_r, dsent), np.zeros(gates), np.zeros(parts),
                           *np.zeros((len(self.p), self.N)))  # fmt: skip

    def bend(self, by_sent: tuple[Array, Array] | None) -> tuple[Array, tuple[Array, Array], dict[str, Array]]:
        """By what moves the units' derivatives: the gradient by the states (M, states), that by what the layer reads
        and by its tangents, and those of the parameters. `by_sent` are the same of what is sent on."""
        sent = self.values[2]
        by_next: list[Any] = [0.0] * self.record.states
        if by_sent is not None:
            bent = self._bent(self.s_next, by_sent[1], self.ds_next)
            by_next = [slope * by_sent[0] + more for slope, more in zip(self.after, bent, strict=True)]
        second = self._second(change_of_cotangents, self.cotangents, self.record.parts)
        by = [_added(own, self._back_to(side, by_next)) for own, side in zip(second, self.d, strict=False)]
        if self.record.stage:
            on_stage = self.wires.back(by[1], stage=True)
            second = self._second(change_of_stage_cotangents, self.on_stage, self.record.first)
            for k, side in enumerate(self.of_stage[: len(by)]):
                by[k] = _added(by[k], _added(second[k], self._back_to(side, on_stage)))
        by_x, by_r, by_s, by_p = [[np.broadcast_to(v, sent[0].shape) for v in own] for own in by]
        to_sent, back = self.wires.back(by_r), self.wires.back(self.on_r)
        for k, (slopes, to, through) in enumerate(zip(self.before, to_sent, back, strict=True)):
            if to is None:  # nobody hears it
                continue
            bent = self._bent(self.s, through, self.ds, k)
            by_s = [own + slope * to + more for own, slope, more in zip(by_s, slopes, bent, strict=True)]
        flat = np.concatenate(by_x, axis=1)
        sums = flat.sum(axis=0), np.concatenate([v.sum(axis=0) for v in by_r] or [np.zeros(0)])
        parameters = self._named(flat.T @ self.given, self.wires.gradient(by_r, sent), *sums,
                                 *(v.sum(axis=0) for v in by_p))  # fmt: skip
        return np.concatenate(by_s, axis=1), (flat @ self.w_ih, self.on_x @ self.w_ih), parameters

    def by_given(self, by_value: Array | None, by_tangents: Array) -> tuple[tuple, dict[str, Array]]:
        """From the gradients by what the layer reads and its tangents; and those of the normalisation's parameters."""
        return ((by_value, by_tangents), {}) if self.norm is None else self.norm.back(by_value, by_tangents)

    def _named(self, *values: Array) -> dict[str, Array]:
        named = {f"{kind}_l{self.k}": value for kind, value in zip(kinds(self.cell), values, strict=True)}
        return {name: value for name, value in named.items() if name in self.run.network.weight_shapes}

    def _second(self, change: Any, cotangents: list[Array], parts: int) -> list[list[Any]]:
        """Σ_k of the change of the units' derivatives along tangent k, as seen by cotangent k: of x, `parts` of r, s
        and p. change: that of one cotangent along one direction."""
        x, r, _ = self.values
        (dx, dr, _), ds = self._through, self.ds
        if self.record.shared:  # x and r only come as x + r
            dx, dr = [np.zeros_like(v) for v in dx], _added(dr, dx)
        tangents, (G, R) = [*dx, *dr, *ds], (len(dx), len(dr))
        K, P, zero, one = cotangents[0].shape[1], len(tangents), np.zeros_like(self.s[0]), np.ones_like(self.s[0])
        if K <= P:  # vector by vector
            pairs = [([v[:, k] for v in cotangents], [v[:, k] for v in tangents]) for k in range(K)]
        else:  # direction by direction, each for the sum over all vectors
            pairs = [
                ([_over_vectors(v, w) for v in cotangents], [one if j == p else zero for j in range(P)])
                for p, w in enumerate(tangents)
                if w.any()
            ]
        total: list[list[Any]] = [[zero] * count for count in (G, parts, len(ds), len(self.p))]
        for cotangent, v in pairs:
            direction = tuple(v[:G]), tuple(v[G : G + R]), tuple(v[G + R :])
            found = change(self.cell, tuple(cotangent), tuple(x), tuple(r), tuple(self.s), direction, self.p)
            for own, more in zip(total, found, strict=False):
                own[:] = [w + np.where(self.alive, value, 0.0) for w, value in zip(own, more, strict=True)]
        return total

    def _bent(self, s: list[Array], back: Array, ds: list[Array], signal: int = 0) -> list[Any]:
        """Of what units of state s send: how its slopes change along the tangents ds, as seen by cotangents `back`."""
        found = change_of_slopes(self.cell, tuple(s), tuple(_over_vectors(back, v) for v in ds), signal)
        return [np.where(self.alive, value, 0.0) for value in found]

    def _moved(self, sides: list[Any], tangents: tuple[list[Any], ...], i: int) -> Any:
        """The tangent of next state i, or of signal i of the stage."""
        return _sum(
            _wide(d) * v for side, own in zip(sides, tangents, strict=False) for d, v in zip(side[i], own, strict=True)
        )

    def _back_to(self, side: list[list[Any]], cotangents: list[Any]) -> list[Any]:
        """The cotangents of all gates' x, or parts of r, or states, or parameters."""
        like = cotangents[0]
        each = [
            _sum(_factor(row[j], v) * v for row, v in zip(side, cotangents, strict=True)) for j in range(len(side[0]))
        ]
        return [np.broadcast_to(v, np.shape(like)) if np.ndim(like) > np.ndim(v) else v for v in each]

    def _parts(self, v: Array, count: int) -> list[Array]:
        """The blocks of N numbers that lie side by side."""
        return [v[..., j * self.N : (j + 1) * self.N] for j in range(count)]


def _wide(slope: Any) -> Any:
    """(M, N) as a factor of (M, K, N); a number stays one."""
    return slope[:, None] if isinstance(slope, np.ndarray) else slope


def _factor(slope: Any, v: Any) -> Any:
    """(M, N) as a factor of values (M, N), or of tangents (M, K, N)."""
    return _wide(slope) if np.ndim(v) == 3 else slope


def _sum(terms: Iterable[Any]) -> Any:
    return reduce(add, terms)


def _added(some: list[Any], more: list[Any]) -> list[Any]:
    """Sums of two lists, of which the second may be shorter."""
    return [v + more[k] if k < len(more) else v for k, v in enumerate(some)]


def _over_vectors(v: Array, w: Array) -> Array:
    return np.einsum("mkn,mkn->mn", v, w)


def _outer(v: Array, w: Array) -> Array:
    """Σ_{m,k} v_mk w_mkᵀ."""
    return v.reshape(-1, v.shape[2]).T @ w.reshape(-1, w.shape[2])
