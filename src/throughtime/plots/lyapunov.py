"""Pictures of Lyapunov spectra, twins and covariant vectors."""

from typing import Any

import numpy as np

from ..analysis import CovariantVectors, LyapunovSpectrum, TwinGrowth
from ..network.network import Network
from ..refuse import arguments
from .drawable import numbers, sequence_of
from .legends import remark
from .marks import border, curve, edges, whole
from .page import picture
from .style import COLOURS, MARKERS, STYLES, nothing, signed, style

FRACTION = "fraction of exponents, from the top (no unit)"
EXPONENT = r"Lyapunov exponent $\lambda$ (nats per time step)"


@picture(LyapunovSpectrum, made_by="tt.analysis.lyapunov_spectrum(net, x)")
def lyapunov_spectrum(
    spectrum: Any, ax: Any = None, *, theory: Any = None, label: str | None = None, index: int = 0, sequence: int = 0
) -> dict[str, Any]:
    """Lyapunov exponents against the fraction counted from the top, (i − ½)/S; bars: ± 1 standard error.

    spectrum : a `LyapunovSpectrum`; of a batch, `sequence` is drawn. theory : a mean-field result or any function of
    the fraction, drawn as a line. Exponents of −inf are triangles at the lower edge; NaN, and errors that are not
    known, are counted in the legend. label, index : name, colour and marker when several results share the axes.
    Returns {"points": container, "theory": line or None, "zero": line, "edges": triangles, "legend"}. ax, legend,
    errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> spectrum = tt.analysis.lyapunov_spectrum(tt.Network("tanh", 1, 8, seed=0), steps=200, seed=0)
    >>> artists = lyapunov_spectrum(spectrum, ax=Figure().subplots(), theory=tt.analysis.mean_field.tanh(0.6))
    >>> sorted(artists)
    ['edges', 'legend', 'points', 'theory', 'zero']
    """
    exponents, error, which = spectrum.exponents, spectrum.standard_error, ""
    sequence = sequence_of(sequence, len(exponents) if exponents.ndim > 1 else 1)
    if exponents.ndim > 1:
        which = f", sequence {sequence} of {len(exponents)}"
        exponents, error = exponents[sequence], error[sequence]
    fraction = (np.arange(exponents.size) + 0.5) / spectrum.state_size
    shown, known = np.isfinite(exponents), np.isfinite(error)
    colour = COLOURS[(index + 1) % len(COLOURS)]
    bars = "bars: ± 1 standard error" if (shown & known).any() else "standard errors not known"
    points = ax.errorbar(
        fraction[shown],
        exponents[shown],
        yerr=np.where(known, error, 0.0)[shown],
        fmt=MARKERS[index % len(MARKERS)],
        markersize=3.5,
        color=colour,
        ecolor=colour,
        elinewidth=1.0,
        capsize=1.5,
        label=f"{label or 'measured'}{which}; {bars}",
    )
    marks = edges(ax, fraction, exponents, colour)
    missing = int((shown & ~known).sum())
    if 0 < missing < shown.sum():
        remark(ax, f"without a bar: error not known ({missing} of {exponents.size})")
    line = None if theory is None else _theory(theory, ax, float(fraction[-1]), "mean field", index)
    zero = border(ax, 0.0, "0")
    if exponents.size == 1:
        ax.set_xlim(0.0, 2.0 * fraction[0], auto=None)
    ax.set_xlabel(FRACTION)
    ax.set_ylabel(EXPONENT)
    found = {"points": points, "theory": line, "zero": zero, "edges": marks}
    return found if shown.any() or marks else found | {"note": nothing(ax, "every exponent is NaN")}


@picture(object, made_by="tt.analysis.mean_field.tanh(gain)")
def theory_curve(
    theory: Any, ax: Any = None, *, upto: float = 0.99, label: str | None = "mean field", index: int = 0
) -> dict[str, Any]:
    """The predicted spectrum λ(x) of a mean-field result, as a line.

    theory : the result, or any function of the fraction x. upto : the x at which the line ends. label, index : name and
    line style when several results share the axes. Where the prediction is −inf the line ends, and the legend says from
    which x on. Returns {"theory": line, "legend"}. ax, legend, errors (TypeError, ValueError) : as in
    `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> theory_curve(tt.analysis.mean_field.tanh(2.0), ax=Figure().subplots())["theory"].get_label()
    'mean field'
    """
    line = _theory(theory, ax, upto, label, index)
    border(ax, 0.0, "0")
    ax.set_xlabel(FRACTION)
    ax.set_ylabel(EXPONENT)
    found = {"theory": line}
    return found if np.isfinite(line.get_ydata()).any() else found | {"note": nothing(ax, "no finite exponent")}


