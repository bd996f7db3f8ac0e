"""Pictures of families of models while they learn: a column of their histories, step by step."""

from typing import Any

import numpy as np

from ..refuse import arguments
from ..training.family_history import FamilyHistory
from ..training.trained_family import TrainedFamily
from .marks import curve
from .page import picture
from .quantities import quantity
from .style import nothing, shorter


@picture(FamilyHistory, TrainedFamily, made_by="tt.training.fit(family, batches, loss, optimiser, steps=…)")
def learning_curves(
    history: Any, ax: Any = None, *, name: str = "loss", over: str | None = None, index: int = 0
) -> dict[str, Any]:
    """A column of the histories of a family of models, step by step, a curve for each value of one axis.

    history : from a `TrainedFamily`, or its `.history`. name : the column, "loss", "norm", "validation" or what else
    was measured, one number a time. over : the axis whose values have curves; by default the first one with several
    values that is not called "seed". A curve is the median over all other axes of the models that have a finite number
    there; of three or more models the band goes from the lower to the upper quartile. index : colour and line style of
    the first curve. Logarithmic where all are above 0. Returns {"curves": lines, "bands": areas, "edges": triangles,
    "legend"}. ax, legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> task = tt.tasks.Adding(length=5)
    >>> def make(units, seed):
    ...     net = tt.Network("gru", task.inputs, units, seed=seed)
    ...     return tt.models.Chain([net, tt.models.last, tt.models.Readout(units, task.outputs, seed=seed)])
    >>> family = tt.Ensemble(make, {"units": [2, 8], "seed": range(3)})
    >>> trained = tt.training.fit(
    ...     family, lambda seed: task.batches(8, seed=seed), task.loss, tt.training.Adam(0.01), steps=20)
    >>> [line.get_label() for line in learning_curves(trained, ax=Figure().subplots())["curves"]]
    ['units = 2; median over seed (3 models); band: quartiles', 'units = 8']
    """
    history = history.history if isinstance(history, TrainedFamily) else history
    try:
        values, steps = np.asarray(history[name], np.float64), history.at(name)
    except (KeyError, ValueError) as error:
        raise ValueError(f"`name` is {arguments.kind(name)}; {error.args[0]}") from None
    axes = history.axes
    if values.ndim != len(axes) + 1:
        raise ValueError(f"{name!r} is an array each time it was measured; draw it from `history[{name!r}]`.")
    over = _axis(over, axes)
    place = 0 if over is None else list(axes).index(over)
    rest = [axis for axis in axes if axis != over and len(axes[axis]) > 1]
    each = np.moveaxis(values, place, 0).reshape(len(axes[over]) if over else 1, -1, len(steps))
    models = each.shape[1]
    known = values[np.isfinite(values)]
    log = bool(known.size and (known > 0).all())
    if log:
        ax.set_yscale("log")
    curves, bands, marks = [], [], []
    for k, own in enumerate(each):
        low, middle, high = _quartiles(own)
        words = f"{over} = {shorter(_text(axes[over][k]))}" if over else ""
        if k == 0 and models > 1:
            band = "; band: quartiles" if models > 2 else ""
            words += f"{words and '; '}median over {' and '.join(rest)} ({models} models){band}"
        line, more = curve(ax, steps, middle, words or "one model", index + k, log=log)
        curves.append(line)
        marks += more
        if models > 2:
            bands.append(ax.fill_between(steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0.0, zorder=0))
    ax.set_xlabel("step of the optimiser (number)")
    ax.set_ylabel(quantity(name))
    found = {"curves": curves, "bands": bands, "edges": marks}
    return found if known.size else found | {"note": nothing(ax, "no finite number")}


def _axis(over: Any, axes: dict[str, list]) -> str | None:
    several = [axis for axis in axes if len(axes[axis]) > 1]
    if over is None:
        return next((axis for axis in several if axis != "seed"), None)
    if over not in axes:
        raise ValueError(f"`over` is {arguments.kind(over)}; expected one of the axes, which are {', '.join(axes)}.")
    return over


def _quartiles(values: Any) -> Any:
    """(3, n): lower quartile, median and upper one of the finite numbers at each step; NaN where there are none."""
    found = np.full((3, values.shape[1]), np.nan)
    finite = np.isfinite(values)
    for step in range(values.shape[1]):
        if finite[:, step].any():
            found[:, step] = np.quantile(values[finite[:, step], step], [0.25, 0.5, 0.75])
    return found


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
