"""Cells of any shape, made by rule, compiled and against plain NumPy: 1 to 10 gates, 1 to 4 states, 0 to 12 saved, 0 to
3 parameters of a unit, 0 to 3 signals with any wiring, of the state and of a stage.

    a_k  = tanh(sum_g f_kg x_g + sum_(j < R0) h_kj r_j + sum_j k_kj s_j + sum_l l_kl p_l)           the stage's signals
    s_i' = tanh(gain (sum_g a_ig x_g + sum_j b_ij r_j + sum_j c_ij s_j + sum_l d_il p_l))
    e_k  = s_k,  or s_(k mod S) + sin(s_last) / (2 + k)  where the cell sends its own

with a = b where dx and dr are one tuple. What is saved beyond the arguments of the A + S tanh is there to be carried
along: 0 times the last saved number enters the step back. Tolerances are c·eps·scale: each number is the end of some
T (N + G) = 100 roundings, which c = 400 lets add up badly.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import naive
import numpy as np
import pytest
from networks import from_functions

import throughtime as tt
from throughtime.cells import central_differences
from throughtime.cells.base import spec
from throughtime.network.parameters import kinds

C = 400


def coefficients(rows, columns, phase):
    return np.round(np.cos(np.arange(rows * columns) * 1.7 + phase).reshape(rows, columns), 3)


class Shape(NamedTuple):
    gates: int
    states: int
    saved: int
    emits: bool = False
    shared: bool = True
    sends: tuple | None = None  # for each signal of the state the names of the parts that it feeds; None: a plain cell
    stage: tuple = ()  # likewise for those of the stage
    parameters: int = 0

    @property
    def wired(self):
        """[(signal, part)] of each block of W_hh, R0 and R: by the contract, without the library's own words."""
        sends = ((tuple(range(self.gates)),)) if self.sends is None else self.sends
        first, second = (list(dict.fromkeys(part for parts in own for part in parts)) for own in (sends, self.stage))
        found = [(k, first.index(part)) for k, parts in enumerate(sends) for part in parts]
        E, R0 = max(1, len(sends)), len(first)
        found += [(E + k, R0 + second.index(part)) for k, parts in enumerate(self.stage) for part in parts]
        return found, R0, R0 + len(second)

    @property
    def signals(self):
        return max(1, len(self.sends)) if self.sends is not None else 1

    @property
    def matrices(self):
        """a, b, c, d of the step, and those of the stage."""
        G, S, P, A, (_, R0, R) = self.gates, self.states, self.parameters, len(self.stage), self.wired
        a = coefficients(S, G, 0.3)
        b = a if self.shared else coefficients(S, R, 1.9)
        step = a, b, coefficients(S, S, 0.8) / S, coefficients(S, P, 0.5)
        return step, tuple(coefficients(A, n, 0.2 + n) / n for n in (G, R0, S, P))

    def register(self, cls):
        options = {"parameters": tuple(f"p{k}" for k in range(self.parameters))} if self.parameters else {}
        if self.sends is not None:
            options["sends"] = {f"e{k}": parts for k, parts in enumerate(self.sends)}
        if self.stage:
            options["stage"] = {f"a{k}": parts for k, parts in enumerate(self.stage)}
        return tt.cell(gates=self.gates, states=self.states, **options)(cls)


