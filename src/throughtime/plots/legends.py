"""Words on a picture: labels that fit their axes, and a legend that hides no data."""

import re
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text

SMALLEST = 7.0  # points
CORNERS = {"upper right": (1, 1), "upper left": (0, 1), "lower right": (1, 0), "lower left": (0, 0)}
SIDES = {"center right": (1, 0.5), "upper center": (0.5, 1), "center left": (0, 0.5), "lower center": (0.5, 0)}


def remark(ax: Axes, words: str) -> None:
    """Say in the legend what is not drawn, or what a bar means: a line of text without a handle."""
    if words not in [line.get_label() for line in ax.lines]:
        ax.add_line(Line2D([], [], linestyle="none", label=words))


def fit(ax: Axes, *, room: float = 1.1) -> None:
    """Break the axis labels in two, and make them smaller, where they are longer than `room` axes."""
    _fit(ax.xaxis.label, room * ax.bbox.width, 0)
    _fit(ax.yaxis.label, room * ax.bbox.height, 1)


def fit_bar(bar: Any) -> None:
    """The same for a colour bar."""
    _fit(bar.ax.yaxis.label, 1.1 * bar.ax.bbox.height, 1)


def _fit(label: Text, room: float, along: int) -> None:
    def length() -> float:
        box = label.get_window_extent()
        return box.height if along else box.width

    words = label.get_text()
    if not words or length() <= room:
        return
    if "\n" not in words:
        tried = []
        for cut in [match.start() for match in re.finditer(" ", words) if words.count("$", 0, match.start()) % 2 == 0]:
            label.set_text(f"{words[:cut]}\n{words[cut + 1 :]}")
            tried.append((length(), label.get_text()))
        label.set_text(min(tried)[1] if tried else words)
    if length() > room:
        size = float(label.get_fontsize())
        label.set_fontsize(max(min(SMALLEST, size), size * room / length()))


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
    }  # fmt: skip
    room = 0.96 * ax.bbox.width
    for points in (size, SMALLEST):
        limit = int((72.0 * room / ax.figure.dpi - 3.5 * points) / (0.5 * points))
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


def fold(words: str, limit: int) -> str:
    """Break a text into lines of at most about `limit` letters, between words and never inside a formula.

    >>> fold("mean over seed and noise", 15)
    'mean over seed\\nand noise'
    """
    lines = [""]
    for word in re.findall(r"(?:\$[^$]*\$|[^ $])+", words):
        if lines[-1] and _letters(lines[-1]) + 1 + _letters(word) > limit:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


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
        scale = ax.yaxis.get_transform()
        low, high = scale.transform(np.array(ax.get_ylim()))
        top = low + (high - low) / (1.0 - min(height, 0.7))
        ax.set_ylim(top=float(scale.inverted().transform(np.array([top]))[0]), auto=None)
        return "upper left"
    return best


def _ink(ax: Axes) -> Any:
    """Points (n, 2) of what is drawn, in fractions of the axes; lines behind the data (zorder below 1) do not count."""
    ax.autoscale_view()
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
