"""The largest exponent from two trajectories that start close together: no derivative, so an independent check.

Dimensions: B sequences, I inputs, L layers, N units, S state size, n intervals.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...network import norms
from ...progress import progress_bar
from ...refuse import arguments, finite, states
from ...results import Array, Result, short
from ..public import of_networks
from ..statistics import batch_means_error
from .spectrum import checked_trajectory, discarded
from .trajectory import as_parts, each_part

DISTANCE = {8: 1e-7, 4: 1e-3}  # √eps: rounding and curvature then disturb the growth about equally
# Of the distance after an interval: how far above the rounding of the states it has to stay (its logarithm errs by the
# inverse, with a sign that changes as the distance does), and up to what part of the states' size they curve little.
CLEAR, NEAR = {8: 1e5, 4: 30.0}, {8: 1e-3, 4: 0.1}
FARTHER, TRIES = 100.0, 12  # by how much, and how often, the distance grows where rounding hides even one step
STRAIGHT = 0.01  # twins on both sides agree to this, or such a distance is too large to tell the slope


@dataclass(frozen=True, repr=False)
class TwinGrowth(Result):
    """Growth of the distance of a perturbed twin, nats per step; for a batch of B > 1 with B behind n, or alone.

    Fields:
        exponent: the average growth of the distance, nats per time step: λ_1; NaN where nothing can be measured.
        standard_error: of it, by batch means over the intervals, nats per time step.
        history: (n,) the estimate after each interval.
        block_rates: (n,) the growth in each interval alone.
        times: (n,) counted steps at its end.
        steps: steps that count.
        discarded: steps in which the difference turned into the fastest direction.
        warmup: steps of the state before, in which it comes to its attractor.
        interval: steps after which the twin is brought back; fewer than asked for where it comes too near or far.
        distance: to which it is brought back, the largest if it had to grow.
        reason: why an exponent is NaN.
    """

    exponent: Array | float
    standard_error: Array | float
    history: Array
    block_rates: Array
    times: Array
    steps: int
    discarded: int
    warmup: int
    interval: int
    distance: float
    reason: str = ""
    picture: ClassVar = "perturbed_twin"
    dimensions: ClassVar = {
        "sequence": "exponent standard_error",
        "block sequence": "history block_rates",
        "block": "times",
    }

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"Growth of a perturbed twin: {self.steps} steps counted, after {self.warmup} (state) and "
                f"{self.discarded} (direction)",
                f"  largest exponent  {short(self.exponent)} nats per step",
                f"  standard error    {short(self.standard_error, digits=2)}",
                f"  brought back      to {self.distance:g} every {self.interval} steps",
                *([f"  not measured      {self.reason}"] if self.reason else []),
            ]
        )


@of_networks
def perturbed_twin(
    net: Any,
    x: Any = None,
    *,
    steps: int | None = None,
    warmup: int | None = None,
    discard: int | None = None,
    interval: int = 4,
    distance: float | None = None,
    seed: Any = None,
    state: Any = None,
    lengths: Any = None,
    progress: bool = False,
) -> TwinGrowth:
    """Largest Lyapunov exponent, nats per step, by the growth of a small difference between two trajectories.

        λ_1 = lim 1/T Σ ln(‖s̃ − s‖ / ε),   after every `interval` steps s̃ ← s + ε (s̃ − s)/‖s̃ − s‖

    Both trajectories run through `net.unroll` side by side; no Jacobian is used.
    net, x, steps, warmup, seed, state, progress : as for `lyapunov_spectrum`, but no `lengths`. discard : first steps
    that do not count, in which the difference turns into the fastest direction; default steps // 10.
    interval : steps from one return to the next; fewer where the distance would come near rounding or grow large.
    distance : ε, in the Euclidean norm of the full state. By default 1e-7 (float32: 1e-3) with each unit measured in
    the size of its own state, at least 1, and larger where a step contracts so much that rounding hides it and the
    twins of both sides agree about it. From return to return the twin changes sides at random and ε varies by a factor
    of 2: what rounding and curvature add then averages out and shows in the standard error.
    Returns `TwinGrowth`: .exponent, a float or (B,); .standard_error by batch means. −inf where the twins meet from any
    distance; NaN for a sequence that holds NaN or grows beyond its numbers, or whose growth cannot be told from
    rounding: .reason says so.
    ValueError with a sentence for bidirectional networks, too short runs, a distance that is not positive, NaN in the
    parameters or in every sequence.

    Source: Benettin, Galgani & Strelcyn, Phys. Rev. A 14, 1976.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[0.5, 0.0], [0.0, 0.25]]
    >>> round(perturbed_twin(net, steps=400, seed=0).exponent, 5)
    -0.69315
    """
    if lengths is not None:
        raise ValueError(
            "twins of sequences of different lengths do not fit one array: pass each sequence alone, "
            "perturbed_twin(net, x[:lengths[b], b])"
        )
    source, steps, warmup = checked_trajectory(net, x, steps, warmup, seed, state, "The exponent of a twin")
    finite.trajectory(net, source.inputs, source.state, "The growth of a twin")
    discard = discarded(discard, steps)
    if not arguments.within(interval, 1, steps - discard):
        raise ValueError(
            f"`interval` is {arguments.kind(interval)}; pass a number of steps from 1 to {steps - discard}, those that "
            "count"
        )
    kind = np.dtype(net.dtype).itemsize
    asked = DISTANCE[kind] if distance is None else float(distance)
    if not (np.isfinite(asked) and asked > 0.0):
        raise ValueError(f"distance={distance!r}, but the twins must start a positive distance apart")
    source.skip(warmup)
    batch = source.batch
    here = _flat(net, source.state, batch)
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal(here.shape)
    scale = np.maximum(1.0, np.abs(here.astype(np.float64))) if distance is None else np.ones(here.shape)
    pair = _Twins(net, source, scale, kind)
    direction /= norms.of_rows(direction)[:, None]
    rates, lengths, done, every = [], [], 0, int(interval)
    largest, hidden = asked, np.zeros(batch, dtype=bool)
    with progress_bar(progress, steps, "perturbed twin") as bar:
        while done < steps:
            taken = min(every, (discard if done < discard else steps) - done)
            apart, direction = asked * rng.uniform(0.5, 1.0, batch), direction * rng.choice([-1.0, 1.0], (batch, 1))
            found = pair.advance(here, direction, apart, source.position + done, taken)
            while taken > 1 and (pair.unclear(found) | pair.far(found) & ~hidden).any():
                every = taken = max(1, taken // 2)
                found = pair.advance(here, direction, apart, source.position + done, taken)
            growth, unclear = found.growth, pair.unclear(found) & ~hidden
            if unclear.any() and distance is None:
                by_far, reached = pair.farther(here, direction, apart, source.position + done, unclear)
                growth, largest = np.where(unclear, by_far, growth), max(largest, reached)
            elif unclear.any():
                growth = np.where(unclear, np.nan, growth)
            hidden |= unclear & np.isnan(growth)
            here, direction = found.here, found.direction
            if done >= discard:
                rates.append(np.where(hidden, np.nan, growth / taken))
                lengths.append(taken)
            done += taken
            bar.update(taken)
    blocks, durations = np.array(rates), np.array(lengths)
    times = np.cumsum(durations)
    history = np.cumsum(blocks * durations[:, None], axis=0) / times[:, None]
    error = batch_means_error(blocks, durations)
    pick = (lambda a: a[..., 0]) if batch == 1 else (lambda a: a)
    exponent, error = pick(np.where(hidden, np.nan, history[-1])), pick(np.where(hidden, np.nan, error))
    reason = ""
    if hidden.any():
        reason = (
            f"the growth of {int(hidden.sum())} of {batch} sequence(s) cannot be told from the rounding of the states: "
            + ("leave `distance` out, or pass a larger one" if distance is not None else "take lyapunov_spectrum")
        )
    return TwinGrowth(
        float(exponent) if batch == 1 else exponent, float(error) if batch == 1 else error, pick(history), pick(blocks),
        times, int(times[-1]), discard, warmup, every, largest, reason,
    )  # fmt: skip


@dataclass(frozen=True)
class _Step:
    """What a pair of twins did in an interval."""

    here: Array  # (B, S) the state at its end
    direction: Array  # (B, S) from there to the twin, of length one
    growth: Array  # (B,) ln of the distance after beside before
    apart: Array  # (B,) the distance after, each unit measured in its own size
    rounding: Array  # (B,) of the states there, likewise


class _Twins:
    """The trajectory and its twin, side by side through the network."""

    def __init__(self, net: Any, source: Any, scale: Array, kind: int) -> None:
        self.net, self.inputs, self.scale, self.kind = net, source.inputs, scale, kind
        self.eps = 0.3 * float(np.finfo(net.dtype).eps)  # rms of rounding, of numbers spread evenly over a binade

    def run(self, starts: list[Array], at: int, steps: int) -> list[Array]:
        """Where trajectories from several states (B, S) are after some steps of the same input."""
        count = len(starts)
        if self.inputs is None:
            piece = np.zeros((steps, count * len(starts[0]), self.net.input_size), self.net.dtype)
        else:
            piece = np.concatenate([self.inputs[at : at + steps]] * count, axis=1)
        piece = piece.swapaxes(0, 1) if self.net.batch_first else piece
        states = self.net.unroll(piece, state=as_parts(np.concatenate(starts), self.net)).states[-1]
        return np.split(np.asarray(states), count)

    def advance(self, here: Array, direction: Array, apart: Array, at: int, steps: int) -> _Step:
        with np.errstate(all="ignore"):
            there = (here + apart[:, None] * self.scale * direction).astype(here.dtype)
            start = norms.of_rows((there.astype(np.float64) - here) / self.scale)  # what rounding left of it
            after, twin = self.run([here, there], at, steps)
            difference = (twin.astype(np.float64) - after) / self.scale
            norm = norms.of_rows(difference)
            rounding = self.eps * norms.of_rows(np.maximum(np.abs(after), np.abs(twin)) / self.scale)
            unit = difference / norm[:, None]
            unit = np.where((norm > 0.0)[:, None], unit, np.eye(1, unit.shape[1]))
            return _Step(after, unit, np.log(norm / start), norm, rounding)

    def unclear(self, found: _Step) -> Array:
        """(B,) where the distance is not clear of rounding; not where every state is 0, which has none."""
        return (found.apart < CLEAR[self.kind] * found.rounding) & (found.rounding > 0.0)

    def far(self, found: _Step) -> Array:
        """(B,) where the distance has grown beyond what is small."""
        return found.apart > NEAR[self.kind]

    def farther(self, here: Array, direction: Array, size: Array, at: int, wanted: Array) -> tuple[Array, float]:
        """The growth (B,) in one step from larger distances, and the largest of these; −inf where the twins meet from
        all of them, NaN where no distance shows it."""
        growth, met = np.full(len(here), np.nan), wanted.copy()
        open_, tried, largest = wanted.copy(), size, 0.0
        for _ in range(TRIES):
            tried = tried * FARTHER
            above, below = (self.advance(here, sign * direction, tried, at, 1) for sign in (1.0, -1.0))
            met &= (above.apart == 0.0) & (below.apart == 0.0)
            with np.errstate(invalid="ignore"):
                bend = norms.of_rows(above.apart[:, None] * above.direction + below.apart[:, None] * below.direction)
                good = open_ & ~self.unclear(above) & (above.apart > 0.0) & (bend < STRAIGHT * above.apart)
            growth, largest = np.where(good, above.growth, growth), max(largest, tried[good].max(initial=0.0))
            open_ &= ~good
            if not open_.any():
                break
        return np.where(open_ & met, -np.inf, growth), float(largest)


def _flat(net: Any, state: Any, batch: int) -> Array:
    """A state in PyTorch's shapes, of all sequences or one for all, as (B, S); zeros where there is none."""
    whole = each_part(lambda part: np.broadcast_to(part, (part.shape[0], batch, part.shape[2])), state, net)
    return states.state(whole, net, batch, True)
