"""Pictures of what training does to a gradient: truncation, clipping, and the loss that it descends."""

from textwrap import shorten
from typing import Any

import numpy as np

from ..analysis import ClippingEffect, LossSurface, TruncationBias
from ..refuse import arguments
from .marks import WHOLE, border, colour_bar, curve, heat_map, without_number
from .page import picture
from .style import MARKERS, nothing

_bar = colour_bar  # the option of that name hides the function


@picture(TruncationBias, made_by="tt.analysis.truncation_bias(run, grad_output, windows)")
def truncation_bias(bias: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """Relative error of the truncated gradient, and 1 − its cosine with the full one, against the window.

    From a `TruncationBias`; both axes logarithmic, so that a window without error has a triangle at the lower edge.
    label, index : name, colour and line style when several results share the axes.
    Returns {"error": line, "angle": line, "edges": triangles, "legend"}. ax, legend, errors (TypeError, ValueError) :
    as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((30, 2)))
    >>> bias = tt.analysis.truncation_bias(run, np.ones((30, 8)), [1, 5, 20])
    >>> truncation_bias(bias, ax=Figure().subplots())["error"].get_xdata()
    array([ 1,  5, 20])
    """
    order = np.argsort(bias.windows)
    name = f"{label}: " if label else ""
    values = bias.relative_error[order], np.maximum(1.0 - bias.cosine[order], 0.0)
    names = rf"{name}error $\Vert G(w)-G\Vert/\Vert G\Vert$", f"{name}1 − cosine"
    lines, marks = [], []
    ax.set_xscale("log")
    ax.set_yscale("log")
    for number, (value, text) in enumerate(zip(values, names, strict=True)):
        line, more = curve(
            ax, bias.windows[order], value, text, index + number, log=True, whose=("error", "cosine")[number]
        )
        lines.append(line)
        marks += more
    ax.set_xlabel("window w (time steps)")
    ax.set_ylabel("truncated beside full gradient (no unit)")
    ax.xaxis.set_gid(WHOLE)
    return {"error": lines[0], "angle": lines[1], "edges": marks}


@picture(ClippingEffect, made_by="tt.analysis.clipping_effect(run, grad_output, thresholds)")
def clipping_effect(effect: Any, ax: Any = None, *, kinds: Any = ("by norm", "by value", "per step")) -> dict[str, Any]:
    """Cosine with the unclipped gradient against the norm that clipping leaves, from a `ClippingEffect`.

    One point for each threshold. kinds : names of its three rows, in the legend. Returns {"curves": lines, "edges":
    triangles, "legend"}, and "note", a text, where there was no gradient. ax, legend, errors (TypeError, ValueError) :
    as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((30, 2)))
    >>> effect = tt.analysis.clipping_effect(run, np.ones((30, 8)), [0.1, 1.0])
    >>> len(clipping_effect(effect, ax=Figure().subplots())["curves"])
    3
    """
    named = isinstance(kinds, (tuple, list)) and all(isinstance(name, str) for name in kinds)
    if not named or len(kinds) != len(effect.cosine):
        raise ValueError(
            f"`kinds` is {arguments.kind(kinds)}; expected {len(effect.cosine)} names, one of each row of the result."
        )
    curves, marks = [], []
    ax.set_xscale("log")
    for row, name in enumerate(kinds):
        order = np.argsort(effect.norm_ratio[row])
        left, cosine = effect.norm_ratio[row][order], effect.cosine[row][order]
        where = np.where(left > 0.0, left, np.nan)
        shown = np.where(np.isnan(where), np.nan, cosine)
        line, more = curve(ax, where, shown, f"clipped {name}", row, marker=MARKERS[row], whose=name)
        line.set_markevery(None)
        curves.append(line)
        marks += more
    border(ax, 1.0, "1")
    ax.set_xlabel("norm after / before clipping (no unit)")
    ax.set_ylabel("cosine with the unclipped gradient (no unit)")
    found = {"curves": curves, "edges": marks}
    if not any(np.isfinite(line.get_ydata()).any() for line in curves):
        found["note"] = nothing(ax, "no gradient, or none\nthat is finite")
    return found


@picture(LossSurface, made_by="tt.analysis.loss_surface(net, x, loss, first, second, …)")
def loss_surface(
    surface: Any, ax: Any = None, *, quantity: str = "loss", log: bool = True, colour_bar: bool = True
) -> dict[str, Any]:
    """Map of a `LossSurface`: quantity="loss" or "gradient_norm", by its decimal logarithm unless log=False.

    colour_bar : whether to draw one.
    Points that have no finite number, or with log=True none above 0, are hatched, and the colour bar counts them. With
    log=False a loss of both signs has colours centred at 0 and a black line around those below.
    Returns {"image": mesh, "bar": colour bar or None, "zero": lines or None, "legend": None}. ax, legend, errors
    (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> total = lambda run: (run.output.sum(), np.ones(run.output.shape))
    >>> entries = ("weight_hh_l0", (0, 0)), ("weight_hh_l0", (0, 1))
    >>> net, offsets = tt.Network("tanh", 2, 3, seed=0), [-0.1, 0.0, 0.1]
    >>> surface = tt.analysis.loss_surface(net, np.ones((5, 2)), total, *entries, offsets, offsets)
    >>> loss_surface(surface, ax=Figure().subplots(), log=False)["image"].get_array().shape
    (3, 3)
    """
    names = {"loss": "loss", "gradient_norm": r"$\Vert\nabla L\Vert$ in the plane"}
    if quantity not in names:
        raise ValueError(f"quantity={quantity!r}, but there are {', '.join(map(repr, names))}")
    across, up = np.argsort(surface.first), np.argsort(surface.second)
    values = np.asarray(getattr(surface, quantity), dtype=np.float64)[np.ix_(across, up)].T
    label = f"{names[quantity]} (unit of the loss{without_number(values)})"
    if arguments.flag("log", log):
        low = int((values <= 0.0).sum())
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(values > 0.0, np.log10(values), np.where(np.isnan(values), np.nan, -np.inf))
        grey = f"; hatched: not above 0 ({low})" if low else ""
        kept = without_number(np.where(values == -np.inf, 0.0, values))
        label = rf"$\log_{{10}}$ {names[quantity]} (decades{grey}{kept})"
    image, zero = heat_map(ax, surface.first[across], surface.second[up], values, signed=not log)
    for place, name in ((ax.set_xlabel, surface.names[0]), (ax.set_ylabel, surface.names[1])):
        place(f"offset of {shorten(name, 44, placeholder=' …')} (no unit)")
    found = {"image": image, "zero": zero, "bar": None}
    if arguments.flag("colour_bar", colour_bar):
        found["bar"] = _bar(ax, image, label)
    if not np.isfinite(values).any():
        why = "no loss above 0:\npass log=False" if log and np.isneginf(values).any() else "no finite number"
        found["note"] = nothing(ax, why)
    return found
