"""The plain oracle: recurrent networks in textbook NumPy, slow and obvious, sharing no line with the library.

Every derivative here is a complex step, Im f(a + i·1e-30 v) / 1e-30, which has no truncation and no cancellation error,
so nothing in this file is differentiated by hand. All sums are in float64 (complex128 under the step).

Dimensions: T time, B batch, I inputs, N units, S = layers · directions · states · N (one row of `Run.states`),
P parameters (all arrays of a network, flattened one after another in the order of `names`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

TINY = 1e-30  # the complex step: its square vanishes beside 1, so the derivative is exact to rounding


# ---- the cells: one time step of one layer, (inputs (B, I), states (B, N) each) -> new states
class Layer(NamedTuple):
    w_ih: np.ndarray
    w_hh: np.ndarray
    b_ih: np.ndarray
    b_hh: np.ndarray
    p: tuple = ()  # the parameters of the units, (N,) each


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def relu(z):
    return np.where(z.real > 0, z, 0)


def linear(z):
    return z


def drive(w, u):
    return u @ w.w_ih.T + w.b_ih


def recur(w, e):
    return e @ w.w_hh.T + w.b_hh


def drives(w, u):
    """x of each gate."""
    return np.split(drive(w, u), len(w.w_ih) // width(w), axis=-1)


def width(w):
    """N."""
    return w.w_hh.shape[1]


def blocks(w):
    """The square blocks of W_hh, in their order, and the pieces of b_hh."""
    n = width(w)
    return [w.w_hh[a : a + n] for a in range(0, len(w.w_hh), n)], [w.b_hh[a : a + n] for a in range(0, len(w.b_hh), n)]


def elman(phi):
    def step(w, u, s, leak):
        return (phi(drive(w, u) + recur(w, s[0])),)

    return step


def leaky_tanh(w, u, s, leak):
    (h,) = s
    return ((1 - leak) * h + leak * np.tanh(drive(w, u) + recur(w, h)),)


def rate(w, u, s, leak):
    (x,) = s
    return ((1 - leak) * x + leak * (drive(w, u) + recur(w, np.tanh(x))),)


def lstm(w, u, s, leak):
    h, c = s
    i, f, g, o = np.split(drive(w, u) + recur(w, h), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(w, u, s, leak):
    (h,) = s
    x_r, x_z, x_n = np.split(drive(w, u), 3, axis=-1)
    h_r, h_z, h_n = np.split(recur(w, h), 3, axis=-1)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    n = np.tanh(x_n + r * h_n)
    return ((1 - z) * n + z * h,)


def ugrnn(w, u, s, leak):
    (h,) = s
    g, n = np.split(drive(w, u) + recur(w, h), 2, axis=-1)
    g = sigmoid(g)
    return (g * h + (1 - g) * np.tanh(n),)


def lstm1997(w, u, s, leak):
    h, c = s
    i, o, g = np.split(drive(w, u) + recur(w, h), 3, axis=-1)
    c = c + sigmoid(i) * (4 * sigmoid(g) - 2)
    return sigmoid(o) * (2 * sigmoid(c) - 1), c


def slstm(w, u, s, leak):
    _, c, n, m = s
    i, _, z, o = slstm_gates(w, u, s)
    stays = slstm_stays(w, u, s)
    log_f = slstm_log_forget(w, u, s)
    m = np.where(stays, log_f, i)
    i, f = np.exp(i - m), np.where(log_f.real > m.real, 1, np.exp(log_f - m))
    c, n = f * c + i * np.tanh(z), f * n + i
    return sigmoid(o) * c / n, c, n, m


def slstm_gates(w, u, s):
    return np.split(drive(w, u) + recur(w, s[0]), 4, axis=-1)


def slstm_log_forget(w, u, s):
    return s[3] + np.log(sigmoid(slstm_gates(w, u, s)[1]))


def slstm_stays(w, u, s):
    """Whether the largest weight stays that of the past: on which side of the kink the step is."""
    return (s[2].real > 0) & (slstm_log_forget(w, u, s).real > slstm_gates(w, u, s)[0].real)


def cho_gru(w, u, s, leak):
    (h,), (x_r, x_z, x_n), ((w_r, w_z, w_n), (b_r, b_z, b_n)) = s, drives(w, u), blocks(w)
    r, z = sigmoid(x_r + h @ w_r.T + b_r), sigmoid(x_z + h @ w_z.T + b_z)
    return (z * h + (1 - z) * np.tanh(x_n + (r * h) @ w_n.T + b_n),)


def mgu(w, u, s, leak):
    (h,), (x_f, x_n), ((w_f, w_n), (b_f, b_n)) = s, drives(w, u), blocks(w)
    f = sigmoid(x_f + h @ w_f.T + b_f)
    return ((1 - f) * h + f * np.tanh(x_n + (f * h) @ w_n.T + b_n),)


def minimal_rnn(w, u, s, leak):
    (h,), ((u_h, u_z), (b_h, b_z)) = s, blocks(w)
    z = np.tanh(drive(w, u))
    gate = sigmoid(h @ u_h.T + z @ u_z.T + b_h + b_z)
    return (gate * h + (1 - gate) * z,)


def peephole_lstm(w, u, s, leak):
    (h, c), (p_i, p_f, p_o) = s, w.p
    i, f, g, o = np.split(drive(w, u) + recur(w, h), 4, axis=-1)
    c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
    return sigmoid(o + p_o * c) * np.tanh(c), c


def min_gru(w, u, s, leak):
    (h,) = s
    z, n = drives(w, u)
    return ((1 - sigmoid(z)) * h + sigmoid(z) * n,)


def min_lstm(w, u, s, leak):
    (h,) = s
    f, i, n = drives(w, u)
    f, i = sigmoid(f), sigmoid(i)
    return (f / (f + i) * h + i / (f + i) * n,)


def lru(w, u, s, leak):
    nu, theta, gamma = map(np.exp, w.p)
    cos, sin = np.exp(-nu) * np.cos(theta), np.exp(-nu) * np.sin(theta)
    re, im = drives(w, u)
    return cos * s[0] - sin * s[1] + gamma * re, sin * s[0] + cos * s[1] + gamma * im


def ind_rnn(w, u, s, leak):
    return (relu(drive(w, u) + w.p[0] * s[0]),)


def co_rnn(w, u, s, leak):
    y, z = s
    (w_y, w_z), (bias,) = blocks(w)
    z = z + 0.042 * (np.tanh(drive(w, u) + y @ w_y.T + z @ w_z.T + bias) - 2.7 * y - 4.7 * z)
    return y + 0.042 * z, z


def euler_tanh(w, u, s, leak):
    return (s[0] + 0.1 * np.tanh(drive(w, u) + recur(w, s[0])),)


def threshold_power(w, u, s, leak):
    (v,) = s
    return (v + (drive(w, u) + recur(w, 0.3 * relu(v) ** 2) - v) / 20,)


class Cell(NamedTuple):
    step: object
    gates: int = 1
    states: int = 1
    emit: object = lambda s: s[0]  # what the unit sends to W_hh, to the next layer and to the output
    parameters: tuple = ()  # names of the numbers of a unit, Layer.p
    squares: int | None = None  # blocks of W_hh, by default one for each gate; 0: no W_hh and no b_hh
    parts: int | None = None  # pieces of b_hh, by default likewise


CELLS = {
    "tanh": Cell(elman(np.tanh)),
    "relu": Cell(elman(relu)),
    "linear": Cell(elman(linear)),
    "sigmoid": Cell(elman(sigmoid)),
    "leaky_tanh": Cell(leaky_tanh),
    "rate": Cell(rate, emit=lambda s: np.tanh(s[0])),
    "lstm": Cell(lstm, gates=4, states=2),
    "gru": Cell(gru, gates=3),
    "cho_gru": Cell(cho_gru, gates=3),
    "mgu": Cell(mgu, gates=2),
    "euler_tanh": Cell(euler_tanh),
    "threshold_power": Cell(threshold_power, emit=lambda s: 0.3 * relu(s[0]) ** 2),
    "min_gru": Cell(min_gru, gates=2, squares=0),
    "min_lstm": Cell(min_lstm, gates=3, squares=0),
    "lru": Cell(lru, gates=2, states=2, squares=0, parameters=("nu_log", "theta_log", "gamma_log")),
    "ind_rnn": Cell(ind_rnn, squares=0, parameters=("recurrent",)),
    "co_rnn": Cell(co_rnn, states=2, squares=2, parts=1),
    "ugrnn": Cell(ugrnn, gates=2),
    "minimal_rnn": Cell(minimal_rnn, squares=2, parts=2),
    "lstm1997": Cell(lstm1997, gates=3, states=2),
    "peephole_lstm": Cell(peephole_lstm, gates=4, states=2, parameters=("peep_i", "peep_f", "peep_o")),
    "slstm": Cell(slstm, gates=4, states=4),
}


# ---- the network
@dataclass(frozen=True)
class Net:
    cell: Cell
    parameters: dict  # PyTorch's names
    num_layers: int = 1
    bidirectional: bool = False
    leak: float = 0.1

    @property
    def hidden_size(self):
        return len(self.parameters["weight_ih_l0"]) // self.cell.gates

    @property
    def directions(self):
        return 2 if self.bidirectional else 1

    @property
    def block(self):
        """Width of the state of one layer and direction."""
        return self.cell.states * self.hidden_size

    @property
    def state_size(self):
        return self.num_layers * self.directions * self.block

    def layer(self, k, reverse):
        return layer(self.cell, self.parameters, f"l{k}" + ("_reverse" if reverse else ""))


def layer(cell, parameters, tail="l0"):
    w_ih = parameters["weight_ih_" + tail]
    w_hh = parameters.get("weight_hh_" + tail, np.zeros((0, len(w_ih) // cell.gates)))
    rows = len(w_ih), w_hh.shape[1] * (cell.gates if cell.parts is None else cell.parts)
    biases = (
        parameters.get(f"{kind}_{tail}", np.zeros(n)) for kind, n in zip(("bias_ih", "bias_hh"), rows, strict=True)
    )
    return Layer(w_ih, w_hh, *biases, tuple(parameters[f"{name}_{tail}"] for name in cell.parameters))


def shapes(cell, input_size, hidden_size, num_layers=1, bidirectional=False, bias=True):
    """name -> shape, in PyTorch's order; a layer's biases after its weights, then the parameters of its units."""
    n, squares = hidden_size, cell.gates if cell.squares is None else cell.squares
    sizes = {}
    for k in range(num_layers):
        inputs = input_size if k == 0 else n * (2 if bidirectional else 1)
        own = {"weight_ih": (cell.gates * n, inputs), "weight_hh": (squares * n, n)}
        own |= {"bias_ih": (cell.gates * n,), "bias_hh": (n * (squares if cell.parts is None else cell.parts),)}
        own = {kind: shape for kind, shape in own.items() if shape[0] and (bias or kind.startswith("weight"))}
        own |= dict.fromkeys(cell.parameters, (n,))
        for tail in ("", "_reverse") if bidirectional else ("",):
            sizes |= {f"{kind}_l{k}{tail}": shape for kind, shape in own.items()}
    return sizes


def of(network, cell):
    """The oracle of a `throughtime.Network`, with float64 copies of its parameters."""
    parameters = {name: np.array(value, dtype=np.float64) for name, value in network.parameters.items()}
    return Net(cell, parameters, network.num_layers, network.bidirectional, getattr(network.cell, "leak", 0.1))


def flatten(net, state):
    """PyTorch's h or (h, c), (layers·directions, B, N) each, as one row per sequence (B, S)."""
    parts = state if isinstance(state, tuple) else (state,)
    return np.concatenate([part[k] for k in range(len(parts[0])) for part in parts], axis=-1)


