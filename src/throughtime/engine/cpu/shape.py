"""What the loops know of a cell: its counts and its wiring, and how they cut them into blocks and panels."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cells.examined import Spec
from ..once import once
from .matmul import group, in_strips
from .register_tile import lanes

Wires = tuple[tuple[int, int], ...]  # (signal, part of r) of each square block of weights


@dataclass(frozen=True)
class Shape:
    """All that the loops know of a cell, and how they cut it into blocks.

    A panel of weights holds the parts of a block side by side, some 3 to 4 vectors: a tile that fills the registers
    with sums then reads little per multiplication. Unit parameters and fields with a value for each unit lie in panels
    too, those of a block together.
    """

    dtype: np.dtype
    gates: int
    states: int
    saved: int
    emits: bool
    shared: bool
    sends: Wires  # of the state's signals
    stage: Wires = ()  # of the stage's; signals and parts are counted from 0 here too
    signals: int = 1  # of the state
    staged: int = 0  # signals of the stage
    fields: int = 0  # that have a value for each unit
    parameters: int = 0
    sparse: bool = False  # whether the weights of the one signal are those of a pattern
    masked: bool = False  # zoneout, or dropout of what is sent: its loops only

    @classmethod
    def of(cls, record: Spec, dtype: np.dtype, by_unit: bool, masked: bool = False) -> "Shape":
        split = sum(signal < record.signals for signal, _ in record.blocks)
        stage = tuple((signal - record.signals, part - record.first) for signal, part in record.blocks[split:])
        fields = len(record.cls._fields) if by_unit else 0  # type: ignore[attr-defined]
        return cls(
            dtype, record.gates, record.states, record.saved, record.emits or masked, record.shared,
            record.blocks[:split], stage, record.signals, record.staged, fields, len(record.parameters), masked=masked,
        )  # fmt: skip

    @once
    def first(self) -> int:
        """Parts of r that the state feeds."""
        return _parts(self.sends)

    @once
    def second(self) -> int:
        """Parts of r that the stage feeds."""
        return _parts(self.stage)

    @once
    def whole(self) -> bool:
        """Whether W_hh is one matrix of one signal, its parts in their order."""
        return not self.stage and self.sends == tuple((0, part) for part in range(self.first))

    @once
    def packs(self) -> bool:
        """Whether its loops pack the weights."""
        return self.whole and not self.sparse

    @once
    def ragged(self) -> bool:
        """Whether the last block's units, where they fill none, lie side by side, part after part: `ragged` in
        panels.py. Of cells with few gates a block is two vectors, and its product can leave out the second."""
        return self.whole and self.gates == self.first > 2 and not self.sparse

    @once
    def block(self) -> int:
        """Units worked on together."""
        return lanes(self.dtype) * (1 if max(self.gates, self.first, self.second) > 2 else 2)

    @once
    def width(self) -> int:
        """Columns of a panel of packed weights of the input."""
        return self.gates * self.block

    @once
    def back(self) -> int:
        """Columns of a panel of the transposed weights: 2 vectors."""
        return 2 * lanes(self.dtype)

    @property
    def vectors(self) -> tuple[int, int, int]:
        """Of a panel of the input's weights, of the state's and of the stage's."""
        lane = lanes(self.dtype)
        return self.gates * self.block // lane, self.first * self.block // lane, self.second * self.block // lane

    @property
    def wires(self) -> tuple[Wires, Wires, Wires]:
        """Those of the input, of the state's signals and of the stage's: from each product one gradient."""
        return tuple((0, gate) for gate in range(self.gates)), self.sends, self.stage

    @property
    def constants(self) -> dict[str, Any]:
        """The upper-case names of the loops and of pointwise.py."""
        G, S, U, E, A, Q = self.gates, self.states, self.block, self.signals, self.staged, self.parameters
        first, R, lane = self.first, self.first + self.second, lanes(self.dtype)
        parts = {"X": G, "R": R, "S0": S, "S1": S, "KEEP": self.saved, "E": E, "DS": S, "DX": G, "DR": R, "DP": S}
        parts |= {"V": S, "C": S * (G + R + S), "SLOPE": E * S, "A": A, "DA": A, "CA": A * (G + first + S), "DQ": Q}
        places, end = {}, 0
        for name, blocks in parts.items():
            places[name], end = end, end + blocks * U
        groups = [group(count) for count in self.vectors if count]
        sizes = {
            "BLOCK": U,
            "BLOCK_VECTORS": U // lane,
            "WIDTH": G * U,
            "RWIDTH": first * U,
            "AWIDTH": self.second * U,
            "QWIDTH": Q * U,
        }
        sizes |= {"BACK": self.back, "KEPT": self.saved * U, "SIZE": (G + R + S) * U, "ASIZE": (G + first + S) * U}
        sizes |= {"END": end, "GROUP": max(groups), "GROUP_BACK": group(2), "LANES": lane}
        sizes |= {"MOST_PARTS": max(G, first, self.second), "MOST_SIGNALS": max(E, A)}
        sizes |= {"FIELD_STEP": (self.fields + Q) * U}
        cell = {
            "GATES": G,
            "STATES": S,
            "SAVED": self.saved,
            "EMITS": self.emits,
            "MASKED": self.masked,
            "SHARED": self.shared,
        }
        cell |= {
            "SLOPES": E * S,
            "FIRST": first,
            "PARTS": R,
            "SIGNALS": E,
            "STAGED": A,
            "PARAMETERS": Q,
            "ALIKE": G == R,
            "RAGGED": self.ragged,
        }
        x, r, a = (count > 0 and in_strips(count) for count in self.vectors)
        cell |= {"PACKED_X": x, "PACKED_R": r, "PACKED_A": a}
        cell |= {
            "SPARSE": self.sparse,
            "PACKS": self.packs,
            "BESIDE": self.beside,
            "WIRED": len(self.sends) + len(self.stage),
            "SENT": len(self.sends),
        }
        return places | sizes | cell

    @property
    def name(self) -> str:
        flags = (
            "m" * self.masked
            + "e" * self.emits
            + "s" * self.shared
            + "u" * (self.fields > 0)
            + f"p{self.parameters}" * self.beside
            + "w" * self.sparse
        )
        wiring = f"-{self.first}{self.second}{self.signals}{self.staged}" if self.first != self.gates else ""
        return f"{self.gates}{self.states}{self.saved}{flags}{wiring}-{self.dtype.name}"

    @property
    def by_unit(self) -> bool:
        """Whether fields and parameters are laid out in panels."""
        return self.fields + self.parameters > 0

    @property
    def beside(self) -> bool:
        """Whether the loops take more arrays than a plain cell's: of a stage, or of unit parameters."""
        return self.staged + self.parameters > 0


def _parts(wires: Wires) -> int:
    return len({part for _, part in wires})
