"""Writes tests/golden/attending.npz: 100 steps of plain descent by PyTorch, of each wiring of tests/models.

Run by hand, from tests/, where torch is installed; the file is committed and the tests need no torch to read it:

    python golden/make_attending.py

For each `{wiring}/{padded}` the losses of all steps, then all parameters after them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "models"))

import attending_by_hand
from attending_by_hand import RATE, WIRINGS, B, E, N, S, T, V, W

PATH = Path(__file__).parent / "attending.npz"


def key(name, padded):
    return f"{name}/{'padded' if padded else 'whole'}"


def first_state(state, both):
    """Of one layer, of both directions added up."""
    if isinstance(state, tuple):
        return tuple(first_state(part, both) for part in state)
    return state.sum(dim=0, keepdim=True) if both else state


def context_of(torch, kind, p, q, memory, hidden):
    """q (t, B, N) at memory (S, B, M), masked where hidden (B, S)."""
    if kind == "dot":
        scores = torch.einsum("tbn,sbn->tbs", q, memory)
    elif kind == "general":
        scores = torch.einsum("tbn,nm,sbm->tbs", q, p["attention.weight"], memory)
    else:
        u = (q @ p["attention.query_weight"].T)[:, None] + (memory @ p["attention.key_weight"].T)[None]
        scores = (u.tanh() @ p["attention.score_weight"]).transpose(1, 2)
    return torch.einsum("tbs,sbm->tbm", scores.masked_fill(hidden, -torch.inf).softmax(dim=-1), memory)


def output_of(torch, wiring, modules, p, source, inputs, ends):
    """Logits (T, B, W); the decoder goes on through the padding, which the loss leaves out."""
    kind, feeding, _, both = wiring
    packed = torch.nn.utils.rnn.pack_padded_sequence(modules["encoder.0"](source), ends, enforce_sorted=False)
    memory, state = modules["encoder.1"](packed)
    memory, _ = torch.nn.utils.rnn.pad_packed_sequence(memory, total_length=S)
    state, hidden = first_state(state, both), torch.arange(S) >= ends[:, None]
    x = modules["decoder.0"](inputs)

    def attended(context, h):
        return torch.tanh(torch.cat([context, h], dim=-1) @ p["combine.weight"].T)

    if feeding is None:
        h, _ = modules["decoder.1"](x, state)
        return modules["decoder.2"](attended(context_of(torch, kind, p, h, memory, hidden), h))
    seen, last = [], torch.zeros(1, B, N, dtype=torch.float64)
    h = state[0] if isinstance(state, tuple) else state
    for t in range(T):
        if feeding == "context":
            context = context_of(torch, kind, p, h, memory, hidden)
            h, state = modules["decoder.1"](torch.cat([x[t : t + 1], context], dim=-1), state)
        else:
            h, state = modules["decoder.1"](torch.cat([x[t : t + 1], last], dim=-1), state)
            context = context_of(torch, kind, p, h, memory, hidden)
        last = attended(context, h)
        seen.append(last)
    return modules["decoder.2"](torch.cat(seen))


def trained(torch, given, steps=100):
    """As attending_by_hand.trained, by PyTorch."""
    _, feeding, cell, both = given.wiring
    make = {"tanh": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    fed = {None: 0, "attended": N, "context": 2 * N if both else N}[feeding]
    modules = {
        "encoder.0": torch.nn.Embedding(V, E),
        "encoder.1": make(E, N, bidirectional=both),
        "decoder.0": torch.nn.Embedding(W, E),
        "decoder.1": make(E + fed, N),
        "decoder.2": torch.nn.Linear(N, W),
    }
    start = {name: torch.from_numpy(value) for name, value in given.model.state_dict().items()}
    for name, module in modules.items():
        own = {key.removeprefix(f"{name}."): v for key, v in start.items() if key.startswith(f"{name}.")}
        module.double().load_state_dict(own)
    p = {key: v.requires_grad_() for key, v in start.items() if key.startswith(("attention.", "combine."))}
    parameters = [*(q for module in modules.values() for q in module.parameters()), *p.values()]
    optimiser = torch.optim.SGD(parameters, lr=RATE)
    source, inputs, targets = (torch.from_numpy(a) for a in (*given.x, given.targets))
    ends = [torch.from_numpy(a) for a in (given.lengths or (np.full(B, S), np.full(B, T)))]
    real, losses = torch.arange(T)[:, None] < ends[1], []
    for _ in range(steps):
        output = output_of(torch, given.wiring, modules, p, source, inputs, ends[0])
        loss = torch.nn.functional.cross_entropy(output[real], targets[real])
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return np.array(losses), np.concatenate([q.detach().numpy().ravel() for q in parameters])


def main():
    import torch

    torch.set_num_threads(1)
    found = {}
    for name in WIRINGS:
        for padded in (False, True):
            given = attending_by_hand.case(name, padded)
            found[key(name, padded)] = np.concatenate(trained(torch, given))
    np.savez_compressed(PATH, **found)


if __name__ == "__main__":
    main()
