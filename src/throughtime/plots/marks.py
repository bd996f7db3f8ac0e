"""The marks that pictures are made of: curves that hide no infinity, maps with their colours explained, whole ticks."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import CenteredNorm
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator, ScalarFormatter, StrMethodFormatter

from .legends import EDGE, SMALLEST, remark, tick_size
from .style import MARKERS, style

WHOLE = "whole"  # gid of a logarithmic axis of whole numbers
FEW = 12  # points up to which each has a marker


def curve(
    ax: Axes, x: Any, y: Any, label: str, index: int, *, log: bool = False, whose: str = "", **look: Any
) -> tuple[Any, list[Any]]:
    """A line through the finite numbers, and the marks at the edge of those that have no place (see `edges`).

    Few points all have markers, of many those without neighbours. log : of a logarithmic axis, on which only positive
    numbers have a place. whose : a word for the remark on NaN, where there are several curves.
    """
    x, y = np.asarray(x), np.asarray(y, dtype=np.float64)
    shown = np.isfinite(y) & ((y > 0.0) | (not log))
    near = np.zeros(len(y) + 2, dtype=bool)
    near[1:-1] = shown
    marked = shown & ((shown.sum() <= FEW) | ~(near[:-2] | near[2:]))
    look = {"linewidth": 1.4, "markersize": 3.5, **style(index), **look}
    if marked.any():
        look = {"marker": MARKERS[index % len(MARKERS)], "markevery": np.flatnonzero(marked).tolist(), **look}
    (line,) = ax.plot(x, np.where(shown, y, np.nan), label=label, **look)
    return line, edges(ax, x, y, look["color"], log=log, whose=whose)


def edges(ax: Axes, x: Any, y: Any, colour: Any, *, log: bool = False, whose: str = "") -> list[Any]:
    """Triangles at the lower edge for −inf (on a logarithmic axis for 0 and less), at the upper for inf, and a remark
    on NaN: nothing is left out in silence. Returns the lines of triangles."""
    x, y = np.asarray(x), np.asarray(y, dtype=np.float64)
    found = []
    for where, mark, height, name in (
        ((y == 0.0) & log, "v", 0.03, "0"),
        ((y < 0.0) & log & (y != -np.inf), "v", 0.03, "below 0"),
        (y == -np.inf, "v", 0.03, "−inf"),
        (y == np.inf, "^", 0.97, "+inf"),
    ):
        if where.any():
            look = {"linestyle": "none", "marker": mark, "markersize": 4, "color": colour, "gid": EDGE}
            words = f"at the edge: {name} ({int(where.sum())} of {y.size})"
            place = np.full(int(where.sum()), height)
            found += ax.plot(x[where], place, transform=ax.get_xaxis_transform(), label=words, **look)
    if np.isnan(y).any():
        remark(ax, f"not drawn: {whose and whose + ' '}NaN ({int(np.isnan(y).sum())} of {y.size})")
    return found


def without_scale(ax: Axes) -> None:
    """No ticks up the side where all that is drawn lies at an edge: the numbers there would mean nothing."""
    heights: dict[bool, list[Any]] = {True: [], False: []}
    for line in ax.lines:
        if not str(line.get_label()).startswith("_"):
            heights[line.get_gid() == EDGE].append(np.asarray(line.get_ydata(), dtype=np.float64))
    if heights[True] and not any(np.isfinite(y).any() for y in heights[False]):
        ax.yaxis.set_major_locator(NullLocator())
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(NullFormatter())  # nor a power of ten above them


def border(ax: Axes, height: float, name: str) -> Any:
    """A thin horizontal line behind the data, to compare with, and its name at its right end."""
    line = ax.axhline(height, color="0.6", linewidth=0.8, zorder=0, label=f"_{name}")
    if name not in [text.get_text() for text in ax.texts]:
        place: dict[str, Any] = {
            "xycoords": ("axes fraction", "data"),
            "xytext": (2.5, 0.0),
            "textcoords": "offset points",
        }
        ax.annotate(name, (0.999, height), va="center", color="0.4", fontsize=SMALLEST, annotation_clip=True, **place)
    return line


def cells(values: Any) -> Any:
    """The borders (n+1,) of cells around ascending middles (n,); a single one is as wide as 1, or as its value."""
    middle = np.asarray(values, dtype=np.float64)
    if middle.size == 1:
        half = 0.5 if middle[0] == np.rint(middle[0]) else 0.5 * abs(middle[0])
        return np.array([middle[0] - half, middle[0] + half])
    inner = 0.5 * (middle[1:] + middle[:-1])
    return np.concatenate([[2 * middle[0] - inner[0]], inner, [2 * middle[-1] - inner[-1]]])


def heat_map(ax: Axes, x: Any, y: Any, values: Any, signed: bool = True, **options: Any) -> tuple[Any, Any]:
    """Coloured cells: values (len(y), len(x)) at the ascending middles x, y; and a line around those below 0.

    Values of both signs get colours centred at 0, blue below, grey at 0, yellow above, lighter as they rise; those of
    one sign, or with signed=False, go from light to dark. Cells without a finite number are hatched.
    """
    known = values[np.isfinite(values)]
    signed = signed and known.size > 0 and known.min() < 0.0 < known.max()
    look: dict[str, Any] = {"rasterized": True, "cmap": "cividis" if signed else "magma_r"}
    if signed and not {"norm", "vmin", "vmax"} & set(options):
        look["norm"] = CenteredNorm(0.0, float(np.abs(known).max()))
    look |= {name: value for name, value in options.items() if name != "shading"}
    mesh = ax.pcolormesh(cells(x), cells(y), np.ma.masked_invalid(values), **look)
    if known.size < values.size:
        hatch(ax)
    return mesh, _zero(ax, cells(x), cells(y), values) if signed else None


def hatch(ax: Axes) -> None:
    """Hatch what no cell of a map covers."""
    look: dict[str, Any] = {"fill": False, "hatch": "////", "edgecolor": "0.75", "linewidth": 0.0, "zorder": 0}
    ax.add_patch(Rectangle((0.0, 0.0), 1.0, 1.0, transform=ax.transAxes, **look))


def _zero(ax: Axes, x: Any, y: Any, values: Any) -> Any:
    """A black line between the cells below 0 and the others; (n+1,), (m+1,) are the borders of the cells."""
    side = np.where(np.isfinite(values), np.where(values < 0.0, -1.0, 1.0), np.nan)
    upright = [[(x[j + 1], y[i]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(side[:, 1:] * side[:, :-1] < 0.0)]
    across = [[(x[j], y[i + 1]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(side[1:] * side[:-1] < 0.0)]
    return ax.add_collection(LineCollection(upright + across, colors="black", linewidths=1.2), autolim=False)


def without_number(values: Any) -> str:
    """What the hatched cells of a map are, in words; nothing if there are none."""
    counts = {"NaN": np.isnan(values).sum(), "−inf": (values == -np.inf).sum(), "+inf": (values == np.inf).sum()}
    found = [f"{name} ({int(count)})" for name, count in counts.items() if count]
    return f"; hatched: {', '.join(found)}" if found else ""


def colour_bar(ax: Axes, image: Any, label: str, **options: Any) -> Any:
    """A colour bar with its quantity and unit, in the letters of the axes."""
    bar = ax.figure.colorbar(image, ax=ax, label=label, pad=0.02, **options)
    bar.ax.yaxis.label.set_fontsize(ax.yaxis.label.get_fontsize())
    bar.ax.tick_params(labelsize=tick_size(ax))
    bar.ax.yaxis.offsetText.set_fontsize(tick_size(ax))
    return bar


def whole(*axes: Any) -> None:
    """Ticks at whole numbers only, for time, lags, seeds, layers."""
    for axis in axes:
        axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def decades(*axes: Any) -> None:
    """Ticks of the logarithmic axes among these that neither crowd nor vanish: powers of ten, in a narrow range 1, 2,
    5, and where that is too few, as on a linear axis."""
    for axis in axes:
        if axis.get_scale() != "log":
            continue
        whole = axis.get_gid() == WHOLE
        low, high = np.log10(axis.get_view_interval())
        if high - low < 1e-9:  # one place: its limits are a rounding apart, and no tick lies between them
            low, high = low - 0.3, high + 0.3
            axis.set_view_interval(10.0**low, 10.0**high, ignore=True)
        axis.set_minor_formatter(NullFormatter())
        if high - low < 0.8:
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10], integer=whole, min_n_ticks=1))
            axis.set_minor_locator(LogLocator(subs=()))
            axis.set_major_formatter(ScalarFormatter())
        elif high - low < 3.0:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high - low < 2.0 else (1.0,)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
