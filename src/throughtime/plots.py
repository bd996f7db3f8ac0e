"""Pictures of the results: each function takes `ax=` (a new one if None) and returns its artists in a dictionary.

The only module that imports Matplotlib. Colours are Okabe & Ito's: told apart by colour-blind readers, and ordered so
that neighbours differ in lightness too, with line styles and markers that differ: a greyscale print tells them apart
as well.
"""

from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.patches import Circle

COLOURS = ("#000000", "#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")


def style(index: int) -> dict[str, Any]:
    """Colour and line style of the index-th curve of a picture.

    >>> style(0)["color"]
    '#000000'
    """
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)]}


def gradient_norms(
    decay: Any,
    ax: Any = None,
    *,
    sequences: Any = None,
    rate: Any = None,
    label: str | None = None,
    index: int = 0,
    relative: bool = True,
) -> dict[str, Any]:
    """Natural log of the gradient's norm against lag, from a `GradientNorms`.

    sequences : which of the batch to draw (all by default). rate : a slope in nats per step, such as a Lyapunov
    exponent, drawn over it as a straight line. relative : measure from the norm at lag 0. index : picks colour and
    line style when several results share the axes.
    Returns {"curves": lines, "rate": line or None}.
    """
    ax = _axes(ax)
    batch = decay.log_norm.shape[1]
    chosen = range(batch) if sequences is None else np.atleast_1d(sequences)
    curves, longest, start = [], 0, 0.0
    for number, b in enumerate(chosen):
        end = int(decay.last[b])
        if end < 0:
            continue
        values = decay.log_norm[end::-1, b].copy()
        if relative:
            values -= values[0]
        values[~np.isfinite(values)] = np.nan
        named = {"label": label} if number == 0 and label else {}
        curves += ax.plot(
            np.arange(end + 1), values, linewidth=1.4, alpha=1.0 if len(chosen) == 1 else 0.6, **style(index), **named
        )
        if end > longest:
            longest, start = end, values[0]
    line = None
    if rate is not None:
        (line,) = ax.plot(
            [0, longest],
            [start, start + float(rate) * longest],
            color="0.45",
            linewidth=2.5,
            alpha=0.6,
            zorder=1,
            label=f"slope {float(rate):.3g} nats per step",
        )
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel(
        r"$\ln\,\Vert dL/ds_{t-k}\Vert\;-\;\ln\,\Vert dL/ds_t\Vert$ (nats)"
        if relative
        else r"$\ln\,\Vert dL/ds_{t-k}\Vert$ (nats)"
    )
    return {"curves": curves, "rate": line}


