"""What a class has to be to be registered as a cell, and the record that is made of it."""

import re
from dataclasses import dataclass
from functools import cached_property
from inspect import CO_VARARGS, CO_VARKEYWORDS, signature
from linecache import getline
from types import FunctionType
from typing import Any

import numpy as np

from ..refuse.arguments import kind
from .sharing import gives_one_tuple_twice
from .wiring import Wiring


@dataclass(frozen=True)
class Spec(Wiring):
    """What the engine has to know of a cell class; its counts are checked when the class is registered."""

    cls: type
    name: str
    saved: int  # how many numbers `forward` saves
    emits: bool  # the cell has its own `emit`

    @cached_property
    def shared(self) -> bool:
        """Whether `backward` always returns one and the same tuple as dx and dr, which is then kept once.

        Found when first asked for: reading the code of all cells took a seventh of the time of importing them.
        """
        make: Any = self.cls
        return self.first == self.parts == self.gates and gives_one_tuple_twice(make.backward)


def examined(cls: type, wired: Wiring) -> Spec:
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
    _stage_functions(cls, wired)
    if hasattr(cls, "initial") and not wired.parameters:
        raise TypeError(
            f'`{name}` has `initial`, but no parameters: write `@tt.cell(…, parameters=("tau",))`, their names.'
        )
    if not emits and wired.signals > wired.states:
        raise TypeError(
            f"`{name}` sends {wired.signals} signals and has {wired.states} states and no `emit`; without one, signal "
            "k is s[k]: write `emit(cell, s)` and `emit_slope(cell, s)`."
        )
    for function in ARGUMENTS:
        if hasattr(cls, function):
            _plain(name, function, getattr(cls, function), arguments_of(function, wired))
    return Spec(
        wired.gate_names, wired.states, wired.sends, wired.stage, wired.part_names, wired.parameters, wired.forgets,
        cls, name, _saved(cls, wired), emits,
    )  # fmt: skip


def _stage_functions(cls: type, wired: Wiring) -> None:
    """Raises unless the class has `stage` and `stage_backward` exactly where there are signals of a stage."""
    has = [function for function in ("stage", "stage_backward") if hasattr(cls, function)]
    if wired.stage and len(has) < 2:
        raise TypeError(
            f"`{cls.__name__}` has signals of a stage ({', '.join(signal for signal, _ in wired.stage)}) and needs "
            "`stage(cell, x, r, s)`, which gives them, and `stage_backward(cell, da, s, saved)`."
        )
    if has and not wired.stage:
        raise TypeError(
            f"`{cls.__name__}` has `{has[0]}`, but no signals of a stage: write "
            '`@tt.cell(…, stage={"reset": ("n",)})`, the names of what it sends and the parts of r that it feeds.'
        )


ARGUMENTS = {
    "forward": ("cell", "x", "r", "s"),
    "backward": ("cell", "ds", "s", "s_next", "saved"),
    "emit": ("cell", "s"),
    "emit_slope": ("cell", "s"),
    "stage": ("cell", "x", "r", "s"),
    "stage_backward": ("cell", "da", "s", "saved"),
}


def arguments_of(function: str, wired: Wiring) -> tuple[str, ...]:
    """The names of what a function of a cell takes, `cell` first."""
    own = ("p",) if wired.parameters and not function.startswith("emit") else ()
    return (*ARGUMENTS[function], *own)


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


def _saved(cls: Any, wired: Wiring) -> int:
    """How many numbers `forward` saves, from one unit in plain Python, once; the other counts are checked by the way.

    Whether the count is the same in every branch is seen when the cell is compiled.
    """
    name, G, S, R, first = cls.__name__, wired.gates, wired.states, wired.parts, wired.first
    counts = (G, R, S, len(wired.parameters), wired.staged)
    x, r, s, p, da = (tuple(np.float64(0.1 * (k + 1)) for k in range(n)) for n in counts)
    own = (p,) if wired.parameters else ()
    more, with_p = ((len(p),), ", dp") if own else ((), "")
    failure: tuple[str, Exception] | None = None
    for value in TRIED:  # for fields without a default: not all are in the domain of every cell
        sample, function = cls(*(default(cls, field, value) for field in cls._fields)), "forward"
        try:
            with np.errstate(all="ignore"):
                s_next, saved = _tuples(name, function, sample.forward(x, r, s, *own), "(s_next, saved)", (S, None))
                function = "backward"
                back = sample.backward(s, s, s_next, saved, *own)
                _tuples(name, function, back, f"(dx, dr, ds_prev{with_p})", (G, R, S, *more))
                if wired.stage:
                    function = "stage"
                    _tuples(name, function, (sample.stage(x, r[:first], s, *own),), "its signals", (wired.staged,))
                    function = "stage_backward"
                    back = sample.stage_backward(da, s, saved, *own)
                    _tuples(name, function, back, f"(dx, dr, ds{with_p})", (G, first, S, *more))
                if hasattr(cls, "emit"):
                    _emitted(name, sample, s, wired)
                return len(saved)
        except Exception as error:
            if str(error).startswith(f"`{name}."):  # a sentence of ours
                raise
            failure = failure or (function, error)
    assert failure is not None
    raise TypeError(in_plain_python(cls, *failure)) from None


def _emitted(name: str, sample: Any, s: tuple, wired: Wiring) -> None:
    """Raises unless `emit` and `emit_slope` give as many numbers as there are signals and states."""
    sent, slopes = sample.emit(s), sample.emit_slope(s)
    if wired.signals == 1:
        _tuples(name, "emit", ((sent,),), "a number", (1,))
        _tuples(name, "emit_slope", (slopes,), "one slope for each state", (wired.states,))
        return
    _tuples(name, "emit", (sent,), "a number for each signal", (wired.signals,))
    _tuples(
        name, "emit_slope", slopes, "for each signal one slope for each state", (wired.states,) * wired.signals
    )  # fmt: skip


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
    hint = "x, r, s, p, ds and saved are tuples of numbers: write saved[0] for the first."
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
    """A value for a field: its default, of an array the first number, or one half."""
    value = cls._field_defaults.get(field, otherwise)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.size:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(
            f"The field `{field}` of `{cls.__name__}` is {kind(value)}; the hyper-parameters of a cell are real "
            "numbers, or arrays (N,) of one for each unit."
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
