"""Pictures of Jacobians and their products: eigenvalues, singular values, transients, pseudospectra."""

from typing import Any

import numpy as np
from matplotlib.patches import Circle

from .style import COLOURS, MARKERS, axes_, style


def eigenvalues(
    spectrum: Any, ax: Any = None, *, radius: float | None = 1.0, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """Eigenvalues in the complex plane, all Jacobians of a `JacobianSpectrum` (or a complex array), with a circle.

    radius : of the circle drawn: the circular law's for a random matrix (its gain), 1 for the border of stability;
    None for none.
    Returns {"points": collection, "circle": patch or None}.
    """
    ax = axes_(ax)
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
    ax = axes_(ax)
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


def transient_growth(
    report: Any, ax: Any = None, *, asymptote: bool = True, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """The norm of the powers of a matrix against t on a logarithmic axis, from a `NonNormality` or ln‖A^t‖ itself.

    asymptote : draw ρ^t below it. Returns {"curve": line, "asymptote": line or None}.
    """
    ax = axes_(ax)
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
    ax = axes_(ax)
    decades = np.log10(np.maximum(result.sigma_min, 1e-300))
    levels = 7 if levels is None else levels
    contours = ax.contour(result.real, result.imag, decades, levels=levels, cmap="cividis", linewidths=1.0)
    points = ax.plot(result.eigenvalues.real, result.eigenvalues.imag, ".", color=COLOURS[3], markersize=4)[0]
    circle = ax.add_patch(Circle((0.0, 0.0), 1.0, fill=False, color=COLOURS[0], linewidth=1.0, linestyle="--"))
    ax.set_aspect("equal")
    ax.set_xlabel(r"Re $z$ (factor per time step)")
    ax.set_ylabel(r"Im $z$ (factor per time step)")
    return {"contours": contours, "eigenvalues": points, "circle": circle}


def product_singular_values(
    product: Any, ax: Any = None, *, sequence: int = 0, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """ln of the singular values of a long product, per step, against the fraction of them counted from the top.

    product : a `ProductSingularValues`; of a batch, `sequence` is drawn. Zeros are left out. Returns {"points": line}.
    """
    ax = axes_(ax)
    rates = product.rates if product.rates.ndim == 1 else product.rates[sequence]
    fraction, shown = (np.arange(rates.size) + 0.5) / product.state_size, np.isfinite(rates)
    look = style(index) | {"marker": MARKERS[index % len(MARKERS)], "markersize": 3, "label": label}
    (points,) = ax.plot(fraction[shown], rates[shown], **look)
    ax.set_xlabel("fraction of singular values, from the top")
    ax.set_ylabel(r"$\ln\,\sigma\,/\,n$ (nats per time step)")
    return {"points": points}
