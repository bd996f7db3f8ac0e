"""A step of an optimiser on the GPU: queued there, and nothing waited for until somebody asks for its numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import engine
from ..refuse import numeric
from ..refuse.called import told
from .transforms import ClipNorm, ClipValue, Frozen, WeightDecay

Array = Any  # on the device
TRANSFORMS = "ClipNorm, ClipValue, WeightDecay and Frozen"


def here(x: Any) -> bool:
    """Whether x is an array on the GPU."""
    return hasattr(x, "copy_to_host")


def fetched(value: Any) -> Any:
    """A value, with all arrays in it that lie on the GPU in NumPy."""
    if isinstance(value, dict):
        return {name: fetched(own) for name, own in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(map(fetched, value))
    return engine.of("cuda").arrays.to_host(value) if here(value) else value


def rows(count: int, watched: Any = None) -> Any:
    """Room on the device for the numbers of so many updates; watched: the parameters, to stop where all is lost."""
    return engine.of("cuda").update_rows.UpdateRows(count, watched)


def nothing() -> Array:
    """A number in place of a loss."""
    return engine.of("cuda").arrays.zeros((1,), np.float64)


def of_model(flat: Any, gradient: Any) -> tuple[Array, Array]:
    """Both as vectors on the device, or an error in words."""
    arrays = engine.of("cuda").arrays
    flat = arrays.wrap(flat)
    if flat.ndim != 1 or flat.dtype not in (np.float32, np.float64) or not arrays.contiguous(flat):
        raise ValueError(
            f"`flat` is a device array of {flat.dtype} {tuple(flat.shape)}; expected one vector of float32 or float64, "
            "`model.flat`."
        )
    if not arrays.holds(gradient):
        host = numeric.array("gradient", gradient, {"parameters": flat.size}, flat.dtype)
        return flat, arrays.from_host(host)
    found = arrays.wrap(gradient)
    if tuple(found.shape) != tuple(flat.shape) or found.dtype != flat.dtype:
        raise ValueError(
            f"`gradient` is a device array of {found.dtype} {tuple(found.shape)}; expected {flat.dtype} "
            f"{tuple(flat.shape)}, as `flat`."
        )
    return flat, arrays.dense(found)


def may_step(optimiser: Any) -> None:
    """ValueError for an optimiser, or a transform, that computes in NumPy."""
    if not getattr(type(optimiser)._update, "on_gpu", False):
        raise ValueError(
            f"{type(optimiser).__name__} computes in NumPy; on the GPU the optimisers are SGD, RMSprop, Adam and "
            'AdamW. Take one of these, or the model on the CPU, `model.to("cpu")`.'
        )
    for transform in optimiser.transforms:
        if type(transform) not in (ClipNorm, ClipValue, WeightDecay, Frozen):
            raise ValueError(
                f"The transform {getattr(transform, '__name__', None) or told(transform)} computes in NumPy; on the "
                f'GPU there are {TRANSFORMS}. Take these, or the model on the CPU, `model.to("cpu")`.'
            )


def transformed(optimiser: Any, flat: Array, gradient: Array, room: Any, k: int) -> Array:
    """The gradient after all transforms, a copy if there are some; row k of `room` has begun."""
    if not optimiser.transforms:
        return gradient
    machine = engine.of("cuda")
    own, measured = machine.arrays.copy(gradient), True
    for transform in optimiser.transforms:
        if isinstance(transform, ClipNorm):
            if not measured:
                room.measure(k, own, False)
            room.clip_norm(k, own, transform.limit)
            measured = True
        elif isinstance(transform, ClipValue):
            machine.update_rows.clip_value(own, transform.limit)
            room.measure(k, own, True)
            measured = True
        elif isinstance(transform, WeightDecay):
            machine.update_rows.add_decay(own, flat, transform.rate)
            measured = False
        else:
            machine.update_rows.put_back(own, mask_there(transform, own), None)
            measured = False
    return own


def mask_there(frozen: Frozen, like: Array) -> Array:
    """The mask of a `Frozen` on the device, uploaded once."""
    if frozen.mask.shape != tuple(like.shape):
        raise ValueError(f"The mask of Frozen has {frozen.mask.size} entries; there are {like.size} parameters.")
    found = _masks.get(id(frozen))
    if found is None or found[0] is not frozen:
        if len(_masks) >= MOST_MASKS:
            _masks.clear()
        found = _masks[id(frozen)] = frozen, engine.of("cuda").arrays.from_host(frozen.mask.astype(np.uint8))
    return found[1]


_masks: dict[int, tuple[Frozen, Array]] = {}
MOST_MASKS = 16