def eigenvalues(
    spectrum: Any, ax: Any = None, *, radius: float | None = 1.0, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """Eigenvalues in the complex plane, all Jacobians of a `JacobianSpectrum` (or a complex array), with a circle.

    radius : of the circle drawn: the circular law's for a random matrix (its gain), 1 for the border of stability;
    None for none.
    Returns {"points": collection, "circle": patch or None}.
    """
    ax = _axes(ax)
    values = np.asarray(getattr(spectrum, "eigenvalues", spectrum)).ravel()
    points = ax.scatter(
        values.real,
        values.imag,
        s=9,
        marker=MARKERS[index % len(MARKERS)],
        color=COLOURS[(index + 1) % len(COLOURS)],
        alpha=0.7,
        linewidths=0,
        label=label,
    )
    circle = None
    if radius is not None:
        circle = ax.add_patch(
            Circle(
                (0.0, 0.0),
                radius,
                fill=False,
                color=COLOURS[0],
                linewidth=1.2,
                linestyle="--",
                label=f"circle of radius {radius:.3g}",
            )
        )
        ax.autoscale_view()
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel(r"Re $\lambda$ (factor per time step)")
    ax.set_ylabel(r"Im $\lambda$ (factor per time step)")
    return {"points": points, "circle": circle}


def singular_values(
    spectrum: Any,
    ax: Any = None,
    *,
    gain: float | None = None,
    bins: int = 40,
    label: str | None = None,
    index: int = 0,
) -> dict[str, Any]:
    """Histogram of singular values (density 1) of a `JacobianSpectrum` or an array, with the quarter circle of a
    random matrix.

        p(s) = √(4g² − s²) / (π g²) on [0, 2g],   W_ij ~ N(0, g²/N)

    gain : g of the quarter circle; None leaves it out. Returns {"bars": container, "law": line or None}.
    """
    ax = _axes(ax)
    values = np.asarray(getattr(spectrum, "singular_values", spectrum)).ravel()
    colour = COLOURS[(index + 1) % len(COLOURS)]
    _, _, bars = ax.hist(
        values[np.isfinite(values)], bins=bins, density=True, color=colour, alpha=0.45, edgecolor=colour, label=label
    )
    law = None
    if gain is not None:
        s = np.linspace(0.0, 2.0 * gain, 400)
        (law,) = ax.plot(
            s,
            np.sqrt(np.maximum(4.0 * gain**2 - s**2, 0.0)) / (np.pi * gain**2),
            color=COLOURS[0],
            linewidth=1.6,
            label=f"quarter circle, gain {gain:.3g}",
        )
    ax.set_xlabel(r"singular value $\sigma$ (factor per time step)")
    ax.set_ylabel("probability density")
    return {"bars": bars, "law": law}


def lyapunov_spectrum(
    spectrum: Any, ax: Any = None, *, theory: Any = None, label: str | None = None, index: int = 0, sequence: int = 0
) -> dict[str, Any]:
    """Lyapunov exponents against the fraction of exponents counted from the top, (i − ½)/S, with error bars of one
    standard error.

    spectrum : a `LyapunovSpectrum`; of a batch, `sequence` is drawn. theory : a mean-field result or any function of
    the fraction, drawn as a line. Exponents of −inf have no place on the page and are left out. Returns {"points":
    container, "theory": line or None, "zero": line}.
    """
    ax = _axes(ax)
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
    ax = _axes(ax)
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
    ax = _axes(ax)
    batch = spectrum.exponents.ndim > 1
    history = spectrum.history[:, sequence] if batch else spectrum.history
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
        curves += ax.plot(spectrum.times, values, linewidth=1.3, label=rf"$\lambda_{{{i + 1}}}$", **style(index))
        if np.isfinite(error[i]) and np.isfinite(values[-1]):
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


def transient_growth(
    report: Any, ax: Any = None, *, asymptote: bool = True, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """The norm of the powers of a matrix against t on a logarithmic axis, from a `NonNormality` or ln‖A^t‖ itself.

    asymptote : draw ρ^t below it. Returns {"curve": line, "asymptote": line or None}.
    """
    ax = _axes(ax)
    values = np.exp(np.asarray(getattr(report, "log_norm", report)))
    steps = np.arange(values.size)
    (curve,) = ax.semilogy(steps, np.where(values > 0.0, values, np.nan), label=label, **style(index))
    line = None
    if asymptote and hasattr(report, "spectral_radius"):
        (line,) = ax.semilogy(steps, report.spectral_radius**steps, color="0.6", linewidth=0.9, label=r"$\rho(A)^t$")
    ax.set_xlabel("power $t$ (time steps)")
    ax.set_ylabel(r"$\Vert A^t\Vert$ (factor)")
    return {"curve": curve, "asymptote": line}


def pseudospectrum(result: Any, ax: Any = None, *, levels: Any = None) -> dict[str, Any]:
    """Contours of log10 ε, the eigenvalues and the unit circle, from a `Pseudospectrum`.

    levels : of log10 ε; about seven by default. Returns {"contours": set, "eigenvalues": line, "circle": patch}.
    """
    ax = _axes(ax)
    decades = np.log10(np.maximum(result.sigma_min, 1e-300))
    levels = 7 if levels is None else levels
    contours = ax.contour(result.real, result.imag, decades, levels=levels, cmap="cividis", linewidths=1.0)
    points = ax.plot(result.eigenvalues.real, result.eigenvalues.imag, ".", color=COLOURS[3], markersize=4)[0]
    circle = ax.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color=COLOURS[0], linewidth=1.0, linestyle="--"))
    ax.set_aspect("equal")
    ax.set_xlabel(r"Re $z$ (factor per time step)")
    ax.set_ylabel(r"Im $z$ (factor per time step)")
    return {"contours": contours, "eigenvalues": points, "circle": circle}


def gradient_bound(bound: Any, ax: Any = None, *, lags: int = 50, index: int = 0) -> dict[str, Any]:
    """Pascanu's upper bound on the gradient against the lag, from a `GradientBound`. Returns {"bound": line}."""
    ax = _axes(ax)
    lag = np.arange(lags + 1)
    (line,) = ax.plot(lag, bound.log_bound(lag), label="upper bound", **style(index))
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel(r"$\ln\,\Vert \partial s_t/\partial s_{t-k}\Vert$ (nats)")
    return {"bound": line}


