"""Copies of a cell's functions in another precision, and of the helpers that they call.

A float literal is a float64, and one of them widens all float32 numbers that it meets.
"""

import types
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import extending
from numba.core.dispatcher import Dispatcher
from numba.core.typing.templates import builtin_registry
from numba.np.ufunc.dufunc import DUFunc

from .names import names_of, python_function, settled


def in_precision(function: Callable, real: type) -> Callable:
    """A copy of a cell's function whose float literals have the type `real`: `0.5 * x` in float32 stays in float32.

    So have the numbers and arrays among its globals, and all that the helpers that it calls refer to.
    """
    return function if real is np.float64 else _in_precision(function, real, {})


def _in_precision(function: Any, real: type, made: dict[int, Any]) -> Any:
    name, code = function.__name__, function.__code__
    inside = names_of(code)
    used = {key: function.__globals__[key] for key in inside if key in function.__globals__}
    made[id(function)] = None  # a function that calls itself goes on with the original
    names = {key: _value_in_precision(value, real, made, inside) for key, value in used.items()}
    code = code.replace(co_consts=tuple(_typed(value, real) for value in code.co_consts))
    held = (_value_in_precision(cell.cell_contents, real, made, inside) for cell in function.__closure__ or ())
    closure = tuple(types.CellType(value) for value in held)
    named = {**function.__globals__, **names}
    defaults = _typed(function.__defaults__, real) if function.__defaults__ else None
    copy = types.FunctionType(code, named, name, defaults, closure or None)
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    return copy


def _value_in_precision(value: Any, real: type, made: dict[int, Any], names: list[str]) -> Any:
    """What a cell's function refers to: numbers and arrays of them in that type, a helper or module of the user's as a
    copy that refers to such."""
    if type(value) is tuple:
        return tuple(_value_in_precision(part, real, made, names) for part in value)
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(real)
    if isinstance(value, types.ModuleType) and not settled(value.__name__):
        copy: Any = types.ModuleType(value.__name__)
        inside = {name: vars(value)[name] for name in names if name in vars(value)}
        vars(copy).update({name: _value_in_precision(part, real, made, names) for name, part in inside.items()})
        return copy
    python = python_function(value)
    if not isinstance(python, types.FunctionType) or settled(python.__module__):
        return _typed(value, real)
    if id(python) not in made:
        made[id(python)] = compiled_like(value, _in_precision(python, real, made))
    return made[id(python)] or value


def _typed(constant: Any, real: type) -> Any:
    if isinstance(constant, types.CodeType):  # a function inside, such as a lambda
        return constant.replace(co_consts=tuple(_typed(value, real) for value in constant.co_consts))
    if type(constant) is tuple:
        return tuple(_typed(value, real) for value in constant)
    return real(constant) if type(constant) is float else constant


def compiled_like(value: Any, copy: types.FunctionType) -> Any:
    """A copy of a helper's Python function, usable in compiled code in the way in which the helper is."""
    dispatcher: Any = Dispatcher  # Numba's stubs do not know all of it
    if isinstance(value, dispatcher):
        made: Any = type(value)(copy, dict(value.locals), dict(value.targetoptions))
        if not value._can_compile:  # made for certain signatures alone
            for arguments in value.overloads:
                made.compile(arguments)
            made.disable_compile()
        return made
    if isinstance(value, DUFunc):
        return numba.vectorize(**value.targetoptions)(copy)
    known: Any = next((kind for one, kind in reversed(builtin_registry.globals) if one is value), None)
    if known is None:
        return copy  # plain Python, which Numba will refuse in its own words
    inside = getattr(getattr(known.templates[0], "_overload_func", None), "__closure__", None) or ()
    return extending.register_jitable(copy) if any(cell.cell_contents is value for cell in inside) else value
