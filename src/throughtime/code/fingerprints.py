"""Digests of code and data: what a value, or the code of a function with all that it reaches, depends on.

`fingerprint` is for machine code: it follows functions into their helpers, globals, closures, defaults and the modules
they read, and takes other objects by their `repr`. `exact` is for results that are kept on disk: it takes every object
by its contents, classes by their code, modules that are installed by their version, and raises `Unrecognised` where
something has no contents to compare (an open file, a lock), for a result must never be taken for another.
"""

import contextlib
import copyreg
import functools
import hashlib
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .names import (  # fmt: skip
    FIXED,
    OWN,
    cell_contents,
    changed_by,
    globals_of,
    guarding,
    imported,
    is_fixed,
    names_of,
    python_function,
    texts_of,
)

SKIPPED = {  # of a class: what Python keeps there for itself, and the record that names the class
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__annotate__",
    "__annotations_cache__", "__annotate_func__", "__firstlineno__", "__static_attributes__", "__throughtime__",
    "__abstractmethods__", "__slotnames__", "_abc_impl", "__type_params__", "__orig_bases__",
}  # fmt: skip
CONTAINERS = (list, dict, set)
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented), range, slice)


class Unrecognised(TypeError):
    """Something that has no contents by which it could be told from another of its kind."""


def fingerprint(value: Any) -> str:
    """A text that changes whenever the code of `value`, or of anything that it calls, changes."""
    return _Walk(strict=False).of(value)


def exact(*values: Any, own: str = "") -> str:
    """A digest of the values by their contents and code; `own` stands for the source of this package."""
    return _Walk(strict=True, own=own).of(values)


