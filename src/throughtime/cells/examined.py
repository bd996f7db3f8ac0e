"""What a class has to be to be registered as a cell, and the record that is made of it."""

import re
from dataclasses import dataclass
from inspect import CO_VARARGS, CO_VARKEYWORDS, signature
from linecache import getline
from types import FunctionType
from typing import Any

import numpy as np

from ..refuse.arguments import kind
from .sharing import gives_one_tuple_twice


@dataclass(frozen=True)
class Spec:
    """What the engine has to know of a cell class; its counts are checked when the class is registered."""

    cls: type
    name: str
    gates: int  # G
    states: int  # S
    saved: int  # how many numbers `forward` saves
    emits: bool  # the cell has its own `emit`
    shared: bool  # `backward` always returns one and the same tuple as dx and dr, which is then kept once


def examined(cls: type, gates: int, states: int) -> Spec:
    """The record of a class, or TypeError with a sentence."""
    name = cls.__name__
    if not (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        raise TypeError(
            f"`{name}` must be a NamedTuple class: write `class "
            f"{name}(NamedTuple):` with its hyper-parameters as fields."
        )
    for function in ("forward", "backward"):
        if not callable(getattr(cls, function, None)):
            raise TypeError(
                f"`{name}` has no `{function}`; a cell needs `forward(cell, x, r, s)` and "
                "`backward(cell, ds, s, s_next, saved)`."
            )
    emits = hasattr(cls, "emit")
    if emits != hasattr(cls, "emit_slope"):
        raise TypeError(
            f"`{name}` has only one of `emit` and `emit_slope`; what a unit sends and its slope belong together."
        )
    for function, arguments in ARGUMENTS.items():
        if emits or not function.startswith("emit"):
            _plain(name, function, getattr(cls, function), arguments)
    make: Any = cls
    return Spec(cls, name, gates, states, _saved(cls, gates, states), emits, gives_one_tuple_twice(make.backward))


ARGUMENTS = {
    "forward": ("cell", "x", "r", "s"),
    "backward": ("cell", "ds", "s", "s_next", "saved"),
    "emit": ("cell", "s"),
    "emit_slope": ("cell", "s"),
}


def _plain(name: str, function: str, value: Any, arguments: tuple[str, ...]) -> None:
    """Raises unless it is a Python function of so many arguments: the engine compiles it, and calls it by position."""
    wanted = f"`def {function}({', '.join(arguments)}):`"
    if not isinstance(value, FunctionType):
        raise TypeError(
            f"`{name}.{function}` is an object of type {type(value).__name__}; write a plain function, {wanted}, "
            "without a decorator: the engine compiles it."
        )
    code = value.__code__
    if code.co_argcount != len(arguments) or code.co_kwonlyargcount or code.co_flags & (CO_VARARGS | CO_VARKEYWORDS):
        raise TypeError(
            f"`{name}.{function}` takes {signature(value)}; a cell's takes {len(arguments)} numbers or tuples by "
            f"position: write {wanted}. Constants are fields of the cell."
        )


def _saved(cls: Any, gates: int, states: int) -> int:
    """How many numbers `forward` saves, from one unit in plain Python, once; the other counts are checked by the way.

    Whether the count is the same in every branch is seen when the cell is compiled.
    """
    name = cls.__name__
    x, r, s = (tuple(np.float64(0.1 * (k + 1)) for k in range(n)) for n in (gates, gates, states))
    failure: tuple[str, Exception] | None = None
    for value in TRIED:  # for fields without a default: not all are in the domain of every cell
        sample, function = cls(*(default(cls, field, value) for field in cls._fields)), "forward"
        try:
            with np.errstate(all="ignore"):
                s_next, saved = _tuples(name, function, sample.forward(x, r, s), "(s_next, saved)", (states, None))
                function = "backward"
                back = sample.backward(s, s, s_next, saved)
                _tuples(name, function, back, "(dx, dr, ds_prev)", (gates, gates, states))
                if hasattr(cls, "emit"):
                    function = "emit"
                    _tuples(name, function, ((sample.emit(s),),), "a number", (1,))
                    function = "emit_slope"
                    _tuples(name, function, (sample.emit_slope(s),), "one slope for each state", (states,))
                return len(saved)
        except Exception as error:
            if str(error).startswith(f"`{name}."):  # a sentence of ours
                raise
            failure = failure or (function, error)
    assert failure is not None
    raise TypeError(in_plain_python(cls, *failure)) from None


TRIED = (0.5, 1.0, 2.0, 0.1, 10.0, -0.5, -2.0)


def in_plain_python(cls: Any, function: str, error: Exception) -> str:
    """The sentence about a function of a cell that fails on ordinary numbers, before any compilation."""
    code, trace, line = getattr(cls, function).__code__, error.__traceback__, None
    while trace is not None:
        line, trace = (trace.tb_lineno if trace.tb_frame.f_code is code else line), trace.tb_next
    start = f"`{cls.__name__}.{function}` fails for ordinary numbers{place(code, line)}: "
    if type(error).__module__.startswith("numba"):
        used = re.search(r"<function (\w+)|[Aa]ttribute '(\w+)'|global name '(\w+)'", str(error))
        why = (
            f"; it uses `{next(filter(None, used.groups()))}`, which compiled code does not take there" if used else ""
        )
        return f"{start}a compiled function that it calls does not compile by itself{why}."
    hint = "x, r, s, ds and saved are tuples of numbers: write saved[0] for the first."
    if isinstance(error, ArithmeticError) or "domain" in str(error):
        hint = "Give the fields defaults with which the cell can be computed."
    elif isinstance(error, NameError | AttributeError):
        hint = "What a cell uses stands above it, or is one of its fields."
    said = str(error).strip().splitlines()
    return f"{start}{type(error).__name__}: {said[0] if said else 'no more is known'}. {hint}"


def place(code: Any, line: int | None) -> str:
    """ ", in line 7, `u = …`", or nothing where the line is not known."""
    if line is None:
        return ""
    text = getline(code.co_filename, line).strip()
    return f", in line {line}" + (f", `{text}`" if text else "")


def default(cls: Any, field: str, otherwise: float = 0.5) -> float | np.integer | np.floating:
    """A value for a field: its default, or one half."""
    return real_field(cls, field, cls._field_defaults.get(field, otherwise))


def real_field(cls: Any, field: str, value: Any) -> float | np.integer | np.floating:
    """The value of a field, if it is a real number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(
            f"The field `{field}` of `{cls.__name__}` is {kind(value)}; the "
            "hyper-parameters of a cell are real numbers, the same for all units."
        )
    return value


def _tuples(name: str, function: str, returned: Any, wanted: str, counts: tuple) -> tuple:
    """`returned`, if it is a tuple of tuples of the wanted lengths."""
    right = isinstance(returned, tuple) and len(returned) == len(counts)
    right = right and all(
        isinstance(part, tuple) and count in (None, len(part)) and all(map(_is_number, part))
        for part, count in zip(returned, counts, strict=True)
    )
    if not right:
        sizes = ", ".join("any" if count is None else str(count) for count in counts)
        raise TypeError(
            f"`{name}.{function}` must return {wanted}, tuples of {sizes} numbers; it returned {kind(returned)}. "
            "A tuple of one number is written `(u,)`, the first number of a tuple saved[0], and `a if u > 0.0 else b` "
            "what np.where would make an array of."
        )
    return returned


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating))
