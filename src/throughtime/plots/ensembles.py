"""Pictures of ensembles: a field of every network's result over one or two of the axes."""

from typing import Any

import numpy as np

from ..analysis import EnsembleResult
from ..refuse import arguments
from .drawable import text
from .marks import colour_bar, edges, heat_map, whole, without_number
from .page import picture
from .quantities import quantity
from .style import MARKERS, nothing, places_on_axis, shorter, style

MOST_NAMES = 6  # of an axis without numbers; of more, so many are written


@picture(EnsembleResult, made_by="tt.analysis.lyapunov_spectrum(ensemble)")
def ensemble(
    result: Any,
    ax: Any = None,
    *,
    name: Any = (),
    entry: Any = 0,
    over: Any = None,
    unit: str | None = None,
    label: str | None = None,
    index: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """One field of an `EnsembleResult` over one axis (a curve) or two (a map).

    result : the `EnsembleResult`. name : the field, () for results that are numbers. entry : which number of a field
    with axes of its own: an index or a tuple, by default the first. over : the axes to draw, one or two names; by
    default the first two that have several values and are not called "seed"; over the rest goes the mean, and the bars
    of a curve are one standard deviation over it, not a standard error. Of True and False the mean is the share of
    True, and the bars are its standard error, Wilson's, which does not vanish at 0 and 1. unit : words for the axis or
    the colour bar in place of the field's own. label, index : name, colour, marker and line style when several curves
    share the axes.
    options : of pcolormesh or errorbar. Values of both signs have colours centred at 0, with a black line around those
    below; cells without a finite number are hatched and counted at the colour bar; points of −inf are triangles at the
    lower edge. Returns {"curve": container, "edges": triangles, "legend"} or {"map": mesh, "bar": colour bar, "zero":
    lines or None, "legend"}. ax, legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> family = tt.Ensemble(lambda gain, seed: tt.Network("tanh", 1, 8, init=tt.init.gaussian(gain), seed=seed),
    ...                      {"gain": [0.5, 1.0, 2.0], "seed": [0, 1]})
    >>> found = tt.analysis.lyapunov_spectrum(family, steps=100, k=1, seed=0)
    >>> sorted(ensemble(found, ax=Figure().subplots(), name="exponents"))
    ['curve', 'edges', 'legend']
    """
    names = list(result.axes)
    values, words = _values(result, name, entry)
    shares = values.dtype == bool
    values = values.astype(np.float64)
    words = text("unit", unit) or words
    over = _over(over, result.axes)
    rest = [axis for axis in names if axis not in over]
    apart = [axis for axis in rest if len(result.axes[axis]) > 1]
    where = tuple(names.index(axis) for axis in rest)
    with np.errstate(invalid="ignore"):
        mean, scatter = (values.mean(axis=where), values.std(axis=where)) if where else (values, None)
    count = int(np.prod([len(result.axes[axis]) for axis in apart]))
    averaged = f"mean over {' and '.join(apart)} ({count} values)" if apart else ""
    if shares and where:
        scatter = _errors_of_share(mean, int(np.prod([len(result.axes[axis]) for axis in rest])))
    fixed = ", ".join(f"{axis} = {shorter(str(result.axes[axis][0]))}" for axis in rest if axis not in apart)
    if len(over) == 1:
        bars = f"{averaged}; bars: ± 1 standard {'error' if shares else 'deviation'}" if apart else fixed
        written = "; ".join(part for part in (label, bars) if part) or "one network at each point"
        return _curve(ax, result.axes, over[0], mean, scatter if apart else None, words, written, index, options)
    mean = mean if names.index(over[0]) < names.index(over[1]) else mean.T
    said = "; ".join(part for part in (averaged, fixed) if part)
    return _map(ax, result.axes, over, mean, words, said, options)


def _values(result: Any, name: Any, entry: Any) -> tuple[Any, str]:
    """The numbers, one for each network, and what they are."""
    if isinstance(name, tuple) and not name and result.fields:
        raise ValueError(
            f"Each of these results is {type(result.results[0]).__name__}: name the field to draw, `.plot("
            f'"{result.fields[0]}")`; there are {", ".join(result.fields)}.'
        )
    try:
        values = result[name]
    except (KeyError, TypeError) as error:
        raise ValueError(f"`name` is {name!r}; {error.args[0]}") from None
    own = values.shape[len(result.axes) :]
    if values.dtype.kind not in "iufb":
        raise ValueError(f"{name!r} is {values.dtype}, and a picture needs real numbers: draw their modulus.")
    if not own:
        return values, "share of True (no unit)" if values.dtype == bool and name == () else quantity(name)
    index = entry if isinstance(entry, tuple) else (entry,)
    index = (*index, *(0,) * (len(own) - len(index)))
    if len(index) > len(own):
        raise ValueError(f"`entry` is {arguments.kind(entry)}, but a {name!r} has the axes {own}: as many numbers.")
    checked = [arguments.step("entry", i, -n, n - 1) for i, n in zip(index, own, strict=True)]
    first, _, unit = quantity(name).rpartition(" (")
    return values[(..., *checked)], f"{first} [{', '.join(map(str, checked))}] ({unit}"


def _errors_of_share(share: Any, count: int) -> Any:
    """(2, …) one standard error below and above a share of `count`, after Wilson 1927: half a width at 0 and at 1."""
    middle = (share + 0.5 / count) / (1.0 + 1.0 / count)
    half = np.sqrt(share * (1.0 - share) / count + 0.25 / count**2) / (1.0 + 1.0 / count)
    return np.stack([np.maximum(share - (middle - half), 0.0), np.maximum(middle + half - share, 0.0)])


def _over(over: Any, axes: dict[str, list]) -> list[str]:
    names = list(axes)
    if over is None:
        return [axis for axis in names if axis != "seed" and len(axes[axis]) > 1][:2] or names[:1]
    found = [over] if isinstance(over, str) else list(over) if isinstance(over, (list, tuple)) else [over]
    known = all(isinstance(axis, str) and axis in names for axis in found)
    if len(found) not in (1, 2) or not known or len(set(found)) < len(found):
        raise ValueError(
            f"`over` is {arguments.kind(over)}; expected one or two of the axes, which are {', '.join(names)}."
        )
    return found


def _curve(
    ax: Any, axes: Any, over: str, mean: Any, scatter: Any, words: str, label: str, index: int, options: Any
) -> dict[str, Any]:
    place, named = places_on_axis(axes[over])
    order = np.argsort(place)
    place, mean = place[order], mean[order]
    shown = np.isfinite(mean)
    bars = None if scatter is None else np.where(np.isfinite(scatter), scatter, 0.0)[..., order][..., shown]
    look = {"marker": MARKERS[index % len(MARKERS)], "markersize": 3.5, "capsize": 1.5, "linewidth": 1.2}
    look |= {"elinewidth": 0.9, **style(index), "label": label} | options
    try:
        curve = ax.errorbar(place[shown], mean[shown], yerr=bars, **look)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"errorbar does not take these options: {error}.") from None
    if bars is not None:
        for line in curve.lines[2]:
            line.set_linestyle("solid")
    marks = edges(ax, place, mean, look["color"])
    ax.set_ylabel(words)
    ax.set_xlabel(over)
    _ticks(ax.xaxis, place, named)
    found = {"curve": curve, "edges": marks}
    return found if shown.any() or marks else found | {"note": nothing(ax, "NaN for every network")}


