"""Words on a picture: labels that fit their axes, and a legend that hides no data."""

import re
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerPatch
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.text import Text

SMALLEST = 7.0  # points
EDGE = "edge"  # gid of the triangles at the edges of the axes
CORNERS = {"upper right": (1, 1), "upper left": (0, 1), "lower right": (1, 0), "lower left": (0, 0)}
SIDES = {"center right": (1, 0.5), "upper center": (0.5, 1), "center left": (0, 0.5), "lower center": (0.5, 0)}


def remark(ax: Axes, words: str) -> None:
    """Say in the legend what is not drawn, or what a bar means: a line of text without a handle."""
    if words not in [line.get_label() for line in ax.lines]:
        ax.add_line(Line2D([], [], linestyle="none", label=words))


def fit(ax: Axes, bar: Any = None) -> bool:
    """Room for the triangles at the edges; labels longer than their axes broken in two, and if need be made smaller;
    whether any was."""
    _strips(ax)
    changed = _fit(ax.xaxis.label, ax.bbox.width, 0) | _fit(ax.yaxis.label, ax.bbox.height, 1)
    return changed | (bar is not None and _fit(bar.ax.yaxis.label, bar.ax.bbox.height, 1))


def _fit(label: Text, room: float, along: int) -> bool:
    def length() -> float:
        box = label.get_window_extent()
        return box.height if along else box.width

    words = label.get_text()
    if not words or length() <= room:
        return False
    if "\n" not in words:
        tried = []
        for cut in [match.start() for match in re.finditer(" ", words) if words.count("$", 0, match.start()) % 2 == 0]:
            label.set_text(f"{words[:cut]}\n{words[cut + 1 :]}")
            before_unit = words[cut + 1] == "(" and length() <= room
            tried.append((not before_unit, length(), label.get_text()))
        label.set_text(min(tried)[2] if tried else words)
    if length() > room:
        size = float(label.get_fontsize())
        label.set_fontsize(max(min(SMALLEST, size), size * room / length()))
    return True


def tick_size(ax: Axes) -> float:
    """Size of the letters at the ticks, points."""
    ticks = ax.yaxis.get_ticklabels()
    return float(ticks[0].get_fontsize()) if ticks else SMALLEST


def legend(ax: Axes) -> Legend | None:
    """The legend of everything on the axes that has a name: where it hides no data, and if nowhere, in room made above.

    Letters of at least seven points, as large as those of the ticks where there is room for them.
    """
    handles, names = ax.get_legend_handles_labels()
    if not handles:
        return None
    size = max(SMALLEST, tick_size(ax))
    look: dict[str, Any] = {
        "handlelength": 1.8, "handletextpad": 0.5, "labelspacing": 0.25, "borderpad": 0.2, "columnspacing": 0.8,
        "borderaxespad": 0.4, "frameon": True, "framealpha": 0.8, "edgecolor": "none", "facecolor": "white",
        "handler_map": {Circle: HandlerPatch(patch_func=_round)},
    }  # fmt: skip
    room = 0.96 * ax.bbox.width
    # letters are about half as wide as high; the last tries are for what is wider, on axes that are narrower
    for points, wide in ((size, 0.46), (size, 0.53), (SMALLEST, 0.46), (SMALLEST, 0.53), (SMALLEST, 0.7)):
        limit = int((72.0 * room / ax.figure.dpi - 3.5 * points) / (wide * points))
        folded = [fold(name, max(limit, 12)) for name in names]
        for columns in (3, 2, 1) if len(names) > 3 else (1,):
            found = ax.legend(handles, folded, fontsize=points, ncols=columns, loc="upper right", **look)
            width, height = _size(found, ax)
            if width <= 0.96:
                break
        if width <= 0.96 and height <= 0.4:
            break
    found.set_loc(_free(ax, width, height))
    return found


def _round(width: float, height: float, **_: Any) -> Circle:
    """A circle in the legend is a small circle."""
    return Circle((0.5 * width, 0.5 * height), 0.5 * height)


