"""Networks, inputs and cotangents that several test files draw alike."""

from __future__ import annotations

from types import FunctionType
from typing import NamedTuple

import naive
import numpy as np

import throughtime as tt
from throughtime.cells import CELLS as LIBRARY
from throughtime.cells import spec
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope

LEAK = 0.3  # of the leaky cells in the tests: away from the default, so that a forgotten field shows
# What a cell may call, for the complex numbers of the oracle's derivatives.
COMPLEX = {
    "exp": np.exp, "tanh": np.tanh, "sigmoid": naive.sigmoid, "relu": naive.relu, "quotient": np.divide,
    "sin": np.sin, "cos": np.cos,
    "tanh_slope": lambda z: 1 / np.cosh(z) ** 2,
    "sigmoid_slope": lambda z: naive.sigmoid(z) * naive.sigmoid(-z),
    "relu_slope": lambda z: np.where(z.real > 0, 1.0, 0.0),
    "softplus": lambda z: naive.relu(z) + np.log1p(np.exp(np.where(z.real > 0, -z, z))),
}  # fmt: skip


@tt.cell(gates=2, states=2)
class Adapting(NamedTuple):
    """A user's cell: a gated unit v with slow adaptation a, which sends tanh(v)·(1 + a/5).

    1.0, not 1: a whole number beside float32 makes float64 in compiled code, which the tests of the GPU forbid.
    """

    speed: float = 0.2

    def forward(cell, x, r, s):
        gate, pull = x[0] + r[0], x[1] + r[1] - s[1]
        z = sigmoid(gate)
        v = (1.0 - z) * s[0] + z * tanh(pull)
        return (v, s[1] + cell.speed * (v - s[1])), (gate, pull)

    def backward(cell, ds, s, s_next, saved):
        gate, pull = saved
        z = sigmoid(gate)
        dv = ds[0] + cell.speed * ds[1]
        d = (dv * (tanh(pull) - s[0]) * sigmoid_slope(gate), dv * z * tanh_slope(pull))
        return d, d, (dv * (1.0 - z), ds[1] * (1.0 - cell.speed) - d[1])

    def emit(cell, s):
        return tanh(s[0]) * (1.0 + s[1] / 5.0)

    def emit_slope(cell, s):
        return tanh_slope(s[0]) * (1.0 + s[1] / 5.0), tanh(s[0]) / 5.0


def adapting(w, u, s, leak):
    """The oracle's version of it."""
    v, a = s
    x, y = np.split(naive.drive(w, u) + naive.recur(w, np.tanh(v) * (1 + a / 5)), 2, axis=-1)
    z = naive.sigmoid(x)
    v = (1 - z) * v + z * np.tanh(y - a)
    return v, a + 0.4 * (v - a)


@tt.cell(
    gates=("z", "n"), states=2, sends={"v": ("z", "n"), "a": ("n",)}, stage={"kept": ("n", "b")},
    parameters=("peep", "speed"),
)  # fmt: skip
class Staged(NamedTuple):
    """A user's cell with everything that a cell can have: two signals, of which a part of r hears both, a product after
    a gate, two parameters of each unit, and a field."""

    gain: float = 0.5

    def stage(cell, x, r, s, p):
        return (sigmoid(x[0] + r[0] + p[0] * s[1]) * s[0],)

    def forward(cell, x, r, s, p):
        u, m, b = x[0] + r[0] + p[0] * s[1], x[1] + r[1] + r[2], r[3]
        v = s[0] + sigmoid(u) * (tanh(m) - s[0])
        return (v, s[1] + p[1] * (cell.gain * tanh(b) + v - s[1])), (u, m, b)

    def backward(cell, ds, s, s_next, saved, p):
        u, m, b = saved
        dv, z = ds[0] + p[1] * ds[1], sigmoid(u)
        dz, dn = dv * (tanh(m) - s[0]) * sigmoid_slope(u), dv * z * tanh_slope(m)
        db, dspeed = ds[1] * p[1] * cell.gain * tanh_slope(b), ds[1] * (cell.gain * tanh(b) + s_next[0] - s[1])
        before = dv * (1.0 - z), ds[1] * (1.0 - p[1]) + dz * p[0]
        return (dz, dn), (dz, dn, dn, db), before, (dz * s[1], dspeed)

    def stage_backward(cell, da, s, saved, p):
        d = da[0] * s[0] * sigmoid_slope(saved[0])
        return (d, 0.0), (d, 0.0), (da[0] * sigmoid(saved[0]), d * p[0]), (d * s[1], 0.0)

    def emit(cell, s):
        return tanh(s[0]) + s[1] / 5.0, s[1]

    def emit_slope(cell, s):
        return (tanh_slope(s[0]), 0.2), (0.0, 1.0)

    def initial(cell, units, rng):
        return rng.normal(size=units), 0.3


