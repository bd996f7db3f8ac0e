"""Pictures of a training: the loss, and the norm of the gradient, step by step."""

from typing import Any

import numpy as np

from ..refuse import arguments
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


@picture(History, Trained, made_by=MADE)
def training_measured(
    history: Any, ax: Any = None, *, name: str | None = None, label: str | None = None, index: int = 0
) -> dict[str, Any]:
    """What a monitor measured while a model learned: exponent, horizon, saturated gates, or a column of your own.

    From a `History`, or what `fit` gives. name : of the column, by default the first that was measured; one number, or
    a few, each time. Of "saturation" each gate has two curves, means over layers. label, index : name, colour and line
    style when several share the axes. Returns {"curves": lines, "edges": triangles, "legend"}. ValueError where nothing
    was measured, and for more than 8 numbers a time. ax, legend, errors (TypeError, ValueError) : as in
    `throughtime.plots`.

    >>> import numpy as np, throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> net = tt.Network("gru", 2, 8, seed=0)
    >>> monitor = tt.training.Monitor(every=1, probe=np.ones((50, 4, 2)), measure=["horizon"])
    >>> for loss in (1.0, 0.5):
    ...     monitor(net, loss=loss)
    >>> len(training_measured(monitor.history, ax=Figure().subplots())["curves"])
    1
    """
    found = _history(history)
    if not found.measured:
        raise ValueError(
            "Nothing was measured in this history; pass `monitor=tt.training.Monitor(probe=x, measure=[…])` to `fit`."
        )
    name = next(iter(found.measured)) if name is None else arguments.known("measured column", name, found.measured)
    curves, marks, steps, kind = [], [], found.at(name), name.rpartition(".")[2]
    for number, (text, values) in enumerate(_series(name, kind, np.asarray(found[name], np.float64))):
        text = f"{label}: {text}" if label else text
        line, more = curve(ax, steps, values, text, index + number, whose=text)
        curves.append(line)
        marks += more
    ax.set_xlabel("step of the optimiser (number)")
    ax.set_ylabel(_MEASURED.get(kind, "what was measured (unit of the column)"))
    return {"curves": curves, "edges": marks}


def _series(name: str, kind: str, values: Any) -> list[tuple[str, Any]]:
    """Names and numbers of the curves of a column."""
    if kind == "saturation" and values.ndim == 4 and values.shape[2] in _GATES:
        gates = enumerate(_GATES[values.shape[2]])
        means = values.mean(axis=1)
        return [(f"{gate} {way}", means[:, g, s]) for g, gate in gates for s, way in enumerate(("< 0.1", "> 0.9"))]
    flat = values.reshape(len(values), -1)
    if flat.shape[1] > MOST:
        raise ValueError(
            f"The column {name} has {flat.shape[1]} numbers at each time; a picture shows up to {MOST}: draw "
            f"`history[{name!r}]` with `history.at({name!r})` yourself."
        )
    return [(name if flat.shape[1] == 1 else f"{name}[{k}]", flat[:, k]) for k in range(flat.shape[1])]


MOST = 8
_GATES = {3: ("input", "forget", "output"), 2: ("reset", "update")}  # of an LSTM and a GRU
_MEASURED = {
    "exponent": "largest Lyapunov exponent (nats per time step)",
    "horizon": "gradient horizon (time steps)",
    "saturation": "share of units and steps (no unit)",
}
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
