"""Writes tests/golden/models.npz: 100 steps of plain descent by PyTorch, of each pattern of tests/models.

Run by hand, from tests/, where torch is installed; the file is committed and the tests need no torch to read it:

    python golden/make_models.py

For each `{pattern}/{cell}/{padded}` the losses of all steps, then all parameters after them.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "models"))

import patterns_by_hand

import throughtime as tt

CELLS = ("tanh", "lstm", "gru")
CASES = [
    case
    for case in product(patterns_by_hand.NAMES, CELLS, (False, True))
    if case[0] != "256 classes" or case[1] == "lstm"
]
PATH = Path(__file__).parent / "models.npz"


def key(name, cell, padded):
    return f"{name}/{cell}/{'padded' if padded else 'whole'}"


def module_of(torch, model):
    """The torch.nn.Sequential of the same pieces, with the same parameters."""
    made = []
    for piece in model.pieces:
        if isinstance(piece, tt.models.Embedding):
            made.append(torch.nn.Embedding(piece.tokens, piece.size))
        elif isinstance(piece, tt.models.Readout):
            made.append(torch.nn.Linear(piece.inputs, piece.outputs))
        elif isinstance(piece, tt.Network):
            kind = {"Tanh": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[type(piece.cell).__name__]
            options = {"num_layers": piece.num_layers, "bidirectional": piece.bidirectional}
            made.append(kind(piece.input_size, piece.hidden_size, **options))
    module = torch.nn.Sequential(*made).double()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in model.state_dict().items()})
    return module


def output_of(torch, module, model, x, lengths):
    """What the module gives: packed sequences where they have lengths, and the pooling of the model."""
    value, pooled = torch.from_numpy(x), [piece for piece in model.pieces if piece in (tt.models.last, tt.models.mean)]
    ends = torch.full((x.shape[1],), x.shape[0]) if lengths is None else torch.from_numpy(lengths)
    for layer in module:
        if not isinstance(layer, torch.nn.RNNBase):
            value = layer(value)
            continue
        packed = torch.nn.utils.rnn.pack_padded_sequence(value, ends, enforce_sorted=False)
        out, state = layer(packed)
        value, _ = torch.nn.utils.rnn.pad_packed_sequence(out, total_length=x.shape[0])
        h = state[0] if isinstance(state, tuple) else state
        if pooled == [tt.models.last]:
            value = torch.cat(list(h[-2:]), dim=-1) if layer.bidirectional else h[-1]
        elif pooled == [tt.models.mean]:
            value = value.sum(dim=0) / ends[:, None]
    return value


def trained(torch, given, steps=100, rate=patterns_by_hand.RATE):
    """As patterns_by_hand.trained, by PyTorch."""
    module = module_of(torch, given.model)
    optimiser = torch.optim.SGD(module.parameters(), lr=rate)
    targets, losses = torch.from_numpy(given.targets), []
    for _ in range(steps):
        output = output_of(torch, module, given.model, given.x, given.lengths)
        wanted = targets
        if given.lengths is not None and output.ndim == 3:
            real = torch.arange(len(output))[:, None] < torch.from_numpy(given.lengths)
            output, wanted = output[real], targets[real]
        if given.loss is patterns_by_hand.squares:
            loss = torch.nn.functional.mse_loss(output, wanted)
        else:
            loss = torch.nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), wanted.reshape(-1))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return np.array(losses), np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])


def main():
    import torch

    torch.set_num_threads(1)
    found = {}
    for name, cell, padded in CASES:
        case = patterns_by_hand.case(name, cell=cell, padded=padded)
        found[key(name, cell, padded)] = np.concatenate(trained(torch, case))
    np.savez_compressed(PATH, **found)


if __name__ == "__main__":
    main()
