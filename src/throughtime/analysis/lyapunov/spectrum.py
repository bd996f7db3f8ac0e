"""Lyapunov spectra of recurrent networks and of any sequence of matrices: how fast do perturbations, and gradients,
grow?

Dimensions: T steps, B sequences, I inputs, S state size, K tangent vectors. Tangent Q <- J Q forwards in time, J[i,
j] = ds'_i/ds_j on the full state (an LSTM's h and c): h alone, or J transposed, gives other numbers.
"""

from collections.abc import Iterable, Sized
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np

from ...refuse import arguments, checks, direction, finite, numeric
from ...refuse.called import name_of
from ...refuse.expected import LOOP
from ...results.of_ensemble import EnsembleResult
from ..public import of_networks, public
from .by_length import spectra_by_length
from .exponents import LyapunovSpectrum
from .given_matrices import GivenMatrices, checked_matrices
from .loop_trajectory import LoopTrajectory, checked_loop
from .measure import measure, random_frame
from .orthonormalise import SMALL
from .trajectory import Trajectory, each_part, initial_state, random_state


@of_networks(on_gpu=True)
def lyapunov_spectrum(
    net: Any,
    x: Any = None,
    *,
    steps: int | None = None,
    k: int | None = None,
    warmup: int | None = None,
    discard: int | None = None,
    interval: int | str = "auto",
    seed: Any = None,
    state: Any = None,
    lengths: Any = None,
    precision: str | None = None,
    sum_rule: bool = True,
    progress: bool = False,
) -> LyapunovSpectrum | EnsembleResult:
    """Lyapunov exponents of a network, autonomous or driven, on its full state, in nats per step.

        λ_i = lim 1/T Σ_t ln R_ii(t),   Q(t) R(t) = J_t Q(t−1),   J_t = ∂states[t]/∂states[t−1]

    net : a `Network` that runs in one direction; or a closed loop, `model.closed_loop()`, of which the states and
    Jacobians are those of the whole loop; x stays None, and a state may have several sequences.
    x : None for the autonomous network (input zero, one sequence); or its input, (T, I), (T, B, I), (B, T, I) with
    batch_first.
    steps : steps of the frame. Default 1000 for x=None, else all that remain after `warmup`: T − warmup, which is
    also the most.
    k : leading exponents wanted, 1 ≤ k ≤ S; all by default.
    warmup : steps of the state before the frame starts, so that it is on its attractor; default 200, or T // 5 if
    that is less.
    discard : first steps of the frame that do not count, because it has yet to align (the bias would be O(1/T));
    default steps // 10.
    interval : steps between orthonormalisations, or "auto": 1 for states of up to 32 numbers, for which that is fastest
    in compiled code; for larger ones chosen by a pilot of 24 steps and then judged by what each interval did. One whose
    ln R_ii spread by more than 14 nats (float32: 7) is redone from its start with fewer steps, down to one: the choice
    changes the cost, and the exponents by rounding only (eps · e^14 in such an interval, 1e-12 on average). A given
    interval is not redone; if it was too long, `converged` is False. The one used most is `.interval`.
    seed : of the frame and, for x=None, of the initial state (uniform in [−1, 1]).
    state : initial state, whatever `net.unroll` takes; zeros by default where there is an input. For x=None also with
    an axis of the batch, (L, 1, N).
    lengths : for padded sequences, (B,) whole numbers up to T: each has the exponents that x[:lengths[b], b] alone has,
    with its own warmup, discard and steps. One that is too short has NaN, and .reason says so.
    precision : "float64" or "float32", of the frame's arithmetic. Default: that of the network for k ≤ S/2, float64
    beyond, where each Jacobian is formed and the frame kept triangular by LU (see triangular_frame.py). float32
    takes half the time; its sum-rule residual is then near 1e-5 per exponent.
    sum_rule : whether a full spectrum comes with its check, ln|det J| by another way over the same steps. It costs
    nothing for vanilla and rate units (ln|det W| once and the slopes), a tenth for an LSTM, a third for other cells.
    progress : show a progress bar.

    Returns a `LyapunovSpectrum`, whose help defines every field and says how long to run: .exponents (k,) descending,
    or (B, k) for B > 1; .standard_error; .sum_rule_residual; .converged and .reason. An exponent is −inf where the
    Jacobian of a single step is singular to rounding (dead relus), for the directions that are lost and no others. A
    sequence that holds NaN, or Jacobians that grow beyond their numbers, give NaN, and .reason says so.
    ValueError with a sentence for bidirectional networks, k > S, runs that are too short, NaN in the parameters or in
    every sequence.

    Source: Benettin et al., Meccanica 15, 1980; for networks Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 043044, 2023.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[0.5, 0.0], [0.0, 0.25]]
    >>> tt.analysis.lyapunov_spectrum(net, steps=400, seed=0).exponents.round(6)
    array([-0.693147, -1.386294])
    """
    source: Trajectory | LoopTrajectory
    if name_of(net) == LOOP:
        source, steps, warmup = checked_loop(net, x, lengths, steps, warmup, seed, state)
    elif lengths is not None:
        direction.one_way(net, "A Lyapunov spectrum")
        options: dict[str, Any] = {"steps": steps, "k": k, "warmup": warmup, "discard": discard, "interval": interval}
        options |= {"precision": precision, "sum_rule": sum_rule, "progress": progress}
        enough = partial(_enough, warmup=warmup, steps=steps, discard=discard)
        return spectra_by_length(partial(lyapunov_spectrum, net, **options), net, x, lengths, state, seed, enough)
    else:
        source, steps, warmup = checked_trajectory(net, x, steps, warmup, seed, state, "A Lyapunov spectrum")
        finite.trajectory(net, source.inputs, source.state, "A Lyapunov spectrum")
    k = _columns(k, source.state_size)
    discard = discarded(discard, steps)
    source.skip(warmup)
    if source.on_device and precision not in (None, net.dtype.name):
        raise ValueError(
            f"`precision` is {arguments.kind(precision)}: on the GPU frames have the precision of the network, "
            f"{net.dtype}; pass None, or make the network with dtype={precision!r}"
        )
    triangular = None if source.on_device else _precision(precision, net.dtype, k, source.state_size)
    frame = random_frame(source.batch, source.state_size, k, seed, np.float64 if triangular else net.dtype)
    results = measure(
        source, frame, interval=_interval(interval), precision=triangular, sum_rule=sum_rule, discard=discard,
        steps=steps, warmup=warmup, progress=progress,
    )  # fmt: skip
    return EnsembleResult(net.axes, tuple(results)) if getattr(net, "stacked", False) else results[0]


