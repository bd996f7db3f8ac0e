"""Which version of a cell's code is used: a run keeps the one that was in force when it was unrolled.

Code changes while it is used: a global that `forward` reads gets another value, autoreload puts other functions into a
class, an array of coefficients is filled anew. `in_force(cell)` looks whether anything that the cell's functions refer
to has changed, and gives the cell with copies of its functions that no later change reaches: globals, helpers, closures
and arrays are theirs. A run's layers hold such a cell, for compiled code and plain Python alike; a network holds the
cell as the user made it, and every unroll, every analysis of a network and `kernels.of` asks anew.

Looking takes about a microsecond: whether each name still stands for the same object, each function still has the same
code and each array the same bytes. Only where not, the code is fingerprinted, and if it is the same after all (a
constant bound again to the same number), so is the version.
"""

import threading
import types
from dataclasses import replace
from typing import Any

import numpy as np

from ..code.fingerprints import fingerprint
from ..code.forks import Lock
from ..code.names import cell_contents, globals_of, names_of, python_function, settled
from ..code.precision import compiled_like
from .array_fields import comparable
from .base import spec
from .examined import examined

METHODS = ("forward", "backward", "emit", "emit_slope", "stage", "stage_backward")
ABSENT: Any = object()
_lock = Lock(threading.RLock)
_now: dict[type, "Version"] = {}
_all: dict[tuple[type, str], "Version"] = {}


def in_force(cell: Any) -> Any:
    """The cell with the version of its code that is in force now; the cell of a run as it is."""
    cls: Any = type(cell)
    if getattr(cls, "_version", None) is not None:
        return cell
    version = _now.get(cls)
    if version is None:
        spec(cell)  # a sentence for what is no cell
    if version is None or version.changed():
        version = _renewed(cls)
    return tuple.__new__(version.cls, cell)


def contents(cell: Any) -> tuple:
    """What a cell depends on, to compare: its class by name, its fields, its code in its version or the one now in
    force, and what else the user put into the class."""
    version = type(in_force(cell))._version
    cls = version.origin
    others = {
        name: value
        for klass in cls.__mro__[: cls.__mro__.index(tuple)]
        for name, value in vars(klass).items()
        if not name.startswith("_") and name not in METHODS
    }
    return cls.__module__, cls.__qualname__, comparable(cell), version.digest, others


