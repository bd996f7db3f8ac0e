"""Cells that send several signals, or none, or in two stages, with parameters and fields of each unit: compiled loops
against a plain loop over time with complex steps, which gives derivatives exact to rounding.

Tolerances are c·eps·scale: a number is the end of some T·W·N = 300 roundings, which c = 400 lets add up badly.
"""

from __future__ import annotations

import numpy as np
import pytest
from wired_cells import CELLS, Everything, Oscillating, Peeping

import throughtime as tt
from throughtime.cells import spec
from throughtime.engine.cpu import shares

C, TINY = 400, 1e-30
I = 3
CELL = pytest.mark.parametrize("cls", CELLS)
IN_PRECISION = [(cls, "float64") for cls in CELLS] + [(cls, "float32") for cls in (Oscillating, Everything)]


def made(cls, units, rng):
    """A cell whose fields, if it has any, are arrays for some sizes."""
    if not cls._fields or units % 2 == 0:
        return cls()
    return cls(*(rng.uniform(0.4, 0.9, units) for _ in cls._fields))


class Plain:
    """The network as a loop in NumPy over whatever numbers it is given."""

    def __init__(self, net, lengths=None):
        self.net, self.record, self.lengths = net, spec(net.cell), lengths

    def emitted(self, s):
        cell, record = self.net.cell, self.record
        if not record.emits:
            return s[: record.signals]
        return (cell.emit(s),) if record.signals == 1 else cell.emit(s)

    def step(self, w, inputs, s):
        cell, record, n = self.net.cell, self.record, self.net.hidden_size
        own = (tuple(w[name] for name in record.parameters),) if record.parameters else ()
        cut = [slice(k * n, (k + 1) * n) for k in range(9)]
        drive = inputs @ w["weight_ih"].T + w["bias_ih"]
        x = tuple(drive[:, cut[g]] for g in range(record.gates))
        bias = w.get("bias_hh")
        r = [0.0 * x[0] + bias[cut[j]] for j in range(record.parts)]

        def spread(signals, first):
            for k, (signal, part) in enumerate(record.blocks):
                if first <= signal < first + len(signals):
                    r[part] = r[part] + signals[signal - first] @ w["weight_hh"][cut[k]].T

        e = self.emitted(s)
        spread(e, 0)
        if record.stage:
            spread(cell.stage(x, tuple(r[: record.first]), s, *own), record.signals)
        return cell.forward(x, tuple(r), s, *own)[0]

    def run(self, parameters, x, start):
        """States (T+1, B, size), and what the last layer sends, 0 in the padding."""
        n, S, T = self.net.hidden_size, self.record.states, len(x)
        D, kind = self.net.num_directions, np.result_type(x, start, *parameters.values())
        lengths = np.full(x.shape[1], T) if self.lengths is None else self.lengths
        states, below = np.zeros((T + 1, *start.shape), kind), x
        final = np.zeros(start.shape, kind)
        for k in range(self.net.num_layers):
            sent = np.zeros((T, x.shape[1], D * n), kind)
            for d in range(D):
                tail = f"_l{k}" + "_reverse" * d
                w = {name.removesuffix(tail): value for name, value in parameters.items() if name.endswith(tail)}
                own = slice((k * D + d) * S * n, (k * D + d + 1) * S * n)
                s = start[:, own].astype(kind)
                states[T if d else 0, :, own] = s
                for t in range(T - 1, -1, -1) if d else range(T):
                    new = np.concatenate(self.step(w, below[t], tuple(s[:, i * n : (i + 1) * n] for i in range(S))), 1)
                    alive = (t < lengths)[:, None]
                    s = np.where(alive, new, s)
                    states[t if d else t + 1, :, own] = s
                    heard = self.emitted(tuple(s[:, i * n : (i + 1) * n] for i in range(S)))[0]
                    sent[t, :, d * n : (d + 1) * n] = np.where(alive, heard, 0)
                final[:, own] = s
            below = sent
        return states, below, final


