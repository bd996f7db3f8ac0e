"""Pictures of gradients: their norms, lags, truncation, clipping, bounds, and the loss they belong to."""

from typing import Any

import numpy as np

from .style import MARKERS, axes_, nothing, style


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
    Returns {"curves": lines, "rate": line or None}, and "note", a text, where there is no gradient to draw.
    """
    ax = axes_(ax)
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
    found = {"curves": curves, "rate": line}
    if not any(np.isfinite(curve.get_ydata()).any() for curve in curves):
        found["note"] = nothing(ax, "no gradient, or none\nthat is finite")
    return found


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
    ax = axes_(ax)
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
    ax = axes_(ax)
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
    ax = axes_(ax)
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
    ax = axes_(ax)
    curves = []
    for row, name in enumerate(kinds):
        order = np.argsort(effect.norm_ratio[row])
        left, cosine = effect.norm_ratio[row][order], effect.cosine[row][order]
        curves += ax.semilogx(left, cosine, linewidth=1.4, marker=MARKERS[row], markersize=3, label=name, **style(row))
    ax.set_xlabel("norm after / before clipping")
    ax.set_ylabel("cosine with the unclipped gradient")
    return {"curves": curves}


def gradient_bound(bound: Any, ax: Any = None, *, lags: int = 50, index: int = 0) -> dict[str, Any]:
    """Pascanu's upper bound on the gradient against the lag, from a `GradientBound`. Returns {"bound": line}."""
    ax = axes_(ax)
    lag = np.arange(lags + 1)
    (line,) = ax.plot(lag, bound.log_bound(lag), label="upper bound", **style(index))
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel(r"$\ln\,\Vert \partial s_t/\partial s_{t-k}\Vert$ (nats)")
    return {"bound": line}


def gradient_products(result: Any, ax: Any = None, *, sequence: int = 0) -> dict[str, Any]:
    """What a gradient did and the bounds above it, from a `GradientProducts`. Returns {"curves": lines}."""
    ax = axes_(ax)
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


def loss_surface(
    surface: Any, ax: Any = None, *, quantity: str = "loss", log: bool = True, colour_bar: bool = True
) -> dict[str, Any]:
    """Map of a `LossSurface`: quantity="loss" or "gradient_norm", by its decimal logarithm unless log=False.

    Returns {"image": mesh, "bar": colour bar or None}.
    """
    names = {"loss": "loss", "gradient_norm": r"$\Vert\nabla L\Vert$ in the plane"}
    if quantity not in names:
        raise ValueError(f"quantity={quantity!r}, but there are {', '.join(map(repr, names))}")
    ax = axes_(ax)
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
