"""Random generators among the arguments of a sweep: an independent stream for each network, whoever comes first.

A generator that several networks drew from would give each of them what its turn happens to be. So each network gets
a stream of its own, spawned from one draw that advances the caller's generator once: the results are the same for every
number of threads and every backend, a second call with the same generator draws anew, and a fresh one of the same seed
gives the same again. Whole numbers stay what they are, the same seed for every network.
"""

import copy
import functools
import random
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..code.fingerprints import OWN, PLAIN
from ..code.names import cell_contents, globals_of, is_fixed

SOURCES = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, np.random.SeedSequence, random.Random)
WORDS = 8  # of 32 bits, drawn from a generator to seed its streams


def spawned(value: Any, count: int) -> list[Any]:
    """`value`, `count` times: the k-th with the k-th stream in the place of each generator inside it.

    An empty list if there is no generator.
    """
    streams = {id(one): _streams(one, count) for one in {id(one): one for one in _inside(value)}.values()}
    return [_replaced(value, {key: each[k] for key, each in streams.items()}) for k in range(count)] if streams else []


def calls(function: Any, args: tuple, options: dict, count: int) -> list[tuple]:
    """(function, args, options) for each network: the same for all, but for generators, one stream for each."""
    found = outside(function, 1 + len(args), options) if count > 1 else None
    for one in (*args, *options.values()) if count > 1 and found is None else ():
        found = found or (outside(one) if callable(one) else None)
    if found is not None:
        raise ValueError(
            f"`{getattr(function, '__name__', 'function')}` draws from the generator `{found}`, which is none of its "
            "arguments: the networks would share it, and each result would depend on which of them came first. Pass "
            "it as an argument, map(function, rng=rng): then each network gets a stream of its own."
        )
    return spawned((function, args, options), count) or [(function, args, options)] * count


def outside(function: Any, positional: int = 0, named: Iterable[str] = ()) -> str | None:
    """The name of a generator that a function takes from outside its arguments, if there is one.

    positional, named : the arguments that it gets, so that their defaults do not count.
    """
    names = getattr(getattr(function, "__code__", None), "co_varnames", ())[:positional]
    return next(_reached(function, set(), {*names, *named}), None)


def _streams(source: Any, count: int) -> list[Any]:
    if isinstance(source, np.random.SeedSequence):
        return list(source.spawn(count))
    if isinstance(source, random.Random):
        seeds = np.random.SeedSequence(source.getrandbits(32 * WORDS)).spawn(count)
        return [random.Random(int.from_bytes(seed.generate_state(WORDS).tobytes(), "little")) for seed in seeds]
    if isinstance(source, np.random.RandomState):
        drawn = source.randint(0, 1 << 32, WORDS, dtype=np.uint32)
        return [np.random.RandomState(np.random.MT19937(seed)) for seed in _seeds(drawn, count)]
    is_generator = isinstance(source, np.random.Generator)
    generator = source if is_generator else np.random.Generator(source)
    bits: Any = type(generator.bit_generator)
    seeds = _seeds(generator.integers(0, 1 << 32, WORDS, dtype=np.uint32), count)
    return [np.random.Generator(bits(seed)) if is_generator else bits(seed) for seed in seeds]


def _seeds(drawn: np.ndarray, count: int) -> list[np.random.SeedSequence]:
    return np.random.SeedSequence([int(word) for word in drawn]).spawn(count)


def _parts(value: Any) -> list[Any]:
    """What a container or an object holds, plain values left out."""
    if isinstance(value, dict):
        held: Any = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        held = value
    elif isinstance(value, functools.partial):
        held = (value.func, value.args, value.keywords)
    elif isinstance(value, types.MethodType):
        held = (value.__self__,)
    else:
        held = vars(value).values() if _is_record(value) else ()
    return [part for part in list(held) if type(part) not in PLAIN]


def _is_record(value: Any) -> bool:
    """An object of a class of the user's, with attributes."""
    module = type(value).__module__
    if (
        module.split(".")[0] == OWN
        or is_fixed(module)
        or isinstance(value, (type, types.FunctionType, types.ModuleType))
    ):
        return False
    return hasattr(value, "__dict__")


def _inside(value: Any) -> Iterator[Any]:
    """The generators in it, at any depth."""
    seen, waiting = set[int](), [value]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            if isinstance(one, SOURCES):
                yield one
            else:
                waiting += _parts(one)


def _replaced(value: Any, made: dict[int, Any]) -> Any:
    """A copy with the streams in it; what holds none is not copied. `made`: by id, what has its copy already."""
    if id(value) in made:
        return made[id(value)]
    if type(value) in PLAIN or next(_inside(value), None) is None:
        return value
    if isinstance(value, (list, dict)) or _is_record(value):
        new = made[id(value)] = copy.copy(value)  # known before it is filled: it may hold itself
        if isinstance(value, list):
            new[:] = [_replaced(part, made) for part in value]
        else:
            inside, held = (new, value) if isinstance(value, dict) else (vars(new), vars(value))
            inside.update({name: _replaced(part, made) for name, part in held.items()})
    elif isinstance(value, functools.partial):
        func, arguments, keywords = (_replaced(part, made) for part in (value.func, value.args, value.keywords))
        new = functools.partial(func, *arguments, **keywords)
    elif isinstance(value, types.MethodType):
        new = types.MethodType(value.__func__, _replaced(value.__self__, made))
    else:
        parts = [_replaced(part, made) for part in value]
        new = type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    made[id(value)] = new
    return new


def _reached(function: Any, seen: set[int], given: set[str]) -> Iterator[str]:
    """Names of the generators that a function, or one that it calls, finds in its closure, globals and defaults."""
    function = getattr(function, "py_func", function)
    function = function.func if isinstance(function, functools.partial) else getattr(function, "__func__", function)
    module = getattr(function, "__module__", None) or ""
    if not isinstance(function, types.FunctionType) or is_fixed(module) or module.split(".")[0] == OWN:
        return
    if id(function) in seen:
        return
    seen.add(id(function))
    code: Any = function.__code__
    found = dict(zip(code.co_freevars, map(cell_contents, function.__closure__ or ()), strict=False))
    found |= {name: function.__globals__[name] for name in globals_of(code) if name in function.__globals__}
    names = code.co_varnames[: code.co_argcount][::-1]
    defaults = dict(zip(names, (function.__defaults__ or ())[::-1], strict=False)) | (function.__kwdefaults__ or {})
    found |= {name: value for name, value in defaults.items() if name not in given}
    for name, value in found.items():
        if next(_inside(value), None) is not None:
            yield name
        if callable(value):
            yield from _reached(value, seen, set())
