"""A causal Transformer in PyTorch on a task of numbers, measured as the models of `variants.py` are.

Two layers of four heads, normalised before, with sines and cosines for places; the output is read off the last step.
"""

from importlib import metadata, util

import numpy as np

import throughtime as tt


def version():
    """That of PyTorch, None where it is not installed."""
    return metadata.version("torch") if util.find_spec("torch") else None


def trained(task, budget, updates, seeds, probe, test, size, rate):
    """What all seeds have learned, as of the other models, and a function that makes one update of the first."""
    import torch

    torch.set_num_threads(tt.get_num_threads())

    class Model(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            layer = torch.nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, norm_first=True)
            self.inward, self.outward = torch.nn.Linear(task.inputs, width), torch.nn.Linear(width, task.outputs)
            self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            angle = torch.arange(task.steps)[:, None] / 1000.0 ** (torch.arange(0, width, 2) / width)
            self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1)[:, None].double())
            self.register_buffer("mask", torch.triu(torch.full((task.steps, task.steps), -torch.inf), 1).double())

        def forward(self, x):
            return self.outward(self.layers(self.inward(x) + self.places, mask=self.mask)[-1])

    def make(seed):
        torch.manual_seed(seed)
        width = 4
        while sum(p.numel() for p in Model(width + 4).parameters()) <= budget:
            width += 4
        torch.manual_seed(seed)
        return Model(width).double()

    def input_norms(model):
        x = torch.from_numpy(probe.copy()).requires_grad_()
        model(x).sum().backward()
        return np.linalg.norm(x.grad.numpy(), axis=2)

    def updating(model, seed):
        adam = torch.optim.Adam(model.parameters(), rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, updates)
        batches = task.batches(size, seed=100 + seed)

        def update():
            batch = next(batches)
            adam.zero_grad()
            loss = torch.nn.functional.mse_loss(model(torch.from_numpy(batch.x)), torch.from_numpy(batch.targets))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            schedule.step()
            return loss.item()

        return update

    models = [make(seed) for seed in range(seeds)]
    before = [input_norms(model) for model in models]
    history = []
    for seed, model in enumerate(models):
        update = updating(model, seed)
        history.append([update() for _ in range(updates)])
    with torch.no_grad():
        errors = [model(torch.from_numpy(test.x)).numpy() - test.targets for model in models]
    return {
        "units": models[0].inward.out_features,
        "parameters": sum(p.numel() for p in models[0].parameters()),
        "history": np.array(history),
        "loss": [float((error**2).mean()) for error in errors],
        "before": before,
        "after": [input_norms(model) for model in models],
    }, updating(models[0], 0)