def _theory(theory: Any, ax: Any, upto: float, label: str | None, index: int) -> Any:
    law = getattr(theory, "spectrum", theory)
    if not callable(law) or isinstance(law, (type, Network)):
        raise TypeError(
            f"`theory` is {arguments.kind(theory)}; expected a mean-field result with a spectrum, such as "
            "`tt.analysis.mean_field.tanh(gain)`, or a function of the fraction x."
        )
    upto = arguments.real("upto", upto, 0.0)
    if upto > 1.0:
        raise ValueError(f"`upto` is {upto:g}; expected a fraction of the exponents, from 0 to 1.")
    x = np.linspace(0.0, upto, 300)
    try:
        found = law(x)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # from inside
        raise TypeError(
            f"`theory` is {arguments.kind(theory)}; expected a function of the fraction x alone, and it says: {error}."
        ) from None
    values = numbers("theory(x)", found).astype(np.float64)
    if values.shape != x.shape:
        raise ValueError(f"theory(x) has shape {values.shape}; expected one exponent for each x, {x.shape}.")
    shown = np.isfinite(values)
    look = {"color": COLOURS[0], "linestyle": STYLES[index % len(STYLES)], "linewidth": 1.3}
    (line,) = ax.plot(x, np.where(shown, values, np.nan), label=label or "theory", **look)
    if np.isneginf(values).any():
        remark(ax, f"theory: −inf from x = {x[np.isneginf(values)][0]:.2g} on")
    return line


@picture(LyapunovSpectrum, made_by="tt.analysis.lyapunov_spectrum(net, x)")
def lyapunov_history(spectrum: Any, ax: Any = None, *, exponents: Any = None, sequence: int = 0) -> dict[str, Any]:
    """How the exponents settle: their running means against counted time; bands: final value ± 1 standard error.

    spectrum : a `LyapunovSpectrum`. exponents : which to draw, counted from 0; by default at most six spread over the
    spectrum. sequence : of a batch. Returns {"curves": lines, "bands": collections, "edges": triangles, "legend"}. ax,
    legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> spectrum = tt.analysis.lyapunov_spectrum(tt.Network("tanh", 1, 8, seed=0), steps=200, seed=0)
    >>> len(lyapunov_history(spectrum, ax=Figure().subplots(), exponents=[0, 7])["curves"])
    2
    """
    history, error, times, which = spectrum.history, spectrum.standard_error, spectrum.times, ""
    sequence = sequence_of(sequence, len(error) if error.ndim > 1 else 1)
    if error.ndim > 1:
        which = f"sequence {sequence} of {len(error)}"
        history, error = history[:, sequence], error[sequence]
    if times.ndim > 1:  # of sequences of different lengths
        times = times[:, sequence]
        history, times = history[np.isfinite(times)], times[np.isfinite(times)]
    count = history.shape[1]
    asked = np.linspace(0, count - 1, min(6, count)).round().astype(int) if exponents is None else exponents
    chosen = [arguments.step("exponents", i, 0, count - 1) for i in np.atleast_1d(np.asarray(asked, dtype=object))]
    curves, bands, marks = [], [], []
    for index, i in enumerate(dict.fromkeys(chosen)):
        line, more = curve(ax, times, history[:, i], rf"$\lambda_{{{i + 1}}}$", index)
        curves.append(line)
        marks += more
        final = history[-1, i] if len(history) else np.nan
        if np.isfinite(error[i]) and np.isfinite(final):
            look = {"color": style(index)["color"], "alpha": 0.15, "linewidth": 0, "zorder": 0}
            bands.append(ax.axhspan(final - error[i], final + error[i], **look))
    remark(ax, "bands: final value ± 1 standard error" if bands else "standard errors not known")
    if which:
        remark(ax, which)
    ax.set_xlabel("time (time steps counted)")
    ax.set_ylabel("running mean (nats per time step)")
    whole(ax.xaxis)
    return {"curves": curves, "bands": bands, "edges": marks}


