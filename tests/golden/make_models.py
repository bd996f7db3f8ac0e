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
from golden.torch_twin import module_of, output_of

CELLS = ("tanh", "lstm", "gru")
CASES = [
    case
    for case in product(patterns_by_hand.NAMES, CELLS, (False, True))
    if case[0] != "256 classes" or case[1] == "lstm"
]
PATH = Path(__file__).parent / "models.npz"


def key(name, cell, padded):
    return f"{name}/{cell}/{'padded' if padded else 'whole'}"


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