def source(shape):
    """The class as a user would write it, term by term."""
    G, S, K, A, R0 = shape.gates, shape.states, shape.saved, len(shape.stage), shape.wired[1]
    step, stage = shape.matrices
    p = ", p" if shape.parameters else ""

    def total(*sides):
        terms = [f"({m[i]}) * {name.format(i)}" for m, name in sides for i in range(len(m))]
        return " + ".join(terms) or "0.0"

    def numbers(values):
        return "(" + "".join(f"{value}, " for value in values) + ")"

    def arguments(own, i):
        a, b, c, d = own
        if own is step and shape.shared:
            return total((a[i], "(x[{0}] + r[{0}])"), (c[i], "s[{}]"), (d[i], "p[{}]"))
        return total((a[i], "x[{}]"), (b[i], "r[{}]"), (c[i], "s[{}]"), (d[i], "p[{}]"))

    def columns(own, name, counts):
        return [numbers(total((m[:, k], name)) for k in range(n)) for m, n in zip(own, counts, strict=True)]

    first = [f"v{k}" for k in range(A)]  # what the stage's gradient needs
    kept = [*first, *(f"u{i}" for i in range(S))][:K] if A or K >= S else []
    kept += [f"x[{k % G}] * {f'r[{k % R0}]' if R0 else 'x[0]'}" for k in range(K - len(kept))]
    slope = "tanh_slope(saved[{1}])" if K >= A + S else "(1.0 - s_next[{0}] * s_next[{0}])"
    extra = f" + 0.0 * saved[{K - 1}]" if K else ""
    lines = ["class Made(NamedTuple):", "    gain: float = 1.0", f"    def forward(cell, x, r, s{p}):"]
    lines += [f"        v{k} = {arguments(stage, k)}" for k in range(A)]
    lines += [f"        u{i} = cell.gain * ({arguments(step, i)})" for i in range(S)]
    lines += [f"        return {numbers(f'tanh(u{i})' for i in range(S))}, {numbers(kept)}"]
    lines += [f"    def backward(cell, ds, s, s_next, saved{p}):"]
    lines += [f"        d{i} = cell.gain * ds[{i}] * {slope.format(i, A + i)}{extra * (i == 0)}" for i in range(S)]
    back = columns(step, "d{}", (G, len(step[1].T), S, shape.parameters))
    if shape.shared:
        lines += [f"        d = {back[0]}"]
        back[:2] = "d", "d"
    lines += [f"        return {', '.join(back if p else back[:3])}"]
    if shape.emits:
        sent, slopes = [], []
        for k in range(shape.signals):
            sent.append(f"s[{k % S}] + {1 / (2 + k)} * sin(s[{S - 1}])")
            own = [f"{float(j == k % S)}" + f" + {1 / (2 + k)} * cos(s[{S - 1}])" * (j == S - 1) for j in range(S)]
            slopes.append(numbers(own))
        one = shape.signals == 1
        lines += ["    def emit(cell, s):", f"        return {sent[0] if one else numbers(sent)}"]
        lines += ["    def emit_slope(cell, s):", f"        return {slopes[0] if one else numbers(slopes)}"]
    if A:
        lines += [f"    def stage(cell, x, r, s{p}):"]
        lines += [f"        return {numbers(f'tanh({arguments(stage, k)})' for k in range(A))}"]
        lines += [f"    def stage_backward(cell, da, s, saved{p}):"]
        lines += [f"        t{k} = da[{k}] * tanh_slope(saved[{k}])" for k in range(A)]
        back = columns(stage, "t{}", (G, R0, S, shape.parameters))
        lines += [f"        return {', '.join(back if p else back[:3])}"]
    return "\n".join(lines)


def made(shape):
    from throughtime.scalar import tanh, tanh_slope

    names = {"NamedTuple": NamedTuple, "tanh": tanh, "tanh_slope": tanh_slope, "cos": np.cos, "sin": np.sin}
    exec(source(shape), names)
    return shape.register(names["Made"])


