"""One vector of all parameters, and the arrays by name that look into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ..refuse.called import told

Array = np.ndarray
Shapes = Mapping[str, tuple[int, ...]]


class Views(dict):
    """name -> array that looks into the flat vector. The arrays are written in place; another cannot take their place.

    ValueError for `parameters[name] = other`, with what to write; `parameters[name] -= step` is in place and passes.
    """

    def __setitem__(self, name: Any, value: Any) -> None:
        if self.get(name) is not value:
            raise ValueError(
                "The parameters of a model look into its flat vector: write into them, "
                f"`parameters[{name!r}][...] = …`."
            )

    def _fixed(self, *args: Any, **options: Any) -> NoReturn:
        raise ValueError("The parameters of a model are fixed by its pieces; write into them, or make another model.")

    __delitem__ = pop = popitem = clear = update = setdefault = __ior__ = _fixed


def size(shapes: Shapes) -> int:
    """Numbers in all."""
    return sum(math.prod(shape) for shape in shapes.values())


def views(shapes: Shapes, vector: Array) -> Views:
    """The arrays of these shapes, one after another in `vector`, which is as long as they are together."""
    found, at = {}, 0
    for name, shape in shapes.items():
        count = math.prod(shape)
        found[name] = vector[at : at + count].reshape(shape)
        at += count
    return Views(found)


def fitting_there(name: str, vector: Any, shapes: Shapes) -> Any:
    """`vector` if it is one of as many floats on the GPU; ValueError otherwise."""
    count = size(shapes)
    if tuple(vector.shape) != (count,) or vector.dtype.kind != "f":
        raise ValueError(
            f"`{name}` is a device array of {vector.dtype} {tuple(vector.shape)}; this model has {count} parameters, "
            f"expected ({count},) of floats."
        )
    return vector


def to_write(name: str, vector: Any, flat: Array, shapes: Shapes) -> Array:
    """`vector` if a gradient of the parameters in `flat` can be written into it, or an error in words."""
    fitting(name, vector, shapes)
    if not vector.flags.writeable or np.may_share_memory(vector, flat):
        why = "looks into `model.flat` itself" if vector.flags.writeable else "is read-only"
        raise ValueError(f"`{name}` {why}; expected a vector to write into, such as `np.empty_like(model.flat)`.")
    return vector


def fitting(name: str, vector: Any, shapes: Shapes) -> Array:
    """`vector` if it is a NumPy vector of as many numbers; TypeError or ValueError otherwise."""
    count = size(shapes)
    if isinstance(vector, np.ndarray) and vector.dtype.kind != "f":
        raise TypeError(f"`{name}` has dtype {vector.dtype}; expected {count} floats, as `model.flat` is.")
    if not isinstance(vector, np.ndarray):
        raise TypeError(f"`{name}` is {told(vector)}; expected a NumPy vector of {count} floats, as `model.flat` is.")
    if vector.shape != (count,):
        raise ValueError(f"`{name}` has shape {vector.shape}; this model has {count} parameters, expected ({count},).")
    return vector
