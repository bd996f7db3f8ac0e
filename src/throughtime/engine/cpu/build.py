"""From a cell to its compiled parts, each made at first use and cached on disk.

The loops are compiled for a shape (gates, states, saved, ...), the pointwise functions for a cell: vanilla units of all
kinds share one loop, and a new cell costs the compilation of a few lines.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

from ...cells.array_fields import has_arrays
from ...cells.base import Spec, spec
from ...cells.versions import in_force
from ...code.fingerprints import fingerprint
from ...code.precision import in_precision
from ...jit import address_of, compiler, inlined, intrinsic, merged, named_in, specialise
from .. import failures
from ..once import once
from . import (
    backward_loop,
    input_gradients,
    loops,
    masked,
    panels,
    pointwise,
    sparse,
    stages,
    tangents,
    weight_gradients,
)
from .by_address import as_called
from .matmul import address, in_strips
from .operands import Addresses, Unpacked
from .register_tile import lanes
from .shape import Shape, Wires

LOOPS = (loops, weight_gradients, input_gradients, backward_loop, tangents, stages, masked)
CALLED = {  # functions that loops call -> whether a shape needs them
    "input_gradients": lambda shape: True,
    "parameter_gradients": lambda shape: shape.parameters > 0,
    "ragged_back": lambda shape: shape.ragged,
    "first_stage": lambda shape: shape.staged > 0,
    "stage_back": lambda shape: shape.staged > 0,
    "stage_tangent": lambda shape: shape.staged > 0,
    **dict.fromkeys(("zone", "zone_back", "join_back", "dampen"), lambda shape: shape.masked),
}
# Called in one place each: their code goes there. They are not compiled by themselves, and not optimised again in their
# callers: the first gradient of an LSTM comes after 6.9 s in place of 7.9.
MERGED = {"input_gradients", "parameter_gradients", "first_stage", "stage_back", "stage_tangent"}


@cache
def loop(shape: Shape, name: str) -> Any:
    """A function of the files of LOOPS, made for a shape; what it does not need is None and left out."""
    function = next(vars(file)[name] for file in LOOPS if name in vars(file))
    names: dict[str, Any] = dict(shape.constants)
    if shape.sparse:
        names |= sparse.products(shape.first * shape.block, shape.dtype)
        names["product_sparse_back"] = sparse.products(shape.back, shape.dtype)["product_sparse"]
    else:
        names |= dict.fromkeys(("spread", "product_sparse", "product_sparse_back", "sparse_gradients"))
    used = named_in(function, names)
    called = set(function.__code__.co_names)
    used |= {key: loop(shape, key) if needed(shape) else None for key, needed in CALLED.items() if key in called}
    return merged(function, **used) if name in MERGED else specialise(function, shape.name, **used)


@cache
def _sums(dtype: np.dtype, block: int, wires: Wires, ragged: bool) -> int:
    """weight_gradients.py for the weights of one product; those of a plain cell's input and recurrence are the same."""
    signals, parts = (len({wire[k] for wire in wires}) for k in (0, 1))
    lane, function = lanes(dtype), weight_gradients.weight_gradients
    names: dict[str, Any] = {"BLOCK": block, "WIDTH": parts * block, "BLOCK_VECTORS": block // lane, "PARTS": parts}
    names |= {"SIGNALS": signals, "RAGGED": ragged, "WIRES": wires, "BACK": 2 * lane, "LANES": lane}
    label = f"{parts}{signals}{'r' * ragged}-{np.dtype(dtype).name}"
    return address_of(function, label, as_called(function, dtype), **named_in(function, names))


class Kernels:
    """The compiled parts of one cell class in one precision, for fields that have one value, or one for each unit."""

    def __init__(
        self, record: Spec, dtype: np.dtype, by_unit: bool, sparse: bool = False, with_masks: bool = False
    ) -> None:
        cls: Any = record.cls
        record = replace(record)  # whether it is `shared` is seen in the code as it is now, when it is compiled
        self.record, self.dtype = record, dtype
        self.shape = replace(Shape.of(record, dtype, by_unit, with_masks), sparse=sparse)
        emit, slope = (cls.emit, cls.emit_slope) if record.emits else (_signals(record), _slopes(record))
        self._functions = {"forward": cls.forward, "backward": cls.backward, "emit": emit, "emit_slope": slope}
        if record.stage:
            self._functions |= {"stage": cls.stage, "stage_backward": cls.stage_backward}
        self._made: dict[str, int] = {}
        self._wires = dict(zip("xra", self.shape.wires, strict=True))
        x, r, a = self.shape.vectors
        self._sides = {"x": x, "r": 0 if sparse else r, "a": a, "back": 2}
        self._tables: dict[tuple[str, ...], tuple[int, ...]] = {}
        self.nothing, self.unread = np.zeros(0, dtype), np.zeros(1, dtype)  # for arrays of a loop that it does not use
        square, row = np.zeros((0, 0), dtype), self.nothing
        self.packed_already: tuple[Any, ...] = Unpacked(square, square, row, row, square, square, row, row)[:]
        self.without_fields = self.unread if not (self.shape.by_unit or record.cls._fields) else None  # type: ignore[attr-defined]

    @once
    def unroll(self) -> Any:
        return self._loop("unroll")

    @once
    def backprop(self) -> Any:
        return self._loop("backprop")

    @once
    def tangent(self) -> Any:
        return self._loop("tangent")

    @once
    def jacobian(self) -> Any:
        return self._loop("jacobian")

    def _loop(self, name: str) -> Any:
        with compiler:  # two threads that come at once share one: each copy would be compiled by itself
            return loop(self.shape, name)

    def addresses(self, *wanted: str) -> tuple[int, ...]:
        """Of the compiled functions that a loop calls, as it takes them, 0 for those not wanted."""
        if wanted not in self._tables:
            needed = set(wanted) - (set() if self.shape.emits else {"emit_block", "slope_block"})
            needed -= (set() if self.record.stage else STAGE) | (set() if self.shape.packs else PACKING)
            found = {name: self._address(name) if name in needed else 0 for name in Addresses._fields}
            self._tables[wanted] = Addresses(**found)[:]
        return self._tables[wanted]

    def _address(self, name: str) -> int:
        what, _, side = name.rpartition("_")
        if what == "pack":
            return panels.address(side, self.dtype)
        if what == "gradients":
            wires, shape = self._wires[side], self.shape
            return _sums(shape.dtype, shape.block, wires, shape.ragged) if wires else 0
        if side in self._sides:
            return self._of_product(what, self._sides[side])
        if name not in self._made:
            function = getattr(pointwise, name)
            names = named_in(function, self.shape.constants)
            failures.look(self.record)
            code: dict[str, Any] = {key: fingerprint(value) for key, value in self._functions.items()}
            code |= {"fields": self.record.cls._fields, "by_unit": self.shape.by_unit}  # type: ignore[attr-defined]
            for key, value in named_in(function, self._functions).items():
                names[key] = self._on_fields(key, value)
            pointer = types.CPointer(numba.from_dtype(self.dtype))
            signature = types.void(*[pointer] * function.__code__.co_argcount)
            label = f"{self.record.name}-{self.dtype.name}"
            try:
                self._made[name] = address_of(function, label, signature, code=code, **names)
            except Exception as error:  # whatever Numba, or a part of it, makes of a cell that it does not understand
                raise failures.in_words(self.record, self.dtype, error) from None
        return self._made[name]

    def _of_product(self, what: str, vectors: int) -> int:
        if not vectors or (what == "strips" and not in_strips(vectors)):
            return 0
        return address(what, vectors, self.dtype)

    def _on_fields(self, name: str, function: Any) -> Any:
        """The cell's function taking a pointer to the fields and the unit instead of the cell, inlined where called."""
        compiled = inlined(in_precision(function, self.dtype.type))
        as_cell, own = _reader(self.record.cls, self.shape), _parameters(self.record.cls, self.shape)
        if name == "emit" and self.shape.signals == 1:
            return inlined(lambda fields, n, s: (compiled(as_cell(fields, n), s),))
        if name in ("emit", "emit_slope"):
            return inlined(lambda fields, n, s: compiled(as_cell(fields, n), s))
        count = function.__code__.co_argcount - 1
        if not self.record.parameters:
            if count == 3:
                return inlined(lambda fields, n, a, b, c: compiled(as_cell(fields, n), a, b, c))
            return inlined(lambda fields, n, a, b, c, d: compiled(as_cell(fields, n), a, b, c, d))
        if count == 4:
            return inlined(lambda fields, n, a, b, c: compiled(as_cell(fields, n), a, b, c, own(fields, n)))
        return inlined(lambda fields, n, a, b, c, d: compiled(as_cell(fields, n), a, b, c, d, own(fields, n)))


PRODUCTS = ("product_x", "product_r", "product_a", "strips_x", "strips_r", "strips_a")
FORWARD = ("forward_block", "emit_block", "stage_block", "pack_gates", *PRODUCTS)
BACKWARD = (
    "backward_block", "slope_block", "stage_backward_block", "product_back", "strips_back", "rows_back",
    "accumulate_back", "gradients_x", "gradients_r", "gradients_a", "pack_transposed",
)  # fmt: skip
TANGENT = ("tangent_block", "apply_block", "stage_tangent_block", "stage_apply_block", *PRODUCTS)
JACOBIAN = ("tangent_block", "slope_block")
PACKING = {"pack_gates", "pack_transposed"}
STAGE = {"stage_block", "stage_backward_block", "stage_tangent_block", "stage_apply_block"}


def _signals(record: Spec) -> Any:
    """What a unit without `emit` sends: h, or its first states."""
    if record.signals == 1:
        return lambda cell, s: s[0]
    count = record.signals
    return lambda cell, s: s[:count]


def _slopes(record: Spec) -> Any:
    """de/ds for such a unit: 1, 0, ..."""
    rows = tuple(tuple(float(j == k) for j in range(record.states)) for k in range(record.signals))
    slopes: Any = rows[0] if record.signals == 1 else rows
    return lambda cell, s: slopes


def _reader(cls: Any, shape: Shape) -> Any:
    """An intrinsic that gives the cell of a unit."""
    count, stride = len(cls._fields), shape.block

    @intrinsic
    def as_cell(_, fields, n):
        named = types.NamedUniTuple(fields.dtype, count, cls) if count else types.NamedTuple((), cls)

        def codegen(context, builder, sig, args):
            values = _loaded(context, builder, args, 0, count, stride if shape.by_unit else 0)
            return context.make_tuple(builder, sig.return_type, values)

        return named(fields, n), codegen

    return as_cell


def _parameters(cls: Any, shape: Shape) -> Any:
    """An intrinsic that gives the tuple of a unit's parameters, which lie behind its fields."""
    first, count, stride = shape.fields, shape.parameters, shape.block

    @intrinsic
    def own(_, fields, n):
        def codegen(context, builder, sig, args):
            return context.make_tuple(builder, sig.return_type, _loaded(context, builder, args, first, count, stride))

        return types.UniTuple(fields.dtype, count)(fields, n), codegen

    return own


def _loaded(context: Any, builder: Any, args: Any, first: int, count: int, stride: int) -> list[Any]:
    """Numbers `first` ... of unit n from a panel of fields; with stride 0 those of all units."""
    places = [context.get_constant(types.intp, k * (stride or 1)) for k in range(first, first + count)]
    if stride:
        places = [builder.add(place, args[1]) for place in places]
    return [builder.load(builder.gep(args[0], [place])) for place in places]


@cache
def _kernels(cls: Any, dtype: np.dtype, by_unit: bool, sparse: bool, with_masks: bool) -> Kernels:
    return Kernels(spec(cls), dtype, by_unit, sparse, with_masks)


def kernels(cell: Any, dtype: Any, sparse: bool = False, with_masks: bool = False) -> Kernels:
    """The compiled parts of the version of a cell that is in force, or that a run's cell holds (cells/versions.py).
    with_masks: those of a run with zoneout or dropout of what is sent.

    sparse: those for recurrent weights of which few are there. A class registered again (edited in a notebook, say) is
    new and gets its own.
    """
    cls: Any = type(cell)
    if getattr(cls, "_version", None) is None:
        cls = type(in_force(cell))
    by_unit = bool(cls.__throughtime__.parameters) or (len(cell) > 0 and has_arrays(cell))
    return _kernels(cls, np.dtype(dtype), by_unit, sparse, with_masks)
