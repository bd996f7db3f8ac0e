"""Every picture speaks for itself at the width of a column: names, units, bars explained, nothing left out in silence.

No pixels are compared. The functions of `plots` and the records of `analysis` are found by walking the package, so that
a new one without a case here fails.
"""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from analyses import classes
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

import throughtime as tt
from throughtime import plots
from throughtime.results import Result

analysis, theory = tt.analysis, tt.analysis.mean_field
COLUMN = (3.4, 2.6)
UNITS = (
    "nats", "per time step", "time step", "no unit", "radian", "decades", "unit of", "number", "factor", "per 2 time",
)  # fmt: skip


def run(steps=30, batch=1, units=8, cell="tanh"):
    x = np.random.default_rng(0).standard_normal((steps, batch, 2))
    return tt.Network(cell, 2, units, seed=0).unroll(x)


def decay(batch, gradient=1.0):
    found = run(batch=batch)
    last = np.zeros(found.output.shape)
    last[-1] = gradient
    return analysis.gradient_norms(found, last)


def lags(batch=1, gradient=1.0, **options):
    found = run(batch=batch)
    return analysis.gradient_by_lag(found, gradient * np.ones(found.output.shape), **options)


def bias(windows):
    found = run()
    return analysis.truncation_bias(found, np.ones(found.output.shape), windows)


def clipping(thresholds, gradient=1.0):
    found = run()
    return analysis.clipping_effect(found, gradient * np.ones(found.output.shape), thresholds)


