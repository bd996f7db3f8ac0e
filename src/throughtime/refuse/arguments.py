"""Single values that a user hands in: sizes, flags, numbers, names, seeds. Each comes back checked, or an error
says in words what arrived and what was expected: TypeError for the wrong kind of thing, ValueError for a wrong value.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

LARGEST = 2**63 - 1  # what a size of an array, or a count of steps, can be


def size(name: str, value: Any) -> int:
    """A whole number of at least 1."""
    return step(name, value, 1)


def step(name: str, value: Any, low: int, high: int = LARGEST, meaning: str = "") -> int:
    """A whole number between `low` and `high`, both included (a time step, a window).

    `meaning` stands in the sentence for the range; what is no whole number is then a ValueError with it too.
    """
    if type(value) is int and low <= value <= high:
        return value
    if meaning and not within(value, low, high):
        raise ValueError(f"`{name}` is {shown(value)}; {meaning}.")
    number = whole(name, value)
    if not low <= number <= high:
        wanted = f"of at least {low}" if high == LARGEST else f"from {low} to {high}"
        raise ValueError(f"`{name}` is {shown(number)}; expected a whole number {wanted}.")
    return number


def within(value: Any, low: int, high: int = LARGEST) -> bool:
    """Whether this is a whole number between `low` and `high`, for those who have their own words about it."""
    try:
        return not isinstance(value, (bool, np.bool_)) and low <= operator.index(value) <= high
    except Exception:  # TypeError, or what an object of another library raises
        return False


def flag(name: str, value: Any) -> bool:
    """True or False, and nothing that merely counts as one: bias=0.1 is a mistake, not True."""
    if value is True or value is False:
        return value
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"`{name}` is {kind(value)}; expected True or False.")
    return bool(value)


def real(name: str, value: Any, low: float = -math.inf) -> float:
    """A finite real number, at least `low`."""
    if isinstance(value, (bool, np.bool_, str, bytes)):
        raise TypeError(f"`{name}` is {kind(value)}; expected a real number.")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"`{name}` is {shown(value)}; expected a finite number.") from error
    except Exception as error:  # whatever an object of another library raises
        raise TypeError(f"`{name}` is {kind(value)}; expected a real number.") from error
    if not (math.isfinite(number) and number >= low):
        wanted = "a finite number" if low == -math.inf else f"a finite number of at least {low:g}"
        raise ValueError(f"`{name}` is {number:g}; expected {wanted}.")
    return number


def is_real(value: Any) -> bool:
    """Whether this is one real number, NaN and infinity included, True and False not; for those who have their own
    words about it."""
    return isinstance(value, Real) and not isinstance(value, bool)


def known(what: str, name: str, names: Iterable[str]) -> str:
    """`name` if it is one of `names`; otherwise the error tells the nearest of them and lists all."""
    listed = list(names)
    if not isinstance(name, str):
        raise TypeError(f"The {what} is {kind(name)}; expected one of the names {', '.join(listed)}.")
    if name in listed:
        return name
    import difflib  # late, as in words.py

    near = difflib.get_close_matches(name.lower(), listed, n=1, cutoff=0.55)
    guess = f' Did you mean "{near[0]}"?' if near else ""
    raise ValueError(f'There is no {what} "{name}".{guess} Known: {", ".join(listed)}.')


def float_type(value: Any) -> np.dtype[Any]:
    """numpy's float32 or float64."""
    try:
        found = None if value is None else np.dtype(value)
    except Exception:  # TypeError, or whatever the __str__ or __eq__ of another library raises
        found = None
    if found is None or found not in (np.dtype("float32"), np.dtype("float64")):
        of_torch = {f"torch.{name}": name for name in ("float32", "float64")}.get(repr(value))
        write = f' Write `dtype="{of_torch}"`.' if of_torch else ""
        raise ValueError(f'`dtype` is {kind(value)}; networks compute in "float32" or "float64".{write}')
    return found


def device(value: Any) -> str:
    """ "cpu" or "cuda"."""
    if isinstance(value, str) and value in ("cpu", "cuda"):
        return value
    told = str(value) if type(value).__module__.startswith("torch") else value
    if isinstance(told, str) and told.startswith("cuda:"):
        number = told.removeprefix("cuda:")
        raise ValueError(
            f'`device` is {kind(value)}; write "cuda". Which GPU that is, the environment says: start Python with '
            f"CUDA_VISIBLE_DEVICES={number}."
        )
    if isinstance(told, str) and (of_torch := {"torch.float32": "float32", "torch.float64": "float64"}.get(told)):
        raise TypeError(f'`device` is {kind(value)}; a network keeps its dtype: make one with `dtype="{of_torch}"`.')
    if isinstance(told, str) and told in ("cpu", "cuda"):
        raise TypeError(f'`device` is {kind(value)}; write "{told}".')
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f'`device` is {kind(value)}; expected "cpu" or "cuda".')


