"""Every result prints itself in one readable screen, draws itself on the axes it is given, and converts to arrays."""

import io

import numpy as np
import pytest
from analyses import OF_NETWORK, OF_RUN, apply, classes
from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.container import Container
from matplotlib.lines import Line2D

import throughtime as tt
from throughtime.results import Result

analysis, theory = tt.analysis, tt.analysis.mean_field
LINES, COLUMNS = 25, 120


def matrices(size=60, count=200):
    return np.random.default_rng(0).standard_normal((count, size, size)) / np.sqrt(size)


def family():
    return tt.Ensemble(
        lambda gain, seed: tt.Network("tanh", 2, 6, init=tt.init.gaussian(gain), seed=seed),
        {"gain": np.linspace(0.1, 3.0, 20), "seed": range(2)},
    )


def large(name):
    """The analysis of a network of 60 units over 40 steps of 8 sequences: more than a screen has room for."""
    net = tt.Network("tanh", 2, 60, init=tt.init.gaussian(2.0), seed=0)
    return apply(name, net, np.random.default_rng(1).standard_normal((40, 8, 2)))


def small(name):
    """One sequence, few units; a network that forgets."""
    net = tt.Network("gru", 2, 2, seed=0)
    if name == "pascanu_bound":
        return analysis.pascanu_bound(net)
    return apply(name, net, np.zeros((30, 2, 2)))


def trained():
    """With a validation and what a monitor measures."""
    model, x = tt.models.Chain([tt.Network("gru", 2, 4, seed=0), tt.models.Readout(4, 1, seed=0)]), np.ones((9, 3, 2))
    monitor = tt.training.Monitor(every=4, probe=x, measure=["exponent", "horizon", "by_lag", "saturation"])
    optimiser = tt.training.SGD(0.1, transforms=(tt.training.ClipNorm(0.1),))
    return tt.training.fit(
        model, [(x, x[..., :1])] * 9, "mean_squared_error", optimiser, steps=9, monitor=monitor,
        validation=[(x, x[..., :1])], validate_every=3,
    )  # fmt: skip


def trained_family():
    """With a validation and what a monitor measures; one of them diverges."""
    x = np.ones((9, 3, 2))

    def make(rate, seed):
        return tt.models.Chain([tt.Network("gru", 2, 4, seed=seed), tt.models.Readout(4, 1, seed=seed)])

    return tt.training.fit(
        tt.Ensemble(make, {"rate": [0.1, 1e200], "seed": [0, 1, 2]}), [(x, x[..., :1])] * 9, "mean_squared_error",
        lambda rate: tt.training.SGD(rate), steps=9, validation=[(x, x[..., :1])], validate_every=3,
        monitor=tt.training.Monitor(every=4, probe=x, measure=["horizon", "by_lag"]),
    )  # fmt: skip