def linear(weights, steps=8):
    weights = np.array(weights, dtype=float)
    net = tt.Network("linear", 1, len(weights), bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = weights
    return net.unroll(np.ones((steps, 1)))


def gaussian(count=200, size=6, gain=1.4):
    return gain * np.random.default_rng(1).standard_normal((count, size, size)) / np.sqrt(size)


def spectrum(k=None, batch=None):
    x = None if batch is None else np.random.default_rng(0).standard_normal((80, batch, 1))
    net = tt.Network("tanh", 1, 6, init=tt.init.gaussian(1.5), seed=0)
    return analysis.lyapunov_spectrum(net, x, steps=80 if x is None else None, k=k, seed=0)


def singular():
    return analysis.lyapunov_from_jacobians(np.tile([[1.0, 1.0], [1.0, 1.0]], (50, 1, 1)), seed=0)


def twin(batch=None, steps=100, **options):
    x = None if batch is None else np.random.default_rng(0).standard_normal((steps, batch, 1))
    net = tt.Network("tanh", 1, 6, init=tt.init.gaussian(2.0), seed=0)
    return analysis.perturbed_twin(net, x, steps=steps if x is None else None, seed=0, **options)


def surface(first, second, offset=0.0):
    def loss(found):
        return float(found.output.sum()) - offset, np.ones(found.output.shape)

    entries = ("weight_hh_l0", (0, 0)), ("bias_hh_l0", (0,))
    return analysis.loss_surface(tt.Network("tanh", 1, 2, seed=0), np.ones((5, 1)), loss, *entries, first, second)


def all_parameters():
    net = tt.Network("tanh", 2, 3, seed=0)
    every = {name: np.ones_like(value) for name, value in net.parameters.items()}
    loss = lambda found: (found.output.sum(), np.ones(found.output.shape))  # noqa: E731
    return analysis.loss_surface(net, np.ones((5, 2)), loss, every, every, [0.0, 1.0], [0.0])


def points(units, **options):
    net = tt.Network("tanh", 1, units, bias=False, init=tt.init.gaussian(2.5), seed=1)
    return analysis.fixed_points(net, starts=12, **options)


def family(axes, values):
    """An ensemble's result whose numbers are `values`, in the order of the axes' product."""
    count = int(np.prod([len(along) for along in axes.values()]))
    made = tt.Ensemble([tt.Network("tanh", 1, 2, seed=0)] * count, axes).map(lambda net: 1.0)
    return replace(made, results=tuple(np.resize(values, count).tolist()))


def sent_back(axes):
    nets = [tt.Network("tanh", 1, 2, seed=seed) for seed in range(np.prod([len(values) for values in axes.values()]))]
    return tt.Ensemble(nets, axes).unroll(np.ones((4, 1))).backprop(np.ones((4, 2)))


def exponents(axes):
    def make(gain, seed, **_):
        return tt.Network("tanh", 1, 4, bias=False, init=tt.init.gaussian(gain), seed=seed)

    return analysis.lyapunov_spectrum(tt.Ensemble(make, axes), steps=40, k=2, seed=0)


def watched(name, values):
    """A history with a measured column."""
    found = history(3)
    for step, value in enumerate(values):
        found.measure(name, step, value)
    return found


def history(steps, validation=(), sign=1.0, **last):
    monitor = tt.training.Monitor()
    for step in range(steps):
        row = {"loss": sign / (1 + step), "norm": 3.0, "clipped_norm": 1.0, "clipped": 0.0}
        monitor(**row | (last if step == steps - 1 else {}))
    for number, value in enumerate(validation):
        monitor.history.measure("validation", 20 * number, value)
    return monitor.history


def trained():
    model, x = tt.models.Readout(2, 1, seed=0), np.ones((4, 3, 2))
    return tt.training.fit(model, [(x, x[..., :1])] * 9, "mean_squared_error", tt.training.SGD(0.1), steps=9)


def learned(axes, rate=0.1, **options):
    """A family of readouts, trained."""
    models = tt.Ensemble(lambda **point: tt.models.Readout(2, 1, seed=0), axes)
    x = np.ones((4, 3, 2))
    optimiser = lambda **point: tt.training.SGD(point.get("gain", 1.0) * rate)  # noqa: E731
    return tt.training.fit(models, [(x, x[..., :1])] * 9, "mean_squared_error", optimiser, steps=9, **options)


def looks(steps, batch, entries):
    values = np.random.default_rng(0).random((steps, batch, entries)) ** 4
    return values / values.sum(axis=2, keepdims=True)


def wrote():
    model = tt.models.sequence_to_sequence("gru", 5, 6, hidden_size=4, embedding=2, attention="dot", seed=0)
    return tt.models.generate(model, 0, 7, seed=0, source=np.ones((8, 2), int))


GAINS = {"gain": [0.5, 1.0, 2.0], "seed": [0, 1, 2, 3]}
LONG = "a network with a name that is much too long"
# function -> {case: (result, options)}
CASES = {
    "gradient_norms": {
        "one": (lambda: decay(1), {}),
        "three": (lambda: decay(3), {}),
        "32 sequences": (lambda: decay(32), {"rate": -0.3, "label": LONG}),
        "some without gradient": (lambda: decay(3, [[1.0], [0.0], [0.0]]), {}),
        "none": (lambda: decay(2, 0.0), {}),
        "NaN": (lambda: decay(2, np.nan), {}),
        "zero": (lambda: analysis.gradient_norms(linear([[0, 1], [0, 0]]), np.eye(8)[:, [-1, -1]]), {}),
    },
    "gradient_by_lag": {
        "all": (lambda: lags(), {}),
        "batch": (lambda: lags(32, max_lag=4), {"sequence": 31, "relative": False}),
        "none": (lambda: lags(gradient=0.0), {}),
    },
    "lag_shares": {
        "all": (lambda: lags(), {"label": LONG}),
        "one lag": (lambda: lags(max_lag=0), {}),
        "none": (lambda: lags(gradient=0.0), {}),
    },
    "truncation_bias": {
        "many": (lambda: bias([1, 2, 5, 10, 20, 30]), {}),
        "one": (lambda: bias([5]), {"label": LONG}),
        "without error": (lambda: bias([30]), {}),
    },
    "clipping_effect": {
        "many": (lambda: clipping(np.geomspace(0.01, 10, 6)), {}),
        "one": (lambda: clipping([1.0]), {}),
        "none": (lambda: clipping([1.0], 0.0), {}),
    },
    "training_loss": {
        "what fit gives": (trained, {}),
        "validated": (lambda: history(40, validation=[3.0, 2.0]), {}),
        "below 0": (lambda: history(5, sign=-1.0), {"label": LONG}),
        "NaN": (lambda: history(5, loss=np.nan), {}),
        "none": (lambda: history(0), {}),
    },
    "learning_curves": {
        "gains": (lambda: learned(GAINS), {}),
        "history": (lambda: learned(GAINS).history, {"name": "norm", "over": "seed"}),
        "one": (lambda: learned({"seed": [0]}), {}),
        "names": (lambda: learned({LONG: ["a", LONG], "seed": [0, 1]}), {"name": "rate"}),
        "NaN": (lambda: learned(GAINS, rate=1e200), {"name": "loss"}),
    },
    "attention": {
        "batch": (lambda: looks(4, 3, 5), {"sequence": 2, "source": ["one", "two", "four", "five", "six"]}),
        "numbers": (lambda: looks(30, 1, 50)[:, 0], {"colour_bar": False}),
        "many names": (lambda: looks(40, 1, 60), {"source": ["a", LONG, "be"] * 20, "target": "0123456789" * 4}),
        "fewer names": (lambda: looks(9, 1, 9), {"source": "abc", "target": []}),
        "what generate gives": (wrote, {"sequence": 1}),
        "NaN": (lambda: np.full((3, 4), np.nan), {}),
    },
    "training_norm": {
        "clipped": (lambda: history(40, clipped=1.0), {}),
        "one": (lambda: history(1), {"label": LONG}),
        "beyond the numbers": (lambda: history(5, norm=np.inf), {}),
    },
    "training_measured": {
        "horizon": (lambda: watched("horizon", [3.0, np.inf, 5.0]), {}),
        "gates": (lambda: watched("saturation", np.full((4, 2, 3, 2), 0.25)), {}),
        "long": (lambda: watched(LONG, np.arange(40.0)), {"label": LONG}),
        "one": (lambda: watched("1.exponent", [0.5]), {"name": "1.exponent"}),
        "NaN": (lambda: watched("several", np.full((3, 2), np.nan)), {}),
    },
    "gradient_bound": {
        "one": (lambda: analysis.pascanu_bound(run().network), {}),
        "zero": (lambda: analysis.pascanu_bound(linear([[0.0, 0.0], [0.0, 0.0]]).network), {"lags": 4}),
    },
    "gradient_products": {
        "all": (lambda: analysis.gradient_products(run(batch=2), bound=analysis.pascanu_bound(run().network)), {}),
        "nilpotent": (lambda: analysis.gradient_products(linear([[0, 1], [0, 0]])), {}),
    },
    "loss_surface": {
        "map": (lambda: surface(np.linspace(0, 1, 5), np.linspace(-1, 1, 4)), {"quantity": "gradient_norm"}),
        "signs": (lambda: surface(np.linspace(0, 1, 5), np.linspace(-1, 1, 4), 1.0), {"log": False}),
        "not above 0": (lambda: surface(np.linspace(0, 1, 5), [0.0, 1.0], 1e9), {}),
        "one point": (lambda: surface([0.0], [0.5]), {"log": False}),
        "in any order": (lambda: surface([3.0, 1.0, 2.0], [0.0]), {"log": False}),
        "long names": (all_parameters, {"log": False}),
    },
    "lyapunov_spectrum": {
        "all": (spectrum, {"theory": theory.tanh(1.5)}),
        "one": (lambda: spectrum(k=1), {}),
        "batch": (lambda: spectrum(batch=3), {"sequence": 2, "label": LONG}),
        "−inf": (singular, {}),
        "NaN": (lambda: replace(spectrum(), exponents=np.full(6, np.nan)), {}),
        "no errors": (lambda: replace(spectrum(), standard_error=np.full(6, np.nan)), {}),
    },
    "theory_curve": {
        "tanh": (lambda: theory.tanh(2.0), {}),
        "relu": (lambda: theory.relu(1.0, noise=0.5), {}),
        "nothing finite": (lambda: theory.tanh(0.0), {}),
        "function": (lambda: lambda x: -x, {"label": LONG}),
    },
    "lyapunov_history": {
        "all": (spectrum, {}),
        "batch": (lambda: spectrum(batch=2), {"sequence": 1}),
        "−inf": (singular, {}),
    },
    "perturbed_twin": {
        "one": (twin, {}),
        "batch": (lambda: twin(3), {"sequence": 2, "label": LONG}),
        "short": (lambda: twin(steps=12), {}),
        "one interval": (lambda: twin(steps=12, interval=12, discard=0), {}),
        "−inf": (lambda: analysis.perturbed_twin(linear([[0.0, 0.0], [0.0, 0.0]]).network, steps=40, seed=0), {}),
        "NaN": (lambda: replace(twin(), exponent=np.nan, history=np.full(twin().times.size, np.nan)), {}),
    },
    "covariant_angles": {
        "chaotic": (lambda: analysis.covariant_from_jacobians(gaussian(), seed=0), {}),
        "none": (lambda: np.full(5, np.nan), {}),
        "equal": (lambda: np.array([0.3, 0.3, np.nan]), {}),
    },
    "eigenvalues": {
        "several": (lambda: analysis.jacobian_spectrum(run(batch=2), [2, 5]), {"radius": 0.7, "label": LONG}),
        "of cycles": (lambda: points(4, period=2), {}),
        "none": (lambda: np.array([]), {}),
        "NaN": (lambda: np.array([0.5, np.nan]), {}),
    },
    "singular_values": {
        "several": (lambda: analysis.jacobian_spectrum(run(batch=2), [2, 5]), {"gain": 1.3, "label": LONG}),
        "equal": (lambda: np.ones(5), {}),
        "NaN": (lambda: np.full(3, np.nan), {}),
    },
    "transient_growth": {
        "hump": (lambda: analysis.non_normality([[0.9, 1.0], [0.0, 0.9]], 40), {}),
        "nilpotent": (lambda: analysis.non_normality([[0.0, 1.0], [0.0, 0.0]], 5), {}),
        "beyond the numbers": (lambda: analysis.non_normality([[5.0, 1.0], [0.0, 5.0]], 600), {}),
        "one": (lambda: analysis.non_normality(np.eye(3), 5), {}),
        "array": (lambda: np.log([1.0, 2.0, 1.5]), {}),
    },
    "pseudospectrum": {
        "map": (lambda: analysis.pseudospectrum([[0.5, 1.0], [0.0, -0.5]], points=9), {}),
        "one point": (lambda: analysis.pseudospectrum(np.eye(2), points=1), {}),
        "levels elsewhere": (lambda: analysis.pseudospectrum(np.eye(2), points=5), {"levels": [5.0, 6.0]}),
    },
    "product_singular_values": {
        "all": (lambda: analysis.product_singular_values(run(batch=2), 0, 20), {"sequence": 1, "label": LONG}),
        "one": (lambda: analysis.product_singular_values(run(), 0, 20, k=1), {}),
        "−inf": (lambda: analysis.product_from_jacobians(np.tile([[1.0, 1.0], [1.0, 1.0]], (9, 1, 1))), {}),
    },
    "fixed_points": {
        "many": (lambda: points(8), {}),
        "cycles": (lambda: points(4, period=2), {}),
        "one state": (lambda: points(1), {}),
    },
    "critical_curve": {"minimal": (lambda: theory.minimal_rnn(5.0), {})},
    "autocorrelation": {"gru": (lambda: theory.population("gru", 2.0, units=50, steps=30), {})},
    "ensemble": {
        "curve": (lambda: exponents(GAINS), {"name": "exponents"}),
        "map": (lambda: exponents(GAINS), {"name": "exponents", "over": ("seed", "gain"), "entry": 1}),
        "of seeds": (lambda: exponents(GAINS), {"name": "kaplan_yorke_dimension", "over": "seed", "label": LONG}),
        "gradients": (lambda: sent_back(GAINS), {"name": "bias_hh_l0", "unit": "gradient (unit of the loss)"}),
        "three axes": (lambda: family(GAINS | {"leak": [0.1, 0.2]}, np.arange(24.0)), {}),
        "shares": (lambda: family(GAINS, [True, False, True, True, True, False, False, False]), {}),
        "signs": (lambda: family(GAINS, [-1.0, 3.0, 0.5, -0.2]), {"over": ("gain", "seed")}),
        "one network": (lambda: family({"network": [0]}, [1.5]), {}),
        "one network, map": (lambda: family({"gain": [1.5], "seed": [0]}, [1.5]), {"over": ("gain", "seed")}),
        "not finite": (lambda: family(GAINS, [1.0, np.nan, -np.inf, 2.0, -1.0]), {"over": ("gain", "seed")}),
        "not finite, curve": (lambda: family({"gain": [1, 2, 3, 4]}, [1.0, np.nan, -np.inf, 2.0]), {}),
        "NaN": (lambda: family(GAINS, [np.nan]), {}),
        "names": (lambda: family({"init": ["gaussian", LONG, "c" * 40], "g": [1, 2]}, [1.0, 2.0]), {}),
        "in any order": (lambda: family({"gain": [3.0, 1.0, 2.0], "seed": [2, 0]}, [1.0]), {"over": ("gain", "seed")}),
    },
}
EVERY = [pytest.param(name, case, id=f"{name}, {case}") for name, cases in CASES.items() for case in cases]
FUNCTIONS = [name for name in plots.__all__ if inspect.isfunction(getattr(plots, name)) and name != "style"]
KNOWN = {}


def draw(name, case, ax=None):
    """The figure of a case and what the picture returned; results are made once."""
    make, options = CASES[name][case]
    if (name, case) not in KNOWN:
        KNOWN[name, case] = make()
    result = KNOWN[name, case]
    if isinstance(result, theory.MinimalRnnMeanField):
        return result.plot(ax=ax, **options)
    return getattr(plots, name)(result, ax=ax, **options)


@pytest.fixture
def drawn():
    """drawn(name, case, own): on axes of its own, or on given ones, one column wide; the axes, and what came back."""
    made = []

    def picture(name, case, own):
        if not own:
            ax = Figure(figsize=COLUMN, dpi=200, layout="constrained").subplots()
            return ax, draw(name, case, ax)
        before = set(pyplot.get_fignums())
        found = draw(name, case)
        (number,) = set(pyplot.get_fignums()) - before
        made.append(pyplot.figure(number))
        return made[-1].axes[0], found

    yield picture
    for figure in made:
        pyplot.close(figure)


def test_every_function_and_every_result_has_a_case():
    assert set(CASES) == set(FUNCTIONS)
    drawable = classes(Result)
    seen = {type(make()).__name__ for cases in CASES.values() for make, _ in list(cases.values())[:1]}
    others = {"ReluMeanField", "FamilyHistory", "EnsembleGradients"}
    assert drawable - seen == others, "theory_curve, learning_curves and ensemble have cases of them"


def words(ax):
    """Everything that is written on a picture, colour bars included."""
    legend = ax.get_legend()
    inside = [text.get_text() for text in legend.get_texts()] if legend else []
    bars = [other.get_ylabel() for other in ax.figure.axes if other is not ax]
    return [*inside, *bars, *(text.get_text() for text in ax.texts), ax.get_xlabel(), ax.get_ylabel()]


def plain(text):
    return text.replace("\n", " ")


@pytest.mark.parametrize("own", [True, False], ids=["own axes", "given axes"])
@pytest.mark.parametrize(("name", "case"), EVERY)
def test_a_picture_speaks_for_itself(name, case, own, drawn):
    if not own and case not in list(CASES[name])[:2]:
        return  # letters are larger there, all else is the same
    ax, found = drawn(name, case, own)
    figure = ax.figure
    FigureCanvasAgg(figure).draw()
    options = CASES[name][case][1]
    written = plain(" | ".join(words(ax)))

    for label in (ax.get_xlabel(), ax.get_ylabel()):
        assert label
        users = name == "ensemble" and label in KNOWN[name, case].axes  # in the user's own words
        assert users or any(unit in plain(label) for unit in UNITS), f"{label!r} has no unit"
    for other in figure.axes:
        if other is not ax:
            assert any(unit in plain(other.get_ylabel()) for unit in UNITS), f"{other.get_ylabel()!r} has no unit"

    explained = {line for part in ax.containers if isinstance(part, ErrorbarContainer) for line in flat(part.lines)}
    alike = {look(line) for line in ax.lines if line.get_label()[0] != "_"}
    for line in ax.lines:
        label = line.get_label()
        if line in explained or np.size(line.get_xdata()) == 0:
            continue
        assert (label[0] != "_" and plain(label) in written) or look(line) in alike or label[1:] in words(ax), label
    for part in ax.containers:
        if isinstance(part, ErrorbarContainer):
            assert plain(part.get_label()) in written
            if any(np.ptp(bar[:, 1]) > 0 for bars in part.lines[2] for bar in bars.get_segments()):
                assert re.search("bars: ± 1 standard (error|deviation)", written)
    if name in ("lyapunov_history", "perturbed_twin"):
        assert ("band" in written) == any(patch.get_zorder() == 0 for patch in ax.patches)
    if options.get("label") and name != "theory_curve":
        assert LONG in written

    silent = isinstance(KNOWN[name, case], tt.analysis.EnsembleResult) or "inf" not in case
    assert silent or "−inf" in written
    assert "NaN" not in case or "NaN" in written or "finite" in written

    for artist in flat(found.values()):
        assert getattr(artist, "axes", ax) is ax or hasattr(artist, "ax")
    legible(figure, ax)
    whole_ticks(name, ax)


def flat(parts):
    for part in parts:
        if isinstance(part, (list, tuple)) and not hasattr(part, "get_label"):
            yield from flat(part)
        elif isinstance(part, (list, tuple)):
            yield from flat(list(part))
        elif part is not None:
            yield part


def look(line):
    return line.get_color(), line.get_linestyle(), line.get_linewidth(), line.get_marker()


def legible(figure, ax):
    """Letters of at least 7 points, nothing written over the edge of the page or of its axes, no two ticks together."""
    page, letters = figure.bbox, []
    for one in figure.axes:
        for axis in (one.xaxis, one.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            labels = [label for tick in ticks for label in (tick.label1, tick.label2) if shown(label)]
            boxes = [label.get_window_extent() for label in labels]
            if not any(label.get_rotation() not in (0.0, 90.0) for label in axis.get_ticklabels()):
                assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]), "ticks written together"
            letters += [axis.label, *labels]
    legend = ax.get_legend()
    if legend is not None:
        letters += legend.get_texts()
        box = legend.get_window_extent()
        assert box.width <= 1.02 * ax.bbox.width, "the legend is wider than the axes"
        assert box.height <= 0.75 * ax.bbox.height, "the legend leaves no room for the data"
    for text in [*letters, *ax.texts]:
        if shown(text):
            assert text.get_fontsize() >= 6.99, text.get_text()
            box = text.get_window_extent()
            assert (box.min >= page.min - 2).all(), f"{text.get_text()!r} leaves the page"
            assert (box.max <= page.max + 2).all(), f"{text.get_text()!r} leaves the page"


