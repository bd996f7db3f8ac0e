"""Picture of attention: where in its source a model looked for each token that it wrote."""

from typing import Any

import numpy as np

from ..models.writer import Generated
from ..refuse import arguments
from .drawable import numbers, sequence_of
from .legends import remark
from .marks import colour_bar, tick_size, whole
from .page import lay_out, picture
from .style import nothing, shorter

MADE = "tt.models.generate(model, start, steps, source=source)"
LINE = 1.4  # of the size of its letters, that a name along an axis takes


@picture(Generated, made_by=MADE, arrays=True)
def attention(
    weights: Any, ax: Any = None, *, source: Any = None, target: Any = None, sequence: int = 0, colour_bar: bool = True
) -> dict[str, Any]:
    """A map of attention's weights: a row for each step of the output, a column for each entry of the source.

    weights : a `Generated`, or the weights themselves, (T, S) or (T, B, S), of which `sequence` is drawn. source,
    target : names of the entries and of the steps, as many or fewer: the first so many are drawn; numbers where None.
    colour_bar : whether to draw one. White is 0 and black 1. Returns {"image": image, "bar": colour bar or None,
    "legend"}. ax, legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> from matplotlib.figure import Figure
    >>> found = attention(np.eye(3), ax=Figure().subplots(), source=["one", "two", "three"], target="123")
    >>> found["image"].get_array().shape
    (3, 3)
    """
    given = weights.attention_weights if isinstance(weights, Generated) else weights
    if given is None:
        raise ValueError("`weights` are of a model without attention: there is nothing to draw.")
    found = numbers("weights", given)
    if found.ndim not in (2, 3) or found.dtype.kind not in "iuf":
        raise ValueError(f"`weights` has shape {found.shape}; expected real numbers (T, S), or (T, B, S) of a batch.")
    found = found if found.ndim == 3 else found[:, None]
    found = found[:, sequence_of(sequence, found.shape[1])]
    names = [_names(name, own) for name, own in (("target", target), ("source", source))]
    rows, columns = (n if own is None else min(n, len(own)) for n, own in zip(found.shape, names, strict=True))
    found = np.asarray(found[:rows, :columns], float)
    ax.set_xlabel("entry of the source (number)" if names[1] is None else "source, token by token (no unit)")
    ax.set_ylabel("step of the output (number)" if names[0] is None else "output, token by token (no unit)")
    drawn = arguments.flag("colour_bar", colour_bar)
    if not found.size:
        return {"image": None, "bar": None, "note": nothing(ax, "no weights")}
    image = ax.imshow(found, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    if (missing := int(np.isnan(found).sum())) > 0:
        remark(ax, f"NaN: {missing} weights, white")
    bar = _bar(ax, image, "weight (no unit)") if drawn else None
    lay_out(ax)
    box, points = ax.get_window_extent(), LINE * tick_size(ax) * ax.figure.canvas.figure.dpi / 72
    for axis, own, count, room in ((ax.yaxis, names[0], rows, box.height), (ax.xaxis, names[1], columns, box.width)):
        if own is None:
            whole(axis)
            continue
        every = max(1, int(np.ceil(count * points / room)))
        axis.set_ticks(range(0, count, every), own[:count:every], rotation=90 if axis is ax.xaxis else 0)
    return {"image": image, "bar": bar}


_bar = colour_bar  # the option of that name hides the function


def _names(name: str, given: Any) -> list[str] | None:
    """Names along an axis, short enough to stand there; None for numbers."""
    if given is None:
        return None
    try:
        found = list(given)
    except Exception as error:  # TypeError, or what an object of another library raises
        raise TypeError(f"`{name}` is no row of names; expected words, or a text of letters.") from error
    if not all(isinstance(own, (str, int, np.integer)) and not isinstance(own, bool) for own in found):
        raise TypeError(f"`{name}` holds something else than names; expected words, letters, or whole numbers.")
    return [shorter(str(own), 10) for own in found]