ANALYSES = [name for name in [*OF_NETWORK, *OF_RUN] if isinstance(small(name), Result)]
OTHERS = {
    "mean field, tanh": lambda: theory.tanh(2.0, noise=0.1, bias=0.2),
    "mean field, quiet": lambda: theory.tanh(0.5),
    "mean field, relu": lambda: theory.relu(1.0, noise=0.5),
    "mean field, minimal": lambda: theory.minimal_rnn(5.0),
    "population, lstm": lambda: theory.lstm(1.0, forget_bias=1.0, units=50, steps=30),
    "ensemble, exponents": lambda: analysis.lyapunov_spectrum(family(), steps=50, k=2, seed=0),
    "ensemble, numbers": lambda: family().map(lambda net: float(net.hidden_size)),
    "spectrum of matrices": lambda: analysis.lyapunov_from_jacobians(matrices(), seed=0),
    "vectors of matrices": lambda: analysis.covariant_from_jacobians(matrices(6), seed=0),
    "product of matrices": lambda: analysis.product_from_jacobians(matrices()),
    "non-normality of a matrix": lambda: analysis.non_normality(matrices()[0], 300),
    "pseudospectrum of a matrix": lambda: analysis.pseudospectrum(matrices(6)[0] + 1j * matrices(6)[1], points=7),
    "cycles": lambda: analysis.fixed_points(tt.Network("tanh", 1, 3, seed=0), starts=8, period=2),
    "many fixed points": lambda: analysis.fixed_points(
        tt.Network("tanh", 1, 14, bias=False, init=tt.init.gaussian(4.0), seed=1), starts=300
    ),
    "surface": lambda: analysis.loss_surface(
        tt.Network("tanh", 2, 3, seed=0),
        np.ones((5, 2)),
        lambda run: (run.output.sum(), np.ones((5, 3))),
        {"weight_hh_l0": np.eye(3), "bias_hh_l0": np.ones(3)},
        {name: np.ones_like(value) for name, value in tt.Network("tanh", 2, 3, seed=0).parameters.items()},
        np.linspace(-1, 1, 9),
        np.linspace(-1, 1, 5),
    ),
    "nothing but NaN": lambda: analysis.gradient_norms(
        tt.Network("tanh", 2, 3, seed=0).unroll(np.full((9, 2), np.nan)), np.ones((9, 3))
    ),
    "history of a training": lambda: trained().history,
    "what fit gives": trained,
    "what fit gives of a family": trained_family,
    "histories of a family": lambda: trained_family().history,
    "ensemble, gradients": lambda: family().unroll(np.ones((5, 2))).backprop(lambda run: np.ones_like(run.output)),
    "no gradient": lambda: analysis.gradient_norms(
        tt.Network("tanh", 2, 3, seed=0).unroll(np.ones((9, 2))), np.zeros((9, 3))
    ),
}
MADE = {
    **{f"{name}, large": lambda name=name: large(name) for name in ANALYSES},
    **{f"{name}, small": lambda name=name: small(name) for name in ANALYSES},
    **OTHERS,
}


@pytest.fixture(scope="module")
def made():
    known = {}

    def make(name):
        if name not in known:
            known[name] = MADE[name]()
        return known[name]

    return make


def artists(found):
    """Every artist in what a picture returned."""
    if isinstance(found, Artist):
        return [found]
    if isinstance(found, dict):
        found = found.values()
    if isinstance(found, (list, tuple, np.ndarray, type({}.values()), Container)):
        return [artist for item in found for artist in artists(item)]
    return []


def shown(artist):
    """Whether there is something to see of it: a line of NaN is drawn, and shows nothing."""
    if isinstance(artist, Line2D):
        return np.isfinite(np.asarray(artist.get_ydata(), dtype=float)).any()
    return artist.get_visible()


def test_every_result_class_is_tested_here(made):
    assert {type(made(name)).__name__ for name in MADE} == classes(Result)


@pytest.mark.parametrize("name", MADE)
def test_prints_itself_in_one_screen(name, made):
    lines = repr(made(name)).splitlines()
    assert 2 <= len(lines) <= LINES
    assert max(map(len, lines)) <= COLUMNS
    assert "object at 0x" not in repr(made(name))


@pytest.mark.parametrize("name", MADE)
def test_draws_itself_on_the_given_axes(name, made):
    if getattr(made(name), "picture", True) == {}:
        with pytest.raises(AttributeError, match="has no picture"):
            made(name).plot()
        return
    figure, (ax, other) = pyplot.subplots(1, 2)
    before = len(pyplot.get_fignums())
    try:
        empty = len(other.get_children())
        field = {"ensemble, exponents": ["exponents"], "ensemble, gradients": ["bias_hh_l0"]}.get(name, [])
        found = artists(made(name).plot(*field, ax=ax))
        assert found
        assert all(artist.axes is ax for artist in found)
        assert len(ax.get_children()) > empty
        assert len(other.get_children()) == empty
        assert len(pyplot.get_fignums()) == before
        assert ax.get_xlabel()
        assert ax.get_ylabel()
        assert any(shown(artist) for artist in found)
        figure.savefig(io.BytesIO())
    finally:
        pyplot.close(figure)


@pytest.mark.parametrize("name", MADE)
def test_converts_to_arrays(name, made):
    arrays = made(name).arrays()
    assert arrays
    assert all(isinstance(value, np.ndarray) and value.dtype.kind in "biufcU" for value in arrays.values())
    file = io.BytesIO()
    np.savez(file, **arrays)
    file.seek(0)
    with np.load(file) as kept:  # without pickle
        np.testing.assert_equal(dict(kept), arrays)
