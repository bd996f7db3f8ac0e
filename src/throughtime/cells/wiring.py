"""What the units of a cell send to each other: signals, and the parts of r that each of them feeds.

A plain unit sends one signal, h, which feeds a part of r for each gate. Others send several, or none, or send in two
stages: what the first stage of a step makes of the state is multiplied with weights of its own before the step ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..refuse import room
from ..refuse.arguments import kind

Signals = tuple[tuple[str, tuple[int, ...]], ...]  # (name, numbers of the parts of r that it feeds), …
MOST = 1 << 12


@dataclass(frozen=True)
class Wiring:
    """The counts of a cell and where its signals go. Parts of r are numbered: those that the state's signals feed, in
    the order in which they are first named, then those of the stage."""

    gate_names: tuple[str, ...]
    states: int
    sends: Signals
    stage: Signals
    part_names: tuple[str, ...]
    parameters: tuple[str, ...]
    forgets: tuple[tuple[str, float], ...]  # (gate, 1 if a large bias keeps the state, -1 if it lets go of it), …

    @cached_property
    def gates(self) -> int:
        """G, the numbers of x."""
        return len(self.gate_names)

    @cached_property
    def parts(self) -> int:
        """R, the numbers of r."""
        return len(self.part_names)

    @cached_property
    def first(self) -> int:
        """R0, the parts of r that are known before the stage."""
        return len({part for _, parts in self.sends for part in parts})

    @cached_property
    def signals(self) -> int:
        """E, the signals of the state; one where it sends nothing to other units, for the layer above hears it."""
        return max(1, len(self.sends))

    @cached_property
    def staged(self) -> int:
        """A, the signals of the stage."""
        return len(self.stage)

    @cached_property
    def recurrent(self) -> bool:
        """Whether there is a product with W_hh at all."""
        return self.parts > 0

    @cached_property
    def plain(self) -> bool:
        """Whether one signal of the state feeds a part for each gate, in their order, and that is all."""
        return not self.stage and [parts for _, parts in self.sends] == [tuple(range(self.gates))]

    @cached_property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """(signal, part) of each square block of weight_hh, in their order; the stage's signals count on from E."""
        state = [(k, part) for k, (_, parts) in enumerate(self.sends) for part in parts]
        stage = [(self.signals + k, part) for k, (_, parts) in enumerate(self.stage) for part in parts]
        return (*state, *stage)


def wiring(gates: Any, states: Any, sends: Any, stage: Any, parameters: Any, forgets: Any) -> Wiring:
    """The arguments of `tt.cell`, checked; TypeError or ValueError with a sentence."""
    gate_names = _names_of_gates(gates)
    _count("states", states)
    if sends is None:
        state_parts = [("h", gate_names)]
    else:
        state_parts = _fed("sends", sends, '{"h": ("u",)}', gate_names)
    stage_parts = _fed("stage", stage if stage is not None else {}, '{"reset": ("n",)}', gate_names)
    both = [signal for signal, _ in (*state_parts, *stage_parts)]
    if len(set(both)) < len(both):
        raise ValueError(f"`sends` and `stage` name a signal twice: {', '.join(both)}.")
    first = tuple(dict.fromkeys(part for _, parts in state_parts for part in parts))
    second = tuple(dict.fromkeys(part for _, parts in stage_parts for part in parts))
    return Wiring(
        gate_names, states,
        tuple((signal, tuple(first.index(part) for part in parts)) for signal, parts in state_parts),
        tuple((signal, tuple(len(first) + second.index(part) for part in parts)) for signal, parts in stage_parts),
        (*first, *second), _parameters(parameters), _forgetting(forgets, gate_names, (*first, *second)),
    )  # fmt: skip


def _names_of_gates(gates: Any) -> tuple[str, ...]:
    if isinstance(gates, (tuple, list)):
        if not gates or not all(isinstance(gate, str) and gate for gate in gates):
            raise TypeError(
                f'`gates` is {kind(gates)}; expected a number of gates or their names, ("r", "z", "n"): at least one.'
            )
        if len(set(gates)) < len(gates):
            raise ValueError(f"`gates` names one twice: {', '.join(gates)}.")
        return tuple(gates)
    _count("gates", gates)
    return tuple(str(k) for k in range(gates))