def shown(text):
    return bool(text.get_text()) and text.get_visible()


WHOLE = {
    "gradient_norms": "x", "gradient_by_lag": "xy", "lag_shares": "x", "gradient_bound": "x", "gradient_products": "x",
    "lyapunov_history": "x", "perturbed_twin": "x", "transient_growth": "x", "autocorrelation": "x",
    "truncation_bias": "x",
}  # fmt: skip


def whole_ticks(name, ax):
    """Lags, times and seeds have ticks at whole numbers only."""
    axes = WHOLE.get(name, "")
    if name == "ensemble":
        labels = {"x": ax.get_xlabel(), "y": ax.get_ylabel()}
        axes = "".join(axis for axis, label in labels.items() if label in ("seed", "network"))
    for axis in axes:
        low, high = getattr(ax, f"get_{axis}lim")()
        ticks = np.array([tick for tick in getattr(ax, f"get_{axis}ticks")() if low <= tick <= high])
        np.testing.assert_array_equal(ticks, np.rint(ticks))
        assert len(ticks) > 0


MAPS = [case for case in EVERY if case.values[0] in ("loss_surface", "ensemble")]


@pytest.mark.parametrize(("name", "case"), MAPS)
def test_colours_of_both_signs_are_centred_at_zero(name, case):
    ax = Figure(figsize=COLUMN).subplots()
    found = draw(name, case, ax)
    for mesh in ax.collections:
        if isinstance(mesh, QuadMesh):
            values = np.ma.compressed(mesh.get_array())
            both = values.size and values.min() < 0 < values.max() and CASES[name][case][1].get("log", True) is not True
            if name == "ensemble" and values.size and values.min() < 0 < values.max():
                both = True
            assert not both or mesh.norm.vmin == -mesh.norm.vmax
            assert not both or isinstance(found["zero"], LineCollection)
            lightness = mesh.cmap(np.linspace(0, 1, 50))[:, :3] @ [0.2126, 0.7152, 0.0722]
            steps = np.diff(lightness)
            assert (steps > -1e-3).all() or (steps < 1e-3).all(), "a greyscale print mixes them up"
            assert ("hatched" in " ".join(words(ax))) == bool(np.ma.getmaskarray(mesh.get_array()).any())


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in FUNCTIONS for case in (*CASES[name],)[:1]])
def test_given_axes_are_used_and_nothing_else(name, case):
    """Neither pyplot's figures nor the other axes of the figure are touched; a second picture on them works as well."""
    before = pyplot.get_fignums()
    figure = Figure(figsize=(6.8, 2.6))
    ax, other = figure.subplots(1, 2)
    empty = len(other.get_children())
    assert draw(name, case, ax)
    assert draw(name, case, ax)
    assert len(other.get_children()) == empty
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize("name", FUNCTIONS)
def test_axes_of_a_subfigure_will_do(name):
    assert draw(name, next(iter(CASES[name])), Figure(layout="constrained").subfigures(1, 2)[1].subplots())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_axes_is_refused_in_a_sentence(name):
    before = pyplot.get_fignums()
    case = next(iter(CASES[name]))
    figure = Figure()
    for ax, hint in (
        (figure, r"pass axes of it, `ax=figure.subplots\(\)`"),
        (figure.subplots(1, 2), r"pass one of them, such as `ax=axes\[0\]`"),
        ("left", "leave `ax` out"),
        (5, "leave `ax` out"),
        (Figure().add_subplot(projection="polar"), "leave `ax` out"),
    ):
        with pytest.raises(TypeError, match=rf"`ax` .*expected (plain|Matplotlib) axes.*{hint}"):
            draw(name, case, ax)
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrong_results_and_options_are_refused_in_sentences(name):
    before = pyplot.get_fignums()
    function, case = getattr(plots, name), next(iter(CASES[name]))
    options = {"gains": [1.0], "chi": [1.0]} if name == "critical_curve" else {}
    if name != "theory_curve":
        for wrong in (5, "spectrum", None, {}, run(), run().network):
            with pytest.raises(TypeError, match=rf"`\w+` is .*; plots.{name} draws "):
                function(wrong, **options)
    draw(name, case, Figure().subplots())
    result = KNOWN[name, case]
    if name != "ensemble":
        with pytest.raises(TypeError, match=rf"`{name}` has no argument `colour`.*takes \("):
            function(result, colour="red", **options)
    with pytest.raises(TypeError, match="`legend` is 'top'"):
        function(result, legend="top", **options)
    parameters = inspect.signature(function).parameters
    for option, wrong, sentence in (
        ("sequence", 99, "`sequence` is 99; expected a whole number from 0 to"),
        ("sequence", "first", "`sequence` is 'first'"),
        ("index", -1, "`index` is -1"),
        ("label", 5, "`label` is 5"),
        ("bins", 0, "`bins` is 0"),
        ("bins", "many", "`bins` is 'many'"),
        ("gain", "g", "`gain` is 'g'"),
        ("radius", "r", "`radius` is 'r'"),
        ("rate", "r", "`rate` is 'r'"),
        ("upto", 2.0, "`upto` is 2"),
        ("lowest", 3.0, "`lowest` is 3"),
        ("colour_bar", "no", "`colour_bar` is 'no'"),
        ("asymptote", "no", "`asymptote` is 'no'"),
        ("lags", -1, "`lags` is -1"),
        ("kinds", ["a"], "`kinds` is"),
        ("axes", np.eye(3), "`axes` has shape"),
        ("levels", [2.0, 1.0], "ascending"),
        ("sequences", [0, 7], "`sequence` is 7"),
        ("exponents", [9], "`exponents` is 9"),
        ("theory", 5, "`theory` is 5"),
        ("over", "colour", "`over` is 'colour'"),
        ("entry", 99, "`entry` is 99"),
        ("unit", 5, "`unit` is 5"),
    ):
        if option in list(parameters)[1:]:
            more = options | ({"name": "exponents"} if name == "ensemble" else {})
            with pytest.raises((TypeError, ValueError), match=re.escape(sentence)):
                function(result, **more, **{option: wrong})
    assert pyplot.get_fignums() == before, "an empty figure is left behind"


