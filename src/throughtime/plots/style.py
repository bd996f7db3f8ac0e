"""How curves are told apart."""

from typing import Any

import numpy as np

from ..engine.blas import single_blas
from ..refuse.expected import checking

COLOURS = ("#000000", "#0072B2", "#E69F00", "#D55E00", "#56B4E9", "#009E73")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")


@checking
@single_blas
def style(index: int) -> dict[str, Any]:
    """Colour and line style of the index-th curve of a picture; no two of the first 36 agree in both.

    index : 0, 1, …; TypeError for what is no whole number.

    >>> style(0)["color"]
    '#000000'
    """
    count = len(COLOURS)
    return {"color": COLOURS[index % count], "linestyle": STYLES[(index + index // count) % len(STYLES)]}


def nothing(ax: Any, why: str) -> Any:
    """Say on the page why there is nothing to draw; the text."""
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in ax.lines if line.get_zorder() >= 1]
    if not any(np.isfinite(line).any() for line in lines) and not ax.images and not ax.collections and not ax.patches:
        ax.set_ylim(0.0, 1.0, auto=None)  # in place of limits around nothing
    return ax.text(0.5, 0.5, why, transform=ax.transAxes, ha="center", va="center", color="0.4", fontsize=8)


def signed(value: float, digits: int) -> str:
    """A number with a minus sign, not a hyphen.

    >>> signed(-0.5, 3)
    '−0.5'
    """
    return f"{value:.{digits}g}".replace("-", "−")


def places_on_axis(values: Any) -> tuple[Any, Any]:
    """Where the values of an axis stand, and their names if they are no numbers, or not all of them different."""
    array = np.asarray(values) if all(np.ndim(value) == 0 for value in values) else np.empty(0, object)
    if array.dtype.kind in "fiu" and np.isfinite(array).all() and len(np.unique(array)) == len(array):
        return array, None
    return np.arange(len(values)), [shorter(str(value)) for value in values]


def shorter(words: str, most: int = 16) -> str:
    """A long name with its middle left out.

    >>> shorter("weight_hh_l0_reverse", 12)
    'weight…verse'
    """
    return words if len(words) <= most else f"{words[: most // 2]}…{words[-(most - most // 2 - 1) :]}"
