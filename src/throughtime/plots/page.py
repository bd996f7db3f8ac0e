"""What every picture does before and after it draws: it checks its arguments, finds its axes, names what is on them."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes

from ..analysis import EnsembleResult
from ..refuse import arguments
from .legends import fit, legend
from .marks import decades, without_scale

WIDTH, HEIGHT = 3.4, 2.6  # inches: a column of a two-column journal
LABEL, TICK = 8.0, 7.0  # points, printed at that width


def picture(*kinds: type, made_by: str, arrays: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Turn draw(result, ax, …) into a picture: arguments checked, axes found or made, a legend of all that is on them.

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
            bound = _bound(signature, given, options)
            named = arguments.flag("legend", bound.arguments.pop("legend"))
            _kind(draw.__name__, *next(iter(bound.arguments.items())), kinds, made_by, arrays)
            own = bound.arguments["ax"] is None
            ax = bound.arguments["ax"] = axes_(bound.arguments["ax"])
            try:
                found = draw(*bound.args, **bound.kwargs)
            except BaseException:
                if own:  # no empty window is left behind
                    pyplot.close(ax.figure)
                raise
            _lay_out(ax)
            if fit(ax, found.get("bar")):
                _lay_out(ax)
            words = legend(ax) if named else None
            decades(ax.xaxis, ax.yaxis)
            without_scale(ax)
            return found | {"legend": words}

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


def _lay_out(ax: Any) -> None:
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


def sequence_of(sequence: Any, batch: int) -> int:
    """The number of a sequence, checked."""
    return arguments.step("sequence", sequence, 0, batch - 1)


def numbers(name: str, value: Any) -> np.ndarray[Any, Any]:
    """An array of real or complex numbers."""
    try:
        found = np.asarray(value)
    except ValueError:
        found = np.empty(0, object)
    if found.dtype.kind not in "iufcb":
        raise TypeError(f"`{name}` is {arguments.kind(value)}; expected numbers.")
    return found


def text(name: str, value: Any) -> str | None:
    """A label, or None."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"`{name}` is {arguments.kind(value)}; expected a text.")
    return value


def _bound(signature: inspect.Signature, given: Any, options: Any) -> inspect.BoundArguments:
    bound = signature.bind(*given, **options)  # what does not fit is told by checked.py, before
    bound.apply_defaults()
    if "index" in bound.arguments:
        bound.arguments["index"] = arguments.step("index", bound.arguments["index"], 0, 10**6)
    if "label" in bound.arguments:
        text("label", bound.arguments["label"])
    return bound


def _kind(name: str, first: str, result: Any, kinds: tuple[type, ...], made_by: str, arrays: bool) -> None:
    if isinstance(result, kinds):
        return
    wanted = " or ".join(f"a {cls.__name__}" for cls in kinds if cls is not Callable) + f", from `{made_by}`"
    if isinstance(result, EnsembleResult):
        raise TypeError(
            f"`{first}` is the EnsembleResult of {len(result.results)} networks; plots.{name} draws {wanted}: pass one "
            'of .results, or draw one field of all: `plots.ensemble(result, name="…")`.'
        )
    if arrays and isinstance(result, (np.ndarray, list, tuple)):
        numbers(first, result)
        return
    also = ", or an array of numbers" if arrays else ""
    raise TypeError(f"`{first}` is {arguments.kind(result)}; plots.{name} draws {wanted}{also}.")