@picture(TwinGrowth, made_by="tt.analysis.perturbed_twin(net, x)")
def perturbed_twin(
    twin: Any, ax: Any = None, *, sequence: int = 0, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """How the growth of a perturbed twin settles: running mean, and the final value with its standard error as a band.

    twin : a `TwinGrowth`. sequence : of a batch. label, index : name, colour and line style when several results share
    the axes. Returns {"curve": line, "final": line or None, "band": band or None, "edges": triangles, "legend"}. ax,
    legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> twin = tt.analysis.perturbed_twin(tt.Network("tanh", 1, 8, seed=0), steps=400, seed=0)
    >>> sorted(perturbed_twin(twin, ax=Figure().subplots()))
    ['band', 'curve', 'edges', 'final', 'legend']
    """
    history, exponent, error, which = twin.history, twin.exponent, twin.standard_error, ""
    sequence = sequence_of(sequence, history.shape[1] if history.ndim > 1 else 1)
    if history.ndim > 1:
        which = f", sequence {sequence} of {history.shape[1]}"
        history, exponent, error = history[:, sequence], exponent[sequence], error[sequence]
    index += 1
    line, marks = curve(ax, twin.times, history, f"{label or 'running mean'}{which}", index)
    final = band = None
    if np.isfinite(exponent):
        error_text = f"± {error:.2g} (band: standard error)" if np.isfinite(error) else "(standard error not known)"
        name = rf"final $\lambda_1={{}}${signed(exponent, 4)} {error_text}"
        final = ax.axhline(exponent, color="0.45", linewidth=0.9, linestyle=(0, (4, 2)), zorder=0.6, label=name)
    if np.isfinite(exponent) and np.isfinite(error):
        look = {"color": style(index)["color"], "alpha": 0.2, "linewidth": 0, "zorder": 0}
        band = ax.axhspan(exponent - error, exponent + error, **look)
    ax.set_xlabel("time (time steps counted)")
    ax.set_ylabel("running mean (nats per time step)")
    whole(ax.xaxis)
    found = {"curve": line, "final": final, "band": band, "edges": marks}
    return found if np.isfinite(history).any() or marks else found | {"note": nothing(ax, "NaN at every time")}


@picture(CovariantVectors, made_by="tt.analysis.covariant_vectors(net, x)", arrays=True)
def covariant_angles(
    vectors: Any, ax: Any = None, *, bins: int = 40, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """Histogram (area 1) of the smallest angle between unstable and stable directions, from a `CovariantVectors`.

    vectors : the result, or an array of angles. All times and sequences together; the legend says how many angles there
    are, and how many are NaN. bins : their number. label, index : name and colour when several results share the axes.
    Returns {"bars": container, "legend"}, or {"note": text, "legend"} where there is no angle. ax, legend, errors
    (TypeError, ValueError) : as in `throughtime.plots`.

    >>> from matplotlib.figure import Figure
    >>> len(covariant_angles(np.array([0.1, 0.2, 1.5]), ax=Figure().subplots(), bins=4)["bars"])
    4
    """
    every = numbers("angles", getattr(vectors, "angles", vectors))
    angles = every[np.isfinite(every)]
    bins = arguments.size("bins", bins)
    ax.set_xlabel("angle between unstable and stable directions (radians)")
    ax.set_ylabel("probability density (per radian)")
    if not angles.size:
        return {"note": nothing(ax, "no angle: all directions\nare on one side")}
    several = f" of {every.shape[0]} sequences" if every.ndim > 1 else ""
    name = f"{label or 'measured'}: {angles.size} angles{several}"
    colour = COLOURS[(index + 1) % len(COLOURS)]
    look = {"color": colour, "alpha": 0.45, "edgecolor": colour}
    bars = ax.hist(angles, bins=bins, density=True, label=name, **look)[2]
    ax.set_xlim(left=0.0, auto=None)
    if angles.size < every.size:
        remark(ax, f"not drawn: NaN ({every.size - angles.size} of {every.size})")
    return {"bars": bars}
