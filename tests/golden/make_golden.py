"""Writes tests/golden/{tanh,relu,lstm,gru}.npz: what PyTorch's CPU layers answer, forward and every gradient.

Run by hand, from tests/, where torch is installed; the files are committed and the tests need no torch to read them:

    python golden/make_golden.py

One array per case, `{layers}_{uni|bi}_{full|lengths}_{float64|float32}`, holding the arrays of `fields` one after
another. The loss is <grad_output, output> + <grad_final, final state>. Weights are U(-1/√N, 1/√N), all else U(-1, 1),
from a seeded NumPy generator, rounded to float32 and the same in both precisions.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import naive

STEPS, BATCH, INPUTS, UNITS = 7, 3, 4, 5
LENGTHS = (4, 7, 1)
KINDS = ("tanh", "relu", "lstm", "gru")
# layers, bidirectional, lengths, dtype
CASES = list(product((1, 2, 3), (False, True), (False, True), ("float64", "float32")))


def key(layers, bidirectional, lengths, dtype):
    return f"{layers}_{'bi' if bidirectional else 'uni'}_{'lengths' if lengths else 'full'}_{dtype}"


def fields(kind, layers, bidirectional):
    """Name -> shape of the arrays of one case, in the order in which they are stored."""
    cell = naive.CELLS[kind]
    directions = 2 if bidirectional else 1
    state = (layers * directions, BATCH, UNITS)
    parts = "hc"[: cell.states]
    weights = naive.shapes(cell, INPUTS, UNITS, layers, bidirectional)
    out = (STEPS, BATCH, UNITS * directions)
    shapes = {f"parameters.{name}": shape for name, shape in weights.items()}
    shapes |= {"input": (STEPS, BATCH, INPUTS)} | {f"state.{p}": state for p in parts}
    shapes |= {"grad_output": out} | {f"grad_final.{p}": state for p in parts}
    shapes |= {"output": out} | {f"final.{p}": state for p in parts}
    shapes |= {f"gradient.{name}": shape for name, shape in weights.items()}
    return shapes | {"gradient_input": (STEPS, BATCH, INPUTS)} | {f"gradient_state.{p}": state for p in parts}


def read(kind, layers, bidirectional, lengths, dtype):
    """One case as a dict of arrays."""
    with np.load(Path(__file__).parent / f"{kind}.npz") as archive:
        flat = archive[key(layers, bidirectional, lengths, dtype)]
    case, at = {}, 0
    for name, shape in fields(kind, layers, bidirectional).items():
        size = int(np.prod(shape))
        case[name] = flat[at : at + size].reshape(shape)
        at += size
    if at != flat.size:
        raise ValueError(
            f"{kind}.npz holds {flat.size} numbers in this case, `fields` expects {at}: run make_golden.py again"
        )
    return case


def draw(kind, layers, bidirectional, seed):
    """The given arrays of one case (everything but the answers), float32 numbers held in float64."""
    rng = np.random.default_rng(seed)
    given = {}
    for name, shape in fields(kind, layers, bidirectional).items():
        if name == "output":
            break
        width = 1 / np.sqrt(UNITS) if name.startswith("parameters") else 1.0
        given[name] = rng.uniform(-width, width, shape).astype(np.float32).astype(np.float64)
    return given


def torch_layer(kind, inputs, units, layers, bidirectional, dtype, parameters):
    """torch.nn.RNN/LSTM/GRU with these parameters."""
    import torch

    make = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(kind, torch.nn.RNN)
    extra = {} if kind in ("lstm", "gru") else {"nonlinearity": kind}
    layer = make(inputs, units, num_layers=layers, bidirectional=bidirectional, dtype=getattr(torch, dtype), **extra)
    layer.load_state_dict({name: torch.tensor(value) for name, value in parameters.items()})
    return layer


def torch_answers(kind, layers, bidirectional, lengths, dtype, given):
    """Output, final state and every gradient of torch.nn.RNN/LSTM/GRU on the arrays of `given` (of any size)."""
    import torch

    def tensor(value):
        return torch.tensor(value, dtype=getattr(torch, dtype), requires_grad=True)

    parts = "hc"[: naive.CELLS[kind].states]
    parameters = {
        name.removeprefix("parameters."): value for name, value in given.items() if name.startswith("parameters.")
    }
    units = parameters["weight_hh_l0"].shape[1]
    layer = torch_layer(kind, given["input"].shape[-1], units, layers, bidirectional, dtype, parameters)
    x = tensor(given["input"])
    state = [tensor(given[f"state.{p}"]) for p in parts]
    start = tuple(state) if len(parts) > 1 else state[0]
    if lengths is None:
        output, final = layer(x, start)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        output, final = layer(packed, start)
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(output, total_length=len(x))
    final = final if len(parts) > 1 else (final,)
    loss = (output * tensor(given["grad_output"])).sum()
    for p, value in zip(parts, final, strict=True):
        loss = loss + (value * tensor(given[f"grad_final.{p}"])).sum()
    loss.backward()
    answers = {"output": output} | {f"final.{p}": value for p, value in zip(parts, final, strict=True)}
    answers |= {f"gradient.{name}": value.grad for name, value in layer.named_parameters()}
    answers |= {"gradient_input": x.grad} | {
        f"gradient_state.{p}": value.grad for p, value in zip(parts, state, strict=True)
    }
    return {name: value.detach().numpy() for name, value in answers.items()}


def main():
    for kind in KINDS:
        archive = {}
        for number, (layers, bidirectional, lengths, dtype) in enumerate(CASES):
            given = draw(kind, layers, bidirectional, seed=number // 2)  # // 2: float64 and float32 share their numbers
            case = given | torch_answers(kind, layers, bidirectional, LENGTHS if lengths else None, dtype, given)
            flat = [case[name].ravel() for name in fields(kind, layers, bidirectional)]
            archive[key(layers, bidirectional, lengths, dtype)] = np.concatenate(flat).astype(dtype)
        path = Path(__file__).parent / f"{kind}.npz"
        np.savez_compressed(path, **archive)
        print(f"{path.name}: {len(archive)} cases, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