class Problem:
    def __init__(self, cls, N, T, B, dtype="float64", layers=1, both=False, lengths=None, bias=True):
        self.rng = rng = np.random.default_rng(N + 10 * T + 100 * B)
        self.net = tt.Network(made(cls, N, rng), I, N, num_layers=layers, bidirectional=both, dtype=dtype, seed=1)
        self.x, self.g = (rng.standard_normal((T, B, n)).astype(dtype) for n in (I, N * (1 + both)))
        size = self.net.state_size
        self.start, self.last = (rng.standard_normal((B, size)).astype(dtype) for _ in range(2))
        self.at_end = self.as_pytorch(self.last)
        self.lengths = lengths
        self.plain = Plain(self.net, lengths)
        self.run = self.net.unroll(self.x, state=self.as_pytorch(self.start), lengths=lengths)
        self.eps = np.finfo(dtype).eps

    def as_pytorch(self, rows):
        """h or (h, c), each (layers·directions, B, N)."""
        S, n = spec(self.net.cell).states, self.net.hidden_size
        parts = rows.reshape(len(rows), -1, S, n).transpose(2, 1, 0, 3)
        return tuple(map(np.ascontiguousarray, parts)) if S > 1 else np.ascontiguousarray(parts[0])

    def wide(self):
        return {name: value.astype(np.float64) for name, value in self.net.parameters.items()}

    def close(self, ours, theirs, scale=1.0):
        error = np.abs(np.asarray(ours, np.float64) - theirs)
        assert error.max(initial=0.0) <= C * self.eps * (scale + np.abs(theirs).max(initial=0.0))

    def loss(self, parameters, x, start):
        _, output, final = self.plain.run(parameters, x, start)
        return (self.g.astype(np.float64) * output).sum() + (self.last.astype(np.float64) * final).sum()

    def directional(self, parameters=None, x=None, start=None):
        """dL along a direction by complex step."""
        wide = {k: v + 1j * TINY * (parameters or {}).get(k, 0.0) for k, v in self.wide().items()}
        moved = [
            value.astype(np.float64) + 1j * TINY * (0.0 if d is None else d)
            for value, d in ((self.x, x), (self.start, start))
        ]
        return self.loss(wide, *moved).imag / TINY

    def check_gradients(self):
        """<gradient, d> is the derivative along d, of each parameter, the input and the first state by itself."""
        found = self.run.backprop(self.g, grad_final_state=self.at_end)
        for name, value in found.parameters.items():
            d = self.rng.standard_normal(value.shape)
            ours = (value * d).sum()
            self.close(ours, self.directional(parameters={name: d}), np.abs(value * d).sum())
        for value, what in ((found.input, "x"), (found.states[0], "start")):
            if what == "start" and self.net.num_directions > 1:
                continue
            d = self.rng.standard_normal(value.shape)
            self.close((value * d).sum(), self.directional(**{what: d}), np.abs(value * d).sum())
        return found

    def jacobian(self, t):
        """ds_{t+1}/ds_t (B, S, S) by complex step."""
        alive = None if self.lengths is None else (t < np.asarray(self.lengths)).astype(int)
        plain, size = Plain(self.net, alive), self.net.state_size
        now, out = self.run.states[t].astype(complex), np.empty((len(self.start), size, size))
        for j in range(size):
            moved = now.copy()
            moved[:, j] += 1j * TINY
            out[:, :, j] = plain.run(self.wide(), self.x[t : t + 1].astype(float), moved)[0][1].imag / TINY
        return out


SIZES = [(1, 4, 2), (5, 3, 3), (17, 1, 1), (33, 3, 2)]  # N, T, B


@pytest.mark.parametrize(("cls", "dtype"), IN_PRECISION)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_forward_and_gradients(cls, sizes, dtype):
    p = Problem(cls, *sizes, dtype=dtype)
    states, output, _ = p.plain.run(p.wide(), p.x.astype(float), p.start.astype(float))
    p.close(p.run.states, states)
    p.close(p.run.output, output)
    p.check_gradients()


@CELL
@pytest.mark.parametrize("both", [False, True], ids=["one way", "both ways"])
def test_layers_lengths_and_directions(cls, both):
    p = Problem(cls, 5, 4, 4, layers=2, both=both, lengths=np.array([0, 4, 2, 1]))
    states, output, _ = p.plain.run(p.wide(), p.x, p.start)
    p.close(p.run.states, states)
    p.close(p.run.output, output)
    p.check_gradients()


