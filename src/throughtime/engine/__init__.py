"""The engines: one module for each machine, with the same functions and the same operations on arrays."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any


@cache
def of(device: str) -> Any:
    """The engine of "cpu" or "cuda": unroll, backprop, tangent, sent_back of one layer, `jacobians` and `arrays`.

    Loaded when first asked for: Numba's CUDA package is for those who use a GPU.
    """
    return import_module(f"{__name__}.{device}")
