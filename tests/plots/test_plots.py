"""Every picture draws on the axes it is given, returns its artists and labels its axes with units."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot

import throughtime as tt
from throughtime import plots


@pytest.fixture
def ax():
    figure, axes = pyplot.subplots()
    yield axes
    figure.canvas.draw()
    pyplot.close(figure)


def labelled(ax, x, y):
    assert x in ax.get_xlabel()
    assert y in ax.get_ylabel()


@pytest.fixture(scope="module")
def spectrum():
    rng = np.random.default_rng(0)
    return tt.analysis.lyapunov_from_jacobians(rng.standard_normal((300, 8, 8)) / np.sqrt(8), seed=0)


def small_run():
    return tt.Network("tanh", 2, 6, seed=0).unroll(np.random.default_rng(0).standard_normal((30, 2, 2)))


def test_gradient_norms(ax):
    run = small_run()
    gradient = np.zeros(run.output.shape)
    gradient[-1, 0] = 1.0  # the second sequence has no gradient and is left out
    decay = tt.analysis.gradient_norms(run, gradient)
    artists = plots.gradient_norms(decay, ax=ax, rate=-0.5, label="tanh")
    assert len(artists["curves"]) == 1
    assert artists["rate"].get_ydata()[1] == -15.0
    np.testing.assert_allclose(artists["curves"][0].get_ydata(), decay.log_norm[::-1, 0] - decay.log_norm[-1, 0])
    labelled(ax, "time steps", "nats")


def test_eigenvalues(ax):
    artists = plots.eigenvalues(tt.analysis.jacobian_spectrum(small_run(), 3), ax=ax, radius=0.7)
    assert len(artists["points"].get_offsets()) == 12
    assert artists["circle"].radius == 0.7
    labelled(ax, "per time step", "per time step")


def test_singular_values_with_a_law_of_area_one(ax):
    artists = plots.singular_values(tt.analysis.jacobian_spectrum(small_run(), [1, 2]), ax=ax, gain=1.3)
    s, density = artists["law"].get_data()
    assert np.trapezoid(density, s) == pytest.approx(1.0, abs=1e-3)
    labelled(ax, "per time step", "density")


def test_lyapunov_spectrum_with_theory(ax, spectrum):
    artists = plots.lyapunov_spectrum(spectrum, ax=ax, theory=tt.analysis.mean_field.tanh(1.0))
    np.testing.assert_array_equal(artists["points"].lines[0].get_ydata(), spectrum.exponents)
    assert artists["theory"] is not None
    labelled(ax, "fraction", "nats per time step")


def test_lyapunov_spectrum_leaves_out_minus_infinity(ax):
    singular = tt.analysis.lyapunov_from_jacobians(np.tile([[1.0, 1.0], [1.0, 1.0]], (50, 1, 1)), seed=0)
    assert len(plots.lyapunov_spectrum(singular, ax=ax)["points"].lines[0].get_ydata()) == 1


def test_lyapunov_history(ax, spectrum):
    artists = plots.lyapunov_history(spectrum, ax=ax, exponents=[0, 7])
    assert len(artists["curves"]) == 2
    assert artists["curves"][0].get_ydata()[-1] == spectrum.exponents[0]
    labelled(ax, "steps", "nats per time step")


def test_results_plot_themselves(ax, spectrum):
    run = small_run()
    assert spectrum.plot(ax=ax)
    assert tt.analysis.mean_field.tanh(2.0).plot(ax=ax)
    assert tt.analysis.gradient_norms(run, np.ones(run.output.shape)).plot(ax=ax)
    jacobians = tt.analysis.jacobian_spectrum(run, 1)
    assert jacobians.plot(ax=ax)
    assert jacobians.plot(ax=ax, kind="singular_values")
    with pytest.raises(ValueError, match="kind"):
        jacobians.plot(ax=ax, kind="pie")


def test_without_axes_a_new_figure_is_made(spectrum):
    before = len(pyplot.get_fignums())
    artists = plots.lyapunov_spectrum(spectrum)
    assert len(pyplot.get_fignums()) == before + 1
    pyplot.close(artists["zero"].figure)


def test_colours_survive_a_greyscale_print():
    """Curves that share a picture differ in line style and marker; neighbouring colours differ in lightness."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in plots.COLOURS])
    luminance = rgb @ [0.2126, 0.7152, 0.0722]
    assert np.abs(np.diff(luminance)).min() > 0.15
    assert len({str(s) for s in plots.STYLES}) == len(set(plots.MARKERS)) == len(plots.COLOURS)


def test_attention(ax):
    weights = np.random.default_rng(0).random((3, 2, 5))
    image = plots.attention(weights, ax=ax, sequence=1, source=["one", "two", "three"])["image"]
    assert np.array_equal(image.get_array(), weights[:, 1, :3])
    assert image.get_clim() == (0.0, 1.0)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["one", "two", "three"]
    for wrong, sentence in (({"source": 5}, "no row of names"), ({"target": [1.5]}, "something else than names")):
        with pytest.raises(TypeError, match=sentence):
            plots.attention(weights, ax=ax, **wrong)
    with pytest.raises(ValueError, match=r"expected real numbers \(T, S\)"):
        plots.attention(weights[0, 0], ax=ax)