@CELL
@pytest.mark.parametrize("layers", [1, 2])
def test_tangents_jacobians_and_products_back(cls, layers):
    p = Problem(cls, 5, 3, 3, layers=layers, lengths=np.array([0, 3, 2]))
    js, v = [p.jacobian(t) for t in range(3)], p.rng.standard_normal((3, p.net.state_size, 2))
    ours = p.run.jacobians()
    for t, theirs in enumerate(js):
        p.close(ours[t], theirs)
        p.close(p.run.jacobian(t + 1), theirs)
    whole = js[2] @ js[1] @ js[0]
    p.close(p.run.jvp(v, 0, 3), whole @ v)
    p.close(p.run.vjp(v, 0, 3), whole.swapaxes(1, 2) @ v)


@CELL
@pytest.mark.parametrize("sizes", [(33, 40, 5), (70, 12, 1), (48, 8, 40)], ids=str)
def test_same_bits_for_any_number_of_threads(threads, cls, sizes, monkeypatch):
    """By rows and by units; chunks, copies and gradients of every sequence too."""
    ways, divide = set(), shares.of_steps

    def watch(*arguments, **options):
        parts, whole = divide(*arguments, **options)
        ways.add("units" if len(parts) > 1 and parts[0][1] == parts[1][1] else len(parts))
        return parts, whole

    monkeypatch.setattr(shares, "SMALL", 0)
    monkeypatch.setattr(shares, "of_steps", watch)

    def answers():
        p = Problem(cls, *sizes, layers=2, lengths=None if sizes[2] == 1 else np.arange(sizes[2]) % (sizes[1] + 1))
        found = p.run.backprop(p.g, grad_final_state=p.at_end)
        v = np.random.default_rng(0).standard_normal((*p.start.shape, 3))
        each = p.run.backprop(p.g, per_sequence=True)
        out = [p.run.states, p.run.output, found.input, found.states, *found.parameters.values()]
        return [*out, *each.parameters.values(), p.run.jvp(v, 0, 8), p.run.vjp(v, 0, 8)]

    threads(1)
    one = answers()
    for count in (2, 3):
        threads(count)
        for ours, theirs in zip(answers(), one, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert ways & {"units", 2, 3}


@CELL
def test_gradients_of_every_sequence_add_up(cls):
    p = Problem(cls, 5, 4, 3, lengths=np.array([4, 0, 2]))
    each = p.run.backprop(p.g, grad_final_state=p.at_end, per_sequence=True)
    for name, value in p.run.backprop(p.g, grad_final_state=p.at_end).parameters.items():
        p.close(each.parameters[name].sum(axis=0), value)


@pytest.mark.parametrize("cls", [Peeping, Everything, Oscillating])
def test_units_with_their_own_numbers_are_units_of_such_a_cell(cls):
    """A network whose field is an array of one number repeated is bit for bit the one with the number."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 3, I))
    one = tt.Network(cls(*(0.6 for _ in cls._fields)), I, 17, seed=2)
    many = tt.Network(cls(*(np.full(17, 0.6) for _ in cls._fields)), I, 17, seed=2)
    np.testing.assert_array_equal(one.unroll(x).states, many.unroll(x).states)


@CELL
def test_kernels_for_other_code(cls):
    p = Problem(cls, 17, 4, 3)
    k, first = tt.kernels.of(p.net), p.start
    states = np.empty((5, *first.shape))
    states[0] = first
    saved = k.unroll(k.weights, p.x, states)
    np.testing.assert_array_equal(states, p.run.states)
    np.testing.assert_array_equal(k.step(k.weights, p.x[0], first), p.run.states[1])
    *ours, by_input, by_start = k.backprop(k.weights, p.x, states, saved, p.g, p.last)
    theirs = p.run.backprop(p.g, grad_final_state=p.at_end)
    kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", *spec(cls).parameters]
    for name, value in zip(kinds, ours, strict=True):
        if value.size:
            p.close(value, theirs.parameters[name + "_l0"])
    p.close(by_input, theirs.input)
    p.close(by_start, theirs.states[0])
