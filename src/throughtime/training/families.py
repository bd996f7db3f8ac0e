"""fit and evaluate of a family of models: each model with what is its own at its point of the axes."""

from __future__ import annotations

import copy
import functools
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..ensemble import kept_results, sweep
from ..ensemble.family import Ensemble
from ..ensemble.side_by_side import side_by_side
from ..refuse import arguments
from ..refuse.called import name_of, told
from ..results.of_ensemble import EnsembleResult
from .history import History
from .in_progress import Diverged, Trained, Training
from .monitor import Monitor
from .optimiser import Optimiser
from .trained_family import TrainedFamily

FUNCTIONS = ("loss", "validation", "callbacks")  # may be functions of other things than the axes
BESIDE = {  # the course of a training does not depend on these
    "steps", "validation", "validate_every", "patience", "monitor", "callbacks", "checkpoint", "checkpoint_every",
    "generators", "progress",
}  # fmt: skip
Point = dict[str, Any]


def of_families(gather: Callable[[Callable, Ensemble, dict[str, Any]], Any]) -> Callable[[Callable], Callable]:
    """Decorator of a function whose first argument is a model: of an `Ensemble` of models `gather` calls it for each.

    Every argument but the first may be a function of the axes, which is called with those of their values that it names
    and gives what one model gets.
    """

    def decorate(function: Callable) -> Callable:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **options: Any) -> Any:
            family = args[0] if args else options.get("model")
            if not isinstance(family, Ensemble):
                return function(*args, **options)
            try:
                given = signature.bind(*args, **options).arguments
            except TypeError:
                return function(*args, **options)  # which says in words what is wrong with them
            if not family.of_models:
                raise TypeError(
                    f"`model` is an Ensemble of networks; `{function.__name__}` takes one of models: let its function "
                    "return `tt.models.Chain([net, tt.models.Readout(net.hidden_size, outputs)])`."
                )
            del given["model"]
            _not_shared(given, family)
            return gather(call, family, given)  # by its public name, under which another process finds it

        return call

    return decorate


def trained(fit: Callable, family: Ensemble, given: dict[str, Any]) -> TrainedFamily:
    """Every model trained, one in each thread."""
    progress = arguments.flag("progress", given.pop("progress", False)) or family.progress
    folder = _folder(given, family)
    listed = family[0] is family[0]
    if listed and len({id(model) for model in family}) < len(family):
        raise ValueError(
            "A model stands twice in this Ensemble, and would be trained twice at once: make one for each."
        )
    own = [(i, point) for i, point in enumerate(family.points)]
    ended = threading.Event() if family.backend == "threads" else None
    shared = (fit, folder, ended, {}, tuple(given), *given.values())
    found = side_by_side(family, _train, shared, own, progress, ended)
    models = [_put_back(family[i], model) if listed else model for i, (_, model) in enumerate(found)]
    members = Ensemble(models, family.axes, backend=family.backend, save=family.save, progress=family.progress)
    return TrainedFamily(family.axes, tuple(result for result, _ in found), members)


def evaluated(evaluate: Callable, family: Ensemble, given: dict[str, Any]) -> EnsembleResult:
    """The loss of every model, on the axes."""
    shared = (evaluate, {}, tuple(given), *given.values())
    own = [(i, point) for i, point in enumerate(family.points)]
    return EnsembleResult(family.axes, tuple(side_by_side(family, _evaluate, shared, own, family.progress)))


def _train(
    model: Any,
    fit: Callable,
    folder: Path | None,
    ended: threading.Event | None,
    taken: dict,
    names: tuple,
    *rest: Any,
) -> tuple[Trained, Any]:
    """(what `fit` gives of one model, the model); one that diverges has a history and the last good parameters."""
    *values, index, point = rest
    own = {name: _at(name, value, point, taken, index) for name, value in zip(names, values, strict=True)}
    callbacks = own.get("callbacks", ())
    if callable(callbacks):
        callbacks = (callbacks,)
    if isinstance(callbacks, (list, tuple)):
        own["callbacks"] = [functools.partial(_begin_step, point, ended), *callbacks]
    if folder is not None:
        own["checkpoint"] = folder / f"{index:06d}{_key(model, own, point)}.tt"
    try:
        return fit(model, **own), model
    except Diverged as error:
        return Trained(error.history, error.step, "diverged"), model


def _evaluate(model: Any, evaluate: Callable, taken: dict, names: tuple, *rest: Any) -> float:
    *values, index, point = rest
    own = {name: _at(name, value, point, taken, index) for name, value in zip(names, values, strict=True)}
    return evaluate(model, **own)


class Unwanted(Exception):
    """Another model has failed, or the whole call was interrupted."""


def _begin_step(point: Point, ended: threading.Event | None, training: Training) -> None:
    training.point = point
    if ended is not None and ended.is_set():
        raise Unwanted("The training of the family has ended.")