def test_an_ensemble_asks_for_a_field_that_its_results_have():
    found = exponents(GAINS)
    for name, sentence in (((), r'\.plot\("exponents"\)'), ("exponent", "the results have no 'exponent'")):
        with pytest.raises(ValueError, match=sentence):
            found.plot(name)
    with pytest.raises(TypeError, match=r"errorbar does not take these options: .*colour"):
        found.plot("exponents", colour="red")
    with pytest.raises(TypeError, match=r"pass one of\s+\.results, or draw one field of all"):
        plots.lyapunov_spectrum(found)


@pytest.mark.parametrize(("axes", "over"), [({"gain": [1.0, 3.0], "seed": [5, 6]}, ("seed", "gain")), (GAINS, None)])
def test_a_map_shows_each_value_at_its_place(axes, over):
    found = family(axes, np.arange(12.0))
    drawn = found.plot(ax=Figure().subplots(), over=over or ("gain", "seed"))["map"]
    expected = found[()].T if over is None else found[()]
    np.testing.assert_array_equal(np.ma.getdata(drawn.get_array()), expected)


def test_error_bars_are_the_standard_deviation_over_the_rest():
    found = family(GAINS, np.arange(12.0) ** 2)
    bars = found.plot(ax=Figure().subplots())["curve"].lines[2][0]
    half = [0.5 * np.ptp(segment[:, 1]) for segment in bars.get_segments()]
    np.testing.assert_allclose(half, found[()].std(axis=1))


