"""PyTorch's RNN, LSTM and GRU: outputs, final states and every gradient, committed and (if installed) live."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from golden import make_golden as golden

import throughtime as tt

# Relative to the largest entry of each array. float64: sums of up to 200 rounded products (2e-16 each), a few steps.
# float32: PyTorch's own rounding, 6e-8 an operation, through up to 3 layers and 12 steps, is part of the difference.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}
KINDS = pytest.mark.parametrize("kind", golden.KINDS)
LAYERS = pytest.mark.parametrize("layers", [1, 2, 3])
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True], ids=["uni", "bi"])
DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])
WITH_LENGTHS = pytest.mark.parametrize("with_lengths", [False, True], ids=["full", "lengths"])


def state_of(case, field):
    parts = [case[name] for name in (f"{field}.h", f"{field}.c") if name in case]
    return tuple(parts) if len(parts) > 1 else parts[0]


def library_answers(kind, layers, bidirectional, lengths, dtype, given):
    """What this library says to the same questions, under the same names."""
    parameters = {
        name.removeprefix("parameters."): value for name, value in given.items() if name.startswith("parameters.")
    }
    given = {name: value.astype(dtype) for name, value in given.items()}
    inputs, units = given["input"].shape[-1], parameters["weight_hh_l0"].shape[1]
    net = tt.Network(kind, inputs, units, num_layers=layers, bidirectional=bidirectional, dtype=dtype, seed=0)
    net.load_state_dict(parameters)
    run = net.unroll(given["input"], state=state_of(given, "state"), lengths=lengths)
    grads = run.backprop(given["grad_output"], state_of(given, "grad_final"))
    answers = {"output": run.output, "gradient_input": grads.input}
    answers |= {f"gradient.{name}": value for name, value in grads.parameters.items()}
    for field, state in (("final", run.final_state), ("gradient_state", grads.initial_state)):
        parts = state if isinstance(state, tuple) else (state,)
        answers |= {f"{field}.{letter}": part for letter, part in zip("hc", parts, strict=False)}
    return answers


def compare(ours, theirs, dtype):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == np.dtype(dtype), name
        assert ours[name].shape == value.shape, name
        error, scale = np.abs(ours[name].astype(np.float64) - value).max(), np.abs(value).max()
        assert error <= TOLERANCE[dtype] * scale, f"{name}: error {error:.1e} beside {scale:.1e}"


@DTYPES
@WITH_LENGTHS
@DIRECTIONS
@LAYERS
@KINDS
def test_golden(kind, layers, bidirectional, with_lengths, dtype):
    case = golden.read(kind, layers, bidirectional, with_lengths, dtype)
    answers = {name for name in case if name.startswith(("output", "final", "gradient"))}
    given = {name: value for name, value in case.items() if name not in answers}
    ours = library_answers(kind, layers, bidirectional, golden.LENGTHS if with_lengths else None, dtype, given)
    compare(ours, {name: case[name] for name in answers}, dtype)


def draw(kind, steps, batch, inputs, units, layers, bidirectional, seed):
    """A random problem of any size, named as the golden cases are."""
    rng = np.random.default_rng(seed)
    cell, directions = naive.CELLS[kind], 2 if bidirectional else 1
    shapes = naive.shapes(cell, inputs, units, layers, bidirectional)
    given = {f"parameters.{name}": rng.uniform(-1, 1, shape) / np.sqrt(units) for name, shape in shapes.items()}
    given["input"] = rng.standard_normal((steps, batch, inputs))
    for part in "hc"[: cell.states]:
        given[f"state.{part}"] = rng.standard_normal((layers * directions, batch, units))
        given[f"grad_final.{part}"] = rng.standard_normal((layers * directions, batch, units))
    given["grad_output"] = rng.standard_normal((steps, batch, units * directions))
    # PyTorch and this library round the same numbers: a float32 run starts from float32 numbers in both.
    return {name: value.astype(np.float32).astype(np.float64) for name, value in given.items()}


def live(kind, layers, bidirectional, lengths, dtype, given):
    theirs = golden.torch_answers(kind, layers, bidirectional, lengths, dtype, given)
    compare(library_answers(kind, layers, bidirectional, lengths, dtype, given), theirs, dtype)


@DTYPES
@WITH_LENGTHS
@DIRECTIONS
@LAYERS
@KINDS
def test_live(torch, kind, layers, bidirectional, with_lengths, dtype):
    seed = [layers, bidirectional, with_lengths]
    steps, batch, inputs, units = np.random.default_rng(seed).integers((4, 2, 2, 9), (12, 8, 20, 40))
    given = draw(kind, steps, batch, inputs, units, layers, bidirectional, seed)
    lengths = np.random.default_rng(seed).integers(1, steps + 1, batch) if with_lengths else None
    live(kind, layers, bidirectional, lengths, dtype, given)


@DTYPES
@KINDS
@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "units"),
    [
        (6, 1, 3, 5),  # one sequence
        (6, 3, 1, 5),  # one input
        (6, 3, 4, 1),  # one unit
        (6, 7, 5, 70),  # four full panels of 16 columns and one of 6
        (1, 3, 4, 5),  # one step
        (1, 1, 1, 1),
        (4, 13, 2, 16),  # exactly one panel; rows 6 + 6 + 1
    ],
    ids=lambda value: str(value),
)
def test_live_at_awkward_sizes(torch, kind, steps, batch, inputs, units, dtype):
    given = draw(kind, steps, batch, inputs, units, 2, True, seed=[steps, batch, inputs, units])
    live(kind, 2, True, None, dtype, given)