class Plain:
    """The same network in NumPy, with gradients in place of tangents: J of each step by its formula."""

    def __init__(self, net, shape, gain):
        self.net, self.shape, self.gain, self.N = net, shape, gain, net.hidden_size
        (self.a, self.b, self.c, self.d), self.of_stage = shape.matrices
        self.blocks, self.first, self.parts = shape.wired

    def signals(self, s):
        """(B, E, N)."""
        each = [k % s.shape[1] for k in range(self.shape.signals)]
        if not self.shape.emits:
            return s[:, each]
        return np.stack([s[:, j] + np.sin(s[:, -1]) / (2 + k) for k, j in enumerate(each)], axis=1)

    def by_signals(self, s, de):
        """What gradients de (B, E, N) of the signals are for the states."""
        found = np.zeros_like(s)
        for k in range(self.shape.signals):
            found[:, k % s.shape[1]] += de[:, k]
            if self.shape.emits:
                found[:, -1] += np.cos(s[:, -1]) / (2 + k) * de[:, k]
        return found

    def layer(self, k):
        def own(name, shape):
            return self.net.parameters[f"{name}_l{k}"].astype(np.float64) if shape[0] else np.zeros(shape)

        N, G = self.N, self.shape.gates
        w_hh = own("weight_hh", (len(self.blocks), N, N)).reshape(-1, N, N)
        b_hh = own("bias_hh", (self.parts, N)).reshape(-1, N)
        p = [own(f"p{j}", (N,)) for j in range(self.shape.parameters)]
        return own("weight_ih", (1,)), own("bias_ih", (1,)).reshape(G, N), w_hh, b_hh, np.array(p).reshape(-1, N)

    def step(self, k, given, s):
        """Next state (B, S, N) and its slopes, all signals (B, E + A, N) and the slopes of the stage's."""
        (w_ih, b_ih, w_hh, b_hh, p), B = self.layer(k), len(given)
        x = (given @ w_ih.T).reshape(B, -1, self.N) + b_ih
        r, sent, slope = np.broadcast_to(b_hh, (B, *b_hh.shape)).copy(), self.signals(s), None

        def multiplied(low, high):
            for w, (signal, part) in zip(w_hh, self.blocks, strict=True):
                if low <= signal < high:
                    r[:, part] += sent[:, signal] @ w.T

        multiplied(0, self.shape.signals)
        if self.shape.stage:
            f, h, g, m = self.of_stage
            v = mixed(f, x) + mixed(h, r[:, : self.first]) + mixed(g, s) + m @ p
            sent, slope = np.concatenate([sent, np.tanh(v)], axis=1), 1 - np.tanh(v) ** 2
            multiplied(self.shape.signals, sent.shape[1])
        u = mixed(self.a, x) + mixed(self.b, r) + mixed(self.c, s) + self.d @ p
        new = np.tanh(self.gain * u)
        return new, self.gain * (1 - new**2), sent, slope

    def back(self, k, given, s, kept, ds):
        """Of the gradient ds of the next state: by what is given, by the state, and by the parameters, by name."""
        (w_ih, _, w_hh, _, _), (_, slope, sent, by_stage), B = self.layer(k), kept, len(given)
        d, E = ds * slope, self.shape.signals
        dx, dr, dp = mixed(self.a.T, d), mixed(self.b.T, d), mixed(self.d.T, d)
        before, to = mixed(self.c.T, d), np.zeros(sent.shape)

        def multiplied(low, high):
            for w, (signal, part) in zip(w_hh, self.blocks, strict=True):
                if low <= signal < high:
                    to[:, signal] += dr[:, part] @ w

        if self.shape.stage:
            multiplied(E, sent.shape[1])
            t = to[:, E:] * by_stage
            f, h, g, m = self.of_stage
            dx, before, dp = dx + mixed(f.T, t), before + mixed(g.T, t), dp + mixed(m.T, t)
            dr[:, : self.first] += mixed(h.T, t)
        multiplied(0, E)
        before += self.by_signals(s, to[:, :E])
        flat = dx.reshape(B, -1)
        grads = {"weight_ih": flat.T @ given, "bias_ih": flat.sum(0)}
        if self.blocks:
            w_grads = [dr[:, part].T @ sent[:, signal] for signal, part in self.blocks]
            grads |= {"weight_hh": np.concatenate(w_grads), "bias_hh": dr.reshape(B, -1).sum(0)}
        grads |= {f"p{j}": dp[:, j].sum(0) for j in range(self.shape.parameters)}
        return flat @ w_ih, before, {f"{name}_l{k}": value for name, value in grads.items()}

    def run(self, x, start, lengths, outward, last):
        """States (T+1, B, S), all gradients of <outward, output> + <last, final>, those of the input and the start."""
        T, B, _ = x.shape
        L, S, N = self.net.num_layers, self.shape.states, self.N
        states, kept = [start.reshape(B, L, S, N).astype(np.float64)], []
        for t in range(T):
            now, here, below = states[-1].copy(), [], x[t].astype(np.float64)
            for k in range(L):
                here.append((below, self.step(k, below, states[-1][:, k])))
                now[:, k], below = here[-1][1][0], self.signals(here[-1][1][0])[:, 0]
            states.append(np.where((t < lengths)[:, None, None, None], now, states[-1]))
            kept.append(here)
        grads = {name: np.zeros(shape) for name, shape in self.net.shapes.items()}
        gx, ds = np.zeros(x.shape), last.reshape(B, L, S, N).astype(np.float64)
        for t in range(T - 1, -1, -1):
            alive = (t < lengths)[:, None, None]
            before, above = np.where(alive[..., None], 0.0, ds), np.where(alive[:, 0], outward[t], 0.0)
            for k in range(L - 1, -1, -1):
                first = np.zeros((B, self.shape.signals, N))
                first[:, 0] = above
                given, step = kept[t][k]
                own = np.where(alive, ds[:, k] + self.by_signals(step[0], first), 0.0)
                above, more, found = self.back(k, given, states[t][:, k], step, own)
                before[:, k] += more
                for name, value in found.items():
                    grads[name] += value
            gx[t], ds = above, before
        return np.array(states).reshape(T + 1, B, -1), grads, gx, ds.reshape(B, -1)


