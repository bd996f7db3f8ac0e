"""Writes tests/golden/training.npz: 100 steps of every pattern of tests/models with every optimiser, by PyTorch.

Run by hand, from tests/, where torch is installed; the file is committed and the tests need no torch to read it:

    python golden/make_training.py

Gradients are clipped by their norm and the rate follows half a cosine. For each `{pattern}/{optimiser}` the losses of
all steps, then all parameters after them.
"""

from __future__ import annotations

import math
import sys
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden import make_models

import throughtime as tt

t = tt.training
STEPS, LIMIT = 100, 0.15
# name -> (ours, of a rate and transforms; the class of torch.optim, its first rate, its arguments)
OPTIMISERS = {
    "momentum": (lambda rate, clips: t.SGD(rate, 0.9, transforms=clips), "SGD", 0.02, {"momentum": 0.9}),
    "rmsprop": (lambda rate, clips: t.RMSprop(rate, transforms=clips), "RMSprop", 0.002, {}),
    "adam": (lambda rate, clips: t.Adam(rate, transforms=clips), "Adam", 0.01, {}),
    "adamw": (lambda rate, clips: t.AdamW(rate, decay=0.1, transforms=clips), "AdamW", 0.01, {"weight_decay": 0.1}),
}
NAMES = [name for name in make_models.patterns_by_hand.NAMES if name != "256 classes"]
CASES = list(product(NAMES, OPTIMISERS))
PATH = Path(__file__).parent / "training.npz"


def case(name):
    """The pattern with an LSTM, sequences of different lengths, and the loss of the library."""
    given = make_models.patterns_by_hand.case(name, padded=True)
    squares = given.loss is make_models.patterns_by_hand.squares
    return given._replace(loss=t.mean_squared_error if squares else t.cross_entropy)


def ours(name, optimiser):
    given = case(name)
    make, _, rate, _ = OPTIMISERS[optimiser]
    batch = (given.x, given.targets, given.lengths)
    found = make(t.Cosine(rate, STEPS), (t.ClipNorm(LIMIT),))
    trained = t.fit(given.model, [batch] * STEPS, given.loss, found, steps=STEPS)
    return trained.history["loss"], given.model.flat, trained.history


def theirs(torch, name, optimiser):
    given = case(name)
    _, cls, rate, options = OPTIMISERS[optimiser]
    module = make_models.module_of(torch, given.model)
    descent = getattr(torch.optim, cls)(module.parameters(), lr=rate, foreach=False, **options)
    targets, losses = torch.from_numpy(given.targets), []
    for step in range(STEPS):
        output = make_models.output_of(torch, module, given.model, given.x, given.lengths)
        wanted = targets
        if output.ndim == 3:
            real = torch.arange(len(output))[:, None] < torch.from_numpy(given.lengths)
            output, wanted = output[real], targets[real]
        f = torch.nn.functional
        loss = f.mse_loss(output, wanted) if given.loss is t.mean_squared_error else f.cross_entropy(output, wanted)
        losses.append(loss.item())
        descent.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in module.parameters()))
        for p in module.parameters():
            p.grad *= min(1.0, LIMIT / norm)
        descent.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / STEPS)) / 2
        descent.step()
    return np.array(losses), np.concatenate([p.detach().numpy().ravel() for p in module.parameters()])


def main():
    import torch

    torch.set_num_threads(1)
    found = {f"{name}/{optimiser}": np.concatenate(theirs(torch, name, optimiser)) for name, optimiser in CASES}
    np.savez_compressed(PATH, **found)


if __name__ == "__main__":
    main()