def _count(label: str, count: Any) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise TypeError(f"`{label}` is {kind(count)}; it is a number of blocks, a positive integer.")
    room.check(f"A cell of so many {label}", count, MOST, f"`{label}` is a number of blocks, at most some ten.")


def _fed(label: str, given: Any, example: str, gate_names: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
    """[(signal, names of the parts that it feeds)]; a whole number stands for the gate of that number."""
    wanted = f"expected a mapping from each signal's name to the parts of r that it feeds, {label}={example}"
    if not isinstance(given, Mapping):
        raise TypeError(f"`{label}` is {kind(given)}; {wanted}.")
    found = []
    for signal, parts in given.items():
        if not isinstance(signal, str) or not signal:
            raise TypeError(f"`{label}` has a signal whose name is {kind(signal)}; {wanted}.")
        listed = [parts] if isinstance(parts, (str, int)) else list(parts) if isinstance(parts, Iterable) else []
        names = []
        for part in listed:
            if isinstance(part, int) and not isinstance(part, bool) and 0 <= part < len(gate_names):
                names.append(gate_names[part])
            elif isinstance(part, str) and part:
                names.append(part)
            else:
                raise TypeError(f"`{label}[{signal!r}]` has a part that is {kind(part)}; {wanted}.")
        if not names:
            raise ValueError(
                f"`{label}[{signal!r}]` feeds nothing; leave it out, or write {label}={{}} where nothing is sent."
            )
        if len(set(names)) < len(names):
            raise ValueError(f"`{label}[{signal!r}]` feeds one part twice: {', '.join(names)}.")
        found.append((signal, tuple(names)))
    return found


def _parameters(given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f'`parameters` is {kind(given)}; expected the names of a unit\'s numbers, ("tau",).')
    names = tuple(given)
    for own in names:
        if not isinstance(own, str) or not own.isidentifier():
            raise TypeError(f'`parameters` has {kind(own)}; expected names such as "tau".')
        if own.startswith(("weight_", "bias_", "norm_")):
            raise ValueError(
                f"A parameter of a unit is called {own}; weight_…, bias_… and norm_… are names of the matrices, biases "
                "and normalisations."
            )
    if len(set(names)) < len(names):
        raise ValueError(f"`parameters` names one twice: {', '.join(names)}.")
    return names


def _forgetting(given: Any, gate_names: tuple[str, ...], part_names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """The gates that forget, each with its sign; "f" stands for {"f": 1}. One that no input reaches is a part of r."""
    wanted = 'expected the gate that decides how much of the state is kept, forgets="f", or {"f": 1, "i": -1}'
    if given is None:
        return ()
    if not isinstance(given, (Mapping, str, int)) or given in ({}, ""):
        raise TypeError(f"`forgets` is {kind(given)}; {wanted}.")
    signs = given if isinstance(given, Mapping) else {given: 1}
    known, found = tuple(dict.fromkeys((*gate_names, *part_names))), list[tuple[str, float]]()
    for gate, sign in signs.items():
        name = gate_names[gate] if type(gate) is int and 0 <= gate < len(gate_names) else gate
        if not isinstance(name, str):
            raise TypeError(f"`forgets` names a gate by {kind(gate)}; {wanted}.")
        if name not in known:
            raise ValueError(f"`forgets` names {name!r}; the gates are {', '.join(known)}.")
        if isinstance(sign, bool) or not isinstance(sign, (int, float)) or abs(sign) != 1:
            raise ValueError(
                f"`forgets[{name!r}]` is {kind(sign)}; expected 1 for a gate whose large bias keeps the state, -1 for "
                "one whose large bias lets go of it."
            )
        found.append((name, float(sign)))
    if len(dict(found)) < len(found):
        raise ValueError("`forgets` names a gate twice.")
    return tuple(found)
