"""Lyapunov spectra of recurrent networks and of any sequence of matrices: how fast do perturbations, and gradients,
grow?

Dimensions: T steps, B sequences, I inputs, S state size, K tangent vectors. Tangent Q <- J Q forwards in time, J[i,
j] = ds'_i/ds_j on the full state (an LSTM's h and c): h alone, or J transposed, gives other numbers.
"""

from collections.abc import Iterable, Sized
from itertools import chain, islice
from typing import Any

import numpy as np

from .. import checks, finite
from .ensembles import EnsembleResult
from .exponents import LyapunovSpectrum
from .frames import measure, random_frame
from .orthonormalise import SMALL
from .tangents import MatrixTangent, NetworkTangent, checked_matrices, random_state, with_batch_axis


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
    precision: str | None = None,
    sum_rule: bool = True,
    progress: bool = False,
) -> LyapunovSpectrum | EnsembleResult:
    """Lyapunov exponents of a network, autonomous or driven, on its full state, in nats per step.

        λ_i = lim 1/T Σ_t ln R_ii(t),   Q(t) R(t) = J_t Q(t−1),   J_t = ∂states[t]/∂states[t−1]

    net : a `Network` that runs in one direction.
    x : None for the autonomous network (input zero, one sequence); or its input, (T, I), (T, B, I), (B, T, I) with
    batch_first.
    steps : steps of the frame. Default 1000 for x=None, else all that remain after `warmup`: T − warmup, which is
    also the most.
    k : leading exponents wanted, 1 ≤ k ≤ S; all by default.
    warmup : steps of the state before the frame starts, so that it is on its attractor; default 200, or T // 5 if
    that is less.
    discard : first steps of the frame that do not count, because it has yet to align (the bias would be O(1/T));
    default steps // 10.
    interval : steps between orthonormalisations, or "auto": a pilot of 24 steps measures the spread λ_1 − λ_k and
    interval · spread
        stays below 10 (float32: 3.5, and 5.2 where k > S/2); clean up to 20 (7). The one used is `.interval`.
    seed : of the frame and, for x=None, of the initial state (uniform in [−1, 1]); state : initial state as for
    `net.unroll`.
    precision : "float64" or "float32", of the frame's arithmetic. Default: that of the network for k ≤ S/2, float64
    beyond, where each Jacobian is formed and the frame kept triangular by LU (see analysis/triangular.py). float32
    takes half the time where spread · interval stays below 7; its sum-rule residual is then near 1e-5 per exponent.
    sum_rule : whether a full spectrum comes with its check, ln|det J| by another way over the same steps. It costs
    nothing for vanilla and rate units (ln|det W| once and the slopes), a tenth for an LSTM, a third for other cells.
    progress : show a progress bar.

    Returns a `LyapunovSpectrum`: .exponents (k,) descending, or (B, k) for B > 1; .standard_error by batch means;
    .sum_rule_residual |Σλ − mean ln|det J|| with the determinants from LU of each Jacobian, for k = S; .converged,
    .reason: True when all is finite, interval · spread is in the safe zone, the residual is below 1e-6 S, and the two
    halves of the run differ by less than 10 standard errors + 0.002 max(1, |λ|). Singular Jacobians (dead relus) give
    −inf. A sequence that holds NaN, or Jacobians that grow beyond their numbers, give NaN, and .reason says so.
    ValueError with a sentence for bidirectional networks, k > S, runs that are too short, NaN in the parameters or in
    every sequence.

    Source: Benettin et al., Meccanica 15, 1980; for networks Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 043044, 2023.

    >>> import throughtime as tt
    >>> net = tt.Network("linear", 1, 2, bias=False, seed=0)
    >>> net.parameters["weight_hh_l0"][...] = [[0.5, 0.0], [0.0, 0.25]]
    >>> tt.analysis.lyapunov_spectrum(net, steps=400, seed=0).exponents.round(6)
    array([-0.693147, -1.386294])
    """
    tangent, steps, warmup = trajectory(net, x, steps, warmup, seed, state, "Lyapunov spectrum")
    finite.trajectory(net, tangent.inputs, tangent.state, "A Lyapunov spectrum")
    batch, size = tangent.each, tangent.state_size
    k = _columns(k, size)
    discard = discarded(discard, steps)
    tangent.skip(warmup)
    on_device = getattr(net, "device", "cpu") == "cuda"
    if on_device and precision not in (None, net.dtype.name):
        raise ValueError(
            f"precision={precision!r}: on the GPU frames have the precision of the network, {net.dtype}; pass None, or "
            f"make the network with dtype={precision!r}"
        )
    triangular = None if on_device else _precision(precision, net.dtype, k, size)
    frame = random_frame(batch, size, k, seed, np.float64 if triangular else net.dtype)
    chosen = None if interval == "auto" else _interval(interval)
    options: dict[str, Any] = {"discard": discard, "steps": steps, "warmup": warmup}
    options |= {"single": batch == 1, "progress": progress}
    found = measure(tangent, frame, interval=chosen, precision=triangular, sum_rule=sum_rule, **options)
    return EnsembleResult(net.axes, tuple(found)) if isinstance(found, list) else found


