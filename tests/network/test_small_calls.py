"""What a small pass costs beside its loops: calls of Python functions, which no clock disturbs."""

import sys

import numpy as np
import pytest

import throughtime as tt

# Python functions entered by one unroll and one backprop of a single layer, all gradients; each costs .1 to .4
# microseconds with what it does. There were more than 320 when both took 115 microseconds beside their loops.
MOST = 225


def python_calls(call):
    """How many Python functions are entered."""
    count = 0

    def seen(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("steps", [1, 50])
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_calls_of_a_small_pass(cell, steps, threads):
    threads(1)
    net, x, g = tt.Network(cell, 16, 16, seed=0), np.ones((steps, 1, 16)), np.ones((steps, 1, 16))

    def both():
        return net.unroll(x).backprop(g)

    both()  # compiles
    assert 20 < python_calls(both) <= MOST


def test_calls_do_not_grow_with_the_steps(threads):
    threads(1)
    net, x = tt.Network("gru", 16, 16, seed=0), np.ones((500, 1, 16))
    counts = []
    for steps in (3, 7, 40, 500):
        net.unroll(x[:steps])  # what depends on the sizes is kept
        counts.append(python_calls(lambda steps=steps: net.unroll(x[:steps])))
    # More steps ask for the number of threads, once, and for memory that was used before: a few calls.
    assert counts[0] == counts[1] >= counts[2] - 1
    assert counts[3] < counts[0] + 20
