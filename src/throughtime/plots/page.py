"""The one decorator above every picture: it checks what is given, finds the axes, and names what is on them."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes

from ..engine.blas import single_blas
from ..refuse import arguments
from .drawable import bound, in_words, kind
from .legends import fit, legend
from .marks import decades, without_scale

WIDTH, HEIGHT = 3.4, 2.6  # inches: a column of a two-column journal
LABEL, TICK = 8.0, 7.0  # points, printed at that width


def picture(*kinds: type, made_by: str, arrays: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Turn draw(result, ax, …) into a picture: arguments checked, axes found or made, a legend of all that is on them.
    What it cannot draw is said in words, and BLAS is held to one thread.

    kinds : the classes that it draws. made_by : the call that gives one. arrays : whether numbers will do as well.
    """

    def decorate(draw: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        plain = inspect.signature(draw)
        names = list(plain.parameters.values())
        place = next((i for i, p in enumerate(names) if p.kind is p.VAR_KEYWORD), len(names))
        extra = inspect.Parameter("legend", inspect.Parameter.KEYWORD_ONLY, default=True, annotation=bool)
        signature = plain.replace(parameters=[*names[:place], extra, *names[place:]])

        @wraps(draw)
        def call(*given: Any, **options: Any) -> dict[str, Any]:
            there = bound(signature, given, options)
            named = arguments.flag("legend", there.arguments.pop("legend"))
            kind(draw.__name__, *next(iter(there.arguments.items())), kinds, made_by, arrays)
            own = there.arguments["ax"] is None
            ax = there.arguments["ax"] = axes_(there.arguments["ax"])
            try:
                found = draw(*there.args, **there.kwargs)
            except BaseException:
                if own:  # no empty window is left behind
                    pyplot.close(ax.figure)
                raise
            lay_out(ax)
            if fit(ax, found.get("bar")):
                lay_out(ax)
            words = legend(ax) if named else None
            decades(ax.xaxis, ax.yaxis)
            without_scale(ax)
            return found | {"legend": words}

        call.__signature__ = signature  # type: ignore[attr-defined]
        return in_words(single_blas(call))  # the threads of BLAS would spin on

    return decorate


def lay_out(ax: Any) -> None:
    """Give the axes the size that they will have, so that words can be measured against it."""
    figure = ax.figure.canvas.figure  # of a subfigure's axes, the whole
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def axes_(ax: Any) -> Any:
    """The axes given, or new ones in a figure of pyplot, one column wide."""
    if ax is None:
        ax = pyplot.subplots(figsize=(WIDTH, HEIGHT), dpi=200, layout="constrained")[1]
        ax.tick_params(labelsize=TICK)
        for axis in (ax.xaxis, ax.yaxis):
            axis.label.set_fontsize(LABEL)
            axis.offsetText.set_fontsize(TICK)
        return ax
    if isinstance(ax, Axes) and ax.name == "rectilinear":
        return ax
    hint = "pass one, such as `ax=pyplot.gca()`, or leave `ax` out for a new figure"
    if isinstance(ax, (np.ndarray, list, tuple, dict)):
        hint = "pass one of them, such as `ax=axes[0]`"
    elif isinstance(ax, Axes):
        raise TypeError(f"`ax` has the projection {ax.name!r}; expected plain axes of x and y: {hint}.")
    elif hasattr(ax, "subplots"):
        hint = "pass axes of it, `ax=figure.subplots()`"
    raise TypeError(f"`ax` is an object of type {type(ax).__name__}; expected Matplotlib axes: {hint}.")
