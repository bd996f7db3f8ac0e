"""Nested dicts, lists, tuples, numbers and arrays as plain JSON and a dict of arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def packed(tree: Any) -> tuple[Any, Arrays]:
    """(what JSON takes, the arrays it speaks of). TypeError for what is neither.

    >>> skeleton, arrays = packed({"state": (np.ones(2), None), "step": 3})
    >>> skeleton, list(arrays)
    ({'dict': {'state': {'tuple': [{'array': 'a0'}, None]}, 'step': 3}}, ['a0'])
    >>> unpacked(skeleton, arrays)
    {'state': (array([1., 1.]), None), 'step': 3}
    """
    arrays: Arrays = {}
    return _pack(tree, arrays), arrays


def unpacked(skeleton: Any, arrays: Arrays) -> Any:
    """The tree again, with arrays of its own."""
    if not isinstance(skeleton, dict):
        return skeleton
    ((kind, inside),) = skeleton.items()
    if kind == "array":
        return np.array(arrays[inside])
    if kind == "dict":
        return {name: unpacked(value, arrays) for name, value in inside.items()}
    found = [unpacked(value, arrays) for value in inside]
    return tuple(found) if kind == "tuple" else found


def _pack(tree: Any, arrays: Arrays) -> Any:
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, (np.ndarray, np.generic)):
        name = f"a{len(arrays)}"
        arrays[name] = np.asarray(tree)
        return {"array": name}
    if isinstance(tree, dict) and all(isinstance(name, str) for name in tree):
        return {"dict": {name: _pack(value, arrays) for name, value in tree.items()}}
    if isinstance(tree, (list, tuple)):
        return {"tuple" if isinstance(tree, tuple) else "list": [_pack(value, arrays) for value in tree]}
    raise TypeError(f"An object of type {type(tree).__name__} has no place in a checkpoint; numbers and arrays have.")
