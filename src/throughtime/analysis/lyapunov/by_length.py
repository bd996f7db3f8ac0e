"""Lyapunov spectra of sequences of different lengths: each over its own steps, and all of them in one result.

Dimensions: T steps, B sequences, I inputs, S state size, k exponents, n blocks.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from ...refuse import checks, finite, states
from ...results import Array
from .exponents import LyapunovSpectrum
from .trajectory import as_parts, initial_state

SHORT = "{steps} steps are too few for its warmup, discard and steps"
BROKEN = "NaN or inf in its input or initial state"


def spectra_by_length(
    analyse: Callable[..., Any], net: Any, x: Any, lengths: Any, state: Any, seed: Any, enough: Callable[[int], bool]
) -> Any:
    """The result of `analyse(x, state=…, seed=…)` for sequence b alone up to lengths[b], of all b together.

    Sequences of one length go through it as one batch. `enough` says whether a length is long enough.
    """
    if x is None:
        raise ValueError("`lengths` belongs to `x`: without an input pass `steps`, or pass both")
    if net.stacked:
        raise ValueError(
            "an ensemble on the GPU takes no `lengths` here: pass its networks one by one, or the ensemble on the CPU"
        )
    inputs, had_batch = checks.sequence(x, net)
    steps, batch = inputs.shape[:2]
    ends = checks.lengths(lengths, steps, batch)
    assert ends is not None
    given = None if state is None else states.state(initial_state(net, state, batch, had_batch), net, batch, True)
    for b in range(batch):
        inputs[ends[b] :, b] = 0.0  # what stands in the padding is nobody's
    if batch == 1:
        return analyse(_outside(net, inputs[: ends[0]]), state=_some(net, given, [0]), seed=seed)
    finite.trajectory(net, inputs, None if given is None else as_parts(given, net), "A Lyapunov spectrum")
    good: Array = np.asarray(np.isfinite(inputs).all(axis=(0, 2)))
    if given is not None:
        good = good & np.isfinite(given).all(axis=1)
    found: list[Any] = [None] * batch
    for length in sorted({int(end) for end, fine in zip(ends, good, strict=True) if fine and enough(int(end))}):
        chosen = np.flatnonzero((ends == length) & good)
        piece = _outside(net, inputs[:length, chosen])
        together = analyse(piece, state=_some(net, given, chosen), seed=deepcopy(seed))
        for place, b in enumerate(chosen.tolist()):
            found[b] = (together, place if chosen.size > 1 else None)
    if not any(found):
        raise ValueError(
            f"`lengths` {ends.tolist()} leave no sequence that is long enough: pass a smaller `warmup`, `discard` or "
            "`steps`, or longer sequences"
        )
    why = [SHORT.format(steps=end) if fine else BROKEN for end, fine in zip(ends, good, strict=True)]
    return _together(found, why)


def _outside(net: Any, inputs: Array) -> Array:
    """(T, B, I) as the network takes it."""
    return inputs.swapaxes(0, 1) if net.batch_first else inputs


def _some(net: Any, state: Array | None, chosen: Any) -> Any:
    """The states of some sequences as net.unroll takes them."""
    return None if state is None else as_parts(state[chosen], net)


def _together(found: list[Any], why: list[str]) -> LyapunovSpectrum:
    """One result of all sequences, each given as a result and its place there (None: it is all of it)."""
    first = next(item for item in found if item)[0]
    count = first.exponents.shape[-1]
    blocks = max(len(item[0].times) for item in found if item)
    batch, unknown = len(found), np.full(len(found), np.nan)
    rows: dict[str, Array] = {name: np.full((batch, count), np.nan) for name in ("exponents", "standard_error")}
    rows |= {name: np.full((blocks, batch, count), np.nan) for name in ("history", "block_rates")}
    rows |= {"times": np.full((blocks, batch), np.nan)}
    rows |= {"sum_rule_residual": unknown.copy(), "mean_log_det": unknown.copy()}
    rows |= {name: np.zeros(batch, int) for name in ("steps", "discarded", "warmup", "interval")}
    doubts = []
    for b, item in enumerate(found):
        if item is None:
            doubts.append(f"sequence {b}: {why[b]}")
            continue
        one, place = item
        pick = (lambda a: a) if place is None else (lambda a, at=place: np.asarray(a)[..., at, :])
        n = len(one.times)
        for name in ("exponents", "standard_error"):
            rows[name][b] = pick(getattr(one, name))
        for name in ("history", "block_rates"):
            rows[name][:n, b] = pick(getattr(one, name))
        rows["times"][:n, b] = one.times
        for name in ("sum_rule_residual", "mean_log_det"):
            value = getattr(one, name)
            rows[name][b] = value if place is None else value[place]
        for name in ("steps", "discarded", "warmup", "interval"):
            rows[name][b] = getattr(one, name)
        if not one.converged:
            doubts.append(f"of {one.steps + one.discarded + one.warmup} steps: {one.reason}")
    return LyapunovSpectrum(
        **rows,  # type: ignore[arg-type]
        state_size=first.state_size,
        converged=not doubts,
        reason="; ".join(dict.fromkeys(doubts)) or first.reason,
        precision=first.precision,
    )
