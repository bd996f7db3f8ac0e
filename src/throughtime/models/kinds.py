"""The kinds of pieces by the names under which files speak of them."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

KINDS: dict[str, Any] = {}
Kind = TypeVar("Kind")


def kind(thing: Kind) -> Kind:
    """Decorator of a class of pieces, or of a function that is one: files know it by its name.

    Of the library that is "throughtime.Readout", of a user's own the name alone; the last of a name counts.
    """
    KINDS[name_of_kind(thing)] = thing
    return thing


def name_of_kind(thing: Any) -> str:
    """The name that files have for a class of pieces, or for a function that is one."""
    library = __name__.split(".")[0]
    return f"{library}.{thing.__name__}" if thing.__module__.startswith(f"{library}.") else thing.__name__


def arguments_of(cls: type) -> dict[str, inspect.Parameter]:
    """The arguments with which a class of pieces is called; a piece keeps each, `seed` apart, under its own name."""
    return dict(inspect.signature(cls).parameters)
