"""Arguments of compiled functions that other people's code calls: none is used before it has been looked at.

What Numba knows of a value, its kind, dtype, axes and order in memory, is decided when the call is compiled, and costs
nothing when it runs: where it is right the value passes, and where it is wrong a sentence is raised. The same in plain
Python and inside `@njit`, where a wrong kind would else be a page of Numba's own.
"""

from collections.abc import Callable
from typing import Any

from numba import from_dtype, types

from ...jit import intrinsic, overload


def array_type(dtype: Any, axes: int) -> Any:
    """The type of a C-contiguous array."""
    return types.Array(from_dtype(dtype), axes, "C")


def count_type(length: int) -> Any:
    """The type of a tuple of whole numbers."""
    return types.UniTuple(types.intp, length)


def tuple_type(kinds: tuple) -> Any:
    """The type of a tuple of values of the given types."""
    return types.Tuple(kinds)


def taken(what: str, wanted: Any, how: str, written: bool = False) -> Callable:
    """A function of one value, for compiled code: the value itself if it has the type `wanted`, otherwise it raises.

    what: its name and shape, for the sentence; how: the call that makes a right one; written: it must not be read-only.
    """

    def function(value):
        return value, what, how, str(wanted)  # for `jit.fingerprint`: never called

    @overload(function, strict=False)
    def choose(value: Any) -> Any:
        if _is(value, wanted, written):
            return lambda value: value
        return _refusal(f"`{what.split(' ')[0]}` is {_kind(value)}; expected {what}, {how}", _is_array(value), wanted)

    return function


def _is(value: Any, wanted: Any, written: bool) -> bool:
    if not _is_array(wanted):
        return bool(value == wanted)
    same = _is_array(value) and (value.dtype, value.ndim, value.layout) == (wanted.dtype, wanted.ndim, "C")
    return same and value.aligned and (value.mutable or not written)


def _is_array(value: Any) -> bool:
    return isinstance(value, types.Array)


def _kind(value: Any) -> str:
    if not _is_array(value):
        names = {types.NoneType: "None", types.BaseTuple: "a tuple", types.List: "a list", types.Number: "a number"}
        return next((name for kind, name in names.items() if isinstance(value, kind)), f"of type {value}")
    marks = [", not C-contiguous"] * (value.layout != "C") + [", read-only"] * (not value.mutable)
    return f"a {value.dtype} array of {value.ndim} {'axis' if value.ndim == 1 else 'axes'}{''.join(marks)}"


def _refusal(sentence: str, is_array: bool, wanted: Any) -> Callable:
    """Code that raises; for Numba it returns a value of the wanted type, so that what comes after it compiles."""
    always, nothing = _null(types.boolean), _null(wanted)
    if is_array:

        def refuse_array(value):
            if not always():
                raise ValueError(sentence)
            return nothing()

        return refuse_array

    def refuse(value):
        if not always():
            raise TypeError(sentence)
        return nothing()

    return refuse


def _null(kind: Any) -> Any:
    @intrinsic
    def null(_):
        return kind(), lambda context, builder, sig, args: context.get_constant_null(kind)

    return null


def in_words(dispatcher: Any, call: str) -> Any:
    """A dispatcher that says in a sentence what is wrong with arguments for which Numba has no type, or too few."""
    compile_for_args = dispatcher._compile_for_args

    def compiled(*arguments, **named):
        values = (*arguments, *named.values())
        try:
            if not any(isinstance(value, list) for value in values):  # of which Numba makes copies, and warns
                return compile_for_args(*arguments, **named)
        except Exception as error:
            if str(error).startswith("`"):
                raise
        kinds = ", ".join(type(value).__name__ for value in values)
        raise TypeError(f"`{call}` was given {kinds or 'nothing'}; it takes k.weights and NumPy arrays.")

    dispatcher._compile_for_args = compiled
    return dispatcher
