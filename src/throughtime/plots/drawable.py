"""What every picture checks besides page.py: flags and numbers; and words where Matplotlib refuses what was given."""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from ..refuse.expected import checking, told

MISSING: Any = object()


def drawing(function: Callable) -> Callable:
    """The same picture; arguments that it cannot draw are refused in words."""
    known, name = checking(function, {}), function.__name__
    first = next(iter(inspect.signature(function).parameters))

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        subject = args[0] if args else options.get(first, MISSING)
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
