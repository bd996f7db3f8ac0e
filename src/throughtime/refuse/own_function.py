"""Functions that a user hands in: what they are called with, and what to say if they cannot be called so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def ask(what: str, function: Callable, takes: str, *args: Any, **options: Any) -> Any:
    """What the function gives. TypeError, with `what` it is and what it `takes`, where it cannot be called with these;
    whatever error comes from inside it stays as it is.

    >>> ask("The schedule", lambda step: 0.1 * step, "(step)", 3)
    0.30000000000000004
    """
    try:
        return function(*args, **options)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # from inside
        raise TypeError(f"{what} is called with {takes}, and says: {error}.") from None
