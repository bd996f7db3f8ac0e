"""Random shapes, layers, directions, lengths, precisions, cells beside PyTorch: outputs, final states, all gradients.

Seeded, some ten seconds; `pytest --fuzz-seconds=600` goes on for longer.
"""

from __future__ import annotations

import time

import numpy as np

import throughtime as tt

# Relative to the largest entry of each array. float64: sums of up to 200 rounded products (2e-16 each) through up to 3
# layers and 15 steps, forth and back. float32: 6e-8 an operation, PyTorch's own rounding is part of the difference.
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def draw(rng):
    """The sizes and options of one case."""
    kind = rng.choice(["tanh", "relu", "gru", "lstm"])
    steps, batch = int(rng.integers(1, 16)), int(rng.integers(1, 9))
    lengths = np.sort(rng.integers(1, steps + 1, batch))[:: rng.choice([1, -1])] if rng.random() < 0.5 else None
    if lengths is not None:
        lengths = rng.permutation(lengths)
    return {
        "kind": str(kind), "steps": steps, "batch": batch, "inputs": int(rng.integers(1, 21)),
        "units": int(rng.integers(1, 41)), "layers": int(rng.integers(1, 4)), "bidirectional": bool(rng.integers(2)),
        "bias": bool(rng.integers(4)), "batch_first": bool(rng.integers(2)), "lengths": lengths,
        # A rectifier in float32: the two libraries may round a sum to either side of 0, where the slope jumps.
        "dtype": "float64" if kind == "relu" else str(rng.choice(["float32", "float64"])),
    }  # fmt: skip


def of_torch(torch, case):
    """PyTorch's module with its own random parameters."""
    options = {"num_layers": case["layers"], "bidirectional": case["bidirectional"], "bias": case["bias"]}
    options |= {"batch_first": case["batch_first"], "dtype": getattr(torch, case["dtype"])}
    if case["kind"] in ("tanh", "relu"):
        return torch.nn.RNN(case["inputs"], case["units"], nonlinearity=case["kind"], **options)
    return {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[case["kind"]](case["inputs"], case["units"], **options)


def both(torch, case, rng):
    """{name: (ours, theirs)} of one case."""
    module = of_torch(torch, case)
    axes = (case["batch"], case["steps"]) if case["batch_first"] else (case["steps"], case["batch"])
    directions, parts = 1 + case["bidirectional"], 2 if case["kind"] == "lstm" else 1

    def normal(*shape):
        return rng.standard_normal(shape).astype(case["dtype"])

    x, g = normal(*axes, case["inputs"]), normal(*axes, case["units"] * directions)
    blocks = (case["layers"] * directions, case["batch"], case["units"])
    state, last = ([normal(*blocks) for _ in range(parts)] for _ in range(2))

    options = {name: case[name] for name in ("bidirectional", "bias", "batch_first", "dtype")}
    net = tt.Network(case["kind"], case["inputs"], case["units"], num_layers=case["layers"], **options)
    net.load_state_dict(module.state_dict())

    def whole(values):
        return tuple(values) if parts == 2 else values[0]

    run = net.unroll(x, whole(state), case["lengths"])
    ours = run.backprop(g, whole(last))

    here, begin = torch.tensor(x, requires_grad=True), [torch.tensor(h, requires_grad=True) for h in state]
    given = here
    if case["lengths"] is not None:
        rnn, first = torch.nn.utils.rnn, case["batch_first"]
        lengths = torch.tensor(case["lengths"])
        given = rnn.pack_padded_sequence(here, lengths, batch_first=first, enforce_sorted=False)
        output, final = module(given, whole(begin))
        output, _ = rnn.pad_packed_sequence(output, batch_first=first, total_length=case["steps"])
    else:
        output, final = module(given, whole(begin))
    final = final if parts == 2 else (final,)
    loss = (output * torch.tensor(g)).sum()
    for value, weight in zip(final, last, strict=True):
        loss = loss + (value * torch.tensor(weight)).sum()
    loss.backward()

    pairs = {"output": (run.output, output), "gradient of x": (ours.input, here.grad)}
    for i in range(parts):
        mine = [value if parts == 1 else value[i] for value in (run.final_state, ours.initial_state)]
        pairs[f"final state {i}"] = mine[0], final[i]
        pairs[f"gradient of state {i}"] = mine[1], begin[i].grad
    for name, value in module.named_parameters():
        pairs[f"gradient of {name}"] = ours.parameters[name], value.grad
    return {name: (mine, theirs.detach().numpy()) for name, (mine, theirs) in pairs.items()}


def test_random_networks_beside_pytorch(torch, fuzz_seconds):
    rng = np.random.default_rng(2024)
    torch.manual_seed(2024)
    cases, began = 0, time.monotonic()
    while cases < 20 or time.monotonic() - began < fuzz_seconds(8):
        case = draw(rng)
        for name, (ours, theirs) in both(torch, case, rng).items():
            assert ours.shape == theirs.shape, (name, case)
            assert ours.dtype == theirs.dtype == np.dtype(case["dtype"]), (name, case)
            scale = np.abs(theirs).max(initial=0.0)
            error = np.abs(ours.astype(float) - theirs).max(initial=0.0)
            assert error <= TOLERANCE[case["dtype"]] * scale, f"{name}: error {error:.1e} beside {scale:.1e} in {case}"
        cases += 1