def mixed(matrix, v):
    """(rows, columns) times (B, columns, N)."""
    return np.einsum("ij,bjn->bin", matrix, v)


def close(ours, theirs, dtype, what):
    assert ours.shape == theirs.shape, what
    scale = max(np.abs(theirs).max(initial=0), 1e-3)
    error = np.abs(ours - theirs).max(initial=0)
    assert error <= C * np.finfo(dtype).eps * scale, f"{what}: {error:.1e} beside {scale:.1e}"


def agrees(shape, dtype, units, batch, layers=1, team=1, with_kernels=False, arrays=False):
    T, I = 5, 3
    rng = np.random.default_rng(units + 10 * batch)
    gain = np.linspace(0.5, 0.9, units) if arrays else 0.7
    cell = made(shape)(gain)
    net = tt.Network(cell, I, units, num_layers=layers, dtype=dtype, seed=1)
    x = rng.normal(size=(T, batch, I)).astype(dtype)
    start, last = (rng.normal(size=(batch, net.state_size)).astype(dtype) for _ in range(2))
    outward = rng.normal(size=(T, batch, units)).astype(dtype)
    lengths = np.array([T, *rng.integers(0, T + 1, batch - 1)])
    plain = Plain(net, shape, gain)

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
        empty = {"weight_hh": np.zeros((0, units)), "bias_hh": np.zeros(0)}
        wanted = (*(grads.get(f"{kind}_l0", empty.get(kind)) for kind in kinds(cell)), g_x, g_start)
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
EXTENDED = [
    Shape(2, 2, 3, True, False, sends=((0, 1), (1,)), parameters=2),  # a part that two signals feed
    Shape(3, 1, 4, False, False, sends=((0, 1),), stage=((2,),), parameters=1),  # as Cho's GRU
    Shape(1, 3, 5, False, False, sends=((0,), (0, "b"), ("c",)), stage=((0,), (0, "b")), parameters=3),  # R = 5, G = 1
    Shape(2, 2, 0, True, False, sends=(), parameters=1),  # no product
]
SHAPES = [Shape(1, 4, 12, True, False), Shape(5, 1, 1), Shape(7, 2, 0, True), Shape(10, 3, 5, False, False)]
MORE = [
    Shape(2, 1, 0), Shape(3, 4, 7, True, False), Shape(4, 3, 1, False, False), Shape(5, 2, 12, True), Shape(6, 1, 3),
    Shape(8, 4, 4, True, False), Shape(9, 1, 2, True), Shape(10, 1, 0), Shape(6, 4, 0, False, False), Shape(13, 1, 1),
    Shape(25, 2, 2, True, False),
    Shape(2, 1, 2, sends=((1, 0),)), Shape(4, 3, 7, True, sends=((3, 1), (0, 2), (1, 0, 2)), parameters=3),
    Shape(5, 2, 0, False, False, sends=((4,),)), Shape(1, 1, 1, True, False, sends=()), Shape(7, 1, 2, parameters=1),
    Shape(2, 4, 1, True, False, sends=((0, "b", "c"),), stage=((1,),)),
    Shape(4, 2, 9, False, False, sends=((0,), (0,)), stage=((1, 2), (3, 1), (2,)), parameters=2),
    Shape(1, 2, 3, True, False, sends=(), stage=((0,),), parameters=1),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_against_numpy(shape):
    for units, batch, layers, team in ((1, 1, 1, 1), (9, 1, 2, 2), (33, 3, 1, 1), (5, 13, 2, 2)):
        agrees(shape, "float64", units, batch, layers, team)


@pytest.mark.parametrize("shape", [*SHAPES, *EXTENDED, *MORE], ids=str)
def test_the_plain_network_against_complex_steps(shape):
    """What the compiled cells are held against, and the cell as it is written, by an oracle of its functions alone."""
    cell = made(shape)(0.7)
    record = spec(cell)
    assert (record.saved, record.blocks, record.shared) == (shape.saved, tuple(shape.wired[0]), shape.shared)
    point = central_differences.drawn(cell, record, 16, np.random.default_rng(0))
    central_differences.agree(cell, record, point, "")
    net, rng, lengths = tt.Network(cell, 2, 2, num_layers=2, seed=0), np.random.default_rng(0), np.array([3, 2])
    x, outward = rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2, 2))
    start, last = rng.normal(size=(2, 2, net.state_size))
    oracle = naive.of(net, from_functions(cell))
    states, grads, g_x, g_start = Plain(net, shape, 0.7).run(x, start, lengths, outward, last)
    theirs = naive.bptt(oracle, x, start, lengths, outward, last)
    close(states, naive.unroll(oracle, x, start, lengths).states, "float64", "states")
    for name, value in theirs.parameters.items():
        close(grads[name], value, "float64", name)
    close(g_x, theirs.input, "float64", "gradient of the input")
    close(g_start, theirs.start, "float64", "gradient of the state")


