"""What every analysis and picture checks of its arguments before it begins: a network, a run, a matrix, a result where
one is meant, a whole number where the signature says `int`. The decorator reads names and annotations of the function
under it, so that a public function needs no list of what it takes. Ranges are for the functions.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from . import arguments, in_place, numeric, room
from .called import name_of, told
from .words import misfit

AT_LEAST = 64  # bytes that a step, an angle or a unit cannot do without
BYTES = {"bins": 1 << 16}  # of a bar in a picture
TOLD = {"count", "every", "max_lag", "max_norm", "max_value", "windows"}  # functions have their own words about these
NETWORK, RUN, FAMILY, RUNS = "a network", "a run", "an Ensemble", "the run of an Ensemble"
MODEL, MODEL_RUN = "a model", "a run of a model"
LOOP, OF_LOOPS = "a closed loop", {"lyapunov_spectrum"}  # the analyses that take one in place of a network
MAKE = '`tt.Network("gru", input_size=…, hidden_size=…)`'


def checking(function: Callable, kinds: Mapping[str, Callable] | None = None) -> Callable:
    """The same for a method, or a function that lies in no module under its name. `kinds`: what arguments of some names
    are; by default KINDS."""
    kinds = KINDS if kinds is None else kinds
    signature = inspect.signature(function)
    hints = functools.cache(lambda: _hints(function))  # when first called: a class may be named that comes later

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            given = signature.bind(*args, **options)
        except TypeError:
            raise TypeError(misfit(function.__name__, signature, args, options)) from None
        for name, value in given.arguments.items():
            parameter = signature.parameters[name]
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if value is parameter.default or name in TOLD:
                continue
            if name in kinds and hints().get(name) not in (bool, int, float, str):
                given.arguments[name] = kinds[name](name, value, function.__name__)
            else:
                given.arguments[name] = _as_annotated(name, value, hints().get(name, Any))
        try:
            return function(*given.args, **given.kwargs)
        except (MemoryError, OverflowError) as error:  # of one huge array, or of a number, in NumPy or Python
            sizes = ", ".join(f"{name}={told(value)}" for name, value in given.arguments.items() if name != "self")
            raise ValueError(
                f"`{function.__name__}` of {sizes} goes beyond what this machine holds: {error}."
            ) from error

    return call


def network(name: str, value: Any, function: str, ensembles: bool = True) -> Any:
    """A network, of either device, or an ensemble of them."""
    what = name_of(value)
    if what == NETWORK:
        if getattr(value, "device", "cpu") == "cpu":
            in_place.parameters(value.parameters, value.shapes, value.dtype)
        return value
    if what == FAMILY and ensembles and value.of_models:
        raise TypeError(
            f"`{name}` is an Ensemble of models; `{function}` takes networks: write "
            f"`family.map(lambda model: tt.analysis.{function}(model.pieces[0], …))`, with the number of the piece."
        )
    if what == FAMILY and ensembles:
        return value
    if what == LOOP:
        return _loop(name, value, function)
    if what == FAMILY:
        raise TypeError(f"`{name}` is an Ensemble; `{function}` takes one network: pass one of it, `ensemble[0]`.")
    raise TypeError(f"`{name}` is {told(value)}; `{function}` takes a network{_to_network(value)}.")


def _loop(name: str, value: Any, function: str) -> Any:
    """A closed loop, for the analyses that take one."""
    if function in OF_LOOPS:
        return value
    if value.network is not None:
        raise TypeError(
            f"`{name}` is a closed loop; `{function}` takes a network, and this loop is one: `loop.network`."
        )
    raise TypeError(
        f"`{name}` is a closed loop, and no network of one layer; `{function}` takes a network. What takes matrices "
        "takes those of the loop: `loop.unroll(steps).jacobians()[:, 0]`."
    )


def run(name: str, value: Any, function: str) -> Any:
    """A run, of either device, or that of an ensemble."""
    found = name_of(value)
    if found == RUNS and value.of_models:
        raise TypeError(
            f"`{name}` is the run of an Ensemble of models; `{function}` takes that of one piece: pass "
            '`run.networks["0"]`, by the name of the piece.'
        )
    if found in (RUN, RUNS):
        return value
    what = f"`{name}` is {told(value)}; `{function}` takes a run, a network unrolled over an input"
    if found == NETWORK:
        raise TypeError(f"{what}: pass `net.unroll(x)`.")
    _no_model(found, what)
    if found == FAMILY:
        raise TypeError(f"{what}: pass `ensemble.unroll(x)`.")
    if found == "gradients":
        raise TypeError(f"{what}: pass the run that they came from.")
    raise TypeError(f"{what}: make a network, {MAKE}, and pass `net.unroll(x)`.")


def _no_model(found: str, what: str) -> None:
    """TypeError for a model or its run, where the run of one piece is meant."""
    if found in (MODEL, MODEL_RUN):
        whole = "run" if found == MODEL_RUN else "model.unroll(x)"
        raise TypeError(f'{what}: pass that of one piece, `{whole}.networks["0"]`, by the name of the piece.')


def matrix(name: str, value: Any, function: str) -> Any:
    """A matrix, or a run of which one step is meant."""
    found = name_of(value)
    if found in (RUN, RUNS):
        return value
    if found in (NETWORK, FAMILY):
        raise TypeError(
            f"`{name}` is {told(value)}; `{function}` takes a matrix or a run: pass "
            '`net.parameters["weight_hh_l0"]`, or `net.unroll(x)` and the step, `t=…`.'
        )
    _no_model(found, f"`{name}` is {told(value)}; `{function}` takes a matrix, or a run and `t=…`")
    if value is None or isinstance(value, (str, bytes, Mapping, set, type)):
        raise TypeError(f"`{name}` is {told(value)}; `{function}` takes a matrix (S, S), or a run and `t=…`.")
    if _holds_complex(value):
        return value
    return numeric.numbers(name, value)


def jacobians(name: str, value: Any, function: str) -> Any:
    """An array (T, S, S), a list of matrices, or anything that gives one after another."""
    found = name_of(value)
    if found == RUN:
        raise TypeError(
            f"`{name}` is a run; `{function}` takes its matrices: pass "
            "`run.jacobians()[:, 0]`, those of the first sequence."
        )
    wrong = found in (NETWORK, FAMILY, RUNS) or isinstance(value, (str, bytes, Mapping, set, type))
    if wrong or not isinstance(value, Iterable) or (isinstance(value, np.ndarray) and not value.ndim):
        raise TypeError(f"`{name}` is {told(value)}; `{function}` takes matrices (S, S), an array (T, S, S) of them.")
    try:
        iter(value)
    except Exception as error:  # that of an object which says that it can be gone through, and cannot
        raise TypeError(
            f"`{name}` is {told(value)}, which cannot be gone through; `{function}` takes matrices (S, S)."
        ) from error
    return value


def real_numbers(name: str, value: Any, function: str) -> Any:
    """A number or an array of real numbers, on the CPU or a GPU; as it came."""
    if not hasattr(value, "__cuda_array_interface__"):
        numeric.numbers(name, value)
    return value


def of_gates(name: str, value: Any, function: str) -> Any:
    """The same, or a dict of numbers by names of gates, which the function itself looks at."""
    return value if isinstance(value, Mapping) and value else real_numbers(name, value, function)


def several(name: str, value: Any, function: str) -> Any:
    """A count of starts, or the starts themselves."""
    if numeric.numbers(name, value).ndim == 0:
        room.check(f"`{name}`={arguments.shown(value)}", arguments.whole(name, value), AT_LEAST)
    return value


def seed(name: str, value: Any, function: str) -> Any:
    arguments.generator(value)
    return value


def loss(name: str, value: Any, function: str) -> Any:
    if not callable(value) or isinstance(value, type) or name_of(value) == NETWORK:
        raise TypeError(f"`{name}` is {told(value)}; expected a function of a run: `lambda run: (loss, grad_output)`.")
    return value


KINDS: dict[str, Callable[[str, Any, str], Any]] = {
    "net": network,
    "run": run,
    "matrix": matrix,
    "jacobians": jacobians,
    "seed": seed,
    "loss": loss,
    "starts": several,
    **dict.fromkeys(("x", "lag", "windows", "thresholds"), real_numbers),
    **dict.fromkeys(("gain", "bias", "bias_mean", "noise"), of_gates),
    **dict.fromkeys(("first_values", "second_values"), real_numbers),
}


def _as_annotated(name: str, value: Any, hint: Any) -> Any:
    """`value` if it is what the annotation says, where that is a number, a flag, a text or a record of this library."""
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if (value is None and types.NoneType in allowed) or (isinstance(value, str) and str in allowed):
        return value
    if bool in allowed:
        return arguments.flag(name, value)
    if int in allowed:
        if any(typing.get_origin(other) for other in allowed) and np.ndim(value):  # or several of them
            return numeric.numbers(name, value)
        number = arguments.whole(name, value)
        room.check(f"`{name}`={number}", abs(number), BYTES.get(name, AT_LEAST), "Take a smaller number.")
        return number
    if float in allowed:
        return _number(name, value)
    if any(typing.get_origin(other) is np.ndarray for other in allowed):
        return numeric.numbers(name, value)
    if str in allowed:
        raise TypeError(f"`{name}` is {arguments.kind(value)}; expected a text.")
    if range in allowed and not isinstance(value, range):
        raise TypeError(f"`{name}` is {told(value)}; expected a range of whole numbers.")
    records = [cls for cls in allowed if isinstance(cls, type) and cls.__module__.startswith("throughtime.")]
    if records and not isinstance(value, tuple(cls for cls in allowed if isinstance(cls, type))):
        names = " or ".join(cls.__name__ for cls in records)
        article = "an" if names[0] in "AEIOU" else "a"
        raise TypeError(f"`{name}` is {told(value)}; expected {article} {names}.")
    return value


def _number(name: str, value: Any) -> float:
    """Any real number, NaN and infinity included: what they mean the function knows."""
    if isinstance(value, float):
        return value
    finite = isinstance(value, (np.floating, np.ndarray)) and np.ndim(value) == 0 and not np.isfinite(value)
    return float(value) if finite else arguments.real(name, value)


def _holds_complex(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind == "c"
    except Exception:  # ragged lists, tensors: numeric.numbers says what they are
        return False


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError:  # a name that only the type checker reads
        return {}


def _to_network(value: Any) -> str:
    if name_of(value) == RUN:
        return ": pass `run.network`"
    if name_of(value) == MODEL:
        return ": pass that of one piece, `model.pieces[0]`, by its number"
    if name_of(value) == MODEL_RUN:
        return ': pass that of one piece, `run.networks["0"].network`'
    if name_of(value) == RUNS:
        return ", or an Ensemble: pass `run.ensemble`"
    if isinstance(value, str):
        return f": make one, {MAKE}, or read one, `tt.load(path)`"
    if hasattr(value, "state_dict") and type(value).__module__.startswith("torch"):
        return f": make one of its sizes, {MAKE}, and call `net.load_state_dict(module.state_dict())`"
    if isinstance(value, list):
        return f": make one, {MAKE}, or of several `tt.Ensemble(networks)`"
    return f": make one, {MAKE}"
