"""100 steps of every pattern with every optimiser, clipped and on a schedule, are those of PyTorch, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from golden import make_training

BOUND = 1e-9  # relative, of the requirement; 100 steps of some thousand roundings each are 1e5 · eps = 2e-11


def compare(name, optimiser, losses, flat):
    found, parameters, history = make_training.ours(name, optimiser)
    assert history.clipped_share > 0, "some steps are clipped"
    assert (np.abs(found - losses) <= BOUND * losses).all()
    assert (np.abs(parameters - flat) <= BOUND * np.abs(flat).max()).all()


@pytest.mark.parametrize(("name", "optimiser"), make_training.CASES)
def test_golden(name, optimiser):
    with np.load(make_training.PATH) as archive:
        golden = archive[f"{name}/{optimiser}"]
    compare(name, optimiser, golden[: make_training.STEPS], golden[make_training.STEPS :])


@pytest.mark.parametrize("name", make_training.NAMES)
def test_live(name, torch):
    """Adam, against the PyTorch that is installed."""
    compare(name, "adam", *make_training.theirs(torch, name, "adam"))
