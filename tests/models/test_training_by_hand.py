"""100 steps of plain descent of every pattern: the losses, step by step, and the parameters, as PyTorch has them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import patterns_by_hand
from golden import make_models, torch_twin

BOUND = 1e-9  # relative, of the requirement; a step of descent at this rate does not let a rounding grow
EVERY = pytest.mark.parametrize("case", make_models.CASES, ids=lambda case: make_models.key(*case))


def compare(case, losses, flat):
    given = patterns_by_hand.case(case[0], cell=case[1], padded=case[2])
    first = given.model.flat.copy()
    ours, parameters = patterns_by_hand.trained(given)
    assert ours[-1] < ours[0]
    assert not np.array_equal(first, parameters)
    assert (np.abs(ours - losses) <= BOUND * losses).all()
    assert (np.abs(parameters - flat) <= BOUND * np.abs(flat).max()).all()


@EVERY
def test_golden(case):
    with np.load(make_models.PATH) as archive:
        found = archive[make_models.key(*case)]
    compare(case, found[:100], found[100:])


@pytest.mark.parametrize("name", patterns_by_hand.NAMES)
def test_live(name, torch):
    """The LSTM, padded, against the PyTorch that is installed."""
    given = patterns_by_hand.case(name, padded=True)
    compare((name, "lstm", True), *make_models.trained(torch, given))


@pytest.mark.parametrize("name", patterns_by_hand.PATTERNS)
def test_a_module_of_the_same_pieces_has_the_same_names(name, torch):
    model = patterns_by_hand.case(name).model
    module = torch_twin.module_of(torch, model)
    assert list(module.state_dict()) == list(model.parameters)
    other = patterns_by_hand.case(name).model
    other.flat[...] = 0
    other.load_state_dict(module.state_dict())
    assert np.array_equal(other.flat, model.flat)