def staged(w, u, s, leak):
    """The oracle's version of it, for a gain of 0.8."""
    (v, a), (x_z, x_n), ((w_vz, w_vn, w_an, w_n, w_b), (b_z, b_n, b_stage, b_b)) = (
        s,
        naive.drives(w, u),
        naive.blocks(w),
    )
    peep, speed = w.p
    shown = np.tanh(v) + a / 5
    z = naive.sigmoid(x_z + shown @ w_vz.T + b_z + peep * a)
    kept = z * v
    n = np.tanh(x_n + shown @ w_vn.T + a @ w_an.T + b_n + kept @ w_n.T + b_stage)
    v = (1 - z) * v + z * n
    return v, a + speed * (0.8 * np.tanh(kept @ w_b.T + b_b) + v - a)


STAGED = naive.Cell(
    staged, gates=2, states=2, emit=lambda s: np.tanh(s[0]) + s[1] / 5, parameters=("peep", "speed"), squares=5, parts=4
)
ADAPTING = naive.Cell(adapting, gates=2, states=2, emit=lambda s: np.tanh(s[0]) * (1 + s[1] / 5))
POSITIVE = {"slstm": (2,)}  # states that are sums of positive numbers: no run leaves them, and 0 is a pole
OWN = {"adapting": ADAPTING, "staged": STAGED}
CELLS = (*LIBRARY, *OWN)  # every shared test runs over the library's cells and over a user's


def library_cell(name):
    """A name as the user writes it, or an instance where the cell has a field."""
    if name in OWN:
        return Adapting(0.4) if name == "adapting" else Staged(0.8)
    fields = {"leak": LEAK} if "leak" in LIBRARY[name]._fields else {}
    return LIBRARY[name](**fields) if fields else name


def oracle(name):
    """The oracle of a cell: as it is written in naive.py, otherwise made of the cell's own functions.

    The second kind says nothing of the formula, which is the cell's to know, and everything of what is made of it.
    """
    if name in OWN:
        return OWN[name]
    own = library_cell(name)
    return naive.CELLS.get(name) or from_functions(LIBRARY[name]() if isinstance(own, str) else own)


def from_functions(cell):
    """An oracle whose step is the cell's `forward`, after `emit` and `stage`, on complex numbers; its functions
    of the way back are not used."""
    record, cls = spec(cell), type(cell)
    functions = {name: on_complex(getattr(cls, name)) for name in ("forward", "emit", "stage") if hasattr(cls, name)}

    def signals(s):
        if not record.emits:
            return s[: record.signals]
        sent = functions["emit"](cell, s)
        return (sent,) if record.signals == 1 else sent

    def step(w, u, s, leak):
        x, (squares, biases) = tuple(naive.drives(w, u)), naive.blocks(w)
        own = (w.p,) if record.parameters else ()
        sent, r = list(signals(s)), [np.broadcast_to(b, s[0].shape) for b in biases]

        def multiplied(low, high):
            for square, (signal, part) in zip(squares, record.blocks, strict=True):
                if low <= signal < high:
                    r[part] = r[part] + sent[signal] @ square.T

        multiplied(0, record.signals)
        if record.stage:
            sent += functions["stage"](cell, x, tuple(r[: record.first]), s, *own)
            multiplied(record.signals, len(sent))
        new, _ = functions["forward"](cell, x, tuple(r), s, *own)
        return tuple(np.broadcast_to(value, s[0].shape) for value in new)

    return naive.Cell(
        step, record.gates, record.states, lambda s: signals(s)[0], record.parameters, len(record.blocks), record.parts
    )


