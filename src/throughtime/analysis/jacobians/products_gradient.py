"""How products with a run's Jacobians depend on its states and parameters: the gradient of

    φ = Σ_t Σ_k a_{t,k} · J_t q_{t,k},   J_t = ∂s_t/∂s_{t−1}

with the vectors a and q held fixed. One step is taken forward with its tangents q, and then back, all times at once:

    δx = W_ih δin,  δr = W_hh δe,  δs' = D_x δx + D_r δr + D_s δs      unit by unit but for W, layer after layer

What W does is linear, so that of a cell only the second derivatives of a unit by itself are needed, and of these only
their sum over the vectors k (cells/second_derivatives.py).

Dimensions: M rows = times × sequences, K vectors a row, S state size, N units, G gates, P = 2G + states of a unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np

from ...cells.base import spec
from ...cells.second_derivatives import change_of_cotangents, change_of_slopes
from ...results import Array

Sides = tuple[list[Any], list[Any], list[Any]]  # of x and r, G each, and of s, one for each state of a unit


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
            found |= direct
            by_given = None, layers[k].on_x @ layers[k].w_ih
            continue
        by_state[:, own], by_given, parameters = layers[k].bend(by_given)
        found |= {name: value + direct[name] for name, value in parameters.items()}
    return by_state.reshape(n, B, S), {name: found[name].astype(w.dtype) for name, w in weights.items()}


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
        self.cell, self.k, self.N, stop = run.cells[k], k, run.network.hidden_sizes[k], start + n
        record, self.alive, self.whole = spec(self.cell), alive[:, None], bool(alive.all())
        self.G, self.parts, self.shared = record.gates, record.states, record.shared
        w = {name: value.astype(np.float64) for name, value in run.made_with().items() if name.endswith(f"_l{k}")}
        self.w_ih, self.w_hh = w[f"weight_ih_l{k}"], w[f"weight_hh_l{k}"]
        self.biases = [w.get(f"{kind}_l{k}", 0.0) for kind in ("bias_ih", "bias_hh")]

        self.run, self.times, self.local = run, slice(start, stop), run.derivatives(k, start, stop)
        sides = (self.local.by_input, self.local.by_recurrent, self.local.by_state)
        # of x, r and s: [state after][gate or state]
        self.d = [[[self._rows(v) for v in row] for row in side] for side in sides]
        self.before, self.after = (
            [self._rows(v) for v in side] for side in (self.local.sent_before, self.local.sent_after)
        )

    @cached_property
    def s(self) -> list[Array]:
        """The states before the step, of each part."""
        return [self._rows(part[:-1]) for part in self.local.states]

    @cached_property
    def s_next(self) -> list[Array]:
        """Those after it."""
        return [self._rows(part[1:]) for part in self.local.states]

    @cached_property
    def e(self) -> Array:
        """What the units sent before it."""
        return self._rows(self.run.sent(self.k)[self.times])

    @cached_property
    def given(self) -> Array:
        """What the layer was given, (M, inputs)."""
        if self.k == 0:
            return self._rows(self.run.input[self.times])
        return self._rows(self.run.sent(self.k - 1)[1:][self.times])

    def _rows(self, value: Any) -> Any:
        """(n, B, N) as (M, N), 0 in the padding; a number stays one."""
        if not np.ndim(value):
            return float(value)
        flat = value.reshape(len(self.alive), -1).astype(np.float64, copy=False)
        return flat if self.whole else np.where(self.alive, flat, 0.0)

    def enter(self, q: Array, given: Array | None) -> None:
        """Take up the tangents q (M, K, states) of the states, and those of what the layer is given."""
        self.ds = self._parts(q, self.parts)
        self.de = _sum(_wide(slope) * v for slope, v in zip(self.before, self.ds, strict=True))
        self.dgiven = given

    def forward(self) -> None:
        """Take them one step on."""
        given = np.zeros((*self.de.shape[:2], len(self.w_ih[0]))) if self.dgiven is None else self.dgiven
        dr, dx = self._parts(self.de @ self.w_hh.T, self.G), self._parts(given @ self.w_ih.T, self.G)
        tangents = (dx, dr, self.ds)
        pairs = [
            [(d, v) for side, own in zip(self.d, tangents, strict=True) for d, v in zip(side[i], own, strict=True)]
            for i in range(self.parts)
        ]
        self.ds_next = [_sum(_wide(d) * v for d, v in of_state) for of_state in pairs]
        self.sent = _sum(_wide(slope) * v for slope, v in zip(self.after, self.ds_next, strict=True))
        if self.shared:  # x and r only come as x + r
            tangents = ([np.zeros_like(v) for v in dx], [v + w for v, w in zip(dx, dr, strict=True)], self.ds)
        self.tangents = [v for own in tangents for v in own]

    def come_back(self, a: Array, by_tangent: Array | None) -> dict[str, Array]:
        """The cotangents a (M, K, states) of the next states' tangents, and those of what is sent on, back to the
        gates; and the gradients of the parameters, of weights alone, by the tangents that go through them."""
        self.cotangents = self._parts(a, self.parts)
        if by_tangent is not None:
            pairs = zip(self.cotangents, self.after, strict=True)
            self.cotangents = [v + _wide(slope) * by_tangent for v, slope in pairs]
        self.on_x, self.on_r = (self._back_to(side, self.cotangents) for side in self.d[:2])  # (M, K, G·N)
        w_ih = np.zeros_like(self.w_ih) if self.dgiven is None else _outer(self.on_x, self.dgiven)
        return self._named(w_ih, _outer(self.on_r, self.de), *np.zeros((2, len(self.w_hh))))

    def bend(self, by_sent: tuple[Array, Array] | None) -> tuple[Array, tuple[Array, Array], dict[str, Array]]:
        """By what moves the units' derivatives: the gradient by the states (M, states), that by what the layer is given
        and by its tangents, and those of the parameters. `by_sent` are the same of what is sent on."""
        by_next: list[Any] = [0.0] * self.parts
        if by_sent is not None:
            bent = self._bent(self.s_next, by_sent[1], self.ds_next)
            by_next = [slope * by_sent[0] + more for slope, more in zip(self.after, bent, strict=True)]
        by_x, by_r, by_s = (
            [w + _sum(side[i][j] * by_next[i] for i in range(self.parts)) for j, w in enumerate(own)]
            for side, own in zip(self.d, self._second(self.cotangents), strict=True)
        )
        x, r = (np.concatenate([np.broadcast_to(w, self.e.shape) for w in own], axis=1) for own in (by_x, by_r))
        to_sent, bent = r @ self.w_hh, self._bent(self.s, self.on_r @ self.w_hh, self.ds)
        by_state = [slope * to_sent + w + more for slope, w, more in zip(self.before, by_s, bent, strict=True)]
        parameters = self._named(x.T @ self.given, r.T @ self.e, x.sum(axis=0), r.sum(axis=0))
        return np.concatenate(by_state, axis=1), (x @ self.w_ih, self.on_x @ self.w_ih), parameters

    def _named(self, *values: Array) -> dict[str, Array]:
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return {f"{kind}_l{self.k}": value for kind, value in zip(kinds, values, strict=True)}

    def _second(self, cotangents: list[Array]) -> Sides:
        """Σ_k of the change of the units' derivatives along tangent k, as seen by cotangent k: of x, r and s."""
        b_ih, b_hh = self.biases
        x = self._parts(self.given @ self.w_ih.T + b_ih, self.G)
        r = self._parts(self.e @ self.w_hh.T + b_hh, self.G)
        K, P, zero, one = cotangents[0].shape[1], len(self.tangents), np.zeros_like(self.s[0]), np.ones_like(self.s[0])
        if K <= P:  # vector by vector
            pairs = [([v[:, k] for v in cotangents], [v[:, k] for v in self.tangents]) for k in range(K)]
        else:  # direction by direction, each for the sum over all vectors
            pairs = [
                ([_over_vectors(v, w) for v in cotangents], [one if j == p else zero for j in range(P)])
                for p, w in enumerate(self.tangents)
                if w.any()
            ]
        total: Sides = ([zero] * self.G, [zero] * self.G, [zero] * self.parts)
        G = self.G
        for cotangent, v in pairs:
            direction = tuple(v[:G]), tuple(v[G : 2 * G]), tuple(v[2 * G :])
            found = change_of_cotangents(self.cell, tuple(cotangent), tuple(x), tuple(r), tuple(self.s), direction)
            for own, more in zip(total, found, strict=True):
                own[:] = [w + np.where(self.alive, value, 0.0) for w, value in zip(own, more, strict=True)]
        return total

    def _bent(self, s: list[Array], back: Array, ds: list[Array]) -> list[Any]:
        """Of what units of state s send: how its slopes change along the tangents ds, as seen by cotangents `back`."""
        found = change_of_slopes(self.cell, tuple(s), tuple(_over_vectors(back, v) for v in ds))
        return [np.where(self.alive, value, 0.0) for value in found]

    def _back_to(self, side: list[list[Any]], cotangents: list[Array]) -> Array:
        """The cotangents of all gates' x, or r, (M, K, G·N)."""
        blocks = [_sum(_wide(side[i][j]) * v for i, v in enumerate(cotangents)) for j in range(self.G)]
        if len(blocks) == 1:
            return np.asarray(blocks[0])
        return np.concatenate([np.broadcast_to(block, cotangents[0].shape) for block in blocks], axis=2)

    def _parts(self, v: Array, count: int) -> list[Array]:
        """The blocks of N numbers that lie side by side."""
        return [v[..., j * self.N : (j + 1) * self.N] for j in range(count)]


def _wide(slope: Any) -> Any:
    """(M, N) as a factor of (M, K, N); a number stays one."""
    return slope[:, None] if isinstance(slope, np.ndarray) else slope


def _sum(terms: Iterable[Any]) -> Any:
    return reduce(add, terms)


def _over_vectors(v: Array, w: Array) -> Array:
    return np.einsum("mkn,mkn->mn", v, w)


def _outer(v: Array, w: Array) -> Array:
    """Σ_{m,k} v_mk w_mkᵀ."""
    return v.reshape(-1, v.shape[2]).T @ w.reshape(-1, w.shape[2])
