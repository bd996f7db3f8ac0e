"""Writes tests/golden/training.npz: 100 steps of every pattern of tests/models with every optimiser, by PyTorch.

Run by hand, from tests/, where torch is installed; the file is committed and the tests need no torch to read it:

    python golden/make_training.py

Gradients are clipped by their norm and the rate follows half a cosine. For each `{pattern}/{optimiser}` the losses of
all steps, then the parameters after them as `digest` has them.
"""

from __future__ import annotations

import math
import sys
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden import make_models, torch_twin

import throughtime as tt

t = tt.training
STEPS, LIMIT = 100, 0.15
# name -> (ours, of a rate and transforms; the class of torch.optim, its first rate, its arguments)
OPTIMISERS = {
    "sgd": (lambda rate, clips: t.SGD(rate, transforms=clips), "SGD", 0.1, {}),
    "momentum": (lambda rate, clips: t.SGD(rate, 0.9, transforms=clips), "SGD", 0.02, {"momentum": 0.9}),
    "nesterov": (
        lambda rate, clips: t.SGD(rate, 0.9, True, transforms=clips), "SGD", 0.02, {"momentum": 0.9, "nesterov": True},
    ),
    "rmsprop": (lambda rate, clips: t.RMSprop(rate, transforms=clips), "RMSprop", 0.002, {}),
    "adam": (lambda rate, clips: t.Adam(rate, transforms=clips), "Adam", 0.01, {}),
    "adamw": (lambda rate, clips: t.AdamW(rate, decay=0.1, transforms=clips), "AdamW", 0.01, {"weight_decay": 0.1}),
}  # fmt: skip
NAMES = make_models.patterns_by_hand.PATTERNS
DIGEST = 16
CASES = list(product(NAMES, OPTIMISERS))
PATH = Path(__file__).parent / "training.npz"


def case(name):
    """The pattern with an LSTM, sequences of different lengths, and the loss of the library."""
    given = make_models.patterns_by_hand.case(name, padded=True)
    squares = given.loss is make_models.patterns_by_hand.squares
    return given._replace(loss=t.mean_squared_error if squares else t.cross_entropy)


def digest(flat):
    """Sixteen weighted sums of all parameters, of the size of a few of them; a parameter that is wrong is in each."""
    return np.random.default_rng(len(flat)).standard_normal((DIGEST, len(flat))) @ flat


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
    module = torch_twin.module_of(torch, given.model)
    descent = getattr(torch.optim, cls)(module.parameters(), lr=rate, foreach=False, **options)
    targets, losses = torch.from_numpy(given.targets), []
    for step in range(STEPS):
        output = torch_twin.output_of(torch, module, given.model, given.x, given.lengths)
        wanted = targets
        if output.ndim == 3:
            ends = given.lengths[1] if isinstance(given.lengths, tuple) else given.lengths
            real = torch.arange(len(output))[:, None] < torch.from_numpy(ends)
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
    found = {}
    for name, optimiser in CASES:
        losses, flat = theirs(torch, name, optimiser)
        found[f"{name}/{optimiser}"] = np.concatenate([losses, digest(flat)])
    np.savez_compressed(PATH, **found)


if __name__ == "__main__":
    main()
