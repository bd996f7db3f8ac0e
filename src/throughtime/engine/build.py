"""From a cell to its compiled loops: sizes, the cell's functions, and one dispatcher for each loop, made at first use."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from ..cells.base import Spec, spec
from ..jit import fingerprint, in_precision, inlined, specialise
from . import loops
from .matmul import packers, products
from .tile import lanes


@dataclass(frozen=True)
class Sizes:
    """How a cell is cut into blocks. A panel holds the G gates of a block side by side: some 3 to 4 vectors wide, so that a tile
    that fills the registers with sums reads little per multiplication."""

    block: int  # units worked on together
    width: int  # G * block, columns of a panel of packed weights
    vectors: int  # of such a row
    back: int  # columns of a panel of the transposed weights, 2 vectors


def sizes(record: Spec, dtype: Any) -> Sizes:
    lane = lanes(dtype)
    block = lane if record.gates > 2 else 2 * lane
    return Sizes(block, record.gates * block, record.gates * block // lane, 2 * lane)


class Kernels:
    """The compiled loops of one cell class in one precision; each is compiled when first used, and cached on disk."""

    def __init__(self, record: Spec, dtype: np.dtype) -> None:
        size, cls, real = sizes(record, dtype), record.cls, dtype.type
        self.record, self.dtype, self.sizes = record, dtype, size
        G, S, K, U = record.gates, record.states, record.saved, size.block
        places, end = {}, 0
        for name, blocks in (("X", G), ("R", G), ("S0", S), ("S1", S), ("KEEP", K), ("E", 1), ("DS", S), ("DX", G), ("DR", G), ("DP", S), ("V", S)):
            places[name], end = end, end + blocks * U
        row = (2 * G + S) * U  # of the local derivative
        places |= {"C": end, "SIZE": row, "SLOPE": end + S * row}
        constants = {"BLOCK": U, "WIDTH": size.width, "BACK": size.back, "GATES": G, "STATES": S, "SAVED": K}
        constants |= {"EMITS": record.emits, "SHARED": record.shared, **places}
        functions = {"forward": cls.forward, "backward": cls.backward}  # type: ignore[attr-defined]
        functions |= {"emit": cls.emit, "emit_slope": cls.emit_slope} if record.emits else {"emit": _h, "emit_slope": _h_slope[S]}  # type: ignore[attr-defined]
        self.functions = {name: _on_fields(function, cls, real) for name, function in functions.items()}
        self._constants = constants
        self._code = " ".join(f"{name} {fingerprint(function)}" for name, function in functions.items())
        self._made: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        """A loop of loops.py by its name, or a part of one."""
        if name.startswith("_") or not hasattr(loops, name):
            raise AttributeError(name)
        if name not in self._made:
            self._made[name] = self._specialise(name)
        return self._made[name]

    def _specialise(self, name: str) -> Any:
        """The loop with the cell's functions, the products and the other parts of loops.py that it calls as its globals."""
        function = getattr(loops, name)
        needed = set(function.__code__.co_names)
        back = products(2, self.dtype)
        names: dict[str, Any] = {"product": products(self.sizes.vectors, self.dtype)["product"], "product_back": back["product"]}
        names |= {"accumulate": back["accumulate"], **packers(), **self.functions, **self._constants}
        names = {key: value for key, value in names.items() if key in needed}
        for part in PARTS & needed:
            names[part] = getattr(self, part)
        return specialise(function, f"{self.record.name}-{self.dtype.name}", code=self._code, **names)


PARTS = {
    "forward_block", "backward_block", "tangent_block", "apply_block", "load", "store", "weight_gradients", "input_gradients",
}  # fmt: skip


def _h(cell, s):
    return s[0]


def _slopes(states: int) -> Any:
    """de/ds for a unit that sends h: 1, 0, ..."""
    slopes = (1.0,) + (0.0,) * (states - 1)

    def slope(cell, s):
        return slopes

    return slope


_h_slope = {n: _slopes(n) for n in range(1, 9)}


def _on_fields(function: Any, cls: type, real: type) -> Any:
    """The cell's function taking the plain tuple of the fields instead of the cell, inlined where it is called."""
    compiled = inlined(in_precision(function, real))

    @intrinsic
    def as_cell(_, fields):
        named = types.NamedUniTuple(fields.dtype, len(fields), cls) if len(fields) else types.NamedTuple((), cls)

        def codegen(context, builder, sig, args):
            return args[0]  # a named tuple is laid out like the tuple

        return named(fields), codegen

    count = function.__code__.co_argcount
    if count == 2:
        return inlined(lambda fields, s: compiled(as_cell(fields), s))
    if count == 4:
        return inlined(lambda fields, x, r, s: compiled(as_cell(fields), x, r, s))
    return inlined(lambda fields, ds, s, s_next, saved: compiled(as_cell(fields), ds, s, s_next, saved))


@cache
def _kernels(cls: type, dtype: np.dtype) -> Kernels:
    return Kernels(spec(cls), dtype)


def kernels(cell: Any, dtype: Any) -> Kernels:
    """The compiled loops of a cell. A class registered again (edited in a notebook, say) is another class and gets its own."""
    return _kernels(type(cell), np.dtype(dtype))