def _map(ax: Any, axes: Any, over: list[str], mean: Any, words: str, said: str, options: Any) -> dict[str, Any]:
    (x, x_names), (y, y_names) = (places_on_axis(axes[axis]) for axis in over)
    across, up = np.argsort(x), np.argsort(y)
    values = mean[np.ix_(across, up)].T
    try:
        mesh, zero = heat_map(ax, x[across], y[up], values, **options)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"pcolormesh does not take these options: {error}.") from None
    black = "; black line: 0" if zero is not None else ""
    first, _, unit = words.rpartition(")")
    more = f"{said and '; ' + said}{black}{without_number(values)}"
    bar = colour_bar(ax, mesh, f"{first}{more}){unit}" if first else f"{words}{more}")
    ax.set_xlabel(over[0])
    ax.set_ylabel(over[1])
    _ticks(ax.xaxis, x, x_names)
    _ticks(ax.yaxis, y, y_names)
    found = {"map": mesh, "bar": bar, "zero": zero}
    return found if np.isfinite(values).any() else found | {"note": nothing(ax, "no finite number")}


def _ticks(axis: Any, place: Any, named: Any) -> None:
    """Names where the values have names, whole numbers where they are whole."""
    if named is not None:
        step = -(-len(place) // MOST_NAMES)
        longest = max(len(named[i]) for i in place[::step])
        turned = 30 if axis.axis_name == "x" and longest * len(place[::step]) > 36 else 0
        axis.set_ticks(place[::step], [named[i] for i in place[::step]])
        axis.set_tick_params(rotation=turned)
        if turned:
            for tick in axis.get_ticklabels():
                tick.set(ha="right", rotation_mode="anchor")
    elif (place == np.rint(place)).all():
        whole(axis)