def unflatten(net, rows):
    """The way back from `flatten`."""
    n, m = net.hidden_size, net.cell.states
    parts = [rows[..., k * n : (k + 1) * n] for k in range(rows.shape[-1] // n)]
    state = tuple(np.stack(parts[i::m]) for i in range(m))
    return state if m > 1 else state[0]


class Run(NamedTuple):
    output: np.ndarray  # (T, B, N·directions)
    states: np.ndarray  # (T+1, B, S)
    final: np.ndarray  # (B, S): forward directions at their last step, reverse directions at step 0


def unroll(net, x, start=None, lengths=None):
    """The whole network over x (T, B, I) from the state rows `start` (B, S)."""
    steps, batch = x.shape[:2]
    n, m, block = net.hidden_size, net.cell.states, net.block
    start = np.zeros((batch, net.state_size)) if start is None else start
    lengths = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    kind = np.result_type(x, start, *net.parameters.values())
    states = np.empty((steps + 1, batch, net.state_size), kind)
    final = np.empty((batch, net.state_size), kind)
    inputs = x
    for k in range(net.num_layers):
        outputs = []
        for direction in range(net.directions):
            w = net.layer(k, direction == 1)
            here = slice((k * net.directions + direction) * block, (k * net.directions + direction + 1) * block)
            s = start[:, here].astype(kind)
            out = np.zeros((steps, batch, n), kind)
            order = range(steps) if direction == 0 else range(steps - 1, -1, -1)
            states[0 if direction == 0 else steps, :, here] = s
            for t in order:
                old = tuple(s[:, i * n : (i + 1) * n] for i in range(m))
                new = net.cell.step(w, inputs[t], old, net.leak)
                alive = (t < lengths)[:, None]  # padding: the sequence keeps its state
                s = np.where(alive, np.concatenate(new, axis=-1), s)
                out[t] = np.where(alive, net.cell.emit(new), 0)
                states[t + 1 if direction == 0 else t, :, here] = s
            final[:, here] = s
            outputs.append(out)
        inputs = np.concatenate(outputs, axis=-1)
    return Run(inputs, states, final)


# ---- gradients of L = <grad_output, output> + <grad_final, final> by complex step of the whole network
def loss(net, x, start, lengths, grad_output, grad_final):
    run = unroll(net, x, start, lengths)
    return (grad_output * run.output).sum() + (grad_final * run.final).sum()


def directional(net, x, start, lengths, grad_output, grad_final, d_parameters, d_x, d_start):
    """dL along one direction in all parameters, the input and the initial state: one forward pass."""
    moved = {name: value + 1j * TINY * d_parameters[name] for name, value in net.parameters.items()}
    value = loss(
        replace(net, parameters=moved),
        x + 1j * TINY * d_x,
        start + 1j * TINY * d_start,
        lengths,
        grad_output,
        grad_final,
    )
    return value.imag / TINY


class Gradients(NamedTuple):
    parameters: dict
    input: np.ndarray
    start: np.ndarray  # (B, S)


def gradients(net, x, start, lengths, grad_output, grad_final):
    """Every entry of the gradient, one forward pass each."""

    def each(value, put):
        grad = np.empty(value.shape)
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += 1j * TINY
            grad[index] = put(moved).imag / TINY
        return grad

    rest = (lengths, grad_output, grad_final)
    parameters = {
        name: each(
            value, lambda p, name=name: loss(replace(net, parameters={**net.parameters, name: p}), x, start, *rest)
        )
        for name, value in net.parameters.items()
    }
    by_input = each(x, lambda moved: loss(net, moved, start, *rest))
    return Gradients(parameters, by_input, each(start, lambda moved: loss(net, x, moved, *rest)))


# ---- step by step: Jacobians, and truncated BPTT done the obvious way (one direction only)
def jacobians(net, x, states, lengths=None):
    """d states[t+1] / d (states[t], x[t], parameters) for every t: arrays (T, B, S, S), (T, B, S, I), (T, B, S, P).

    A step that a sequence no longer takes is the identity in its state and constant in everything else.
    """

    def advance(parameters, u, s, t):
        alive = None if lengths is None else np.where(t < np.asarray(lengths), 1, 0)
        return unroll(replace(net, parameters=parameters), u[None], s, alive).states[1]

    def columns(width, move):
        return np.stack([move(j).imag / TINY for j in range(width)], axis=-1)

    def nudge(value, j):
        moved = value.astype(complex)
        moved[..., j] += 1j * TINY
        return moved

    flat = np.concatenate([value.ravel() for value in net.parameters.values()])
    by_state, by_input, by_parameter = [], [], []
    for t, (u, s) in enumerate(zip(x, states[:-1], strict=True)):
        by_state.append(columns(s.shape[-1], lambda j, u=u, s=s, t=t: advance(net.parameters, u, nudge(s, j), t)))
        by_input.append(columns(u.shape[-1], lambda j, u=u, s=s, t=t: advance(net.parameters, nudge(u, j), s, t)))
        by_parameter.append(columns(len(flat), lambda j, u=u, s=s, t=t: advance(split(net, nudge(flat, j)), u, s, t)))
    return np.array(by_state), np.array(by_input), np.array(by_parameter)


def split(net, flat):
    """A flat vector (P,) as a dict of arrays shaped as the network's parameters."""
    parts, at = {}, 0
    for name, value in net.parameters.items():
        parts[name] = flat[at : at + value.size].reshape(value.shape)
        at += value.size
    return parts


class StepGradients(NamedTuple):
    parameters: dict
    input: np.ndarray
    start: np.ndarray
    states: np.ndarray  # (T+1, B, S): how the loss changes with states[t], all layers of one time being one state


def emit_slope(net, s):
    """d output / d state for one time: (B, N, S), of the last layer's block only."""
    n, block = net.hidden_size, net.block
    slope = np.zeros((*s.shape[:-1], n, s.shape[-1]))
    for j in range(s.shape[-1] - block, s.shape[-1]):
        moved = s.astype(complex)
        moved[..., j] += 1j * TINY
        last = moved[..., -block:]
        slope[..., j] = net.cell.emit(tuple(last[..., i * n : (i + 1) * n] for i in range(net.cell.states))).imag / TINY
    return slope


def bptt(net, x, start, lengths, grad_output, grad_final, window=None):
    """BPTT, the loss of each time t on its own, flowing back through at most `window` steps, then summed.

    The loss at time t (1…T) uses the steps t, t-1, …, t-window+1 and reaches the states t, t-1, …, t-window. The loss
    on the final state sits at the sequence's own last step; padding is no step and hands its gradient through.
    """
    steps, batch = x.shape[:2]
    window = steps if window is None else window
    lengths = np.full(batch, steps) if lengths is None else np.asarray(lengths)
    run = unroll(net, x, start, lengths)
    by_state, by_input, by_parameter = jacobians(net, x, run.states, lengths)
    g_input = np.zeros(x.shape)
    g_states = np.zeros(run.states.shape)
    g_flat = np.zeros(sum(value.size for value in net.parameters.values()))
    for b in range(batch):
        end = lengths[b]
        g_states[end + 1 :, b] = grad_final[b]
        for t in range(end + 1):
            u = np.zeros(net.state_size)
            if t > 0:
                u += grad_output[t - 1, b] @ emit_slope(net, run.states[t, b])
            if t == end:
                u += grad_final[b]
            g_states[t, b] += u
            for step in range(t, max(t - window, 0), -1):  # `step` leads from states[step-1] to states[step]
                g_input[step - 1, b] += u @ by_input[step - 1, b]
                g_flat += u @ by_parameter[step - 1, b]
                u = u @ by_state[step - 1, b]
                g_states[step - 1, b] += u
    return StepGradients(split(net, g_flat), g_input, g_states[0], g_states)