def gradient_products(result: Any, ax: Any = None, *, sequence: int = 0) -> dict[str, Any]:
    """What a gradient did and the bounds above it, from a `GradientProducts`. Returns {"curves": lines}."""
    ax = _axes(ax)
    curves = []
    rows = (result.log_norm[:, sequence], result.log_step_bound[:, sequence], result.log_bound)
    names = ("measured", "product of the steps' norms", "Pascanu")
    for index, (values, name) in enumerate(zip(rows, names, strict=True)):
        if not np.isnan(values).all():
            shown = np.where(np.isfinite(values), values, np.nan)
            curves += ax.plot(np.arange(shown.size), shown, label=name, **style(index))
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel(r"$\ln\,\Vert \partial s_t/\partial s_{t-k}\Vert$ (nats)")
    return {"curves": curves}


def fixed_points(result: Any, ax: Any = None, *, axes: Any = None) -> dict[str, Any]:
    """Fixed points or cycles in two coordinates of state space, from a `FixedPoints`: filled if stable.

    axes : (2, S), rows to project on; by default the principal axes of the points, or of one state alone it and 0.
    Returns {"stable", "unstable", "slow": artists, "axes": (2, S)}.
    """
    ax = _axes(ax)
    every = np.concatenate([result.orbits.reshape(-1, result.points.shape[1]), result.slow_points])
    if axes is None:
        axes = np.eye(2, every.shape[1])
        if len(every) > 1 and every.shape[1] > 2:
            axes = np.linalg.svd(every - every.mean(axis=0), full_matrices=False)[2][:2]
    axes = np.asarray(axes)
    found: dict[str, Any] = {"axes": axes}
    stable = np.repeat(result.stable, result.period)
    orbits = result.orbits.reshape(-1, result.points.shape[1]) @ axes.T
    for name, points, colour, marker, face in (
        ("stable", orbits[stable], COLOURS[1], "o", COLOURS[1]),
        ("unstable", orbits[~stable], COLOURS[3], "s", "none"),
        ("slow", result.slow_points @ axes.T, COLOURS[2], "^", "none"),
    ):
        look = {"s": 22, "marker": marker, "facecolors": face, "edgecolors": colour, "label": name}
        found[name] = ax.scatter(points[:, 0], points[:, -1], **look)
    ax.set_xlabel("first axis of state space")
    ax.set_ylabel("second axis of state space")
    return found


def _axes(ax: Any) -> Any:
    return pyplot.subplots(layout="constrained")[1] if ax is None else ax


def critical_curve(
    theory: Any, ax: Any = None, *, gains: Any, chi: Any, label: str | None = "mean field", index: int = 0
) -> dict[str, Any]:
    """χ against the gain, with the line χ = 1 where gradients neither vanish nor explode, and the point of `theory`.

    theory : a mean-field result with .gain and .chi. gains, chi : the curve. Returns {"curve", "edge", "point"}.
    """
    ax = _axes(ax)
    edge = ax.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
    (curve,) = ax.plot(gains, chi, label=label, **style(index))
    (point,) = ax.plot(theory.gain, theory.chi, MARKERS[index % len(MARKERS)], color=COLOURS[3])
    ax.set_xlabel("gain of the recurrent weights")
    ax.set_ylabel(r"$\chi$ (factor per time step)")
    return {"curve": curve, "edge": edge, "point": point}


