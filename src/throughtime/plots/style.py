"""How curves are told apart, and the axes to draw on."""

from typing import Any

import numpy as np
from matplotlib import pyplot

COLOURS = ("#000000", "#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")


def style(index: int) -> dict[str, Any]:
    """Colour and line style of the index-th curve of a picture.

    >>> style(0)["color"]
    '#000000'
    """
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)]}


def axes_(ax: Any) -> Any:
    return pyplot.subplots(layout="constrained")[1] if ax is None else ax


def nothing(ax: Any, why: str) -> Any:
    """Say on the page why there is nothing to draw; the text."""
    return ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color="0.4")


def places_on_axis(values: Any) -> tuple[Any, Any]:
    """Where the values of an axis stand, and their names if they are no numbers."""
    array = np.asarray(values)
    return (array, None) if array.dtype.kind in "fiu" else (np.arange(len(values)), [str(value) for value in values])
