"""By what name sentences speak of an object."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.refuse.called import called, name_of, told

NET = tt.Network("tanh", 2, 3, seed=0)
RUN = NET.unroll(np.ones((4, 2)))
FAMILY = tt.Ensemble([NET])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (NET, "a network"),
        (RUN, "a run"),
        (RUN.backprop(np.ones((4, 3))), "gradients"),
        (FAMILY, "an Ensemble"),
        (FAMILY.unroll(np.ones((4, 2))), "the run of an Ensemble"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_librarys_own(value, words):
    assert name_of(value) == told(value) == words


def test_a_class_that_inherits_has_the_name_of_its_base():
    @called("a lattice")
    class Lattice: ...

    class Fine(Lattice): ...

    assert told(Fine()) == "a lattice"
    assert name_of(Lattice) == ""


def test_others_by_their_kind():
    assert [name_of(value) for value in (None, 5, np.ones(3))] == ["", "", ""]
    assert told(np.ones((2, 3))) == "an array of shape (2, 3)"
    assert told(5) == "5 (int)"
