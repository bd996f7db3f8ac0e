"""What of the gradients is wanted is asked with True or False, of a chain as of a network."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt


@pytest.mark.parametrize("name", ["input", "states"])
@pytest.mark.parametrize("value", [np.zeros((3, 3)), "yes", 2])
def test_wishes_are_flags(name, value):
    def inner():
        return tt.Network("tanh", 3, 3, seed=0)

    for model in (tt.models.Chain([inner()]), tt.models.Chain([tt.models.Residual([inner()])])):
        run = model.unroll(np.zeros((2, 1, 3)))
        with pytest.raises(TypeError, match=name):
            run.backprop(np.zeros((2, 1, 3)), **{name: value})