class _Walk:
    """One pass over a graph of objects: a digest for each, taken once; an object inside itself by its depth."""

    def __init__(self, strict: bool, own: str = "") -> None:
        self.strict, self.own = strict, own
        self.first: Any = None
        self.known: dict[int, str] = {}
        self.open: list[int] = []
        self.kept: list[Any] = []  # so that no id is used twice

    def of(self, value: Any) -> str:
        """The digest of a value: of its kind and its parts, which are texts, bytes and digests of other values."""
        key = id(value)
        if key in self.known:
            return self.known[key]
        if key in self.open:
            return f"as {self.open.index(key)}"
        self.open.append(key)
        self.kept.append(value)
        try:
            whole = hashlib.sha256()
            for part in self.parts(value):
                data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
                whole.update(b"%d:" % len(data))
                whole.update(data)
        except RecursionError as error:
            raise Unrecognised(f"{_named(value)} is nested too deep") from error
        finally:
            self.open.pop()
        self.known[key] = whole.hexdigest()
        return self.known[key]

    def all(self, values: Iterable[Any]) -> list[str]:
        return [self.of(value) for value in values]

    def parts(self, value: Any) -> Iterable[Any]:
        kind = type(value)
        if kind in PLAIN:
            return [kind.__name__, repr(value)]
        if isinstance(value, np.ndarray) and (kind is np.ndarray or not self.strict):
            return self.array(value)
        if isinstance(value, types.CodeType):
            return self.code(value)
        if isinstance(value, types.FunctionType):
            return self.function(value)
        if isinstance(value, types.ModuleType):
            return ["module", self.module(value.__name__) if self.strict else value.__name__]
        if kind in (tuple, list):
            return [kind.__name__, *self.all(value)]
        if kind in (set, frozenset):
            return [kind.__name__, *sorted(self.all(value))]  # in no order of their own
        if kind is dict:
            return ["dict", *(text for item in value.items() for text in self.all(item))]
        if python_function(value) is not value:
            options = repr(sorted(getattr(value, "targetoptions", {}).items()))
            return ["compiled", self.of(python_function(value)), options]
        if isinstance(value, types.MethodType):
            return ["method", self.of(value.__func__), self.of(value.__self__)]
        if isinstance(value, np.generic):
            return [kind.__name__, str(value.dtype), value.tobytes()]
        if isinstance(value, type):
            return self.type(value)
        if self.strict:
            return self.instance(value)
        return [kind.__name__, *(self.all(value) if isinstance(value, tuple) else [repr(value)])]

    def array(self, value: np.ndarray) -> list[Any]:
        head = ["array", value.dtype.str if value.dtype.names is None else str(value.dtype.descr), str(value.shape)]
        if value.dtype.hasobject:
            return [*head, *self.all(value.ravel().tolist())]
        return [*head, np.ascontiguousarray(value).tobytes()]

    # ------------------------------------------------------------------------------------------------ code

    def code(self, code: types.CodeType) -> list[Any]:
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        counts = (code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, code.co_flags)
        table = getattr(code, "co_exceptiontable", b"")
        return ["code", code.co_code, repr(names), repr(counts), table, *self.all(code.co_consts)]

    def function(self, function: types.FunctionType) -> list[Any]:
        module, code = function.__module__ or "", function.__code__
        followed = self.followed(module)
        name = ["function", self.module(module) if self.strict else module, function.__qualname__]
        if not followed and getattr(sys.modules.get(module), function.__name__, None) is function:
            return name
        inside = [self.of(cell_contents(cell)) for cell in function.__closure__ or ()]
        if not followed:
            return [*name, *inside]
        found = ["function", self.of(code), self.of(function.__defaults__), self.of(function.__kwdefaults__), *inside]
        if self.strict:
            found += [self.of(dict(sorted(vars(function).items())))]
        return found + [text for item in self.reached(function) for text in item]

    def reached(self, function: types.FunctionType) -> Iterator[list[str]]:
        """The globals that a function names, and what it names inside the modules among them."""
        names = list(dict.fromkeys(names_of(function.__code__)))
        own, skipped, modules = names, set[str](), list[types.ModuleType]()
        if self.strict:
            own = globals_of(function.__code__)
            if {"getattr", "globals", "vars", "attrgetter", "__dict__"} & set(names):  # names that are texts
                texts = texts_of(function.__code__)
                own, names = list(dict.fromkeys([*own, *texts])), list(dict.fromkeys([*names, *texts]))
            skipped, modules = changed_by(function.__code__), list(imported(function))
            if self.first is None:  # the function itself: nobody of ours catches what it raises
                self.first = function
                own = [name for name in own if name not in guarding(function.__code__)]
        for name in own:
            if name in function.__globals__ and name not in OWN_NAMES:
                value = function.__globals__[name]
                if isinstance(value, types.ModuleType):
                    modules.append(value)
                elif not (name in skipped and isinstance(value, CONTAINERS)):
                    yield [name, self.of(value)]
        seen = list[types.ModuleType]()
        while modules:
            module = modules.pop(0)
            if any(module is one for one in seen):
                continue
            seen.append(module)
            yield [module.__name__, self.of(module)]
            if self.followed(module.__name__):
                for name in names:  # grows as it goes: package.module.function
                    if name in vars(module) and name not in OWN_NAMES:
                        value = vars(module)[name]
                        if isinstance(value, types.ModuleType):
                            modules.append(value)
                        else:
                            yield [name, self.of(value)]

    def followed(self, module: str) -> bool:
        if (
            not self.strict
        ):  # of this library the cells alone; the rest is in the name of all machine code (jit._sources)
            return module.split(".")[0] not in (FIXED | {OWN}) or module.startswith(f"{OWN}.cells.")
        return not self.settled(module) and module.split(".")[0] != OWN

    # --------------------------------------------------------------------------------- modules, classes, objects

    def settled(self, module: str) -> bool:
        """Whether a module is part of an installed package, which its version describes."""
        if is_fixed(module):
            return True
        file = getattr(sys.modules.get(module.split(".")[0]), "__file__", None) or ""
        return "site-packages" in file or "dist-packages" in file

    def module(self, name: str) -> str:
        head = name.split(".")[0]
        if head == OWN:
            return f"{name} {self.own}"
        return f"{name} {_installed(head)}" if self.settled(name) else name

    def type(self, cls: type) -> list[Any]:
        module = cls.__module__
        if not self.strict:
            return ["class", cls.__qualname__, *self.all(getattr(cls, "_fields", ()))]
        head = ["class", self.module(module), cls.__qualname__]
        nameless = module == "builtins" and cls.__flags__ & MADE_HERE
        if not nameless and (self.settled(module) or module.split(".")[0] == OWN):
            return head
        found = [*head, *self.all(cls.__bases__)]
        for name, value in vars(cls).items():
            if name in SKIPPED or isinstance(value, (types.GetSetDescriptorType, types.MemberDescriptorType)):
                continue
            found += [name, self.of(value)]
        return found

    def instance(self, value: Any) -> list[str]:
        """Any other object, by its class and what pickling would keep of it, or by what it wraps."""
        kind = type(value)
        if isinstance(value, (staticmethod, classmethod)):
            return [kind.__name__, self.of(value.__func__)]
        if isinstance(value, property):
            return ["property", *self.all((value.fget, value.fset, value.fdel))]
        if isinstance(value, functools.cached_property):
            return ["property", self.of(value.func)]
        if isinstance(value, (types.UnionType, types.GenericAlias)):  # int | None, in an annotation
            return [kind.__name__, *self.all(value.__args__)]
        if isinstance(value, types.MappingProxyType):
            return ["mapping", self.of(dict(value))]
        if isinstance(value, BUILTIN):
            return self.builtin(value)
        if isinstance(value, np.ufunc):
            return self.ufunc(value)
        if hasattr(value, "__wrapped__"):  # of functools.lru_cache, among others
            return [kind.__name__, self.of(value.__wrapped__)]
        try:
            made = value.__reduce_ex__(4)
        except Exception as error:
            raise Unrecognised(f"{_named(value)} has no contents that could be compared") from error
        if isinstance(made, str):  # pickled as a global name, which says nothing of its contents
            if callable(value) and not self.settled(getattr(value, "__module__", None) or kind.__module__):
                raise Unrecognised(f"{_named(value)} is known by its name alone")
            return [kind.__name__, self.module(getattr(value, "__module__", None) or kind.__module__), made]
        make, arguments, *rest = made
        if make is copyreg.__newobj__:  # type: ignore[attr-defined]
            make = "made"
        rest = [list(part) if isinstance(part, Iterator) else part for part in rest]
        return ["object", *self.all((kind, make, arguments, rest))]

    def builtin(self, value: Any) -> list[str]:
        owner = getattr(value, "__self__", None)
        if owner is None or isinstance(owner, types.ModuleType):
            return ["builtin", self.module(getattr(value, "__module__", None) or "builtins"), value.__qualname__]
        return ["builtin", value.__qualname__, self.of(owner)]

    def ufunc(self, value: Any) -> list[str]:
        name: str = value.__name__
        for module in ("numpy", "scipy.special"):
            if getattr(sys.modules.get(module), name, None) is value:
                return ["ufunc", self.module(module), name]
        raise Unrecognised(f"the ufunc {name} does not show its code")


BUILTIN = (
    types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodWrapperType, types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
)  # fmt: skip
MADE_HERE = 1 << 9  # of a class that Python code made: one from a namespace without __name__ says "builtins" too
OWN_NAMES = {"__builtins__", "__name__", "__doc__", "__file__", "__spec__", "__loader__", "__package__", "__path__"}


@functools.cache
def _installed(package: str) -> str:
    """What tells one installation of a package from another: its version and the list of its files."""
    module = sys.modules.get(package)
    found = [getattr(module, "__version__", "") or str(sys.version_info[:3])]
    file = getattr(module, "__file__", None)
    if file and package not in FIXED and not is_fixed(package):
        here = Path(file)
        folder = here.parent.parent if here.stem == "__init__" else here.parent
        with contextlib.suppress(OSError):
            lists = [*sorted(folder.glob(f"{package}-*.dist-info/RECORD")), here]
            found += [hashlib.sha256(path.read_bytes()).hexdigest() for path in lists]
    return " ".join(found)


def _named(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else f"an object of type {type(value).__name__}"
