"""Pictures of a training: the loss, and the norm of the gradient, step by step."""

from typing import Any

import numpy as np

from ..training.history import History
from ..training.in_progress import Trained
from .marks import curve
from .page import picture

MADE = "tt.training.fit(model, batches, loss, optimiser, steps=…)"


@picture(History, Trained, made_by=MADE)
def training_loss(history: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """The loss of every step of training, and that of validation, logarithmic where all of them are above 0.

    From a `History`, or what `fit` gives. label, index : name, colour and line style when several share the axes.
    Returns {"curves": lines, "edges": triangles, "legend"}. ax, legend, errors (TypeError, ValueError) : as in
    `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> monitor = tt.training.Monitor()
    >>> for loss in (1.0, 0.5, 0.3):
    ...     monitor(loss=loss)
    >>> training_loss(monitor.history, ax=Figure().subplots())["curves"][0].get_ydata()
    array([1. , 0.5, 0.3])
    """
    return _draw(_history(history), ax, ("loss", "validation"), "loss (unit of the loss)", label, index)


@picture(History, Trained, made_by=MADE)
def training_norm(history: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """The norm of the gradient at every step of training, before and, where anything was clipped, after clipping.

    From a `History`, or what `fit` gives; logarithmic where all are above 0. label, index : name, colour and line style
    when several share the axes. Returns {"curves": lines, "edges": triangles, "legend"}. ax, legend, errors (TypeError,
    ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> monitor = tt.training.Monitor()
    >>> for norm in (2.0, 1.0):
    ...     monitor(norm=norm)
    >>> training_norm(monitor.history, ax=Figure().subplots())["curves"][0].get_ydata()
    array([2., 1.])
    """
    found = _history(history)
    names = ("norm", "clipped_norm") if found.clipped_share > 0 else ("norm",)
    return _draw(found, ax, names, r"norm of the gradient (unit of the loss)", label, index)


_NAMES = {"loss": "training", "validation": "validation", "norm": "before clipping", "clipped_norm": "after clipping"}


def _history(given: Any) -> History:
    return given.history if isinstance(given, Trained) else given


def _draw(
    history: History, ax: Any, names: tuple[str, ...], axis: str, label: str | None, index: int
) -> dict[str, Any]:
    columns = {name: np.asarray(history[name], np.float64) for name in names if name in history}
    finite = np.concatenate([values[np.isfinite(values)].ravel() for values in columns.values()])
    log = bool(finite.size and (finite > 0).all())
    if log:
        ax.set_yscale("log")
    curves, marks = [], []
    for number, (name, values) in enumerate(columns.items()):
        text = f"{label}: {_NAMES[name]}" if label else _NAMES[name]
        line, more = curve(ax, history.at(name), values, text, index + number, log=log, whose=_NAMES[name])
        curves.append(line)
        marks += more
    ax.set_xlabel("step of the optimiser (number)")
    ax.set_ylabel(axis)
    return {"curves": curves, "edges": marks}
