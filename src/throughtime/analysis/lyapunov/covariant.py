"""Covariant Lyapunov vectors: the directions that the Jacobians map onto each other, each growing at its own exponent.

Dimensions: S state size, k vectors, n steps that count, m times at which vectors are kept.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from ...network import norms
from ...refuse import finite
from ...results import Array, Result, short
from ..jacobians.jacobians_in_order import in_order
from ..public import of_networks, public
from ..statistics import batch_means_error
from .ginelli import NotFinite, Segment, ginelli
from .given_matrices import checked_matrices
from .spectrum import checked_trajectory
from .trajectory import each_part


@dataclass(frozen=True, repr=False)
class CovariantVectors(Result):
    """Covariant Lyapunov vectors along a trajectory. Time 0 is the first that counts, n the last.

    Shapes are for one sequence; a batch of B > 1 sequences has B in front of every one but that of `times`.

    Fields:
        exponents: (k,) mean growth of each vector, nats per step.
        standard_error: (k,) by batch means.
        local_rates: (n, k) growth in each step.
        angles: (n+1,) smallest angle between the unstable and the stable directions, radians; NaN without either.
        participation: (k,) mean over time of (Σv²)²/Σv⁴: 1 for one unit, S for all alike.
        times: (m,) times of the vectors kept.
        vectors: (m, S, k) columns of length one.
        split: how many directions count as unstable: a number, or (B,).
        transient: steps before and after, in which the vectors turn.
    """

    exponents: Array
    standard_error: Array
    local_rates: Array
    angles: Array
    participation: Array
    times: Array
    vectors: Array
    split: Any
    transient: int
    picture: ClassVar = "covariant_angles"
    dimensions: ClassVar = {
        "sequence exponent": "exponents standard_error participation",
        "sequence step exponent": "local_rates",
        "sequence time": "angles",
        "time_kept": "times",
        "sequence time_kept state exponent": "vectors",
        "sequence": "split",
    }

    def __repr__(self) -> str:
        several = self.exponents.ndim > 1
        batch = f"; {len(self.exponents)} sequences, the first shown" if several else ""
        first = (lambda values: values[0]) if several else (lambda values: values)
        known = first(self.angles)[np.isfinite(first(self.angles))]
        angles = "none: one side is empty"
        if known.size:
            angles = f"{known.min():.3g} smallest, {np.median(known):.3g} median"
        return "\n".join(
            [
                f"Covariant Lyapunov vectors: {self.exponents.shape[-1]} of a state of {self.vectors.shape[-2]}, "
                f"{self.local_rates.shape[-2]} steps, {self.transient} before and after{batch}",
                f"  exponents        {short(first(self.exponents))} nats per step",
                f"  standard error   {short(first(self.standard_error), digits=2)}",
                f"  unstable         {first(self.split)} direction(s)",
                f"  angle to stable  {angles} (radians)",
                f"  participation    {short(first(self.participation))} units",
                f"  kept             vectors at {self.times.size} times",
            ]
        )


@of_networks
def covariant_vectors(
    net: Any,
    x: Any = None,
    *,
    k: int | None = None,
    steps: int | None = None,
    warmup: int | None = None,
    transient: int | None = None,
    times: Any = None,
    split: int | None = None,
    seed: Any = None,
    state: Any = None,
    lengths: Any = None,
    progress: bool = False,
) -> CovariantVectors:
    """Covariant Lyapunov vectors of a network along its trajectories, on its full state.

        J_t v_i(t−1) = e^(r_i(t)) v_i(t),   ‖v_i‖ = 1,   λ_i = ⟨r_i⟩

    net, x, warmup, seed, state, progress : as for `lyapunov_spectrum`, but no `lengths`. k : leading vectors, all by
    default. steps : all the steps of the frame, default 1000 for x=None, else all that remain; of these `transient`
    (default a fifth) at the start align Q, as many at the end align C, and n = steps − 2·transient count. times : at
    which to keep vectors, 0 … n; default eight spread over the run. split : directions that count as unstable for the
    angles; default the positive exponents. Returns `CovariantVectors`: .exponents, .local_rates (nats per time step
    both), .angles (radians), .participation, .vectors, with B in front for B > 1 sequences, which are taken one after
    the other; NaN for one that is not finite. Vectors of nearly equal exponents are ill-determined: they align at the
    rate of the difference. ValueError with a sentence for bidirectional networks, runs that are too short, singular
    Jacobians, NaN in the parameters or in every sequence.

    Source: Ginelli et al., Phys. Rev. Lett. 99, 130601, 2007.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[1.5, 1.0], [0.0, 0.5]]
    >>> found = covariant_vectors(net, steps=200, seed=0)
    >>> found.exponents.round(6), round(float(found.angles[0] / np.pi), 6)
    (array([ 0.405465, -0.693147]), 0.25)
    """
    if lengths is not None:
        raise ValueError(
            "covariant vectors of sequences of different lengths do not fit one array: pass each alone, "
            "covariant_vectors(net, x[:lengths[b], b])"
        )
    source, steps, warmup = checked_trajectory(net, x, steps, warmup, seed, state, "A set of covariant vectors")
    finite.trajectory(net, source.inputs, source.state, "Covariant Lyapunov vectors")
    source.skip(warmup)
    found: list[Any] = []
    for b in range(source.batch):
        inputs = None if source.inputs is None else source.inputs[warmup : warmup + steps, b : b + 1]
        segment = _segments(net, inputs, _sequence(net, source.state, b))
        try:
            found.append(_result(segment, source.state_size, steps, k, transient, times, split, seed, progress))
        except NotFinite as error:
            found.append(error)
    return found[0] if len(found) == 1 and not isinstance(found[0], NotFinite) else _stacked(found)


def _result(*arguments: Any, **options: Any) -> CovariantVectors:
    """What `ginelli` finds, as a result."""
    rates, *rest = ginelli(*arguments, **options)
    return CovariantVectors(rates.mean(axis=0), batch_means_error(rates), rates, *rest)  # type: ignore[arg-type]


def _sequence(net: Any, state: Any, b: int) -> Any:
    """Sequence b alone of a state as net.unroll takes it."""
    return each_part(lambda part: part[:, b : b + 1], state, net)


def _segments(net: Any, inputs: Array | None, state: Any) -> Segment:
    """The Jacobians of one sequence, piece by piece: each is run from the state that the one before it reached."""
    at = {0: state}

    def segment(a: int, b: int) -> Iterator[Array]:
        piece = np.zeros((b - a, 1, net.input_size), net.dtype) if inputs is None else inputs[a:b]
        run = net.unroll(piece.swapaxes(0, 1) if net.batch_first else piece, state=at[a])
        at[b] = run.final_state
        for jacobian in in_order(run, 0, b - a):
            yield jacobian[0].astype(np.float64, copy=False)

    return segment


def _stacked(found: list[Any]) -> CovariantVectors:
    """The results of several sequences as one, NaN where one is not finite; its error if none is."""
    good = [item for item in found if not isinstance(item, NotFinite)]
    if not good:
        raise found[0]
    values: dict[str, Any] = {"times": good[0].times, "transient": good[0].transient}
    for field in fields(CovariantVectors):
        if field.name not in values:
            shape, dtype = np.shape(getattr(good[0], field.name)), np.asarray(getattr(good[0], field.name)).dtype
            none = np.full(shape, np.nan) if dtype.kind == "f" else np.zeros(shape, dtype)
            parts = [none if isinstance(item, NotFinite) else getattr(item, field.name) for item in found]
            values[field.name] = np.array(parts)
    return CovariantVectors(**values)


@public
def covariant_from_jacobians(
    jacobians: Iterable[Any],
    k: int | None = None,
    *,
    transient: int | None = None,
    times: Any = None,
    split: int | None = None,
    seed: Any = None,
    progress: bool = False,
) -> CovariantVectors:
    """Covariant Lyapunov vectors of a product of given matrices … J_2 J_1, held in memory.

    jacobians : (T, S, S), J_1 first, rows = outputs. k, transient, times, split, seed, progress and the result : as of
    `covariant_vectors`; vectors at time t stand between matrix transient + t and the next. ValueError for matrices not
    square, of changing shape, singular or with NaN.

    >>> cat_map = np.tile([[2.0, 1.0], [1.0, 1.0]], (100, 1, 1))
    >>> found = covariant_from_jacobians(cat_map, seed=0)
    >>> np.abs(found.vectors[0]).round(6)
    array([[0.850651, 0.525731],
           [0.525731, 0.850651]])
    """
    matrices = list(checked_matrices(jacobians, "Covariant Lyapunov vectors"))
    if not matrices:
        raise ValueError("`jacobians` is empty: pass at least one (S, S) matrix")

    scaled, shifts = zip(*map(norms.within_range, matrices), strict=True)

    def segment(a: int, b: int) -> Iterator[Array]:
        return iter(scaled[a:b])

    found = segment, len(matrices[0]), len(matrices), k, transient, times, split, seed, progress
    return _result(*found, shifts=np.array(shifts))
