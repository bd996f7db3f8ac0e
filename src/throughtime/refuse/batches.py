"""The parts of a batch, also of one that a user built by hand: as arrays that fit together, or an error in words.

Dimensions: T time steps, B sequences, I inputs, O outputs; U steps of the targets, those of the decoder's inputs where
x is a pair of a source and inputs, and mostly T otherwise.
"""

from __future__ import annotations

from typing import Any

from . import checks
from .called import told
from .numeric import Array, numbers


def inputs(x: Any) -> Any:
    """x as an array (T, B, I), or (T, B) of tokens; of an encoder and a decoder as a tuple of two."""
    if not isinstance(x, tuple):
        return _sequences("x", x)
    if len(x) != 2:
        raise TypeError(
            f"`x` of this batch is a tuple of {len(x)}; expected one array (time, batch, inputs), or of an encoder and "
            "a decoder two: `(source, inputs)`."
        )
    source, read = (_sequences(f"x[{n}]", part) for n, part in enumerate(x))
    if source.shape[1] != read.shape[1]:
        raise ValueError(
            f"`x` of this batch is a source of {source.shape[1]} sequences and inputs of {read.shape[1]}; expected as "
            "many of both."
        )
    return source, read


def fitting(x: Any, targets: Any, lengths: Any, mask: Any) -> tuple[Any, Array, Any, Any]:
    """All parts as arrays: x as of `inputs`, the targets, lengths (B,) of whole numbers, of a pair a tuple of two, and
    the mask, (U, B) or, of one target for each sequence, (B,). Lengths and mask may be None."""
    found = inputs(x)
    read = found[-1] if isinstance(found, tuple) else found
    batch = read.shape[1]
    goals = numbers("targets", targets)
    once = one_each(goals)
    if goals.ndim not in (1, 2, 3) or (goals.ndim == 1 and not once) or goals.shape[0 if once else 1] != batch:
        raise ValueError(
            f"`targets` of this batch has shape {goals.shape} and dtype {goals.dtype}; for {batch} sequences expected "
            f"classes, whole numbers (time, {batch}) or ({batch},), or floats (time, {batch}, outputs) or ({batch}, "
            "outputs): with an axis of time where every step has a target."
        )
    if isinstance(found, tuple) and not once and len(goals) != len(read):
        raise ValueError(
            f"`targets` of this batch has {len(goals)} steps, and the decoder's inputs `x[1]` have {len(read)}; "
            "expected as many: make such pairs with `batch.teacher_forced(start)`."
        )
    rows = (batch,) if once else goals.shape[:2]
    weights = None if mask is None else numbers("mask", mask)
    if weights is not None and weights.shape != rows:
        axes = "(batch,)" if once else "(time, batch)"
        raise ValueError(f"`mask` of this batch has shape {weights.shape}; expected {axes} = {rows}, as `targets`.")
    return found, goals, _ends(found, lengths), weights


def one_each(targets: Array) -> bool:
    """Whether there is one target for each sequence, (B,) of classes or (B, O), and not one for each step."""
    return targets.ndim == (1 if targets.dtype.kind in "iu" else 2)


def _ends(x: Any, lengths: Any) -> Any:
    if lengths is None or not isinstance(x, tuple):
        return None if lengths is None else checks.lengths(lengths, *x.shape[:2])
    if not isinstance(lengths, (tuple, list)) or len(lengths) != 2:
        raise ValueError(
            f"`lengths` of this batch is {told(lengths)}; for a source and inputs expected None, or two: "
            "`(of_sources, of_inputs)`, each (batch,) or None."
        )
    return tuple(checks.lengths(own, *part.shape[:2]) for own, part in zip(lengths, x, strict=True))


def _sequences(name: str, value: Any) -> Array:
    found = numbers(name, value)
    if found.ndim == 3 or (found.ndim == 2 and found.dtype.kind in "iu"):
        return found
    hint = " One sequence is a batch too: pass `x[:, None]`." if found.ndim == 2 else ""
    raise ValueError(
        f"`{name}` of this batch has shape {found.shape} and dtype {found.dtype}; expected (time, batch, inputs), or "
        f"(time, batch) of whole numbers, tokens.{hint}"
    )
