"""What a picture can draw, and words about what it cannot: kinds of results, numbers, labels; and about what Matplotlib
refuses, which speaks of its own arguments."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..refuse import arguments
from ..refuse.called import told
from ..refuse.expected import checking
from ..results.of_ensemble import EnsembleResult

MISSING: Any = object()
Picture = Callable[..., dict[str, Any]]


def in_words(picture: Picture) -> Picture:
    """The same picture; arguments that it cannot draw are refused in words."""
    known, name = checking(picture, {}), picture.__name__
    first = next(iter(inspect.signature(picture).parameters))

    @functools.wraps(picture)
    def call(*args: Any, **options: Any) -> dict[str, Any]:
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

    return call


def bound(signature: inspect.Signature, given: Any, options: Any) -> inspect.BoundArguments:
    """Arguments with their defaults; the number of a curve and its label are checked."""
    found = signature.bind(*given, **options)  # what does not fit has been told by `in_words`
    found.apply_defaults()
    if "index" in found.arguments:
        found.arguments["index"] = arguments.step("index", found.arguments["index"], 0, 10**6)
    if "label" in found.arguments:
        text("label", found.arguments["label"])
    return found


def kind(name: str, first: str, result: Any, kinds: tuple[type, ...], made_by: str, arrays: bool) -> None:
    """TypeError if the first argument of the picture `name` is of none of these classes, nor numbers where they do."""
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


def _ours(error: Exception) -> bool:
    """Whether this was raised here, and not by Matplotlib or NumPy, which speak of their own arguments."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("throughtime.")
