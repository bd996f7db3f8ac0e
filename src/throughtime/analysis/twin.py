"""The largest exponent from two trajectories that start close together: no derivative, so an independent check.

Dimensions: B sequences, I inputs, L layers, N units, S state size, n intervals.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import finite
from .arrays import Array, Result, short
from .frames import progress_bar
from .lyapunov import discarded, trajectory
from .statistics import batch_means_error

DISTANCE = {8: 1e-7, 4: 1e-3}  # √eps: rounding and curvature then disturb the growth about equally


@dataclass(frozen=True, repr=False)
class TwinGrowth(Result):
    """Growth of the distance of a perturbed twin, nats per step; for a batch of B > 1 with B behind n, or alone."""

    exponent: Array | float
    standard_error: Array | float
    history: Array  # (n,) the estimate after each interval
    block_rates: Array  # (n,) the growth in each interval alone
    times: Array  # (n,) counted steps at its end
    steps: int  # steps that count
    discarded: int  # steps in which the difference turned into the fastest direction
    warmup: int
    interval: int  # steps after which the twin is brought back
    distance: float  # to which it is brought back

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw how the estimate settles: `throughtime.plots.perturbed_twin`."""
        return self._draw("perturbed_twin", ax, options)

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"Growth of a perturbed twin: {self.steps} steps counted, after {self.warmup} (state) and "
                f"{self.discarded} (direction)",
                f"  largest exponent  {short(self.exponent)} nats per step",
                f"  standard error    {short(self.standard_error, digits=2)}",
                f"  brought back      to {self.distance:g} every {self.interval} steps",
            ]
        )


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

    Both trajectories run through `net.unroll` side by side; no Jacobian is used. Arguments as for `lyapunov_spectrum`.
    interval : steps from one return to the next; the distance must stay small in it, and large beside rounding.
    distance : ε, in the Euclidean norm of the full state; default 1e-7 (float32: 1e-3).
    Returns `TwinGrowth`: .exponent, a float or (B,); .standard_error by batch means. −inf where the twins meet, NaN for
    a sequence that holds NaN or grows beyond its numbers.
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
    tangent, steps, warmup = trajectory(net, x, steps, warmup, seed, state, "exponent of a twin")
    finite.trajectory(net, tangent.inputs, tangent.state, "The growth of a twin")
    discard = discarded(discard, steps)
    whole = isinstance(interval, (int, np.integer)) and not isinstance(interval, bool)
    if not whole or not 1 <= interval <= steps - discard:
        raise ValueError(f"interval={interval!r}: pass a number of steps from 1 to {steps - discard}, those that count")
    size = DISTANCE[np.dtype(net.dtype).itemsize] if distance is None else float(distance)
    if not (np.isfinite(size) and size > 0.0):
        raise ValueError(f"distance={distance!r}, but the twins must start a positive distance apart")
    tangent.skip(warmup)
    batch = tangent.batch
    here = _flat(net, tangent.state, batch)
    direction = np.random.default_rng(seed).standard_normal(here.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    rates, lengths, done = [], [], 0
    bar = progress_bar(steps, "perturbed twin") if progress else None
    while done < steps:
        taken = min(interval, (discard if done < discard else steps) - done)
        there = (here + size * direction).astype(here.dtype)
        start = (there.astype(np.float64) - here).astype(np.float64)  # what rounding left of the difference
        piece = _input(net, tangent.inputs, tangent.position + done, taken, batch)
        states = net.unroll(piece, state=_state(net, np.concatenate([here, there]))).states[-1]
        here, direction = states[:batch], (states[batch:].astype(np.float64) - states[:batch])
        norm = np.linalg.norm(direction, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            growth = np.log(norm / np.linalg.norm(start, axis=1))
            direction = np.where(norm[:, None] > 0.0, direction / norm[:, None], np.eye(1, direction.shape[1]))
        if done >= discard:
            rates.append(growth / taken)
            lengths.append(taken)
        done += taken
        if bar is not None:
            bar.update(taken)
    if bar is not None:
        bar.close()
    blocks, durations = np.array(rates), np.array(lengths)
    times = np.cumsum(durations)
    history = np.cumsum(blocks * durations[:, None], axis=0) / times[:, None]
    error = batch_means_error(blocks, durations)
    pick = (lambda a: a[..., 0]) if batch == 1 else (lambda a: a)
    exponent, error = pick(history[-1]), pick(error)
    return TwinGrowth(
        float(exponent) if batch == 1 else exponent, float(error) if batch == 1 else error, pick(history), pick(blocks),
        times, int(times[-1]), discard, warmup, int(interval), size,
    )  # fmt: skip


def _input(net: Any, inputs: Array | None, at: int, steps: int, batch: int) -> Array:
    """The input of both trajectories, side by side."""
    if inputs is None:
        piece = np.zeros((steps, 2 * batch, net.input_size), net.dtype)
    else:
        piece = np.concatenate([inputs[at : at + steps]] * 2, axis=1)
    return piece.swapaxes(0, 1) if net.batch_first else piece


def _flat(net: Any, state: Any, batch: int) -> Array:
    """h, or (h, c), each (L, B, N), as (B, S); zeros where there is none."""
    if state is None:
        return np.zeros((batch, net.state_size), net.dtype)
    given = state if isinstance(state, tuple) else (state,)
    parts = [np.broadcast_to(p, (net.num_layers, batch, net.hidden_size)) for p in given]
    return np.stack([np.asarray(p, net.dtype) for p in parts], axis=2).transpose(1, 0, 2, 3).reshape(batch, -1)


def _state(net: Any, flat: Array) -> Any:
    """The way back."""
    parts = flat.reshape(len(flat), net.num_layers, -1, net.hidden_size).transpose(2, 1, 0, 3)
    return np.ascontiguousarray(parts[0]) if len(parts) == 1 else tuple(np.ascontiguousarray(p) for p in parts)