# ------------------------------------------------------------------------------------------- what a model gets


def _at(name: str, value: Any, point: Point, taken: dict[int, tuple[int, Any]], index: int) -> Any:
    """What one model gets of an argument. `taken`: what another has already, by id: it cannot be had twice."""
    axes = of_axes(value, point)
    if axes is None:
        if isinstance(value, Optimiser):
            return copy.deepcopy(value)
        if isinstance(value, Monitor):
            fresh = copy.copy(value)
            fresh.history = History()
            return fresh
        return value
    found = value(**{axis: point[axis] for axis in axes})
    own = hasattr(found, "__next__") or isinstance(found, (Optimiser, Monitor))
    if own and taken.setdefault(id(found), (index, found))[0] != index:
        raise ValueError(
            f"`{name}` gives the same {type(found).__name__} for several models, and what one does to it the others "
            "would find: let the function make a new one each time."
        )
    return found


def of_axes(value: Any, axes: Any) -> list[str] | None:
    """The axes with whose values a function is called, or None if this is no function of axes.

    >>> of_axes(lambda seed: seed, ["gain", "seed"]), of_axes(lambda: 0, ["gain"]), of_axes(lambda x, gain: x, ["gain"])
    (['seed'], [], None)
    """
    if not callable(value) or isinstance(value, type) or name_of(value):
        return None
    try:
        parameters = inspect.signature(value).parameters.values()
    except Exception:  # ValueError or TypeError, or what an object of another library raises
        return None
    kinds = {p.kind for p in parameters}
    needed = {
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY} or needed - set(axes):
        return None
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return list(axes)
    found = [p.name for p in parameters if p.name in axes]
    return found if found or not parameters else None


def _not_shared(given: dict[str, Any], family: Ensemble) -> None:
    """ValueError or TypeError for what one model would use up for the others, and for functions of no axes."""
    axes = list(family.axes)
    seed = "seed" if "seed" in axes else axes[-1] if axes else ""
    for name, value in given.items():
        if of_axes(value, axes) is not None:
            continue
        if hasattr(value, "__next__"):
            raise ValueError(
                f"`{name}` is one iterator, and each of the {len(family)} models would get what the others leave of "
                f"it; pass a function that makes one for each: `lambda {seed}: task.batches(32, seed={seed})`, a "
                "function of any of the axes, or `lambda: task.batches(32, seed=0)` for the same batches in all."
            )
        if inspect.isroutine(value) and name not in FUNCTIONS:
            raise TypeError(
                f"`{name}` is a function of {inspect.signature(value) if inspect.isfunction(value) else '(…)'}; of a "
                f"family it is called with values of the axes, by name: {', '.join(axes)}."
            )
        if isinstance(value, Monitor) and len(value.history):
            raise ValueError(
                f"The history of `{name}` has {len(value.history)} steps already, and each model of a family begins "
                "its own; pass a new Monitor."
            )
        if name == "generators" and value is not None and not (isinstance(value, (dict, list, tuple)) and not value):
            raise ValueError(
                "`generators` would be the same for all models; pass a function of the axes that gives each its own."
            )


# ------------------------------------------------------------------------------------------- folders and lists


def _folder(given: dict[str, Any], family: Ensemble) -> Path | None:
    """The folder of the checkpoints, made if need be; None where there are none, or a function names each file."""
    path = given.get("checkpoint")
    if of_axes(path, family.axes) is not None:
        return None
    if path is None:
        path = family.save
    given.pop("checkpoint", None)
    if path is None:
        return None
    hint = "of a family pass the path of a folder, which gets one file for each model"
    return kept_results.folder(arguments.path("checkpoint", path), "checkpoint", hint)


def _key(model: Any, own: dict[str, Any], point: Point) -> str:
    """A part of the file's name by which a training that begins otherwise does not go on from it."""
    if not hasattr(own.get("batches"), "state"):
        raise ValueError(
            "A checkpoint, in the folder of `checkpoint` or of the Ensemble's `save`, holds the place in the batches, "
            f"and {told(own.get('batches'))} does not say its own; batches of tt.tasks do, "
            "`lambda: task.batches(32, seed=0)`."
        )
    begins = {name: own[name] for name in sorted(own) if name not in BESIDE}
    try:
        return f"-{sweep.key(point, type(model), model.shapes, model.flat, begins)[:16]}"
    except ValueError as error:
        raise ValueError(
            f"`checkpoint` finds the training of each model again by what it begins with: {error.__cause__}. Pass "
            "plain data and functions, or a function of the axes that names a file for each model."
        ) from error


def _put_back(original: Any, model: Any) -> Any:
    """The model of the list itself, trained: another process trained a copy."""
    if original is not model:
        original.flat[...] = model.flat
        for name, rng in model.generators.items():
            original.generators[name].bit_generator.state = rng.bit_generator.state
    return original
