"""The oracle is itself held against PyTorch's committed answers, and its two ways to a gradient against each other."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from golden import make_golden as golden

EPS = np.finfo(np.float64).eps


def oracle(kind, layers, bidirectional, case):
    parameters = {name.removeprefix("parameters."): case[name] for name in case if name.startswith("parameters.")}
    net = naive.Net(naive.CELLS[kind], parameters, layers, bidirectional)
    parts = "hc"[: net.cell.states]

    def rows(name):
        return naive.flatten(net, tuple(case[f"{name}.{p}"] for p in parts))

    return net, rows


@pytest.mark.parametrize("with_lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", golden.KINDS)
def test_the_oracle_agrees_with_torch(kind, layers, bidirectional, with_lengths):
    case = golden.read(kind, layers, bidirectional, with_lengths, "float64")
    net, rows = oracle(kind, layers, bidirectional, case)
    lengths = np.array(golden.LENGTHS) if with_lengths else None
    run = naive.unroll(net, case["input"], rows("state"), lengths)
    # Values below 1, sums of at most 20 products in 7 steps through 3 layers: 100 eps leaves a factor of ten.
    assert np.abs(run.output - case["output"]).max() < 100 * EPS
    assert np.abs(run.final - rows("final")).max() < 100 * EPS
    # The gradient along random directions in all weights, inputs and states at once: a wrong entry shows in each.
    rng = np.random.default_rng(0)
    for _ in range(3):
        d_parameters = {name: rng.standard_normal(value.shape) for name, value in net.parameters.items()}
        d_x, d_start = rng.standard_normal(case["input"].shape), rng.standard_normal(rows("state").shape)
        given = (case["input"], rows("state"), lengths, case["grad_output"], rows("grad_final"))
        slope = naive.directional(net, *given, d_parameters, d_x, d_start)
        terms = [(case[f"gradient.{name}"] * d).ravel() for name, d in d_parameters.items()]
        terms += [(case["gradient_input"] * d_x).ravel(), (rows("gradient_state") * d_start).ravel()]
        terms = np.concatenate(terms)
        # Each entry of the gradient carries some 10 eps of its own size; they add up without regard to sign at worst.
        assert abs(slope - terms.sum()) < 10 * EPS * np.abs(terms).sum()


def cho_gru(w, u, s, leak):
    """The reset before the product: a stage in a few lines."""
    (h,), (x_r, x_z, x_n), ((w_r, w_z, w_n), (b_r, b_z, b_n)) = s, naive.drives(w, u), naive.blocks(w)
    r, z = naive.sigmoid(x_r + h @ w_r.T + b_r), naive.sigmoid(x_z + h @ w_z.T + b_z)
    return (z * h + (1 - z) * np.tanh(x_n + (r * h) @ w_n.T + b_n),)


def two_signals(w, u, s, leak):
    """Of y and z, which feed one part, with a frequency of each unit."""
    (y, z), (x,), ((w_y, w_z), (b,)) = s, naive.drives(w, u), naive.blocks(w)
    z = z + 0.2 * (np.tanh(x + y @ w_y.T + z @ w_z.T + b) - w.p[0] * y - w.p[1] * z)
    return y + 0.2 * z, z


def no_product(w, u, s, leak):
    x, n = naive.drives(w, u)
    return (naive.sigmoid(x) * s[0] + naive.sigmoid(-x) * w.p[0] * n,)


EXTENDED = {
    "a stage": naive.Cell(cho_gru, gates=3),
    "two signals": naive.Cell(two_signals, states=2, parameters=("gamma", "epsilon"), squares=2, parts=1),
    "no product": naive.Cell(no_product, gates=2, parameters=("gain",), squares=0),
}
CELLS = naive.CELLS | EXTENDED


@pytest.mark.parametrize("kind", CELLS)
def test_step_by_step_equals_all_at_once(kind):
    rng = np.random.default_rng(1)
    cell = CELLS[kind]
    parameters = {name: rng.uniform(-0.6, 0.6, shape) for name, shape in naive.shapes(cell, 2, 3, 2).items()}
    net = naive.Net(cell, parameters, 2, leak=0.3)
    x, start = rng.standard_normal((5, 3, 2)), rng.standard_normal((3, net.state_size))
    lengths = np.array([3, 5, 0])
    grads = (rng.standard_normal((5, 3, 3)), rng.standard_normal((3, net.state_size)))
    whole = naive.gradients(net, x, start, lengths, *grads)
    steps = naive.bptt(net, x, start, lengths, *grads)
    scale = max(np.abs(value).max() for value in whole.parameters.values())
    for name, value in whole.parameters.items():
        # 50: 15 steps of two layers, summed in another order
        assert np.abs(steps.parameters[name] - value).max() < 50 * EPS * scale, name
    assert np.abs(steps.input - whole.input).max() < 50 * EPS * np.abs(whole.input).max()
    assert np.abs(steps.start - whole.start).max() < 50 * EPS * np.abs(whole.start).max()