def _precision(given: Any, own: Any, k: int, size: int) -> Any:
    """The precision of a triangular frame, or None where perturbations of the network's own precision do."""
    if given is None:
        return np.float64 if 2 * k > size and k > SMALL else None
    if given not in ("float32", "float64"):
        raise ValueError(f'precision={given!r}: pass "float64", "float32" or None')
    return None if given == np.dtype(own).name and 2 * k <= size else np.dtype(given).type


def trajectory(
    net: Any, x: Any, steps: int | None, warmup: int | None, seed: Any, state: Any, what: str
) -> tuple[NetworkTangent, int, int]:
    """The trajectory of a network before its warm-up, the steps after it and those of the warm-up; all checked."""
    if getattr(net, "bidirectional", False):
        raise ValueError(
            f"a bidirectional network has no {what}: its two directions run through time against each "
            "other, so there is no map from one state to the next; analyse a network with bidirectional=False"
        )
    if x is None:
        inputs, batch, length = None, 1, None
        state = random_state(net, seed) if state is None else with_batch_axis(state)
    else:
        inputs, _ = checks.sequence(x, net)
        length, batch = inputs.shape[:2]
        if batch == 0:
            raise ValueError(f"`x` has shape {np.shape(x)}, which holds no sequence: pass at least one")
        state = None if state is None else with_batch_axis(state)
    warmup = _count("warmup", (200 if length is None else min(200, length // 5)) if warmup is None else warmup, 0)
    available = None if length is None else length - warmup
    if steps is None:
        steps = 1000 if available is None else available
        if steps < 1:
            raise ValueError(
                f"`x` has {length} steps and `warmup` takes {warmup}: none is left; pass a longer `x` or a "
                "smaller warmup"
            )
    steps = _count("steps", steps, 1)
    if available is not None and steps > available:
        raise ValueError(
            f"steps={steps} and warmup={warmup} need {steps + warmup} steps of input, but `x` has {length}; pass "
            f"steps={max(available, 0)} or less, or a longer `x`"
        )
    if getattr(net, "device", "cpu") == "cuda":
        from .on_device import DeviceTangent  # late: it loads Numba's CUDA package

        return DeviceTangent(net, inputs, batch, state), steps, warmup
    return NetworkTangent(net, inputs, batch, state), steps, warmup


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
    warmup = _count("warmup", warmup, 0)
    matrices = checked_matrices(jacobians, "A Lyapunov spectrum")
    first = next(matrices, None)
    if first is None:
        raise ValueError("`jacobians` is empty: pass at least one (S, S) matrix")
    k = _columns(k, len(first))
    if length is not None and length <= warmup:
        raise ValueError(
            f"`jacobians` has {length} matrices and warmup={warmup} skips them all; pass more matrices or a "
            "smaller warmup"
        )
    steps = None if length is None else length - warmup
    discard = (0 if steps is None else steps // 10) if discard is None else discard
    discard = _count("discard", discard, 0) if steps is None else discarded(discard, steps)
    matrices = islice(chain([first], matrices), warmup, None)
    size = len(first)
    frame = random_frame(1, size, k, seed, np.float64)
    chosen = None if interval == "auto" else _interval(interval)
    options: dict[str, Any] = {"discard": discard, "steps": steps, "warmup": warmup, "progress": progress}
    precision = _precision(None, np.float64, k, size)
    return measure(MatrixTangent(matrices, size), frame, interval=chosen, precision=precision, single=True, **options)


def _columns(k: int | None, size: int) -> int:
    k = size if k is None else _count("k", k, 1)
    if k > size:
        raise ValueError(f"k={k}, but the state has size {size} and so {size} exponents: pass k between 1 and {size}")
    return k


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"`{name}` is {value!r}, but a whole number of at least {least} is needed")
    if value < least:
        raise ValueError(f"{name}={value}, but it must be at least {least}")
    return int(value)


def _interval(interval: Any) -> int:
    if isinstance(interval, str):
        raise ValueError(f'interval={interval!r}: pass "auto" or a number of steps')
    return _count("interval", interval, 1)


def discarded(discard: int | None, steps: int) -> int:
    discard = steps // 10 if discard is None else _count("discard", discard, 0)
    if discard >= steps:
        raise ValueError(
            f"discard={discard}, but the frame runs for {steps} steps: at least one must count; pass discard < {steps}"
        )
    return discard