def autocorrelation(theory: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """The autocorrelation E e(t) e(t+lag) of what the units send (`PopulationMeanField`). Returns {"curve": line}."""
    ax = _axes(ax)
    (curve,) = ax.plot(np.arange(len(theory.autocorrelation)), theory.autocorrelation, label=label, **style(index))
    ax.set_xlabel("lag (time steps)")
    ax.set_ylabel("autocorrelation E e(t) e(t + lag)")
    return {"curve": curve}


def ensemble(
    result: Any,
    ax: Any = None,
    *,
    name: Any = (),
    entry: Any = 0,
    over: Any = None,
    label: str | None = None,
    index: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """One field of an `EnsembleResult` over one axis (a curve, with the scatter over the others) or two (a phase
    diagram).

    name : the field, () for results that are numbers. entry : which number of a field with axes of its own: an index or
    a tuple, by default the first. over : the axes to draw, one or two names; by default the first two that have several
    values and are not called "seed"; the rest is averaged. options : of pcolormesh or errorbar. Returns {"curve"} or
    {"map", "bar"}.
    """
    ax = _axes(ax)
    values = np.asarray(result[name], dtype=np.float64)
    names = list(result.axes)
    for _ in range(values.ndim - len(names)):
        values = values[(..., *entry)] if isinstance(entry, tuple) else values[..., entry]
        if values.ndim == len(names):
            break
    if over is None:
        over = [axis for axis in names if axis != "seed" and len(result.axes[axis]) > 1][:2] or names[:1]
    over = [over] if isinstance(over, str) else list(over)
    rest = tuple(i for i, axis in enumerate(names) if axis not in over)
    with np.errstate(invalid="ignore"):
        mean, scatter = (values.mean(axis=rest), values.std(axis=rest)) if rest else (values, None)
    places = [_places(result.axes[axis]) for axis in sorted(over, key=names.index)]
    text = str(name) if name != () else "result"
    if len(over) == 1:
        look = {
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 3.5,
            "capsize": 1.5,
            **style(index),
            "label": label,
        }
        curve = ax.errorbar(places[0][0], mean, yerr=scatter, **(look | options))
        ax.set_ylabel(text)
        found = {"curve": curve}
    else:
        if names.index(over[0]) > names.index(over[1]):
            mean, places = mean.T, places[::-1]
        mesh = ax.pcolormesh(places[0][0], places[1][0], mean.T, **({"shading": "nearest", "cmap": "RdBu_r"} | options))
        found = {"map": mesh, "bar": ax.figure.colorbar(mesh, ax=ax, label=text)}
        ax.set_ylabel(over[1])
        if places[1][1] is not None:
            ax.set_yticks(places[1][0], places[1][1])
    ax.set_xlabel(over[0])
    if places[0][1] is not None:
        ax.set_xticks(places[0][0], places[0][1])
    return found


def _places(values: Any) -> tuple[Any, Any]:
    """Where the values of an axis stand, and their names if they are no numbers."""
    array = np.asarray(values)
    return (array, None) if array.dtype.kind in "fiu" else (np.arange(len(values)), [str(value) for value in values])


def gradient_by_lag(
    lags: Any,
    ax: Any = None,
    *,
    sequence: int = 0,
    relative: bool = True,
    lowest: float = -12.0,
    colour_bar: bool = True,
) -> dict[str, Any]:
    """Heat map of a `GradientByLag`: the loss time t across, the lag k up, dark where ∂L_t/∂s_{t−k} is large.

    sequence : of the batch. relative : each time's own norm at lag 0 is 1. lowest : nats below the largest entry where
    the colours end. Where there is no gradient the paper stays white.
    Returns {"image": image, "bar": colour bar or None}.
    """
    ax = _axes(ax)
    values = lags.log_norm[:, :, sequence].T
    start = values[0] if relative else np.zeros(values.shape[1])
    values = np.where(np.isfinite(values), values, np.nan) - np.where(np.isfinite(start), start, np.nan)
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    rows, columns = values.shape
    image = ax.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(-0.5, columns - 0.5, -0.5, rows - 0.5),
        cmap="magma_r",
        vmin=highest + lowest,
        vmax=highest,
    )
    ax.set_xlabel("loss time t (time steps)")
    ax.set_ylabel("lag k (time steps back)")
    bar = None
    if colour_bar:
        bar = ax.figure.colorbar(image, ax=ax, extend="min")
        minus = r"\;-\;\ln\,\Vert\partial L_t/\partial s_t\Vert" if relative else ""
        bar.set_label(rf"$\ln\,\Vert\partial L_t/\partial s_{{t-k}}\Vert{minus}$ (nats)")
    return {"image": image, "bar": bar}


def lag_shares(lags: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """The share of each lag in the gradient of the weights and its cosine with the whole, from a `GradientByLag`.

    Returns {"share": line, "cosine": line}.
    """
    ax = _axes(ax)
    lag = np.arange(lags.share.size)
    name = f"{label}: " if label else ""
    names = rf"{name}share $\Vert G_k\Vert/\Vert G\Vert$", rf"{name}cosine of $G_k$ with $G$"
    (share,) = ax.plot(lag, lags.share, linewidth=1.4, label=names[0], **style(index))
    (cosine,) = ax.plot(lag, lags.cosine, linewidth=1.4, label=names[1], **style(index + 1))
    ax.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel("part of the weights' gradient (no unit)")
    return {"share": share, "cosine": cosine}


def truncation_bias(bias: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """Relative error of the truncated gradient, and 1 − its cosine with the full one, against the window.

    From a `TruncationBias`; both axes logarithmic, a window without error has no place on the page.
    Returns {"error": line, "angle": line}.
    """
    ax = _axes(ax)
    order = np.argsort(bias.windows)
    name = f"{label}: " if label else ""
    values = bias.relative_error[order], np.maximum(1.0 - bias.cosine[order], 0.0)
    names = rf"{name}error $\Vert G(w)-G\Vert/\Vert G\Vert$", f"{name}1 − cosine"
    lines = []
    for number, (value, text) in enumerate(zip(values, names, strict=True)):
        shown = np.where(value > 0, value, np.nan)
        lines += ax.loglog(bias.windows[order], shown, linewidth=1.4, label=text, **style(index + number))
    ax.set_xlabel("window w (time steps)")
    ax.set_ylabel("truncated beside full gradient (no unit)")
    return {"error": lines[0], "angle": lines[1]}


def clipping_effect(effect: Any, ax: Any = None, *, kinds: Any = ("by norm", "by value", "per step")) -> dict[str, Any]:
    """Cosine with the unclipped gradient against the norm that clipping leaves, from a `ClippingEffect`.

    kinds : names of its three rows, in the legend. Returns {"curves": lines}.
    """
    ax = _axes(ax)
    curves = []
    for row, name in enumerate(kinds):
        order = np.argsort(effect.norm_ratio[row])
        left, cosine = effect.norm_ratio[row][order], effect.cosine[row][order]
        curves += ax.semilogx(left, cosine, linewidth=1.4, marker=MARKERS[row], markersize=3, label=name, **style(row))
    ax.set_xlabel("norm after / before clipping")
    ax.set_ylabel("cosine with the unclipped gradient")
    return {"curves": curves}


def loss_surface(
    surface: Any, ax: Any = None, *, quantity: str = "loss", log: bool = True, colour_bar: bool = True
) -> dict[str, Any]:
    """Map of a `LossSurface`: quantity="loss" or "gradient_norm", by its decimal logarithm unless log=False.

    Returns {"image": mesh, "bar": colour bar or None}.
    """
    names = {"loss": "loss", "gradient_norm": r"$\Vert\nabla L\Vert$ in the plane"}
    if quantity not in names:
        raise ValueError(f"quantity={quantity!r}, but there are {', '.join(map(repr, names))}")
    ax = _axes(ax)
    values = getattr(surface, quantity).T
    if log:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(values > 0, np.log10(np.abs(values)), np.nan)
    image = ax.pcolormesh(surface.first, surface.second, values, cmap="magma_r", shading="nearest", rasterized=True)
    ax.set_xlabel(surface.names[0])
    ax.set_ylabel(surface.names[1])
    bar = ax.figure.colorbar(image, ax=ax) if colour_bar else None
    if bar is not None:
        bar.set_label(rf"$\log_{{10}}$ {names[quantity]}" if log else names[quantity])
    return {"image": image, "bar": bar}


def product_singular_values(
    product: Any, ax: Any = None, *, sequence: int = 0, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """ln of the singular values of a long product, per step, against the fraction of them counted from the top.

    product : a `ProductSingularValues`; of a batch, `sequence` is drawn. Zeros are left out. Returns {"points": line}.
    """
    ax = _axes(ax)
    rates = product.rates if product.rates.ndim == 1 else product.rates[sequence]
    fraction, shown = (np.arange(rates.size) + 0.5) / product.state_size, np.isfinite(rates)
    look = style(index) | {"marker": MARKERS[index % len(MARKERS)], "markersize": 3, "label": label}
    (points,) = ax.plot(fraction[shown], rates[shown], **look)
    ax.set_xlabel("fraction of singular values, from the top")
    ax.set_ylabel(r"$\ln\,\sigma\,/\,n$ (nats per time step)")
    return {"points": points}


def perturbed_twin(twin: Any, ax: Any = None, *, sequence: int = 0, label: str | None = None) -> dict[str, Any]:
    """How the growth of a perturbed twin settles: running mean against counted time, from a `TwinGrowth`.

    Returns {"curve": line}.
    """
    ax = _axes(ax)
    history = twin.history if twin.history.ndim == 1 else twin.history[:, sequence]
    (curve,) = ax.plot(twin.times, history, label=label, **style(1))
    ax.set_xlabel("time (steps counted)")
    ax.set_ylabel("running mean (nats per time step)")
    return {"curve": curve}


def covariant_angles(vectors: Any, ax: Any = None, *, bins: int = 40, label: str | None = None, index: int = 0) -> Any:
    """Histogram (density 1) of the smallest angle between unstable and stable directions, from a `CovariantVectors`.

    Returns {"bars": container}.
    """
    ax = _axes(ax)
    angles = np.asarray(getattr(vectors, "angles", vectors))
    colour = COLOURS[(index + 1) % len(COLOURS)]
    _, _, bars = ax.hist(
        angles[np.isfinite(angles)], bins=bins, density=True, color=colour, alpha=0.45, edgecolor=colour, label=label
    )
    ax.set_xlabel("angle between unstable and stable directions (radians)")
    ax.set_ylabel("probability density")
    return {"bars": bars}