@pytest.mark.parametrize("shape", EXTENDED, ids=str)
def test_extended_shapes_against_numpy(shape):
    agrees(shape, "float64", 9, 2, 2, 2)
    if shape.emits:
        agrees(shape, "float64", 17, 1, 1, 1, arrays=True)


def test_single_precision_and_kernels():
    agrees(Shape(5, 1, 1), "float32", 19, 3)
    agrees(Shape(5, 1, 1), "float64", 19, 3, with_kernels=True)
    agrees(EXTENDED[0], "float32", 19, 3)


@pytest.mark.slow
@pytest.mark.skipif("THROUGHTIME_FUZZ" not in os.environ, reason="ten minutes of compiling: THROUGHTIME_FUZZ=1 asks")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [*SHAPES, *EXTENDED, *MORE], ids=str)
def test_more_shapes_against_numpy(shape, dtype):
    for units, batch, layers, team in ((1, 1, 1, 1), (17, 1, 2, 2), (40, 3, 1, 2), (5, 27, 3, 1)):
        agrees(shape, dtype, units, batch, layers, team, with_kernels=layers == 1)


def test_units_shared_by_two_threads():
    """Weights that are worth two threads for one row: the units are divided, and the tiles of a single row are used."""
    for shape, units in ((Shape(5, 1, 1), 130), (Shape(10, 3, 5, False, False), 100), (EXTENDED[0], 130),
                         (EXTENDED[1], 130), (EXTENDED[2], 130)):  # fmt: skip
        cell, results = made(shape)(0.7), []
        for team in (1, 2):
            tt.set_num_threads(team)
            net = tt.Network(cell, 3, units, seed=0)
            run = net.unroll(np.random.default_rng(0).normal(size=(8, 1, 3)))
            back = run.backprop(np.ones_like(run.output))
            results.append((run.states, *back.parameters.values(), back.input))
        for one, two in zip(*results, strict=True):
            np.testing.assert_array_equal(one, two)
