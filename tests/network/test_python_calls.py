"""What a small pass takes in Python, counted in calls of its functions: a clock would tell of the machine too."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import throughtime as tt

MOST = 80  # of unroll and backprop together; there were 206 before what follows from sizes was worked out once


def calls_of(function):
    """The Python functions that a call goes through, by name."""
    found = []

    def note(frame, event, _):
        if event == "call":
            found.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_name}")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return found[1:]  # without `function` itself


@pytest.mark.parametrize("batch", [1, 3])
def test_a_small_pass_of_sizes_seen_before_goes_through_few_functions(batch):
    net = tt.Network("lstm", 16, 16, dtype="float32", seed=0)
    x, g = np.ones((2, 8, batch, 16), "float32")  # too small to be divided among threads

    def both():
        net.unroll(x).backprop(g)

    both()
    found = min((calls_of(both) for _ in range(5)), key=len)  # the collector of garbage may come in between
    assert len(found) <= MOST, "\n".join([f"{len(found)} calls:", *found])


def test_calls_are_counted():
    """A test of the test above."""

    def two():
        return [one() for one in (lambda: 1, lambda: 2)]

    assert [name.rpartition(".")[2] for name in calls_of(two)][-2:] == ["<lambda>", "<lambda>"]