def fold(words: str, limit: int) -> str:
    """Break a text into lines of at most about `limit` letters, between words and never inside a formula.

    >>> fold("mean over seed and noise", 15)
    'mean over seed\\nand noise'
    """
    pieces = re.findall(r"(?:\$[^$]*\$|[^ $])+", words)
    lines = _lines(pieces, limit)
    for shorter in range(limit - 1, limit // 2, -1):  # as many lines, of more equal length
        if len(_lines(pieces, shorter)) > len(lines):
            break
        lines = _lines(pieces, shorter)
    return "\n".join(lines)


def _lines(pieces: list[str], limit: int) -> list[str]:
    lines = [""]
    for word in pieces:
        if lines[-1] and _letters(lines[-1]) + 1 + _letters(word) > limit:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _letters(words: str) -> int:
    """How many letters are seen of a text: a command of a formula shows one, a brace none."""
    return len(re.sub(r"[{}_^$]|\\[;,!]", "", re.sub(r"\\[A-Za-z]+", "x", words)))


def _size(found: Legend, ax: Axes) -> tuple[float, float]:
    box = found.get_window_extent()
    return box.width / ax.bbox.width, box.height / ax.bbox.height


def _free(ax: Axes, width: float, height: float) -> Any:
    """The corner, or else the middle of a side, where a box of that size hides nothing; failing that, room above."""
    pad = 0.4 * SMALLEST * ax.figure.dpi / 72.0
    width, height = width + 2.0 * pad / ax.bbox.width, height + 2.0 * pad / ax.bbox.height
    ink = _ink(ax)
    hidden = {}
    for name, (x, y) in (CORNERS | SIDES).items():
        low = np.array([x * (1.0 - width), y * (1.0 - height)])
        hidden[name] = int(((ink >= low) & (ink <= low + [width, height])).all(axis=1).sum())
    best = min(hidden, key=lambda name: hidden[name])
    if hidden[best] and ax.get_autoscaley_on():
        _stretch(ax, 0.0, 1.0 - (1.0 - min(height, 0.7)) / min(ink[:, 1].max(), 1.0))  # what is drawn ends below it
        return "upper left"
    return best


def _strips(ax: Axes) -> None:
    """Keep the data away from the triangles at the lower and the upper edge, and rounding from filling the page."""
    ax.autoscale_view(scalex=False)
    low, high = ax.get_ylim()
    if ax.get_autoscaley_on() and abs(high - low) < 1e-6 * abs(high + low):  # a constant but for rounding
        linear = ax.get_yscale() == "linear"
        ax.set_ylim(
            low - 0.05 * abs(low) if linear else 0.5 * low, high + 0.05 * abs(high) if linear else 2.0 * high, auto=None
        )
    heights = [float(np.asarray(line.get_ydata())[0]) for line in ax.lines if line.get_gid() == EDGE]
    if ax.get_autoscaley_on():
        _stretch(ax, 0.04 * any(y < 0.5 for y in heights), 0.04 * any(y > 0.5 for y in heights))


def _stretch(ax: Axes, below: float, above: float) -> None:
    """Limits of y such that these fractions of the axes are empty below and above; they still follow new data."""
    if (below or above) and ax.get_aspect() == 1.0:  # of equal axes, whose limits follow the data alone
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        ax.update_datalim([(0.5 * (left + right), low + (high - low) / (1.0 - above))])
        ax.autoscale_view()
    elif below or above:
        scale = ax.yaxis.get_transform()
        low, high = scale.transform(np.array(ax.get_ylim()))
        unit = (high - low) / (1.0 - below - above)
        limits = scale.inverted().transform(np.array([low - below * unit, high + above * unit]))
        ax.set_ylim(float(limits[0]), float(limits[1]), auto=None)


def _ink(ax: Axes) -> Any:
    """Points (n, 2) of what is drawn, in fractions of the axes; lines behind the data (zorder below 1) do not count."""
    ax.apply_aspect()
    points = [np.empty((0, 2))]
    for line in ax.lines:
        corners = np.asarray(line.get_xydata())
        if line.get_zorder() >= 1 and len(corners):
            points.append(_between(line.get_transform().transform(corners)))
    for collection in ax.collections:
        if isinstance(collection, QuadMesh) or collection.get_zorder() < 1:
            continue
        if isinstance(collection, PathCollection):
            points.append(collection.get_offset_transform().transform(np.asarray(collection.get_offsets())))
        else:
            points += [_between(collection.get_transform().transform(p.vertices)) for p in collection.get_paths()]
    for patch in ax.patches:
        if patch.get_zorder() >= 1:
            box = patch.get_path().interpolated(20).vertices
            points.append(patch.get_transform().transform(box))
    found = np.concatenate(points)
    return ax.transAxes.inverted().transform(found[np.isfinite(found).all(axis=1)])


def _between(corners: Any) -> Any:
    """The corners of a line, and of a short one points between them."""
    if len(corners) > 500 or len(corners) < 2:
        return corners
    part = np.linspace(0.0, 1.0, 20)[:, None, None]
    return (corners[:-1] * (1.0 - part) + corners[1:] * part).reshape(-1, 2)