def test_a_legend_hides_no_data():
    """Of a curve through every corner: room is made above it."""
    ax = Figure(figsize=COLUMN).subplots()
    spiral = replace(twin(), history=np.sin(np.linspace(0.0, 40.0, 25)), times=np.arange(25), exponent=0.0)
    curve = spiral.plot(ax=ax)["curve"]
    FigureCanvasAgg(ax.figure).draw()
    box = ax.get_legend().get_window_extent()
    pixels = ax.transData.transform(curve.get_xydata())
    assert not ((pixels >= box.min) & (pixels <= box.max)).all(axis=1).any()


OF_TRAINING = (tt.training.History, tt.training.FamilyHistory)  # their columns have the names that users give them


def test_the_names_of_an_ensembles_fields_have_units():
    """A new field of a result gets a name and a unit in plots/quantities.py."""
    from throughtime.plots.quantities import QUANTITIES

    missing = {
        f"{type(result).__name__}.{field}"
        for result in KNOWN.values()
        if isinstance(result, Result) and not isinstance(result, (analysis.EnsembleResult, *OF_TRAINING))
        and "MeanField" not in type(result).__name__
        for field in result.arrays()
        if field not in QUANTITIES
    }  # fmt: skip
    assert not missing


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_help_of_a_picture_says_what_comes_back_and_shows_a_call(name):
    text = inspect.getdoc(getattr(plots, name))
    assert "Returns {" in text
    assert ">>>" in text
    for option, parameter in inspect.signature(getattr(plots, name)).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and option not in ("gains", "chi", "colour_bar"):
            assert re.search(rf"\b{option}\b", text), f"{name} does not explain `{option}`"


def test_no_numbers_beside_what_is_all_at_the_edge():
    """Four exponents of −inf stood beside a scale from 1.35e-17 to 1.45e-17."""
    net = tt.Network("relu", 2, 4, seed=3)
    net.parameters["bias_ih_l0"][...] = -50.0
    x = np.random.default_rng(0).normal(size=(60, 2))
    for result in (
        tt.analysis.lyapunov_spectrum(net, x, seed=0),
        tt.analysis.product_singular_values(net.unroll(x), 0, 50),
    ):
        ax = result.plot()["legend"].axes
        assert len(ax.get_yticks()) == 0
        ax.figure.canvas.draw()
        assert ax.yaxis.get_offset_text().get_text() == ""
        pyplot.close(ax.figure)
    ax = tt.analysis.lyapunov_spectrum(tt.Network("gru", 2, 4, seed=0), x, seed=0).plot()["legend"].axes
    assert len(ax.get_yticks()) > 2
    pyplot.close(ax.figure)
