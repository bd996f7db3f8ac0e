"""Writes tests/golden/published.npz: what others' code answers for the cells of the literature, and every gradient.

Run by hand, from tests/, where these packages are installed; the file is committed and the tests need none of them:

    pip install torchrecurrent==0.2.5 xlstm==2.0.6 keras==3.15.1 torch
    KERAS_BACKEND=torch python golden/make_published.py

    mgu, ugrnn, minimal_rnn, peephole_lstm    torchrecurrent's cells
    slstm, slstm_started                      the authors' slstm_forward_pointwise, one head; from zero, and from n > 0
    cho_gru                                   keras.layers.GRU(reset_after=False)

One array for each name, `{case}.{name}`, in our order of gates; float64, but Keras multiplies matrices in float32.
The loss is <grad_output, output>.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

STEPS, BATCH, INPUTS, UNITS = 9, 4, 3, 5
PATH = Path(__file__).with_name("published.npz")
SHAPES = {  # gates, blocks of weight_hh, parts of bias_hh, states, parameters of the units
    "mgu": (2, 2, 2, 1, ()),
    "ugrnn": (2, 2, 2, 1, ()),
    "minimal_rnn": (1, 2, 2, 1, ()),
    "peephole_lstm": (4, 4, 4, 2, ("peep_i", "peep_f", "peep_o")),
    "slstm": (4, 4, 4, 4, ()),
    "slstm_started": (4, 4, 4, 4, ()),
    "cho_gru": (3, 3, 3, 1, ()),
}


def draw(case):
    """Parameters by our names, input, initial states (S, B, N) and the gradient of the output."""
    gates, blocks, parts, states, own = SHAPES[case]
    rng = np.random.default_rng([ord(letter) for letter in case])
    shapes = {"weight_ih_l0": (gates * UNITS, INPUTS), "weight_hh_l0": (blocks * UNITS, UNITS)}
    shapes |= {"bias_ih_l0": (gates * UNITS,), "bias_hh_l0": (parts * UNITS,)} | {
        f"{name}_l0": (UNITS,) for name in own
    }
    given = {name: rng.normal(0, 0.6, shape) for name, shape in shapes.items()}
    start = rng.normal(0, 0.6, (states, BATCH, UNITS))
    if case == "slstm":
        start[:] = 0
    if case == "slstm_started":
        start[2] = 0.2 + abs(start[2])
    out = (STEPS, BATCH, UNITS)
    return given, rng.normal(0, 1.5, (STEPS, BATCH, INPUTS)), start, rng.normal(0, 1, out)


def stepper(case, w):
    """The function (input, states) -> states of others' code, of torch tensors; our names in w."""
    import torch
    import torchrecurrent

    if case.startswith("slstm"):
        from xlstm.blocks.slstm.src.vanilla.slstm import slstm_forward_pointwise

        def step(u, s):
            b = w["bias_ih_l0"] + w["bias_hh_l0"]
            states = torch.stack(s)
            return tuple(
                slstm_forward_pointwise(u @ w["weight_ih_l0"].T, s[0] @ w["weight_hh_l0"].T, b[None], states, {})[0]
            )

        return step
    name = {"mgu": "MGU", "ugrnn": "UGRNN", "minimal_rnn": "MinimalRNN", "peephole_lstm": "PeepholeLSTM"}[case]
    cell = getattr(torchrecurrent, f"{name}Cell")(INPUTS, UNITS, dtype=torch.float64)

    def swapped(value):  # torchrecurrent's UGRNN has the new state before the gate
        return torch.cat([value[UNITS:], value[:UNITS]]) if case == "ugrnn" else value

    theirs = {"weight_ih": swapped(w["weight_ih_l0"]), "bias_ih": swapped(w["bias_ih_l0"])}
    theirs |= {"weight_hh": swapped(w["weight_hh_l0"]), "bias_hh": swapped(w["bias_hh_l0"])}
    if case == "minimal_rnn":
        both, bias = w["weight_hh_l0"], w["bias_hh_l0"]
        theirs |= {"weight_hh": both[:UNITS], "weight_mm": both[UNITS:], "bias_hh": bias[:UNITS] + bias[UNITS:]}
    if case == "peephole_lstm":
        theirs["weight_ph"] = torch.cat([w[f"peep_{gate}_l0"] for gate in "ifo"])

    def step(u, s):
        found = torch.func.functional_call(cell, theirs, (u, s if len(s) > 1 else s[0]))
        return found if isinstance(found, tuple) else (found,)

    return step


def answers(case):
    """Name -> array: what goes in and what comes out."""
    import torch

    given, x, start, grad_output = draw(case)
    w = {name: torch.tensor(value, requires_grad=True) for name, value in given.items()}
    inputs, state = torch.tensor(x, requires_grad=True), torch.tensor(start, requires_grad=True)
    if case == "cho_gru":
        outputs, last = keras_gru(w, inputs, state[0]), None
    else:
        step, s, found = stepper(case, w), tuple(state), []
        for t in range(STEPS):
            s = step(inputs[t], s)
            found.append(s[0])
        outputs, last = torch.stack(found), torch.stack(tuple(s))
    (outputs * torch.tensor(grad_output)).sum().backward()
    result = given | {"input": x, "start": start, "grad_output": grad_output, "output": outputs.detach().numpy()}
    if last is not None:
        result["final"] = last.detach().numpy()
    result |= {f"gradient.{name}": value.grad.numpy() for name, value in w.items()}
    return result | {"gradient.input": inputs.grad.numpy(), "gradient.start": state.grad.numpy()}


def keras_gru(w, inputs, state):
    """Keras's layer, whose blocks stand in the order z, r, n and whose matrices are transposed; it has one bias."""
    import keras
    import torch

    layer = keras.layers.GRU(UNITS, reset_after=False, return_sequences=True, dtype="float64")
    layer.build((BATCH, STEPS, INPUTS))

    def ours(value):
        r, z, n = torch.split(value, UNITS)
        both = torch.cat([z, r, n])
        return both.T if value.ndim == 2 else both

    tensors = ours(w["weight_ih_l0"]), ours(w["weight_hh_l0"]), ours(w["bias_ih_l0"] + w["bias_hh_l0"])
    others = [variable.value for variable in layer.non_trainable_variables]
    found, _ = layer.stateless_call(tensors, others, inputs.transpose(0, 1), initial_state=state)
    return found.transpose(0, 1)


def main():
    arrays = {f"{case}.{name}": value for case in SHAPES for name, value in answers(case).items()}
    np.savez_compressed(PATH, **arrays)
    print(f"{PATH.name}: {len(arrays)} arrays, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
