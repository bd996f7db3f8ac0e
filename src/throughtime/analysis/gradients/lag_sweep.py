"""The way back through time, lag by lag: the cotangents of all losses side by side, each at its own time.

At lag k the loss of time t has reached s_{t−k}. All of them then take one step back at once: the steps t−k of all t
share W_hh and differ only in their local derivatives, which every lag uses again and which are therefore evaluated
once. One lag is then two products of matrices with (T−k)·B rows, one with W_hh and one for the weights' gradient; they
belong to BLAS (200 lags, 128 units, one thread: 40 ms, and 110 by the engine's loops, which evaluate each slope anew).

Dimensions: T steps, B sequences, S state size, N units, G gates.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...cells.base import spec
from ...engine import memory
from ...network import norms
from ...refuse import arguments, checks, direction
from ...results import Array
from . import lag_sweep_on_device
from .step_back import LayerBack
from .wired_step_back import WiredBack

# A row is brought back to length one, and its logarithm carried, once its length leaves these bounds: far from the ends
# of the numbers, so that one step of a saturated network does not fall off.
FAR = {"float64": 1e60, "float32": 1e10}


def checked(run: Any, grad_output: Any, what: str, one_way: bool = True) -> tuple[Array, float]:
    """grad_output as (T, B, N), scaled by a power of 2 to numbers around 1, and the natural log of that power.

    ValueError in words for a run or a gradient for which `what` has no meaning.
    """
    if one_way:
        direction.one_way(run.network, what)
    if grad_output is None:
        raise ValueError("`grad_output` is None; pass dL/doutput in the shape of `run.output`.")
    g = checks.output_gradient(grad_output, run)
    assert g is not None
    if not run.steps:
        raise ValueError(f"{what} has no meaning for a run of no time steps.")
    if run.lengths is not None:
        g = np.where((np.arange(run.steps)[:, None] < run.lengths)[:, :, None], g, g.dtype.type(0))
    for name, numbers in (("run.states", run.states), ("grad_output", g)):
        finite = np.isfinite(numbers)
        if not finite.all():
            t, b, _ = np.argwhere(~finite)[0]
            raise ValueError(
                f"`{name}[{t}]` of sequence {b} holds {numbers[t, b][~finite[t, b]][0]}; {what} has no meaning beyond "
                "NaN or infinity. Look for them in the input and in the parameters."
            )
    exponent = int(np.frexp(np.abs(g).max(initial=0.0))[1])
    return np.ldexp(g, -exponent).astype(g.dtype), exponent * float(np.log(2.0))


def by_lag(run: Any, g: Array, max_lag: int, names: tuple[str, ...]) -> Iterator[tuple[Array, dict[str, Array]]]:
    """For k = 0 … max_lag: ln‖∂L_t/∂s_{t−k}‖ for t = k … T−1, (T−k, B), and the named gradients through lag k.

    The latter are Σ_t ∂L_t/∂s_{t−k} · ∂s_{t−k}/∂W with W varied in the step from s_{t−k−1} to s_{t−k} alone.
    """
    if run.network.device == "cuda":
        yield from lag_sweep_on_device.by_lag(run.device_run, g, max_lag, names, FAR[g.dtype.name])
        return
    T, (B, S) = run.steps, run.states.shape[1:]
    layers = [_layer_back(run, k, run.network.weights_behind(names)) for k in range(run.network.num_layers)]
    rows, other = memory.zeros((T * B, S), g.dtype), memory.empty((T * B, S), g.dtype)
    rows[:, layers[-1].columns] = layers[-1].sent_back(g.reshape(T * B, -1))
    logs = np.zeros(T * B)
    far = FAR[rows.dtype.name]
    for _ in range(max_lag + 1):
        norm = norms.of_rows(rows)
        with np.errstate(divide="ignore"):
            log_norm = np.log(norm) + logs
        leaving = (norm > far) | ((norm < 1.0 / far) & (norm > 0.0))
        if leaving.any():
            rows /= np.where(leaving, norm, 1.0)[:, None].astype(rows.dtype)
            logs = np.where(leaving, log_norm, logs)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            own = np.exp(logs)[:, None].astype(rows.dtype) if logs.any() else None
            parts = _back(layers, rows, own, other)
        yield log_norm.reshape(-1, B), run.to_parameters(parts)
        rows, other, logs = other[B:], rows[B:], logs[B:]  # those of the first time have arrived at the initial state


def _layer_back(run: Any, k: int, names: tuple[str, ...]) -> LayerBack | WiredBack:
    record = spec(run.cells[k])
    return (LayerBack if record.plain and not record.parameters else WiredBack)(run, k, names)


def _back(layers: list[LayerBack | WiredBack], rows: Array, scale: Array | None, before: Array) -> dict[str, Array]:
    """One step back for all rows (M, S), of the times 0 … M/B − 1, to `before`, and the gradients of that step."""
    above = None
    parts: dict[str, Array] = {}
    for layer in reversed(layers):
        above, found = layer.back(rows[:, layer.columns], above, scale, before[:, layer.columns])
        parts |= found
    return parts


def whole(run: Any, g: Array) -> dict[str, Array]:
    """The full gradients of the parameters, from that of the outputs (T, B, N)."""
    gradients: dict[str, Array] = run.pullback(np.zeros(run.states.shape[1:], g.dtype), 0, run.steps, g)[1]
    return gradients


def chosen(run: Any, parameters: Any) -> tuple[str, ...]:
    """The names of the parameters that a result is about: by default every weight_hh, or all where there is none."""
    known = tuple(run.network.parameters)
    if parameters is None:
        return tuple(name for name in known if name.startswith("weight_hh")) or known
    names = (parameters,) if isinstance(parameters, str) else parameters
    if not isinstance(names, (tuple, list, set, Mapping)) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`parameters` is {arguments.kind(parameters)}; expected names, of {', '.join(known)}.")
    names = tuple(names)
    if not names:
        raise ValueError(f"`parameters` names none; this network has {', '.join(known)}.")
    for name in names:
        if name not in known:
            raise ValueError(f"`parameters` names {name!r}, but this network has {', '.join(known)}.")
    return names


def flat(gradients: Any, names: tuple[str, ...]) -> Array:
    """The named gradients as one vector of float64, a view where that can be."""
    if len(names) == 1:
        return np.asarray(gradients[names[0]], dtype=np.float64).ravel()
    return np.concatenate([np.asarray(gradients[name], dtype=np.float64).ravel() for name in names])


def compare(part: Array, whole: Array) -> tuple[float, float]:
    """‖part‖/‖whole‖, and the cosine of the angle between them; NaN where it has no meaning."""
    with np.errstate(all="ignore"):  # a gradient beyond the numbers of its type ends here as NaN
        squares = part @ part, whole @ whole
        if min(squares) > 1e-280 and max(squares) < 1e280:
            a, b = np.sqrt(squares)
            return float(a / b), float(part @ whole / a / b)
        (a, b), (of_a, of_b) = (np.concatenate(column) for column in zip(*map(_split, (part, whole)), strict=True))
        if not (np.isfinite(b) and b > 0.0):
            return np.nan, np.nan
        part, whole = (np.ldexp(x, -int(e)) for x, e in ((part, of_a), (whole, of_b)))
        return float(np.ldexp(a / b, of_a - of_b)), float(part @ whole / a / b) if a else np.nan


def _split(x: Array) -> tuple[Array, Array]:
    return norms.split(x[None])
