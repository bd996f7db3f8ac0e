"""Small models, tasks and streams for the tests of training."""

from __future__ import annotations

import numpy as np

import throughtime as tt

TASK = tt.tasks.Adding(length=6)


def many_to_one(seed=0, units=8, dtype="float64", cell="tanh"):
    net = tt.Network(cell, TASK.inputs, units, seed=seed, dtype=dtype)
    readout = tt.models.Readout(units, TASK.outputs, seed=seed, dtype=dtype)
    return tt.models.Chain([net, tt.models.last, readout])


def every_step(inputs=2, units=8, outputs=3, cell="gru", seed=0):
    return tt.models.Chain([tt.Network(cell, inputs, units, seed=seed), tt.models.Readout(units, outputs, seed=seed)])


def series(steps=24, size=3, inputs=2, outputs=3, seed=0, continues=False):
    """A batch with targets of every step."""
    rng = np.random.default_rng(seed)
    x, targets = rng.normal(size=(steps, size, inputs)), rng.normal(size=(steps, size, outputs))
    return tt.tasks.Batch(x, targets, continues=continues)


class Recorded:
    """A schedule that keeps the steps it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, step):
        self.asked.append(step)
        return 0.01
