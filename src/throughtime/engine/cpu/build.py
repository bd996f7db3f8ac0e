"""From a cell to its compiled parts, each made at first use and cached on disk.

The loops are compiled for a shape (gates, states, saved, ...), the pointwise functions for a cell: vanilla units of all
kinds share one loop, and a new cell costs the compilation of a few lines.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numba
import numpy as np
from numba import types

from ...cells.base import Spec, spec
from ...cells.sharing import gives_one_tuple_twice
from ...cells.versions import in_force
from ...code.fingerprints import fingerprint
from ...code.precision import in_precision
from ...jit import address_of, inlined, intrinsic, merged, named_in, specialise
from .. import failures
from . import backward_loop, loops, pointwise, tangents, weight_gradients
from .matmul import group, products
from .operands import Pointwise
from .panels import packers
from .register_tile import lanes

LOOPS = (loops, weight_gradients, backward_loop, tangents)


@dataclass(frozen=True)
class Shape:
    """All that the loops know of a cell, and how they cut it into blocks.

    A panel of weights holds the G gates of a block side by side, some 3 to 4 vectors: a tile that fills the registers
    with sums then reads little per multiplication.
    """

    dtype: np.dtype
    gates: int
    states: int
    saved: int
    emits: bool
    shared: bool

    @cached_property
    def block(self) -> int:
        """Units worked on together."""
        return lanes(self.dtype) * (1 if self.gates > 2 else 2)

    @cached_property
    def width(self) -> int:
        """Columns of a panel of packed weights."""
        return self.gates * self.block

    @cached_property
    def back(self) -> int:
        """Columns of a panel of the transposed weights: 2 vectors."""
        return 2 * lanes(self.dtype)

    @property
    def constants(self) -> dict[str, Any]:
        """The upper-case names of loops.py and pointwise.py."""
        G, S, U = self.gates, self.states, self.block
        parts = {"X": G, "R": G, "S0": S, "S1": S, "KEEP": self.saved, "E": 1, "DS": S, "DX": G, "DR": G, "DP": S}
        places, end = {}, 0
        for name, blocks in (parts | {"V": S, "C": S * (2 * G + S), "SLOPE": S}).items():
            places[name], end = end, end + blocks * U
        sizes = {"BLOCK": U, "WIDTH": self.width, "BACK": self.back, "KEPT": self.saved * U, "SIZE": (2 * G + S) * U}
        lane = lanes(self.dtype)
        sizes |= {"END": end, "GROUP": group(self.width // lane), "GROUP_BACK": group(2), "LANES": lane}
        sizes |= {"VECTORS": self.width // lane}
        cell = {"GATES": G, "STATES": S, "SAVED": self.saved, "EMITS": self.emits, "SHARED": self.shared}
        return places | sizes | cell

    @property
    def name(self) -> str:
        flags = "e" * self.emits + "s" * self.shared
        return f"{self.gates}{self.states}{self.saved}{flags}-{self.dtype.name}"


@cache
def loop(shape: Shape, name: str) -> Any:
    """A function of the files of LOOPS, compiled for a shape."""
    function = next(vars(file)[name] for file in LOOPS if name in vars(file))
    forward, back = products(shape.width // lanes(shape.dtype), shape.dtype), products(2, shape.dtype)
    names: dict[str, Any] = {**packers(shape.dtype), **shape.constants}
    names |= {"product": forward["product"], "product_back": back["product"], "accumulate": back["accumulate"]}
    names |= {"pack_strips": back["pack_strips"], "product_packed": back["product_packed"]}
    if name == "backprop":
        names |= {part: loop(shape, part) for part in ("weight_gradients", "input_gradients")}
    if name == "weight_gradients":
        bias_gradient = weight_gradients.bias_gradient
        names["bias_gradient"] = merged(bias_gradient, **named_in(bias_gradient, names))
    return specialise(function, shape.name, **named_in(function, names))


class Kernels:
    """The compiled parts of one cell class in one precision."""

    def __init__(self, record: Spec, dtype: np.dtype) -> None:
        cls: Any = record.cls
        record = replace(record, shared=gives_one_tuple_twice(cls.backward))  # as it is now, when it is compiled
        self.record, self.dtype = record, dtype
        self.shape = Shape(dtype, record.gates, record.states, record.saved, record.emits, record.shared)
        emit, slope = (cls.emit, cls.emit_slope) if record.emits else (_h, _slope_of_h(record.states))
        self._functions = {"forward": cls.forward, "backward": cls.backward, "emit": emit, "emit_slope": slope}
        self._made: dict[str, int] = {}
        self._tables: dict[tuple[str, ...], tuple[int, ...]] = {}

    unroll = cached_property(lambda self: loop(self.shape, "unroll"))
    backprop = cached_property(lambda self: loop(self.shape, "backprop"))
    tangent = cached_property(lambda self: loop(self.shape, "tangent"))
    jacobian = cached_property(lambda self: loop(self.shape, "jacobian"))

    def pointwise(self, *wanted: str) -> tuple[int, ...]:
        """The addresses of the pointwise functions as the loops take them, 0 for those not wanted."""
        if wanted not in self._tables:
            needed = set(wanted) - (set() if self.record.emits else {"emit_block", "slope_block"})
            addresses = {name: self._address(name) if name in needed else 0 for name in Pointwise._fields}
            self._tables[wanted] = Pointwise(**addresses)[:]
        return self._tables[wanted]

    def _address(self, name: str) -> int:
        if name not in self._made:
            function = getattr(pointwise, name)
            names = named_in(function, self.shape.constants)
            failures.look(self.record)
            code = {key: fingerprint(value) for key, value in self._functions.items()}
            for key, value in named_in(function, self._functions).items():
                names[key] = _on_fields(value, self.record.cls, self.dtype.type)
            pointer = types.CPointer(numba.from_dtype(self.dtype))
            label, signature = f"{self.record.name}-{self.dtype.name}", types.void(pointer, pointer)
            try:
                self._made[name] = address_of(function, label, signature, code=code, **names)
            except Exception as error:  # whatever Numba, or a part of it, makes of a cell that it does not understand
                raise failures.in_words(self.record, self.dtype, error) from None
        return self._made[name]


FORWARD = ("forward_block", "emit_block")
BACKWARD = ("backward_block", "slope_block")
TANGENT = ("tangent_block", "apply_block", "slope_block")


def _h(cell, s):
    return s[0]


def _slope_of_h(states: int) -> Any:
    """de/ds for a unit that sends h: 1, 0, ..."""
    slopes = (1.0,) + (0.0,) * (states - 1)

    def slope(cell, s):
        return slopes

    return slope


def _on_fields(function: Any, cls: Any, real: type) -> Any:
    """The cell's function taking a pointer to the fields instead of the cell, inlined where it is called."""
    compiled = inlined(in_precision(function, real))
    count = len(cls._fields)

    @intrinsic
    def as_cell(_, fields):
        named = types.NamedUniTuple(fields.dtype, count, cls) if count else types.NamedTuple((), cls)

        def codegen(context, builder, sig, args):
            values = [builder.load(builder.gep(args[0], [context.get_constant(types.intp, k)])) for k in range(count)]
            return context.make_tuple(builder, sig.return_type, values)

        return named(fields), codegen

    arguments = function.__code__.co_argcount
    if arguments == 2:
        return inlined(lambda fields, s: compiled(as_cell(fields), s))
    if arguments == 4:
        return inlined(lambda fields, x, r, s: compiled(as_cell(fields), x, r, s))
    return inlined(lambda fields, ds, s, s_next, saved: compiled(as_cell(fields), ds, s, s_next, saved))


@cache
def _kernels(cls: Any, dtype: np.dtype) -> Kernels:
    return Kernels(spec(cls), dtype)


def kernels(cell: Any, dtype: Any) -> Kernels:
    """The compiled parts of the version of a cell that is in force, or that a run's cell holds (cells/versions.py).

    A class registered again (edited in a notebook, say) is new and gets its own.
    """
    cls: Any = type(in_force(cell))
    return _kernels(cls, np.dtype(dtype))
