"""100 steps of every pattern with every optimiser, clipped and on a schedule, are those of PyTorch, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from golden import make_training

BOUND = 1e-9  # relative, of the requirement; 100 steps of some thousand roundings each are 1e5 · eps = 2e-11


EVERY = pytest.mark.parametrize(("name", "optimiser"), make_training.CASES)


def close(found, wanted):
    """Of parameters: to the bound beside the largest of them."""
    return np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()


@EVERY
def test_golden(name, optimiser):
    with np.load(make_training.PATH) as archive:
        losses, sums = np.split(archive[f"{name}/{optimiser}"], [make_training.STEPS])
    found, parameters, history = make_training.ours(name, optimiser)
    assert found[-1] < found[0]
    assert history.clipped_share > 0, "some steps are clipped"
    assert (np.abs(found - losses) <= BOUND * losses).all()
    assert close(make_training.digest(parameters), sums)


@pytest.mark.parametrize("name", make_training.NAMES)
def test_live(name, torch):
    """Adam, against the PyTorch that is installed: the losses, and every parameter."""
    found, parameters, _ = make_training.ours(name, "adam")
    losses, flat = make_training.theirs(torch, name, "adam")
    assert (np.abs(found - losses) <= BOUND * losses).all()
    assert close(parameters, flat)


def test_a_small_difference_shows():
    """A test of the test: one parameter that is 1e-6 wrong changes every sum by more than the bound."""
    flat = np.random.default_rng(0).uniform(-1, 1, 500)
    wrong = flat.copy()
    wrong[7] += 1e-6
    assert not close(make_training.digest(wrong), make_training.digest(flat))
