"""Pictures of Lyapunov spectra, twins and covariant vectors."""

from typing import Any

import numpy as np

from .style import COLOURS, MARKERS, STYLES, axes_, nothing, style


def lyapunov_spectrum(
    spectrum: Any, ax: Any = None, *, theory: Any = None, label: str | None = None, index: int = 0, sequence: int = 0
) -> dict[str, Any]:
    """Lyapunov exponents against the fraction of exponents counted from the top, (i − ½)/S, with error bars of one
    standard error.

    spectrum : a `LyapunovSpectrum`; of a batch, `sequence` is drawn. theory : a mean-field result or any function of
    the fraction, drawn as a line. Exponents of −inf have no place on the page and are left out. Returns {"points":
    container, "theory": line or None, "zero": line}.
    """
    ax = axes_(ax)
    pick = (lambda a: a[sequence]) if spectrum.exponents.ndim > 1 else (lambda a: a)
    exponents, error = pick(spectrum.exponents), pick(spectrum.standard_error)
    fraction = (np.arange(exponents.size) + 0.5) / spectrum.state_size
    shown = np.isfinite(exponents)
    colour = COLOURS[(index + 1) % len(COLOURS)]
    zero = ax.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    points = ax.errorbar(
        fraction[shown],
        exponents[shown],
        yerr=np.nan_to_num(error[shown]),
        fmt=MARKERS[index % len(MARKERS)],
        markersize=3.5,
        color=colour,
        ecolor=colour,
        elinewidth=1.0,
        capsize=1.5,
        label=label,
    )
    line = None if theory is None else theory_curve(theory, ax=ax, upto=float(fraction[-1]), index=index)["theory"]
    ax.set_xlabel("fraction of exponents, from the top")
    ax.set_ylabel(r"Lyapunov exponent $\lambda$ (nats per time step)")
    return {"points": points, "theory": line, "zero": zero}


def theory_curve(
    theory: Any, ax: Any = None, *, upto: float = 0.99, label: str | None = "mean field", index: int = 0
) -> dict[str, Any]:
    """The predicted spectrum λ(x) of a mean-field result (or any function of the fraction x), as a line up to x =
    `upto`."""
    ax = axes_(ax)
    x = np.linspace(0.0, upto, 300)
    values = np.asarray(getattr(theory, "spectrum", theory)(x))
    (line,) = ax.plot(
        x,
        np.where(np.isfinite(values), values, np.nan),
        color=COLOURS[0],
        linestyle=STYLES[index % len(STYLES)],
        linewidth=1.3,
        label=label,
    )
    ax.set_xlabel("fraction of exponents, from the top")
    ax.set_ylabel(r"Lyapunov exponent $\lambda$ (nats per time step)")
    return {"theory": line}


def lyapunov_history(spectrum: Any, ax: Any = None, *, exponents: Any = None, sequence: int = 0) -> dict[str, Any]:
    """How the estimates settle: running mean of each exponent against counted time, with its final standard error as
    a band.

    exponents : which to draw, counted from 0; by default at most six spread over the spectrum. Returns {"curves":
    lines, "bands": collections}.
    """
    ax = axes_(ax)
    batch = spectrum.exponents.ndim > 1
    history = spectrum.history[:, sequence] if batch else spectrum.history
    times = spectrum.times if spectrum.times.ndim == 1 else spectrum.times[:, sequence]
    history, times = history[np.isfinite(times)], times[np.isfinite(times)]
    error = spectrum.standard_error[sequence] if batch else spectrum.standard_error
    count = history.shape[1]
    chosen = (
        np.unique(np.linspace(0, count - 1, min(6, count)).round().astype(int))
        if exponents is None
        else np.atleast_1d(exponents)
    )
    curves, bands = [], []
    for index, i in enumerate(chosen):
        values = np.where(np.isfinite(history[:, i]), history[:, i], np.nan)
        curves += ax.plot(times, values, linewidth=1.3, label=rf"$\lambda_{{{i + 1}}}$", **style(index))
        if values.size and np.isfinite(error[i]) and np.isfinite(values[-1]):
            bands.append(
                ax.axhspan(
                    values[-1] - error[i],
                    values[-1] + error[i],
                    color=COLOURS[index % len(COLOURS)],
                    alpha=0.15,
                    linewidth=0,
                )
            )
    ax.set_xlabel("time (steps counted)")
    ax.set_ylabel("running mean (nats per time step)")
    return {"curves": curves, "bands": bands}


def perturbed_twin(twin: Any, ax: Any = None, *, sequence: int = 0, label: str | None = None) -> dict[str, Any]:
    """How the growth of a perturbed twin settles: running mean against counted time, from a `TwinGrowth`.

    Returns {"curve": line}.
    """
    ax = axes_(ax)
    history = twin.history if twin.history.ndim == 1 else twin.history[:, sequence]
    (curve,) = ax.plot(twin.times, history, label=label, **style(1))
    ax.set_xlabel("time (steps counted)")
    ax.set_ylabel("running mean (nats per time step)")
    return {"curve": curve}


def covariant_angles(vectors: Any, ax: Any = None, *, bins: int = 40, label: str | None = None, index: int = 0) -> Any:
    """Histogram (density 1) of the smallest angle between unstable and stable directions, from a `CovariantVectors`.

    Returns {"bars": container}, or {"note": text} where there is no angle.
    """
    ax = axes_(ax)
    angles = np.asarray(getattr(vectors, "angles", vectors))
    angles = angles[np.isfinite(angles)]
    ax.set_xlabel("angle between unstable and stable directions (radians)")
    ax.set_ylabel("probability density")
    if not angles.size:
        return {"note": nothing(ax, "no angle: all directions\nare on one side")}
    colour = COLOURS[(index + 1) % len(COLOURS)]
    look = {"color": colour, "alpha": 0.45, "edgecolor": colour}
    return {"bars": ax.hist(angles, bins=bins, density=True, label=label, **look)[2]}
