"""The growth of a perturbed twin finds the largest exponent without a derivative."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import lyapunov_spectrum, perturbed_twin


@pytest.mark.parametrize(("cell", "layers"), [("tanh", 1), ("lstm", 2), ("gru", 1), ("rate", 1)])
def test_the_same_as_the_largest_exponent(cell, layers):
    net = tt.Network(cell, 2, 12, num_layers=layers, init=tt.init.gaussian(gain=2.0), seed=1)
    x = np.random.default_rng(0).standard_normal((800, 2, 2))
    twin = perturbed_twin(net, x, warmup=100, seed=0)
    spectrum = lyapunov_spectrum(net, x, k=1, warmup=100, seed=0)
    error = np.hypot(twin.standard_error, spectrum.standard_error[:, 0])
    assert np.all(np.abs(twin.exponent - spectrum.exponents[:, 0]) < error + 0.002)
    assert np.abs(twin.standard_error / spectrum.standard_error[:, 0] - 1).max() < 1.0


def test_float32_and_one_sequence():
    net = tt.Network("tanh", 1, 30, bias=False, init=tt.init.gaussian(gain=2.0), dtype="float32", seed=1)
    twin = perturbed_twin(net, steps=1500, seed=0)
    spectrum = lyapunov_spectrum(net, steps=1500, k=1, seed=0)
    assert isinstance(twin.exponent, float)
    error = np.hypot(twin.standard_error, spectrum.standard_error[0])
    assert abs(twin.exponent - spectrum.exponents[0]) < 4 * error + 0.003
    assert len(repr(twin).splitlines()) == 4
    assert twin.history.shape == twin.times.shape


def test_batch_first_and_refusals():
    x = np.random.default_rng(0).standard_normal((60, 2, 3))
    plain, first = (tt.Network("tanh", 3, 6, seed=1, batch_first=flag) for flag in (False, True))
    a, b = perturbed_twin(plain, x, seed=0), perturbed_twin(first, x.swapaxes(0, 1), seed=0)
    np.testing.assert_array_equal(a.exponent, b.exponent)
    wrong = (({"interval": 0}, "`interval` is 0"), ({"distance": -1.0}, "distance=-1"), ({"steps": 99}, "steps=99"))
    for options, words in wrong:
        with pytest.raises(ValueError, match=words):
            perturbed_twin(plain, x, **options)
    with pytest.raises(ValueError, match="bidirectional"):
        perturbed_twin(tt.Network("tanh", 3, 6, bidirectional=True), x)