def path(name: str, value: Any) -> str:
    """The name of a file or folder, from a str or an os.PathLike of one; not the number of an open file."""
    try:
        found = os.fspath(value)
    except Exception as error:  # TypeError, or what an object of another library raises
        number = "; a number is an open file of this process" if isinstance(value, (int, np.integer)) else ""
        raise TypeError(f"`{name}` is {kind(value)}{number}; expected the name of a file, a str or a Path.") from error
    if isinstance(found, bytes):
        found = os.fsdecode(found)
    if not found:
        raise ValueError(f"`{name}` is empty; expected the name of a file.")
    if "\0" in found:
        raise ValueError(f"`{name}` is {kind(value)}; no name of a file holds a null character.")
    try:
        encoded = os.fsencode(found)
    except UnicodeError as error:
        raise ValueError(f"`{name}` has characters that this file system cannot write.") from error
    if max(map(len, encoded.split(os.fsencode(os.sep)))) > 255:
        raise ValueError(f"`{name}` has a part of more than 255 bytes; no file system takes such a name.")
    return found


def generator(seed: Any) -> np.random.Generator:
    """numpy's default generator from None, a whole number of at least 0, or a Generator, which is returned as it is."""
    try:
        if not isinstance(seed, (bool, np.bool_)):
            return np.random.default_rng(seed)
    except Exception:  # TypeError and ValueError of NumPy, and what an object of another library raises
        pass
    raise TypeError(f"`seed` is {kind(seed)}; expected None, a whole number of at least 0, or a numpy Generator.")


def whole(name: str, value: Any) -> int:
    """A whole number that an array could have as a size: below 2^63 in modulus."""
    if not isinstance(value, (bool, np.bool_)):
        try:
            number = operator.index(value)
        except Exception:  # TypeError, or what an object of another library raises
            number = None
        if number is not None and abs(number) > LARGEST:
            raise ValueError(f"`{name}` is {shown(number)}, more than any array or loop can have (2^63).")
        if number is not None:
            return number
    point = isinstance(value, (float, np.floating)) and value == value // 1
    write = f"; write {int(value)}" if point and abs(value) < LARGEST else ""
    raise TypeError(f"`{name}` is {kind(value)}; expected a whole number{write}.")


_short = reprlib.Repr()
_short.maxother = _short.maxstring = _short.maxlong = 200
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 20


def writable(
    name: str, array: Any, shape: tuple[int, ...], dtype: Any, compact: bool = True, parameter: Any = None
) -> None:
    """Raises unless `array` is one of this shape and dtype that can be written, `compact` in one piece, and no part of
    the `parameter` of which it is to get the gradient."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"`{name}` is {kind(array)}; expected a NumPy array {shape} of {dtype}.")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"`{name}` has shape {array.shape} and dtype {array.dtype}; expected {shape} of {dtype}.")
    if not array.flags.writeable or (compact and not array.flags.carray):
        raise ValueError(f"`{name}` is read-only, or does not lie in one piece; expected one as np.empty makes it.")
    if parameter is not None and np.may_share_memory(array, parameter):
        raise ValueError(
            f"`{name}` is the parameter itself, which the gradient would overwrite; expected another array, such as "
            "`np.empty_like` of it."
        )


def kind(value: Any) -> str:
    """What arrived, short enough for a sentence: its type, and its value where that is short."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{shown(value)} ({type(value).__name__})"
    text = _short.repr(value)
    return f"{text} ({type(value).__name__})" if len(text) <= 40 else f"an object of type {type(value).__name__}"


def shown(number: Any) -> str:
    """A whole number as a sentence shows it, which may have thousands of digits; anything else with its type."""
    if isinstance(number, (bool, np.bool_)) or not isinstance(number, (int, np.integer)):
        return kind(number)
    if isinstance(number, int) and number.bit_length() > 80:
        return f"{'-' if number < 0 else ''}10^{int(number.bit_length() * math.log10(2))} or so"
    return str(number)