class Version:
    """The functions of a cell class at one time, as a class of their own, and what to watch for changes."""

    def __init__(self, cls: Any, digest: str) -> None:
        self.origin, self.digest = cls, digest
        self.names: list[tuple[Any, str, Any]] = []  # (namespace, name, object)
        self.functions: list[tuple[Any, Any, Any, Any]] = []  # (function, code, defaults, keyword defaults)
        self.closures: list[tuple[Any, Any]] = []  # (cell, contents)
        self.arrays: list[tuple[np.ndarray, bytes, Any]] = []
        self._made: dict[int, Any] = {}
        self._modules: dict[tuple[int, frozenset[str]], Any] = {}
        self._kept: list[Any] = []  # so that no id is used twice
        parts: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
        for klass in cls.__mro__[: cls.__mro__.index(tuple)]:
            self.names += [(klass.__dict__, name, klass.__dict__.get(name, ABSENT)) for name in METHODS]
        for name in METHODS:
            method = getattr(cls, name, None)
            if isinstance(method, types.FunctionType):
                parts[name] = self._function(method)
        parts |= {"__reduce__": _reduced, "__copy__": lambda cell: cell, "__deepcopy__": lambda cell, _: cell}
        self.cls: Any = type(cls.__name__, (cls,), parts | {"_version": self})

    def changed(self) -> bool:
        """Whether anything that the functions refer to is another object now, or an array has other numbers."""
        for space, name, value in self.names:
            if space.get(name, ABSENT) is not value:
                return True
        for function, code, defaults, keywords in self.functions:
            if function.__code__ is not code or function.__defaults__ is not defaults:
                return True
            if function.__kwdefaults__ is not keywords:
                return True
        for cell, value in self.closures:
            if cell_contents(cell) is not value:
                return True
        for array, kept, form in self.arrays:
            if array.tobytes() != kept or (array.dtype, array.shape) != form:
                return True
        return False

    def adopt(self, other: "Version") -> None:
        """Watch what `other`, of the same code, watches."""
        self.names, self.functions, self.closures, self.arrays = (
            other.names, other.functions, other.closures, other.arrays,
        )  # fmt: skip

    # --------------------------------------------------------------------------- copies that no change reaches

    def _frozen(self, value: Any, names: frozenset[str]) -> Any:
        if isinstance(value, types.ModuleType):
            return self._module(value, names)
        if isinstance(value, tuple):
            parts = [self._frozen(part, names) for part in value]
            if all(new is old for new, old in zip(parts, value, strict=True)):
                return value
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            if id(value) not in self._made:
                self.arrays.append((value, value.tobytes(), (value.dtype, value.shape)))
                self._keep(value, value.copy(order="K"))
            return self._made[id(value)]
        function = python_function(value)
        if isinstance(function, types.FunctionType) and not settled(function.__module__):
            made = self._function(function)
            if id(value) not in self._made:
                self._keep(value, compiled_like(value, made))
            return self._made[id(value)]
        return value

    def _keep(self, value: Any, made: Any) -> None:
        self._made[id(value)] = made
        self._kept.append(value)

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        if id(function) in self._made:
            return self._made[id(function)]
        code, spaces = function.__code__, function.__globals__
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        own: dict[str, Any] = {"__name__": spaces.get("__name__"), "__builtins__": spaces.get("__builtins__")}
        copy = types.FunctionType(code, own, function.__name__, function.__defaults__, cells or None)
        copy.__kwdefaults__ = function.__kwdefaults__
        copy.__qualname__, copy.__module__, copy.__doc__ = function.__qualname__, function.__module__, function.__doc__
        self._keep(function, copy)  # known before its globals, for it may call itself
        self.functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        names = frozenset(names_of(code))
        for name in globals_of(code):
            self.names.append((spaces, name, spaces.get(name, ABSENT)))
            if name in spaces:
                own[name] = self._frozen(spaces[name], names)
        for cell, new in zip(function.__closure__ or (), cells, strict=True):
            value = cell_contents(cell)
            self.closures.append((cell, value))
            new.cell_contents = self._frozen(value, names)
        copy.__defaults__ = self._frozen(function.__defaults__, names) if function.__defaults__ else None
        return compiled_like(function, copy)

    def _module(self, module: types.ModuleType, names: frozenset[str]) -> Any:
        """A module of the user's that holds what the function names in it."""
        if settled(module.__name__):
            return module
        key = (id(module), names)
        if key not in self._modules:
            made = self._modules[key] = types.ModuleType(module.__name__)
            spaces = vars(module)
            for name in sorted(names - {"__name__", "__builtins__"}):
                self.names.append((spaces, name, spaces.get(name, ABSENT)))
                if name in spaces:
                    setattr(made, name, self._frozen(spaces[name], names))
        return self._modules[key]


def _renewed(cls: Any) -> Version:
    with _lock:
        methods = [getattr(cls, name, None) for name in METHODS]
        found = Version(cls, fingerprint(methods))
        known = _all.get((cls, found.digest))
        if known is not None:
            known.adopt(found)
            _now[cls] = known
            return known
        record = spec(cls)
        first = cls not in _now and record.cls is cls  # a class that inherits from a cell is looked at like an edit
        own = replace(record, cls=found.cls) if first else examined(found.cls, record)
        found.cls.__throughtime__ = own
        cls.__throughtime__ = replace(own, cls=cls)
        _now[cls] = _all[cls, found.digest] = found
        return found


def _reduced(cell: Any) -> tuple:
    return _restored, (cell._version.origin, tuple(cell), cell._version.digest)


def _restored(cls: Any, values: tuple, digest: str) -> Any:
    """The cell of a run that comes from a file or another process."""
    here = in_force(cls(*values))
    if here._version.digest == digest:
        return here
    known = _all.get((cls, digest))
    if known is None:
        raise ValueError(
            f"The run was made with other code of the cell {cls.__name__} than there is here: unroll the network again."
        )
    return tuple.__new__(known.cls, values)
