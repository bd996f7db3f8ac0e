"""Pictures of Jacobians and their products: eigenvalues, singular values, transients, pseudospectra."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import ListedColormap
from matplotlib.patches import Circle

from ..analysis import FixedPoints, JacobianSpectrum, NonNormality, ProductSingularValues, Pseudospectrum
from ..refuse import arguments
from .drawable import numbers, sequence_of
from .legends import remark
from .marks import border, colour_bar, curve, edges, whole
from .page import picture
from .style import COLOURS, MARKERS, nothing

LINES = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.85, 256)))  # without the yellow, too light for lines
LARGEST = 700.0  # |ln ‖A^t‖| beyond which the norm itself leaves the range of numbers: then its logarithm is drawn


@picture(JacobianSpectrum, FixedPoints, made_by="tt.analysis.jacobian_spectrum(run, t)", arrays=True)
def eigenvalues(
    spectrum: Any, ax: Any = None, *, radius: float | None = 1.0, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """Eigenvalues in the complex plane, all Jacobians of a `JacobianSpectrum` (or a complex array), with a circle.

    spectrum : of a `FixedPoints` too: the eigenvalues of all points, factors per period of the cycle. radius : of the
    circle drawn: the circular law's for a random matrix (its gain), 1 for the border of stability; None for none.
    label, index : name, colour and marker when several results share the axes. The legend says how many eigenvalues
    there are, and how many are NaN.
    Returns {"points": collection, "circle": patch or None, "legend"}. ax, legend, errors (TypeError, ValueError) : as
    in `throughtime.plots`.

    >>> from matplotlib.figure import Figure
    >>> eigenvalues(np.array([0.5 + 0.5j, -0.2]), ax=Figure().subplots())["circle"].radius
    1.0
    """
    every = numbers("eigenvalues", getattr(spectrum, "eigenvalues", spectrum)).ravel()
    values = every[np.isfinite(every)]
    points = ax.scatter(
        values.real,
        values.imag,
        s=9,
        marker=MARKERS[index % len(MARKERS)],
        color=COLOURS[(index + 1) % len(COLOURS)],
        alpha=0.7,
        linewidths=0,
        label=f"{label or 'eigenvalues'} ({values.size})",
    )
    _not_finite(ax, every)
    circle = None
    if radius is not None:
        radius = arguments.real("radius", radius, 0.0)
        circle = _circle(ax, radius, "stability: radius 1" if radius == 1.0 else f"circle of radius {radius:.3g}")
        ax.autoscale_view()
    ax.set_aspect("equal", adjustable="datalim")
    period = getattr(spectrum, "period", 1)
    unit = "time step" if period == 1 else f"{period} time steps"
    ax.set_xlabel(rf"Re $\lambda$ (factor per {unit})")
    ax.set_ylabel(rf"Im $\lambda$ (factor per {unit})")
    found = {"points": points, "circle": circle}
    return found if values.size else found | {"note": nothing(ax, "no eigenvalue")}


@picture(JacobianSpectrum, made_by="tt.analysis.jacobian_spectrum(run, t)", arrays=True)
def singular_values(
    spectrum: Any,
    ax: Any = None,
    *,
    gain: float | None = None,
    bins: int = 40,
    label: str | None = None,
    index: int = 0,
) -> dict[str, Any]:
    """Histogram of singular values (area 1), with the quarter circle of a random matrix.

        p(s) = √(4g² − s²) / (π g²) on [0, 2g],   W_ij ~ N(0, g²/N)

    spectrum : a `JacobianSpectrum` or an array. gain : g of the quarter circle; None leaves it out. bins : their
    number. label, index : name and colour when several results share the axes. The legend says how many values there
    are, and how many are NaN. Returns {"bars": container or None, "law": line or None, "legend"}. ax, legend, errors
    (TypeError, ValueError) : as in `throughtime.plots`.

    >>> from matplotlib.figure import Figure
    >>> values = np.linalg.svd(np.random.default_rng(0).normal(size=(50, 50)) / np.sqrt(50), compute_uv=False)
    >>> sorted(singular_values(values, ax=Figure().subplots(), gain=1.0))
    ['bars', 'law', 'legend']
    """
    every = numbers("singular values", getattr(spectrum, "singular_values", spectrum)).ravel()
    if every.dtype.kind == "c":
        raise TypeError("`spectrum` holds complex numbers, but singular values are real: for eigenvalues there is "
                        "`plots.eigenvalues`.")  # fmt: skip
    values, bins = every[np.isfinite(every)].astype(np.float64), arguments.size("bins", bins)
    colour = COLOURS[(index + 1) % len(COLOURS)]
    bars = law = None
    if values.size:
        name = f"{label or 'measured'} ({values.size} singular values)"
        look = {"color": colour, "alpha": 0.45, "edgecolor": colour, "label": name}
        spread = np.ptp(values) > 1e-9 * max(np.abs(values).max(), 1e-300)  # bins of rounding's width say nothing
        around = None if spread else (values[0] - 0.5, values[0] + 0.5)
        bars = ax.hist(values, bins=bins, range=around, density=True, **look)[2]
    _not_finite(ax, every)
    if gain is not None:
        gain = arguments.real("gain", gain, 1e-300)
        s = np.linspace(0.0, 2.0 * gain, 400)
        height = np.sqrt(np.maximum(4.0 * gain**2 - s**2, 0.0)) / (np.pi * gain**2)
        name = f"theory: quarter circle, gain {gain:.3g}"
        (law,) = ax.plot(s, height, color=COLOURS[0], linewidth=1.6, label=name)
    ax.set_xlabel(r"singular value $\sigma$ (factor per time step)")
    ax.set_ylabel("probability density (no unit)")
    found = {"bars": bars, "law": law}
    return found if values.size else found | {"note": nothing(ax, "no singular value")}


@picture(NonNormality, made_by="tt.analysis.non_normality(matrix, steps)", arrays=True)
def transient_growth(
    report: Any, ax: Any = None, *, asymptote: bool = True, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """The norm of the powers of a matrix against t on a logarithmic axis, from a `NonNormality` or ln‖A^t‖ itself.

    asymptote : draw ρ^t below it, and the Kreiss constant, which the peak reaches at least. Powers that are zero are
    triangles at the lower edge. Where a norm leaves the range of numbers the axis is linear in ln‖A^t‖, nats. label,
    index : name, colour and line style when several results share the axes.
    Returns {"curve": line, "asymptote": line or None, "kreiss": line or None, "edges": triangles, "legend"}. ax,
    legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> report = tt.analysis.non_normality([[0.9, 1.0], [0.0, 0.9]], 100)
    >>> transient_growth(report, ax=Figure().subplots())["asymptote"].get_ydata()[:3].round(2)
    array([1.  , 0.9 , 0.81])
    """
    logs = numbers("ln‖A^t‖", getattr(report, "log_norm", report)).astype(np.float64)
    if logs.ndim != 1:
        raise ValueError(f"ln‖A^t‖ has shape {logs.shape}; expected one logarithm for each power, (T+1,).")
    steps, radius = np.arange(logs.size), getattr(report, "spectral_radius", 0.0)
    falling = steps * np.log(radius) if radius > 0.0 else np.where(steps > 0, -np.inf, 0.0)
    both = np.concatenate([logs, falling])
    linear = bool((np.abs(both[np.isfinite(both)]) > LARGEST).any()) or not np.isfinite(logs).any()
    raised = (lambda values: values) if linear else np.exp
    if not linear:
        ax.set_yscale("log")
    line, marks = curve(ax, steps, raised(logs), label or r"$\Vert A^t\Vert$", index, log=not linear)
    found: dict[str, Any] = {"curve": line, "asymptote": None, "kreiss": None, "edges": marks}
    if arguments.flag("asymptote", asymptote) and hasattr(report, "spectral_radius"):
        if radius > 0.0:
            look = {"color": "0.45", "linewidth": 1.0, "linestyle": (0, (4, 2)), "zorder": 1.5}
            values = falling if linear else radius**steps
            name = rf"$\rho(A)^t$, spectral radius $\rho={{}}${radius:.4g}"
            (found["asymptote"],) = ax.plot(steps, values, label=name, **look)
        else:
            remark(ax, "spectral radius 0: nilpotent")
        if np.isfinite(report.kreiss) and report.kreiss > 0.0:
            height = np.log(report.kreiss) if linear else report.kreiss
            look = {"color": "0.6", "linewidth": 1.0, "linestyle": ":", "zorder": 0.6}
            name = f"Kreiss constant {report.kreiss:.4g}: least peak"
            found["kreiss"] = ax.axhline(height, label=name, **look)
    ax.set_xlabel("power $t$ (time steps)")
    ax.set_ylabel(r"$\ln\,\Vert A^t\Vert$ (nats)" if linear else r"$\Vert A^t\Vert$ (factor, no unit)")
    whole(ax.xaxis)
    return found


@picture(Pseudospectrum, made_by="tt.analysis.pseudospectrum(matrix)")
def pseudospectrum(result: Any, ax: Any = None, *, levels: Any = None, colour_bar: bool = True) -> dict[str, Any]:
    """Contours of log10 ε, the eigenvalues and the unit circle, from a `Pseudospectrum`.

    colour_bar : whether to draw one.
    levels : of log10 ε, ascending numbers, or how many; about seven by default. Returns {"contours": set or None where
    there are fewer than 2 × 2 points, "bar": colour bar or None, "eigenvalues": line, "circle": patch, "legend"}. ax,
    legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> result = tt.analysis.pseudospectrum([[0.5, 1.0], [0.0, -0.5]], points=9)
    >>> sorted(pseudospectrum(result, ax=Figure().subplots()))
    ['bar', 'circle', 'contours', 'eigenvalues', 'legend']
    """
    decade = np.log10(np.maximum(result.sigma_min, 1e-300))
    values = result.eigenvalues
    if levels is None:
        levels = 7
    elif np.ndim(levels) == 0:
        levels = arguments.size("levels", levels)
    else:
        levels = numbers("levels", levels)
        if levels.ndim != 1 or not (np.diff(levels) > 0.0).all():
            raise ValueError("`levels` are values of log10 ε in ascending order, such as [-3, -2, -1].")
    found: dict[str, Any] = {"contours": None, "bar": None}
    low, high = float(decade.min()), float(decade.max())
    drawn = min(decade.shape) > 1 and high > low
    if drawn and np.ndim(levels) == 1:
        drawn = bool(((levels > low) & (levels < high)).any())
    if drawn:
        look = {"cmap": LINES, "linewidths": 1.0, "linestyles": "solid"}
        contours = found["contours"] = ax.contour(result.real, result.imag, decade, levels=levels, **look)
        if arguments.flag("colour_bar", colour_bar):
            found["bar"] = _bar(ax, contours, r"$\log_{10}\,\epsilon$ of the $\epsilon$-pseudospectrum (decades)")
    else:
        remark(ax, "no contour: one value of ε, or none of the levels, on this grid")
    look = {"color": COLOURS[3], "markersize": 4, "linestyle": "none", "marker": "o", "zorder": 3}
    (found["eigenvalues"],) = ax.plot(values.real, values.imag, label=f"eigenvalues ({values.size})", **look)
    found["circle"] = _circle(ax, 1.0, "stability: radius 1")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel(r"Re $z$ (factor per time step)")
    ax.set_ylabel(r"Im $z$ (factor per time step)")
    return found


_bar = colour_bar  # the option of that name hides the function


@picture(ProductSingularValues, made_by="tt.analysis.product_singular_values(run, start, stop)")
def product_singular_values(
    product: Any, ax: Any = None, *, sequence: int = 0, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """ln of the singular values of a long product, per step, against the fraction of them counted from the top.

    product : a `ProductSingularValues`; of a batch, `sequence` is drawn. Zeros, whose logarithm is −inf, are triangles
    at the lower edge. label, index : name, colour and marker when several results share the axes.
    Returns {"points": line, "edges": triangles, "legend"}. ax, legend, errors (TypeError, ValueError) : as in
    `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> product = tt.analysis.product_from_jacobians(np.tile(np.diag([2.0, 0.5]), (100, 1, 1)))
    >>> product_singular_values(product, ax=Figure().subplots())["points"].get_ydata().round(3)
    array([ 0.693, -0.693])
    """
    rates, which = product.rates, ""
    sequence = sequence_of(sequence, len(rates) if rates.ndim > 1 else 1)
    if rates.ndim > 1:
        which = f", sequence {sequence} of {len(rates)}" if len(rates) > 1 else ""
        rates = rates[sequence]
    fraction, shown = (np.arange(rates.size) + 0.5) / product.state_size, np.isfinite(rates)
    name = f"{label or f'n = {product.stop - product.start} time steps'}{which}"
    line, _ = curve(ax, fraction[shown], rates[shown], name, index, marker=MARKERS[index % len(MARKERS)], markersize=3)
    line.set_markevery(None)
    marks = edges(ax, fraction, rates, line.get_color())
    border(ax, 0.0, "0")
    if rates.size == 1:
        ax.set_xlim(0.0, 2.0 * fraction[0], auto=None)
    ax.set_xlabel("fraction of singular values, from the top (no unit)")
    ax.set_ylabel(r"$\ln\,\sigma\,/\,n$ (nats per time step)")
    found = {"points": line, "edges": marks}
    return found if shown.any() or marks else found | {"note": nothing(ax, "every value is NaN")}


def _circle(ax: Any, radius: float, name: str) -> Any:
    look = {"fill": False, "color": COLOURS[0], "linewidth": 1.2, "linestyle": "--", "label": name}
    return ax.add_patch(Circle((0.0, 0.0), radius, **look))


def _not_finite(ax: Any, values: Any) -> None:
    count = int((~np.isfinite(values)).sum())
    if count:
        remark(ax, f"not drawn: NaN or infinite ({count} of {values.size})")
