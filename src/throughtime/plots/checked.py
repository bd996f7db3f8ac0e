"""What every picture checks before it draws: the result that is its subject, the axes, flags and numbers."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from .. import checks
from ..expected import checking, told

MISSING: Any = object()
ALSO = ("eigenvalues", "singular_values", "transient_growth")  # draw arrays as well
NUMBERS = {"axes", "chi", "exponents", "gains", "levels", "rate", "sequences"}
NEVER = (str, bytes, Mapping, set)


def drawing(function: Callable) -> Callable:
    """The same picture; something else than its result is refused in words, and so are axes that are none."""
    known, name = checking(function, {}), function.__name__
    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        subject = args[0] if args else options.get(first, MISSING)
        if subject is not MISSING:
            _subject(first, subject, name)
        ax = args[1] if len(args) > 1 else options.get("ax")
        if ax is not None and not isinstance(ax, Axes):
            raise TypeError(f"`ax` is {told(ax)}; expected Matplotlib axes: `figure, ax = pyplot.subplots()`.")
        if options.get("theory") is not None:
            _subject("theory", options["theory"], "theory_curve")
        kinds = options.get("kinds", ())
        if not isinstance(kinds, (str, tuple, list)) or not all(isinstance(kind, str) for kind in kinds):
            raise TypeError(f'`kinds` is {told(kinds)}; expected names, such as ("by norm", "per step").')
        for key in NUMBERS & options.keys():
            if options[key] is not None:
                options[key] = checks.numbers(key, options[key])
        try:
            return known(*args, **options)
        except Exception as error:
            if isinstance(error, AttributeError) and error.obj is subject:
                words = f"`{first}` is {told(subject)}; `plots.{name}` draws a result that has `.{error.name}`."
                raise TypeError(words) from None
            if _ours(error):
                raise
            given = ", ".join(f"{key}={told(value)}" for key, value in options.items())
            words = f"`plots.{name}` cannot draw {told(subject)}{given and ' with ' + given}: {error}."
            raise ValueError(words) from error

    setattr(sys.modules[function.__module__], name, call)
    return call


def _ours(error: Exception) -> bool:
    """Whether this was raised here, and not by Matplotlib or NumPy, which speak of their own arguments."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("throughtime.")


def _subject(first: str, given: Any, name: str) -> None:
    """TypeError for what is no result, nor what a picture draws beside it."""
    module = type(given).__module__
    curve = name == "theory_curve"
    mine = isinstance(given, type) or module in ("throughtime.network", "throughtime.unrolled", "throughtime.ensemble")
    if curve and (mine or not (callable(given) or hasattr(given, "spectrum"))):
        raise TypeError(f"`{first}` is {told(given)}; expected a mean-field result or a function of the fraction x.")
    if curve or module.startswith("throughtime.analysis."):
        return
    if mine or isinstance(given, NEVER) or given is None:
        raise TypeError(f"`{first}` is {told(given)}; `plots.{name}` draws the result of an analysis.")
    try:
        found = np.asarray(given)
    except Exception:  # ragged lists, and what an object of another library raises
        found = np.array(None)
    if found.dtype.kind == "O" and hasattr(given, "__dict__") and not callable(given):
        return  # an object of your own with the same attributes
    if name not in ALSO or found.dtype.kind not in "biufc" or not found.size:
        raise TypeError(f"`{first}` is {told(given)}; `plots.{name}` draws the result of an analysis.")
