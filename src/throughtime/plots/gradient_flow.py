"""Pictures of gradients: their norms by time and lag, and their upper bounds."""

from typing import Any

import numpy as np

from ..analysis import GradientBound, GradientByLag, GradientNorms, GradientProducts
from ..refuse import arguments
from .drawable import sequence_of
from .legends import remark
from .marks import border, colour_bar, curve, whole
from .page import picture
from .style import nothing, signed, style

NAMED = 5  # sequences that get a line style of their own


@picture(GradientNorms, made_by="tt.analysis.gradient_norms(run, grad_output)")
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
    """Natural log of the gradient's norm against lag, from a `GradientNorms`; one line for each sequence.

    sequences : which of the batch to draw (all by default). rate : a slope in nats per step, such as a Lyapunov
    exponent, drawn over it as a straight line; by default the mean of the rates that were fitted; False for none.
    relative : measure from the norm at lag 0. label, index : name, colour and line style when several results share
    the axes; all sequences then look alike, as they do when there are more than five. Where the gradient is exactly
    zero there is a triangle at the lower edge; sequences without any gradient are counted in the legend.
    Returns {"curves": lines, "rate": line or None, "edges": triangles, "legend"}, and "note", a text, where there is
    no gradient to draw. ax, legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((30, 3, 2)))
    >>> decay = tt.analysis.gradient_norms(run, np.ones((30, 3, 8)))
    >>> len(gradient_norms(decay, ax=Figure().subplots())["curves"])
    3
    """
    batch = decay.log_norm.shape[1]
    asked = range(batch) if sequences is None else np.atleast_1d(np.asarray(sequences, dtype=object))
    chosen = [sequence_of(b, batch) for b in asked]
    used = [b for b in chosen if decay.last[b] >= 0]
    alike = label is not None or index != 0 or len(used) > NAMED
    curves, marks, longest, start = [], [], 0, 0.0
    for number, b in enumerate(used):
        end = int(decay.last[b])
        values = decay.log_norm[end::-1, b].copy()
        if relative and np.isfinite(values[0]):
            values -= values[0]
        many = f" ({len(used)} sequences)" if len(used) > 1 else ""
        name = f"{label or 'gradient'}{many}" if alike else f"sequence {b}" if batch > 1 else "gradient"
        look: dict[str, Any] = {"alpha": 0.6} if alike and len(used) > 1 else {}
        shown = name if number == 0 or not alike else f"_{b}"
        line, more = curve(ax, np.arange(end + 1), values, shown, index + (0 if alike else number), **look)
        curves.append(line)
        marks += more
        if end > longest:
            longest, start = end, values[0]
    if len(used) < len(chosen):
        remark(ax, f"without any gradient: {len(chosen) - len(used)} of {len(chosen)} sequences")
    line = None if rate is False else _slope(ax, decay.rate[used], rate, start, longest, label, index)
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel(
        r"$\ln\,\Vert dL/ds_{t-k}\Vert$ $-\;\ln\,\Vert dL/ds_t\Vert$ (nats)"
        if relative
        else r"$\ln\,\Vert dL/ds_{t-k}\Vert$ (nats)"
    )
    whole(ax.xaxis)
    found = {"curves": curves, "rate": line, "edges": marks}
    if not any(np.isfinite(curve.get_ydata()).any() for curve in curves):
        found["note"] = nothing(ax, "no gradient, or none\nthat is finite")
    return found


def _slope(ax: Any, fitted: Any, rate: Any, start: float, longest: int, label: str | None, index: int) -> Any:
    """A straight line of slope `rate`, or of the mean of the fitted rates."""
    known = fitted[np.isfinite(fitted)]
    if rate is None and (not known.size or not np.isfinite(start)):
        return None
    slope = float(known.mean()) if rate is None else arguments.real("rate", rate)
    what = "slope" if rate is not None else "fitted slope" if known.size == 1 else "mean of fitted slopes"
    look = style(index) | {"color": "0.45", "linewidth": 2.5, "alpha": 0.6, "zorder": 1.5}
    name = f"{label + ': ' if label else ''}{what} {signed(slope, 3)} nats per time step"
    return ax.plot([0, longest], [start, start + slope * longest], label=name, **look)[0]


