"""What this library calls its own objects: "a network", "a run". A class says it itself, with `@called("a network")`
above it; the refusals ask by that name, and so need no import of what stands above them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from .arguments import kind

Class = TypeVar("Class", bound=type)
_names: dict[type, str] = {}


def called(words: str) -> Callable[[Class], Class]:
    """Class decorator: by what name sentences speak of its instances."""

    def note(cls: Class) -> Class:
        _names[cls] = words
        return cls

    return note


def name_of(value: Any) -> str:
    """The name of an object of this library; empty for anything else."""
    return next((_names[cls] for cls in type(value).__mro__ if cls in _names), "")


def told(value: Any) -> str:
    """What arrived, by the name that this library has for it, or its kind."""
    if name := name_of(value):
        return name
    module = type(value).__module__
    if isinstance(value, type) or not module.startswith(("torch", "numpy")):
        return kind(value)
    if hasattr(value, "state_dict"):
        return f"a torch module ({type(value).__name__})"
    shape = getattr(value, "shape", None)
    what = "a torch tensor" if module.startswith("torch") else "an array"
    return f"{what} of shape {tuple(shape)}" if shape is not None else kind(value)
