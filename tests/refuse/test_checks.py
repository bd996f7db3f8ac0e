"""What the checks hand on to the engine, and what they say of arguments that mean nothing."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.cells import CELLS
from throughtime.refuse import arguments, checks, numeric, states

T, B, I, N = 6, 3, 4, 5
G = np.random.default_rng(0).normal(size=(T, B, N))
ALL_CELLS = ", ".join(CELLS)


def network(cell="gru", **options):
    return tt.Network(cell, I, N, **{"seed": 1, **options})


def refused(error, words, call, *args, **options):
    with pytest.raises(error, match=words):
        call(*args, **options)


# ------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize(("steps", "batch"), [(0, B), (T, 0), (0, 0)])
def test_nothing_is_a_legal_input(steps, batch):
    x, had_batch = checks.sequence(np.zeros((steps, batch, I)), network())
    assert x.shape == (steps, batch, I)
    assert had_batch
    assert checks.lengths([0] * batch, steps, batch).dtype == np.int64
    assert checks.lengths([], 3, 0).shape == (0,)
    assert states.state(np.zeros((1, batch, N)), network(), batch, True).shape == (batch, N)
    assert checks.sequence(np.zeros((0, I)), network())[0].shape == (0, 1, I)


def test_numbers_beyond_float32_become_inf_without_a_warning():
    x, _ = checks.sequence([[1e300, -1e300, 1e-300, np.nan]], network(dtype="float32"))
    np.testing.assert_array_equal(x[0, 0], np.array([np.inf, -np.inf, 0, np.nan], "float32"))


@pytest.mark.parametrize("lengths", [[6, 0, 2], (6.0, 0.0, 2.0), np.array([6, 0, 2], "u1"), np.array([6, 0, 2], ">i4")])
def test_lengths_of_any_real_type(lengths):
    found = checks.lengths(lengths, T, B)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, [6, 0, 2])


def test_the_layout_of_a_state():
    net = network("lstm", num_layers=2, bidirectional=True)
    h, c = np.random.default_rng(1).normal(size=(2, 4, B, N))
    flat = states.state((h, c), net, B, True)
    rows = [part for row in range(4) for part in (h[row], c[row])]  # layer 0 (h, c), layer 0 reverse, layer 1, ...
    np.testing.assert_array_equal(flat, np.concatenate(rows, axis=1))
    np.testing.assert_array_equal(states.state((h[:, 0], c[:, 0]), net, 1, False), flat[:1])
    np.testing.assert_array_equal(states.state([h, None], net, B, True), states.state((h, 0 * c), net, B, True))
    np.testing.assert_array_equal(states.state(None, net, B, True), np.zeros((B, net.state_size)))


def finished(batch_first=False, batch=True):
    """What the checks see of an Unrolled."""
    shape = (T, N) if not batch else (B, T, N) if batch_first else (T, B, N)
    return SimpleNamespace(
        network=network(batch_first=batch_first), input=np.zeros((T, B if batch else 1, I)), output=np.zeros(shape)
    )


def test_gradients_arrive_as_the_engine_wants_them():
    g = G
    np.testing.assert_array_equal(checks.output_gradient(g, finished()), g)
    np.testing.assert_array_equal(checks.output_gradient(g.swapaxes(0, 1), finished(batch_first=True)), g)
    np.testing.assert_array_equal(checks.output_gradient(g[:, 0], finished(batch=False)), g[:, :1])
    assert checks.output_gradient(g.swapaxes(0, 1), finished(batch_first=True)).flags.c_contiguous
    assert checks.output_gradient(None, finished()) is None
    h = np.random.default_rng(1).normal(size=(1, B, N))
    np.testing.assert_array_equal(states.state_gradient(h, finished()), h[0])
    np.testing.assert_array_equal(states.state_gradient(h[:, 0], finished(batch=False)), h[0, :1])
    assert states.state_gradient(None, finished()) is None


@pytest.mark.parametrize(
    ("check", "gradient", "options", "error", "words"),
    [
        (
            "output_gradient",
            1.0,
            {},
            ValueError,
            r"`grad_output` has shape \(\); expected \(time, batch, hidden_size\*directions\) = \(6, 3, 5\)\. "
            r".*`np.ones_like\(run.output\)`",
        ),
        (
            "output_gradient",
            G,
            {"batch_first": True},
            ValueError,
            r"\(batch, time, hidden_size\*directions\) = \(3, 6, 5\)",
        ),
        ("output_gradient", G, {"batch": False}, ValueError, r"\(time, hidden_size\*directions\) = \(6, 5\)"),
        ("output_gradient", G * 1j, {}, TypeError, "`grad_output` has dtype complex128"),
        ("state_gradient", G[0], {}, ValueError, r"`grad_final_state` has shape \(3, 5\); expected"),
    ],
)
def test_gradients_that_do_not_fit(check, gradient, options, error, words):
    with pytest.raises(error, match=words):
        getattr(states if check == "state_gradient" else checks, check)(gradient, finished(**options))


def test_perturbations():
    for shape, several in (((B, N), False), ((B, N, 2), True)):
        found = checks.perturbation("v", np.ones(shape), B, N, np.dtype("float32"))
        assert found[0].shape == (B, N, 2 if several else 1)
        assert found[0].dtype == np.float32
        assert found[1] is several


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((N, B), r"`v` has shape \(5, 3\); expected \(batch, state_size\) = \(3, 5\)\. Several vectors at once are"),
        ((B, 2, N), r"`v` has shape \(3, 2, 5\); expected \(batch, state_size, vectors\) = \(3, 5, any\)\.$"),
    ],
)
def test_perturbations_that_do_not_fit(shape, words):
    with pytest.raises(ValueError, match=words):
        checks.perturbation("v", np.ones(shape), B, N, np.dtype("float64"))


def test_a_general_array():
    shape, double = {"time": None, "rows": 2, "columns": 2}, np.dtype("float64")
    x = np.ones((7, 2, 2))
    assert numeric.array("jacobians", x, shape, double) is x
    assert numeric.array("jacobians", x, shape, double, copy=True) is not x
    fixed = np.broadcast_to(1.0, x.shape)
    assert numeric.array("jacobians", fixed, shape, double).flags.writeable
    words = r"`jacobians` has shape \(7, 2, 3\); expected \(time, rows, columns\) = \(any, 2, 2\)\.$"
    with pytest.raises(ValueError, match=words):
        numeric.array("jacobians", np.ones((7, 2, 3)), shape, double)


# ------------------------------------------------------------------------------------- arguments of Network


class Unregistered(NamedTuple):
    leak: float = 0.1


@pytest.mark.parametrize(
    ("cell", "error", "words"),
    [
        ("lmst", ValueError, f'There is no cell "lmst". Did you mean "lstm"\\? Known: {ALL_CELLS}'),
        ("LSTM", TypeError, r'`cell` is "LSTM", .*write "lstm"'),
        ("Gru", ValueError, 'Did you mean "gru"'),
        ("leakytanh", ValueError, 'Did you mean "leaky_tanh"'),
        ("transformer-xl", ValueError, f'There is no cell "transformer-xl". Known: {ALL_CELLS}'),
        ("", ValueError, 'There is no cell "". Known'),
        (CELLS["leaky_tanh"], TypeError, r"`cell` is the class LeakyTanh; pass an instance: LeakyTanh\(\)"),
        (Unregistered, TypeError, r"`cell` is the class Unregistered; pass an instance"),
        (Unregistered(), TypeError, r"Your own cell is a NamedTuple class .*@throughtime.cell\(gates=…, states=…\)"),
        (None, TypeError, f"`cell` is None .*expected a name \\({ALL_CELLS}\\) or an instance"),
        (
            CELLS["rate"]("fast"),
            TypeError,
            r"The field `leak` of the cell Rate is 'fast' \(str\); expected a real number",
        ),
        (CELLS["rate"](None), TypeError, "The field `leak` of the cell Rate is None"),
    ],
)
def test_cells_that_are_none(cell, error, words):
    refused(error, words, tt.Network, cell, I, N)


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0, ValueError, "is 0; expected a whole number of at least 1"),
        (-2, ValueError, "is -2; expected a whole number of at least 1"),
        (3.0, TypeError, r"is 3.0 \(float\); expected a whole number"),
        (True, TypeError, r"is True \(bool\); expected a whole number"),
        ("3", TypeError, r"is '3' \(str\); expected a whole number"),
        (None, TypeError, "is None"),
    ],
)
def test_sizes(name, value, error, words):
    if name == "num_layers" and value is None:
        assert tt.Network("tanh", I, N, num_layers=None).num_layers == 1
        return
    refused(
        error,
        f"`{name}` {words}",
        lambda **o: tt.Network("tanh", **o),
        **{"input_size": I, "hidden_size": N, name: value},
    )


def test_sizes_may_be_numpy_integers():
    net = tt.Network("tanh", np.int32(I), np.uint8(N), num_layers=np.int64(2))
    assert (net.input_size, net.hidden_size, net.num_layers) == (I, N, 2)
    assert all(type(size) is int for size in (net.input_size, net.hidden_size, net.num_layers))


@pytest.mark.parametrize("name", ["bidirectional", "bias", "batch_first"])
@pytest.mark.parametrize("value", [1, 0.1, "yes", None])
def test_flags(name, value):
    refused(TypeError, f"`{name}` is .*; expected True or False", network, **{name: value})


@pytest.mark.parametrize("dtype", ["float16", "complex128", int, "double precision", None, 64, ">f8", object])
def test_dtypes(dtype):
    refused(ValueError, '`dtype` is .*; networks compute in "float32" or "float64"', network, dtype=dtype)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True])
def test_seeds(seed):
    refused(
        TypeError, "`seed` is .*; expected None, a whole number of at least 0, or a numpy Generator", network, seed=seed
    )


def test_steps():
    assert arguments.step("t", np.int64(3), 1, 5) == 3
    refused(ValueError, "`t` is 6; expected a whole number from 1 to 5", arguments.step, "t", 6, 1, 5)
    refused(TypeError, r"`t` is True \(bool\); expected a whole number", arguments.step, "t", True, 1, 5)