def on_complex(function):
    """A copy of a cell's function in which the scalar functions of the library, also in its helpers, are NumPy's."""
    known = dict(function.__globals__)
    copy = FunctionType(function.__code__, known, function.__name__, function.__defaults__, function.__closure__)
    for name, value in function.__globals__.items():
        if getattr(value, "__module__", None) == "throughtime.scalar":
            known[name] = COMPLEX[value.__name__]
        elif isinstance(value, FunctionType) and value.__module__ == function.__module__ and value is not function:
            known[name] = FunctionType(value.__code__, known, name, value.__defaults__, value.__closure__)
    return copy


class Problem(NamedTuple):
    """A network, its oracle, an input, an initial state and the loss <grad_output, output> + <grad_final, final>."""

    net: object
    plain: naive.Net
    x: np.ndarray  # (T, B, I)
    start: np.ndarray  # (B, S)
    grad_output: np.ndarray  # (T, B, N·directions)
    grad_final: np.ndarray  # (B, S)
    lengths: np.ndarray | None

    @property
    def state(self):
        return naive.unflatten(self.plain, self.start)

    def unroll(self):
        return self.net.unroll(self.x, state=self.state, lengths=self.lengths)

    def backprop(self, run, window=None):
        return run.backprop(self.grad_output, naive.unflatten(self.plain, self.grad_final), window=window)

    def oracle(self):
        """The arguments of `naive.bptt` and `naive.gradients`."""
        double = [a.astype(np.float64) for a in (self.x, self.start, self.grad_output, self.grad_final)]
        return self.plain, double[0], double[1], self.lengths, double[2], double[3]


def problem(name, steps, batch, inputs, units, *, layers=1, dtype="float64", lengths=None, seed=0, gain=1.5, **options):
    """A random network of gain about 1: weights U(-1.5, 1.5)/√N, gradients neither vanish nor explode soon.

    All numbers are rounded to `dtype` before the oracle gets them.
    """
    rng = np.random.default_rng(seed)
    net = tt.Network(library_cell(name), inputs, units, num_layers=layers, dtype=dtype, seed=0, **options)
    for key, value in net.parameters.items():
        if is_of_units(key):
            value[...] = near_start(value, rng)
        else:
            value[...] = rng.uniform(-gain, gain, value.shape) / np.sqrt(units)
    plain = naive.of(net, oracle(name))

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    x, start = draw(steps, batch, inputs), draw(batch, plain.state_size)
    for state in POSITIVE.get(name, ()):
        for at in range(state * units, plain.state_size, plain.block):
            start[:, at : at + units] = 0.2 + abs(start[:, at : at + units])
    grads = draw(steps, batch, units * plain.directions), draw(batch, plain.state_size)
    return Problem(net, plain, x, start, *grads, None if lengths is None else np.asarray(lengths))


def is_of_units(name):
    """Whether a parameter is a number of each unit that its cell has by itself."""
    return not name.startswith(("weight_", "bias_"))


def near_start(value, rng):
    """Parameters of units near where the cell starts them, of its sign, where it may only compute; none of them 0."""
    noise = rng.standard_normal(value.shape)
    return np.where(value == 0.0, noise, value * np.exp(0.3 * noise))


def on_host(value):
    """An array of the GPU, or a tuple of them, in NumPy; others as they are."""
    if isinstance(value, tuple):
        return tuple(map(on_host, value))
    return value.copy_to_host() if hasattr(value, "copy_to_host") else value


def everything(p, run=None, window=None):
    """All numbers of one forward and backward pass, name -> array."""
    run = p.unroll() if run is None else run
    grads = p.backprop(run, window)
    numbers = {"output": run.output, "states": run.states, "final": naive.flatten(p.plain, on_host(run.final_state))}
    numbers |= {f"gradient of {name}": value for name, value in grads.parameters.items()}
    return numbers | {
        "gradient of input": grads.input,
        "gradient of state": naive.flatten(p.plain, on_host(grads.initial_state)),
        "dL/dstates": grads.states,
    }


def same_bits(a, b):
    """Equal shapes, dtypes and bytes for every named array."""
    assert a.keys() == b.keys()
    for name, value in a.items():
        other = b[name]
        assert value.dtype == other.dtype, name
        assert value.shape == other.shape, name
        assert value.tobytes() == other.tobytes(), name
