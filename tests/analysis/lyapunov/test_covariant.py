"""Covariant Lyapunov vectors: mapped onto each other, growing at the exponents, and the directions of known maps."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import covariant_from_jacobians, covariant_vectors, lyapunov_spectrum


@pytest.mark.parametrize(("cell", "k"), [("tanh", None), ("tanh", 5), ("lstm", 6), ("gru", None)])
def test_jacobians_map_them_onto_each_other(cell, k):
    net = tt.Network(cell, 2, 8, init=tt.init.gaussian(gain=2.0), seed=1)
    x = np.random.default_rng(0).standard_normal((500, 2))
    found = covariant_vectors(net, x, k=k, warmup=50, transient=100, times=np.arange(40, 46), seed=0)
    run = net.unroll(x)
    for i in range(5):
        t = 50 + 100 + 40 + i
        moved = run.jacobian(t + 1)[0] @ found.vectors[i]
        length = np.linalg.norm(moved, axis=0)
        np.testing.assert_allclose(np.log(length), found.local_rates[40 + i], atol=1e-7)
        np.testing.assert_allclose(moved / length, found.vectors[i + 1], atol=1e-7)


def test_they_grow_at_the_exponents():
    net = tt.Network("tanh", 1, 10, bias=False, init=tt.init.gaussian(gain=2.5), seed=2)
    found = covariant_vectors(net, steps=2000, seed=0)
    spectrum = lyapunov_spectrum(net, steps=1600, warmup=600, discard=0, seed=0)
    error = np.hypot(found.standard_error, spectrum.standard_error)
    assert np.all(np.abs(found.exponents - spectrum.exponents) < 4 * error + 0.01)
    assert np.isfinite(found.angles).all() == (0 < found.split < 10)
    assert np.all((found.participation >= 1) & (found.participation <= 10))
    assert len(repr(found).splitlines()) == 7


def test_cat_map():
    """Eigenvectors of [[2,1],[1,1]], at a right angle."""
    found = covariant_from_jacobians(np.tile([[2.0, 1.0], [1.0, 1.0]], (200, 1, 1)), seed=1)
    np.testing.assert_allclose(found.exponents, [0.9624236501192069, -0.9624236501192069], atol=1e-12)
    np.testing.assert_allclose(found.angles, np.pi / 2, atol=1e-12)
    assert found.split == 1


def test_henon_map():
    """Unstable directions come from tangents iterated forwards, stable ones from tangents iterated backwards."""
    x, y, jacobians = 0.1, 0.1, []
    for step in range(1300):
        if step >= 100:
            jacobians.append([[-2.8 * x, 1.0], [0.3, 0.0]])
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
    jacobians = np.array(jacobians)
    found = covariant_from_jacobians(jacobians, transient=100, times=[500], seed=0)
    unstable, stable = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    for matrix in jacobians[:600]:
        unstable = matrix @ unstable
        unstable /= np.linalg.norm(unstable)
    for matrix in jacobians[:599:-1]:
        stable = np.linalg.solve(matrix, stable)
        stable /= np.linalg.norm(stable)
    assert abs(found.vectors[0, :, 0] @ unstable) == pytest.approx(1.0, abs=1e-12)
    assert abs(found.vectors[0, :, 1] @ stable) == pytest.approx(1.0, abs=1e-12)
    assert found.exponents.sum() == pytest.approx(np.log(0.3), abs=0.02)  # the angle's ends do not cancel
    sine = abs(unstable[0] * stable[1] - unstable[1] * stable[0])
    assert np.sin(found.angles[500]) == pytest.approx(sine, abs=1e-12)


def test_pieces_do_not_show():
    net = tt.Network("gru", 2, 5, seed=1)
    x = np.random.default_rng(0).standard_normal((170, 2))
    net_first = tt.Network("gru", 2, 5, seed=1, batch_first=True)
    a, b = covariant_vectors(net, x, seed=0, transient=20), covariant_vectors(net_first, x[None], seed=0, transient=20)
    np.testing.assert_allclose(a.vectors, b.vectors, atol=1e-12)
    assert a.vectors.shape == (8, 5, 5)


@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_a_batch_is_its_sequences(cell):
    """Each as if alone, with B in front; one that is not finite is NaN and harms no other."""
    net = tt.Network(cell, 2, 5, init=tt.init.gaussian(gain=2.0), seed=1)
    x = np.random.default_rng(0).standard_normal((90, 3, 2))
    x[30, 1] = np.nan
    found = covariant_vectors(net, x, k=3, warmup=10, transient=10, seed=0)
    assert found.vectors.shape == (3, found.times.size, net.state_size, 3)
    assert found.angles.shape == (3, 61)
    for b in (0, 2):
        alone = covariant_vectors(net, x[:, b], k=3, warmup=10, transient=10, seed=0)
        for name in ("exponents", "standard_error", "local_rates", "angles", "participation", "vectors", "split"):
            np.testing.assert_array_equal(getattr(found, name)[b], getattr(alone, name))
    assert np.isnan(found.exponents[1]).all()
    assert np.isnan(found.vectors[1]).all()
    assert "3 sequences" in repr(found)


def test_refusals():
    net, x = tt.Network("tanh", 2, 4, seed=0), np.zeros((60, 2))
    for options, words in (({"k": 5}, "k=5"), ({"transient": 30}, "transient=30"), ({"times": [99]}, "times=")):
        with pytest.raises(ValueError, match=words):
            covariant_vectors(net, x, **options)
    with pytest.raises(ValueError, match="singular"):
        covariant_from_jacobians(np.zeros((60, 2, 2)))
    with pytest.raises(ValueError, match="bidirectional"):
        covariant_vectors(tt.Network("tanh", 2, 4, bidirectional=True), x)