@picture(GradientByLag, made_by="tt.analysis.gradient_by_lag(run, grad_output)")
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

    colour_bar : whether to draw one.
    sequence : of the batch. relative : each time's own norm at lag 0 is 1. lowest : nats below the largest entry where
    the colours end. Where there is no gradient the paper stays white.
    Returns {"image": image, "bar": colour bar or None, "legend": None}. ax, legend, errors (TypeError, ValueError) : as
    in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((30, 2)))
    >>> lags = tt.analysis.gradient_by_lag(run, np.ones((30, 8)))
    >>> gradient_by_lag(lags, ax=Figure().subplots())["image"].get_array().shape
    (30, 30)
    """
    batch = lags.log_norm.shape[2]
    sequence = sequence_of(sequence, batch)
    lowest = arguments.real("lowest", lowest)
    if not lowest < 0.0:
        raise ValueError(f"`lowest` is {lowest:g}; expected nats below the largest entry: a negative number.")
    values = lags.log_norm[:, :, sequence].T
    start = values[0] if relative else np.zeros(values.shape[1])
    values = np.where(np.isfinite(values), values, np.nan) - np.where(np.isfinite(start), start, np.nan)
    known = np.isfinite(values)
    highest = float(np.nanmax(values)) if known.any() else 0.0
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
    whole(ax.xaxis, ax.yaxis)
    found = {"image": image, "bar": None}
    if arguments.flag("colour_bar", colour_bar):
        minus = r" $-\;\ln\,\Vert\partial L_t/\partial s_t\Vert$" if relative else ""
        which = f"sequence {sequence} of {batch}; " if batch > 1 else ""
        name = rf"$\ln\,\Vert\partial L_t/\partial s_{{t-k}}\Vert${minus} (nats; {which}white: no gradient)"
        found["bar"] = _bar(ax, image, name, extend="min")
    if not known.any():
        found["note"] = nothing(ax, "no gradient, or none\nthat is finite")
    return found


_bar = colour_bar  # the option of that name hides the function


@picture(GradientByLag, made_by="tt.analysis.gradient_by_lag(run, grad_output)")
def lag_shares(lags: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """The share of each lag in the gradient of the weights and its cosine with the whole, from a `GradientByLag`.

    Lags whose part is zero have no cosine; the legend counts them. label, index : name, colour and line style when
    several results share the axes. Returns {"share": line, "cosine": line, "edges": triangles, "legend"}. ax, legend,
    errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((30, 2)))
    >>> lags = tt.analysis.gradient_by_lag(run, np.ones((30, 8)), max_lag=5)
    >>> len(lag_shares(lags, ax=Figure().subplots())["share"].get_xdata())
    6
    """
    lag = np.arange(lags.share.size)
    name = f"{label}: " if label else ""
    share, more = curve(ax, lag, lags.share, rf"{name}share $\Vert G_k\Vert/\Vert G\Vert$", index, whose="share")
    cosine, most = curve(ax, lag, lags.cosine, rf"{name}cosine of $G_k$ with $G$", index + 1, whose="cosine")
    border(ax, 0.0, "0")
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel("part of the weights' gradient (no unit)")
    whole(ax.xaxis)
    found = {"share": share, "cosine": cosine, "edges": more + most}
    return (
        found
        if np.isfinite(lags.share).any()
        else found | {"note": nothing(ax, "no gradient, or none\nthat is finite")}
    )


@picture(GradientBound, made_by="tt.analysis.pascanu_bound(net)")
def gradient_bound(
    bound: Any, ax: Any = None, *, lags: int = 50, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """Pascanu's upper bound on the gradient against the lag, from a `GradientBound`.

    lags : the longest lag. label, index : name, colour and line style when several results share the axes.
    Returns {"bound": line, "edges": triangles where the bound is zero, "legend"}. ax, legend, errors (TypeError,
    ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> bound = tt.analysis.pascanu_bound(tt.Network("tanh", 2, 8, seed=0))
    >>> len(gradient_bound(bound, ax=Figure().subplots(), lags=10)["bound"].get_xdata())
    11
    """
    lag = np.arange(arguments.step("lags", lags, 0, 10**7) + 1)
    name = label or f"upper bound (Pascanu), in the long run {signed(bound.rate, 3)} nats per time step"
    line, more = curve(ax, lag, bound.log_bound(lag), name, index)
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel(r"$\ln\,\Vert \partial s_t/\partial s_{t-k}\Vert$ (nats)")
    whole(ax.xaxis)
    return {"bound": line, "edges": more}


@picture(GradientProducts, made_by="tt.analysis.gradient_products(run)")
def gradient_products(result: Any, ax: Any = None, *, sequence: int = 0) -> dict[str, Any]:
    """What a gradient did and the bounds above it, from a `GradientProducts`.

    sequence : of the batch. Pascanu's bound is drawn where the result has one. Returns {"curves": lines, "edges":
    triangles for products that are zero, "legend"}, and "note", a text, where nothing is finite. ax, legend, errors
    (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> net = tt.Network("tanh", 2, 8, seed=0)
    >>> result = tt.analysis.gradient_products(net.unroll(np.ones((30, 2))), bound=tt.analysis.pascanu_bound(net))
    >>> len(gradient_products(result, ax=Figure().subplots())["curves"])
    3
    """
    batch = result.log_norm.shape[1]
    sequence = sequence_of(sequence, batch)
    which = f" (sequence {sequence} of {batch})" if batch > 1 else ""
    curves, marks = [], []
    rows = (result.log_norm[:, sequence], result.log_step_bound[:, sequence], result.log_bound)
    names = (f"measured{which}", "bound: product of the steps' norms", "bound: Pascanu")
    for index, (values, name) in enumerate(zip(rows, names, strict=True)):
        if not np.isnan(values).all():
            line, more = curve(ax, np.arange(values.size), values, name, index, whose=name.split(" (")[0])
            curves.append(line)
            marks += more
    ax.set_xlabel("lag k (time steps back)")
    ax.set_ylabel(r"$\ln\,\Vert \partial s_t/\partial s_{t-k}\Vert$ (nats)")
    whole(ax.xaxis)
    found = {"curves": curves, "edges": marks}
    return found if curves else found | {"note": nothing(ax, "NaN at every lag")}
