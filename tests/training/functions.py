"""A smooth random function, optimisers by name with all their options, and 100 steps of each in PyTorch."""

from __future__ import annotations

import numpy as np

import throughtime as tt

t = tt.training
STEPS, SIZE = 100, 20
RNG = np.random.default_rng(7)
W, WEIGHT = RNG.normal(size=(60, SIZE)) / SIZE**0.5, RNG.normal(size=60)
# Another function at each step, as of a batch: near the minimum of a single one RMSprop jumps to and fro across it, a
# chaotic map, which multiplies the last bit by 1e10 in 100 steps.
PHASE = RNG.uniform(0, 2 * np.pi, (STEPS, 60))
START = RNG.normal(size=SIZE)

# name -> (ours, the class of torch.optim, its arguments)
OPTIMISERS = {
    "sgd": (lambda **o: t.SGD(0.05, **o), "SGD", {"lr": 0.05}),
    "momentum": (lambda **o: t.SGD(0.05, momentum=0.9, **o), "SGD", {"lr": 0.05, "momentum": 0.9}),
    "nesterov": (lambda **o: t.SGD(0.05, 0.9, True, **o), "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "rmsprop": (lambda **o: t.RMSprop(0.01, **o), "RMSprop", {"lr": 0.01}),
    "rmsprop_smoothing": (
        lambda **o: t.RMSprop(0.01, 0.9, 1e-4, **o), "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4},
    ),
    "rmsprop_momentum": (lambda **o: t.RMSprop(0.002, momentum=0.9, **o), "RMSprop", {"lr": 0.002, "momentum": 0.9}),
    "rmsprop_centred": (lambda **o: t.RMSprop(0.01, centred=True, **o), "RMSprop", {"lr": 0.01, "centered": True}),
    "rmsprop_both": (
        lambda **o: t.RMSprop(0.002, momentum=0.5, centred=True, **o),
        "RMSprop",
        {"lr": 0.002, "momentum": 0.5, "centered": True},
    ),
    "adam": (lambda **o: t.Adam(0.01, **o), "Adam", {"lr": 0.01}),
    "adam_betas": (
        lambda **o: t.Adam(0.01, (0.5, 0.9), 1e-3, **o), "Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3},
    ),
    "amsgrad": (
        lambda **o: t.Adam(0.01, (0.9, 0.9), amsgrad=True, **o),
        "Adam", {"lr": 0.01, "betas": (0.9, 0.9), "amsgrad": True},
    ),
    "adamw": (lambda **o: t.AdamW(0.01, **o), "AdamW", {"lr": 0.01}),
    "adamw_decay": (
        lambda **o: t.AdamW(0.01, decay=0.5, amsgrad=True, **o),
        "AdamW", {"lr": 0.01, "weight_decay": 0.5, "amsgrad": True},
    ),
}  # fmt: skip
# name -> (transforms, options of torch.optim, what is done to the gradient there)
TRANSFORMS = {
    "plain": ((), {}, None),
    "decay": ((t.WeightDecay(0.1),), {"weight_decay": 0.1}, None),
    "value": ((t.ClipValue(0.1),), {}, lambda torch, w: torch.nn.utils.clip_grad_value_([w], 0.1)),
    "norm": ((t.ClipNorm(0.5),), {}, lambda torch, w: w.grad.mul_(min(1.0, 0.5 / float(w.grad.norm())))),
}
CASES = [
    (name, kind) for name in OPTIMISERS for kind in TRANSFORMS if not (kind == "decay" and name.startswith("adamw"))
]


def gradient(theta, step=0):
    """Of Σ weight · cos(W θ + phase of this step)."""
    return -((WEIGHT * np.sin(W @ theta + PHASE[step])) @ W)


def ours(name, kind, dtype=np.float64):
    """(STEPS, SIZE) the parameters after each step."""
    optimiser = OPTIMISERS[name][0](transforms=TRANSFORMS[kind][0])
    theta, path = START.astype(dtype), []
    for step in range(STEPS):
        optimiser.step(theta, gradient(theta.astype(float), step).astype(dtype))
        path.append(theta.copy())
    return np.array(path)


def theirs(torch, name, kind):
    _, cls, options = OPTIMISERS[name]
    _, more, change = TRANSFORMS[kind]
    theta = torch.nn.Parameter(torch.tensor(START))
    optimiser = getattr(torch.optim, cls)([theta], foreach=False, **options, **more)
    path = []
    for step in range(STEPS):
        theta.grad = torch.tensor(gradient(theta.detach().numpy(), step))
        if change is not None:
            change(torch, theta)
        optimiser.step()
        path.append(theta.detach().numpy().copy())
    return np.array(path)


if __name__ == "__main__":  # the golden values: every tenth step
    from pathlib import Path

    import torch

    here = Path(__file__).parents[1] / "golden" / "optimisers.npz"
    np.savez_compressed(here, **{f"{name} {kind}": theirs(torch, name, kind)[9::10] for name, kind in CASES})
