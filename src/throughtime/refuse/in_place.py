"""The arrays of `network.parameters`, which a user writes in place, and may have replaced by something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .arguments import kind


def fits(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return isinstance(value, np.ndarray) and (value.shape, value.dtype) == (shape, dtype)


def parameters(held: Any, wanted: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]) -> None:
    """Raise unless `network.parameters` still holds an array of its shape and dtype for every name, and no others."""
    if type(held) is not dict and not isinstance(held, Mapping):
        raise TypeError(f"`network.parameters` is {kind(held)}; use `load_state_dict` to set all parameters at once.")
    if len(held) == len(wanted):  # nearly always: all fit
        for name, shape in wanted.items():
            value = held.get(name)
            if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != dtype:
                break
        else:
            return
    for name in (*wanted, *(name for name in held if name not in wanted)):
        here = f'`network.parameters["{name}"]`'
        if name not in wanted:
            raise ValueError(f"{here} is no parameter of this network; its names: {', '.join(wanted)}.")
        if name not in held:
            raise ValueError(f"{here} has been removed, but this network needs it, with shape {wanted[name]}.")
        value = held[name]
        if fits(value, wanted[name], dtype):
            continue
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{here} is {kind(value)}; put `np.array(…)` of it there.")
        if value.shape != wanted[name]:
            raise ValueError(f"{here} has shape {value.shape}; expected {wanted[name]}.")
        raise TypeError(
            f"{here} has dtype {value.dtype}; this network computes in {dtype}: put `.astype({dtype.name!r})`."
        )


def on_device(held: Any, wanted: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any], arrays: Any) -> dict[str, Any]:
    """Those of a network on the GPU, whatever library they are of, as the engine takes them; or an error likewise."""
    found = {}
    for name, shape in wanted.items():
        here, value = f'`network.parameters["{name}"]`', held.get(name)
        if not arrays.holds(value):
            given = type(value).__name__
            raise TypeError(f"{here} is {given}; a network on the GPU needs a device array of shape {shape}.")
        found[name] = arrays.wrap(value)
        if tuple(found[name].shape) != shape or found[name].dtype != dtype:
            given = f"{found[name].dtype} {tuple(found[name].shape)}"
            raise ValueError(f"{here} is {given}; expected {dtype} {shape}.")
    return found
