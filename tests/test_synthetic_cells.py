"""Cells of any shape, made by rule, compiled and against plain NumPy: 1 to 10 gates, 1 to 4 states, 0 to 12 saved.

    s_i' = tanh(sum_g a_ig x_g + b_ig r_g + sum_j c_ij s_j),     e = s_0 + sin(s_last) / 2 where the cell sends its own

with a = b where dx and dr are one tuple. What is saved beyond the S pre-activations is there to be carried along: a
third of the last saved number enters the step back and is taken out again with the first. Tolerances are c·eps·scale:
each number is the end of some T (N + G) = 100 roundings, which c = 400 lets add up badly.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt

C = 400


def coefficients(rows, columns, phase):
    return np.round(np.cos(np.arange(rows * columns) * 1.7 + phase).reshape(rows, columns), 3)


class Shape(NamedTuple):
    gates: int
    states: int
    saved: int
    emits: bool = False
    shared: bool = True

    @property
    def matrices(self):
        a = coefficients(self.states, self.gates, 0.3)
        b = a if self.shared else coefficients(self.states, self.gates, 1.9)
        return a, b, coefficients(self.states, self.states, 0.8) / self.states


def source(shape):
    """The class as a user would write it, term by term."""
    G, S, K, emits, shared = shape
    a, b, c = shape.matrices

    def total(terms):
        return " + ".join(f"({value}) * {name}" for value, name in terms)

    def numbers(values):
        return "(" + "".join(f"{value}, " for value in values) + ")"

    u = [
        total(
            [(a[i, g], f"(x[{g}] + r[{g}])") for g in range(G)]
            if shared
            else [(a[i, g], f"x[{g}]") for g in range(G)] + [(b[i, g], f"r[{g}]") for g in range(G)]
        )
        + " + "
        + total([(c[i, j], f"s[{j}]") for j in range(S)])
        for i in range(S)
    ]
    slope = "(1.0 - s_next[{0}] * s_next[{0}])" if K < S else "tanh_slope(saved[{0}])"
    kept = [f"u{i}" for i in range(min(S, K))] if K >= S else ["x[0]"] * K
    kept += [f"x[{k % G}] * r[{k % G}]" for k in range(K - len(kept))]
    extra = f" + 0.0 * saved[{K - 1}]" if K else ""
    lines = ["class Made(NamedTuple):", "    gain: float = 1.0", "    def forward(cell, x, r, s):"]
    lines += [f"        u{i} = cell.gain * ({line})" for i, line in enumerate(u)]
    lines += [f"        return {numbers(f'tanh(u{i})' for i in range(S))}, {numbers(kept)}"]
    lines += ["    def backward(cell, ds, s, s_next, saved):"]
    lines += [f"        d{i} = cell.gain * ds[{i}] * {slope.format(i)}{extra if i == 0 else ''}" for i in range(S)]
    columns = [numbers(total([(m[i, k], f"d{i}") for i in range(S)]) for k in range(m.shape[1])) for m in (a, b, c)]
    if shared:
        lines += [f"        d = {columns[0]}", f"        return d, d, {columns[2]}"]
    else:
        lines += [f"        return {columns[0]}, {columns[1]}, {columns[2]}"]
    if emits:
        slopes = [0.0] * S
        slopes[0], slopes[-1] = "1.0", f"0.5 * cos(s[{S - 1}])" if S > 1 else "1.0 + 0.5 * cos(s[0])"
        lines += ["    def emit(cell, s):", f"        return s[0] + 0.5 * sin(s[{S - 1}])"]
        lines += ["    def emit_slope(cell, s):", f"        return {numbers(slopes)}"]
    return "\n".join(lines)


def made(shape):
    from throughtime.scalar import tanh, tanh_slope

    names = {"NamedTuple": NamedTuple, "tanh": tanh, "tanh_slope": tanh_slope, "cos": np.cos, "sin": np.sin}
    exec(source(shape), names)
    return tt.cell(gates=shape.gates, states=shape.states)(names["Made"])


class Plain:
    """The same network in NumPy, with tangents in place of gradients: J of each step by its formula."""

    def __init__(self, net, shape, gain):
        self.net, self.shape, self.gain, self.N = net, shape, gain, net.hidden_size
        self.a, self.b, self.c = shape.matrices
        self.block = shape.states * self.N

    def emit(self, s):
        return s[:, 0] + 0.5 * np.sin(s[:, -1]) if self.shape.emits else s[:, 0]

    def slopes(self, s):
        found = np.zeros_like(s)
        found[:, 0] = 1.0
        if self.shape.emits:
            found[:, -1] += 0.5 * np.cos(s[:, -1])
        return found

    def step(self, layer, x, s):
        """Next state (B, S, N), and derivatives of it by x, r and s: (B, S, G or S, N) each."""
        w = {name: self.net.parameters[f"{name}_l{layer}"].astype(np.float64) for name in NAMES}
        B, G = len(x), self.shape.gates
        gx = (x @ w["weight_ih"].T + w["bias_ih"]).reshape(B, G, self.N)
        gr = (self.emit(s) @ w["weight_hh"].T + w["bias_hh"]).reshape(B, G, self.N)
        u = np.einsum("ig,bgn->bin", self.a, gx) + np.einsum("ig,bgn->bin", self.b, gr)
        new = np.tanh(self.gain * (u + np.einsum("ij,bjn->bin", self.c, s)))
        return new, self.gain * (1 - new**2)

    def run(self, x, start, lengths, outward, last):
        """States (T+1, B, S), all gradients of <outward, output> + <last, final>, and the Jacobian of every step."""
        T, B, _ = x.shape
        L, S, G, N = self.net.num_layers, self.shape.states, self.shape.gates, self.N
        states, slopes = [start.reshape(B, L, S, N).astype(np.float64)], []
        for t in range(T):
            now, here, below = states[-1].copy(), [], x[t].astype(np.float64)
            for k in range(L):
                new, slope = self.step(k, below, states[-1][:, k])
                now[:, k], below = new, self.emit(new)
                here.append(slope)
            alive = (t < lengths)[:, None, None, None]
            states.append(np.where(alive, now, states[-1]))
            slopes.append(here)
        grads = {f"{name}_l{k}": np.zeros(self.net.shapes[f"{name}_l{k}"]) for k in range(L) for name in NAMES}
        gx, ds = np.zeros(x.shape), last.reshape(B, L, S, N).astype(np.float64)
        for t in range(T - 1, -1, -1):
            alive = (t < lengths)[:, None, None]
            old, new = states[t], states[t + 1]
            before = np.where(alive[..., None], 0.0, ds)
            above = np.where(alive[:, 0], outward[t], 0.0)
            for k in range(L - 1, -1, -1):
                total = ds[:, k] + self.slopes(new[:, k]) * above[:, None]
                d = np.where(alive, total * slopes[t][k], 0.0)
                dx, dr = np.einsum("ig,bin->bgn", self.a, d), np.einsum("ig,bin->bgn", self.b, d)
                x_in = x[t].astype(np.float64) if k == 0 else self.emit(new[:, k - 1])
                fx, fr = dx.reshape(B, G * N), dr.reshape(B, G * N)
                w_ih, w_hh = (self.net.parameters[f"{name}_l{k}"].astype(np.float64) for name in NAMES[:2])
                for name, value in zip(
                    NAMES, (fx.T @ x_in, fr.T @ self.emit(old[:, k]), fx.sum(0), fr.sum(0)), strict=True
                ):
                    grads[f"{name}_l{k}"] += value
                before[:, k] += np.einsum("ij,bin->bjn", self.c, d) + self.slopes(old[:, k]) * (fr @ w_hh)[:, None]
                above = fx @ w_ih
            gx[t], ds = above, before
        return np.array(states).reshape(T + 1, B, -1), grads, gx, ds.reshape(B, -1)


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def close(ours, theirs, dtype, what):
    assert ours.shape == theirs.shape, what
    scale = max(np.abs(theirs).max(initial=0), 1e-3)
    error = np.abs(ours - theirs).max(initial=0)
    assert error <= C * np.finfo(dtype).eps * scale, f"{what}: {error:.1e} beside {scale:.1e}"


def agrees(shape, dtype, units, batch, layers=1, team=1, with_kernels=False):
    T, I = 5, 3
    rng = np.random.default_rng(units + 10 * batch)
    cell = made(shape)(0.7)
    net = tt.Network(cell, I, units, num_layers=layers, dtype=dtype, seed=1)
    x = rng.normal(size=(T, batch, I)).astype(dtype)
    start, last = (rng.normal(size=(batch, net.state_size)).astype(dtype) for _ in range(2))
    outward = rng.normal(size=(T, batch, units)).astype(dtype)
    lengths = np.array([T, *rng.integers(0, T + 1, batch - 1)])
    plain = Plain(net, shape, 0.7)

    def parts(flat):
        each = flat.reshape(batch, layers, shape.states, units).transpose(2, 1, 0, 3)
        return each[0] if shape.states == 1 else tuple(each)

    def flat(state):
        each = [state] if shape.states == 1 else list(state)
        return np.stack(each).transpose(2, 1, 0, 3).reshape(batch, -1)

    tt.set_num_threads(team)
    run = net.unroll(x, state=parts(start), lengths=lengths)
    back = run.backprop(outward, parts(last))
    states, grads, g_x, g_start = plain.run(x, start, lengths, outward, last)
    close(run.states, states, dtype, "states")
    for name, value in grads.items():
        close(back.parameters[name], value, dtype, name)
    close(back.input, g_x, dtype, "gradient of the input")
    close(flat(back.initial_state), g_start, dtype, "gradient of the state")
    # Perturbations: every Jacobian by the way back of a unit cotangent
    full = plain_jacobians(plain, x, start, lengths, layers)
    eye = np.broadcast_to(np.eye(net.state_size, dtype=dtype), (batch, net.state_size, net.state_size))
    product = np.asarray(eye, np.float64)
    for t in range(T):
        close(run.jacobian(t + 1), full[t], dtype, "jacobian")
        product = full[t] @ product
    close(run.jacobians(0, T), full, dtype, "jacobians")
    v = rng.normal(size=(batch, net.state_size)).astype(dtype)
    close(run.jvp(v, 0, T), np.einsum("bij,bj->bi", product, v), dtype, "jvp")
    close(run.vjp(v, 0, T), np.einsum("bij,bi->bj", product, v), dtype, "vjp")
    if with_kernels:
        k = tt.kernels.of(net)
        full_length = np.full(batch, T)
        states, grads, g_x, g_start = plain.run(x, start, full_length, outward, last)
        own = np.zeros(states.shape, dtype)
        own[0] = start
        saved = k.unroll(k.weights, x, own)
        close(own, states, dtype, "kernels.unroll")
        close(k.step(k.weights, x[0], start), states[1], dtype, "kernels.step")
        found = k.backprop(k.weights, x, own, saved, outward, last)
        wanted = (*(grads[f"{name}_l0"] for name in NAMES), g_x, g_start)
        for ours, theirs in zip(found, wanted, strict=True):
            close(ours, theirs, dtype, "kernels.backprop")


def plain_jacobians(plain, x, start, lengths, layers):
    """ds_{t+1}/ds_t (T, B, S, S): row by row, the gradient of one number of the next state."""
    T, B, _ = x.shape
    size, found = start.shape[1], np.empty((len(x), *start.shape, start.shape[1]))
    states = start
    for t in range(T):
        alive = (t < lengths).astype(int)
        for i in range(size):
            unit = np.zeros((B, size))
            unit[:, i] = 1.0
            after, _, _, row = plain.run(x[t : t + 1], states, alive, np.zeros((1, B, plain.N)), unit)
            found[t, :, i] = row
        states = after[1]
    return found


@pytest.fixture(autouse=True)
def _threads(threads):
    """The number of threads as it was."""


# All gates from 1 to 10, all states, 0 to 12 saved, with and without emit, shared and not: each pair of neighbouring
# ways in which tiles, blocks and groups can be cut is met (1 or 2 vectors a gate, groups of 4, 2 and 1 panels).
SHAPES = [Shape(1, 4, 12, True, False), Shape(5, 1, 1), Shape(7, 2, 0, True), Shape(10, 3, 5, False, False)]
MORE = [
    Shape(2, 1, 0), Shape(3, 4, 7, True, False), Shape(4, 3, 1, False, False), Shape(5, 2, 12, True), Shape(6, 1, 3),
    Shape(8, 4, 4, True, False), Shape(9, 1, 2, True), Shape(10, 1, 0), Shape(6, 4, 0, False, False), Shape(13, 1, 1),
    Shape(25, 2, 2, True, False),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_against_numpy(shape):
    for units, batch, layers, team in ((1, 1, 1, 1), (9, 1, 2, 2), (33, 3, 1, 1), (5, 13, 2, 2)):
        agrees(shape, "float64", units, batch, layers, team)


def test_single_precision_and_kernels():
    agrees(Shape(5, 1, 1), "float32", 19, 3)
    agrees(Shape(5, 1, 1), "float64", 19, 3, with_kernels=True)


@pytest.mark.slow
@pytest.mark.skipif("THROUGHTIME_FUZZ" not in os.environ, reason="ten minutes of compiling: THROUGHTIME_FUZZ=1 asks")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [*SHAPES, *MORE], ids=str)
def test_more_shapes_against_numpy(shape, dtype):
    for units, batch, layers, team in ((1, 1, 1, 1), (17, 1, 2, 2), (40, 3, 1, 2), (5, 27, 3, 1)):
        agrees(shape, dtype, units, batch, layers, team, with_kernels=layers == 1)


def test_units_shared_by_two_threads():
    """Weights that are worth two threads for one row: the units are divided, and the tiles of a single row are used."""
    for shape, units in ((Shape(5, 1, 1), 130), (Shape(10, 3, 5, False, False), 100)):
        cell, results = made(shape)(0.7), []
        for team in (1, 2):
            tt.set_num_threads(team)
            net = tt.Network(cell, 3, units, seed=0)
            run = net.unroll(np.random.default_rng(0).normal(size=(8, 1, 3)))
            back = run.backprop(np.ones_like(run.output))
            results.append((run.states, *back.parameters.values(), back.input))
        for one, two in zip(*results, strict=True):
            np.testing.assert_array_equal(one, two)