def _enough(length: int, *, warmup: Any, steps: Any, discard: Any) -> bool:
    """Whether a sequence has steps that count."""
    warmup = min(200, length // 5) if warmup is None else warmup
    steps = length - warmup if steps is None else steps
    return bool(steps >= 1 and steps + warmup <= length and (discard or 0) < steps)


def _precision(given: Any, own: Any, k: int, size: int) -> Any:
    """The precision of a triangular frame, or None where perturbations of the network's own precision do."""
    if given is None:
        return np.float64 if 2 * k > size and k > SMALL else None
    if given not in ("float32", "float64"):
        raise ValueError(f'`precision` is {arguments.kind(given)}; pass "float64", "float32" or None')
    return None if given == np.dtype(own).name and 2 * k <= size else np.dtype(given).type


def checked_trajectory(
    net: Any, x: Any, steps: int | None, warmup: int | None, seed: Any, state: Any, what: str
) -> tuple[Trajectory, int, int]:
    """The trajectory of a network before its warm-up, the steps after it and those of the warm-up; all checked."""
    direction.one_way(net, what)
    placed = state is not None
    if x is None:
        inputs, batch, length = None, 1, None
        state = random_state(net, seed) if state is None else initial_state(net, state, 1, _has_batch(net, state))
    else:
        inputs, had_batch = checks.sequence(x, net)
        length, batch = inputs.shape[:2]
        if batch == 0:
            raise ValueError(f"`x` has shape {np.shape(x)}, which holds no sequence: pass at least one")
        state = None if state is None else initial_state(net, state, batch, had_batch)
    usual = 200 if length is None else min(200, length // 5)
    warmup = _at_least("warmup", usual if warmup is None else warmup, 0)
    available = None if length is None else length - warmup
    if steps is None:
        steps = 1000 if available is None else available
        if steps < 1:
            raise ValueError(
                f"`x` has {length} steps and `warmup` takes {warmup}: "
                "none is left; pass a longer `x` or a smaller warmup"
            )
    steps = _at_least("steps", steps, 1)
    if available is not None and steps > available:
        raise ValueError(
            f"steps={steps} and warmup={warmup} need {steps + warmup} steps of input, but `x` has {length}; pass "
            f"steps={max(available, 0)} or less, or a longer `x`"
        )
    return Trajectory(net, inputs, batch, state, placed), steps, warmup


def _has_batch(net: Any, state: Any) -> bool:
    """Whether a state, or one of its parts, is (L, 1, N) and not (L, N)."""
    found = list[int]()
    each_part(lambda part: found.append(np.ndim(numeric.numbers("state", part))), state, net)
    return 3 in found


@public
def lyapunov_from_jacobians(
    jacobians: Iterable[Any],
    k: int | None = None,
    *,
    interval: int | str = "auto",
    seed: Any = None,
    warmup: int = 0,
    discard: int | None = None,
    progress: bool = False,
) -> LyapunovSpectrum:
    """Lyapunov exponents of a product of given matrices … J_3 J_2 J_1, in nats per step.

    jacobians : (T, S, S), or any iterable of (S, S) matrices, J_1 first, rows = outputs; a generator is read once,
    one matrix at a time. k : leading exponents, all by default. warmup : matrices skipped at the start. discard :
    matrices after these through which the frame aligns without counting; default a tenth of an array, 0 for an
    iterable of unknown length. interval, seed, progress and the result: as `lyapunov_spectrum`. float32 matrices are
    multiplied in float64.
    ValueError with a sentence for matrices that are not square, change shape or hold NaN, k > S, an empty sequence.

    Source: Benettin et al., Meccanica 15, 1980; exact values for Gaussian matrices: Newman, Commun. Math. Phys. 103,
    1986.

    >>> cat_map = np.tile([[2.0, 1.0], [1.0, 1.0]], (400, 1, 1))
    >>> lyapunov_from_jacobians(cat_map, seed=0).exponents.round(6)
    array([ 0.962424, -0.962424])
    """
    length = len(jacobians) if isinstance(jacobians, Sized) else None
    warmup = _at_least("warmup", warmup, 0)
    matrices = checked_matrices(jacobians, "A Lyapunov spectrum")
    first = next(matrices, None)
    if first is None:
        raise ValueError("`jacobians` is empty: pass at least one (S, S) matrix")
    k = _columns(k, len(first))
    if length is not None and length <= warmup:
        raise ValueError(
            f"`jacobians` has {length} matrices and warmup={warmup} "
            "skips them all; pass more matrices or a smaller warmup"
        )
    steps = None if length is None else length - warmup
    discard = (0 if steps is None else steps // 10) if discard is None else discard
    discard = _at_least("discard", discard, 0) if steps is None else discarded(discard, steps)
    source = GivenMatrices(islice(chain([first], matrices), warmup, None), len(first))
    frame, precision = random_frame(1, len(first), k, seed, np.float64), _precision(None, np.float64, k, len(first))
    (result,) = measure(
        source, frame, interval=_interval(interval), precision=precision, discard=discard, steps=steps, warmup=warmup,
        progress=progress,
    )  # fmt: skip
    return result


def _at_least(name: str, value: Any, least: int) -> int:
    number = arguments.whole(name, value)
    if number < least:
        raise ValueError(f"{name}={number}, but it must be at least {least}")
    return number


def _columns(k: int | None, size: int) -> int:
    k = size if k is None else arguments.whole("k", k)
    if not 1 <= k <= size:
        raise ValueError(f"k={k}, but the state has size {size} and so {size} exponents: pass k between 1 and {size}")
    return k


def _interval(interval: Any) -> int | None:
    """The number of steps asked for; None for "auto"."""
    if isinstance(interval, str) and interval == "auto":
        return None
    every = 0 if isinstance(interval, str) else arguments.whole("interval", interval)
    if every < 1:
        raise ValueError(f'`interval` is {arguments.kind(interval)}; pass "auto" or a number of steps')
    return every


def discarded(discard: int | None, steps: int) -> int:
    discard = steps // 10 if discard is None else _at_least("discard", discard, 0)
    if discard >= steps:
        raise ValueError(
            f"discard={discard}, but the frame runs for {steps} steps: at least one must count; pass discard < {steps}"
        )
    return discard
