"""Where the states of a network live, and starts for a search there; nothing here asks which cell it is.

Dimensions: B starts or probes, S state size.
"""

import numpy as np

from ...results import Array
from .autonomous_map import AutonomousMap

SCALES = 2.0 ** np.arange(21)  # of the boxes that are tried, up to a million
STEPS = 16  # after which a box that one step enlarges may have been contracted: non-normal weights
PASSES = 3  # an LSTM's c is bounded once its h is known to be
PIECE = 100  # steps of the trajectories that are held at once


def living_box(flow: AutonomousMap, rng: np.random.Generator) -> Array:
    """(S,) radii of a box around 0 that holds the states of the network, each at least 1 and a power of 2.

    A box is closed in a coordinate if the map, or its 16th power, takes the whole box, by the measure of some hundred
    probes, within its bounds. All boxes from the one returned up to a million are closed; where the largest itself is
    not (a network that can grow without bound, or too little damped to tell), its radius is returned.
    """
    radius = np.full(flow.size, SCALES[-1])
    probes = _probes(flow, rng)
    for _ in range(PASSES):
        before = radius
        radius = np.ones(flow.size)
        for scale in SCALES:
            box = np.minimum(scale, before)
            with np.errstate(all="ignore"):
                later = np.abs(flow.run(box * probes, STEPS).states[[1, STEPS]]).max(axis=1)
                closed = (later <= box * (1.0 + 1e-9)).any(axis=0)  # False for NaN
            radius = np.where(closed, radius, np.minimum(2.0 * box, SCALES[-1]))
        radius = np.minimum(radius, before)
        if (radius == before).all() or radius.max() == 1.0:
            break
    return radius


def _probes(flow: AutonomousMap, rng: np.random.Generator) -> Array:
    """(B, S) points of the box [−1, 1]: corners, among them those that push single coordinates farthest, and inner
    points of all sizes."""
    corners = rng.choice([-1.0, 1.0], (32, flow.size))
    inner = rng.uniform(-1.0, 1.0, (32, flow.size)) * rng.uniform(0.0, 1.0, (32, 1)) ** 4
    rows = rng.permutation(flow.size)[:32]
    pushing = np.sign(flow.run(np.zeros((1, flow.size)), 1).jacobian(1)[0][rows])
    pushing[pushing == 0.0] = 1.0
    probes = np.concatenate([corners, inner, pushing, -pushing, np.ones((1, flow.size))])
    return np.asarray(np.where(np.isfinite(probes), probes, 1.0))


def drawn(flow: AutonomousMap, count: int, steps: int | None, box: Array, rng: np.random.Generator) -> Array:
    """(count, S) starts: the zero state; then by halves uniform in boxes between [−1, 1] and `box`, and what such
    become after a random time up to `steps`, by default some time constants of the network."""
    starts = rng.uniform(-1.0, 1.0, (count, flow.size)) * box ** (rng.uniform(0.0, 1.0, (count, 1)) ** 2)
    starts[0] = 0.0
    half = (count + 1) // 2
    if half < count:
        steps = _settling(flow, starts[half:]) if steps is None else steps
        times = np.exp(rng.uniform(0.0, np.log(steps), count - half)).astype(
            np.int64
        )  # early ones, before all have met
        reached = _later(flow, starts[half:], times)
        finite = np.isfinite(reached).all(axis=1) & (np.abs(reached).max(axis=1) <= SCALES[-1])
        starts[half:][finite] = reached[finite]
    return starts


def _settling(flow: AutonomousMap, states: Array) -> int:
    """Steps in which a trajectory settles, from how far one step takes a state: 100 to 2000."""
    with np.errstate(all="ignore"):
        moved = np.abs(flow.run(states, 1).states[-1] - states).max(axis=1) / (1e-300 + np.abs(states).max(axis=1))
        speed = float(np.nanmedian(moved)) if np.isfinite(moved).any() else 1.0
    return int(np.clip(50.0 / max(speed, 1e-6), 100.0, 2000.0))


def _later(flow: AutonomousMap, states: Array, times: Array) -> Array:
    """(B, S) the states after their own numbers of steps."""
    found, done = states.copy(), 0
    with np.errstate(all="ignore"):
        while done < times.max():
            taken = min(PIECE, int(times.max()) - done)
            run = flow.run(states, taken).states
            here = np.flatnonzero((times > done) & (times <= done + taken))
            found[here] = run[times[here] - done, here]
            states, done = run[-1], done + taken
    return found
