"""ridge: the readout of a model in closed form, all before it left as it is.

Dimensions: T steps, B sequences, N numbers that the readout hears, O that it says, M steps that count, p = 1 + N + O.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.blas import single_blas
from ..models.chain import Chain
from ..models.readout import Readout
from ..network.network import Network
from ..refuse import arguments, numeric, room
from ..refuse.called import name_of, told
from ..refuse.expected import checking

Array = np.ndarray
ROWS = 1 << 14  # steps of all sequences whose features are held together


@dataclass(frozen=True)
class RidgeFit:
    """A readout that was fitted in closed form; what `tt.training.ridge` gives.

    model              the `Chain` whose last piece is the readout: .predict(x), .closed_loop()
    penalty            that was taken
    error              mean squared error of the steps that it was fitted to, for each number of the target
    steps              M, how many these are
    penalties          (n,) that were tried; empty where one was given
    validation_errors  (n,) mean squared errors of the steps held out, of the readout that was fitted to the others

    >>> import numpy as np, throughtime as tt
    >>> x = np.sin(np.arange(300.0))[:, None]
    >>> tt.training.ridge(tt.Network("tanh", 1, 30, seed=0), x[:-1], x[1:], warmup=50).steps
    249
    """

    model: Chain
    penalty: float
    error: float
    steps: int
    penalties: Array
    validation_errors: Array


def ridge(
    model: Any,
    x: Any,
    targets: Any,
    penalty: Any = 1e-6,
    *,
    warmup: int = 0,
    lengths: Any = None,
    state: Any = None,
    validation: float = 0.2,
) -> RidgeFit:
    """Fit a linear readout by least squares with a penalty, in closed form; nothing else of the model learns.

        minimise  Σ_t |W h_t + b − y_t|² + penalty·|W|²        over the steps of all sequences that count

    model: a network, of which the model will be a copy with a `Readout` behind it; or a `Chain` that ends with a
        Readout, which is written in place: a reservoir (`tt.models.reservoir`), or a model trained by gradients. A
        readout with b has it free of the penalty.
    x: (T, B, I), or (T, I) for one sequence, as the model takes it. targets y: (T, B, O) or (T, O), real numbers; (B,
        O) where the model says one thing of a sequence.
    penalty: ≥ 0, or several of them, of which the one is taken that has the smallest squared error over the last
        `validation` part of every sequence, when fitted to what is before; then W is fitted to all.
    warmup: first steps of every sequence that do not count, while the state forgets where it began.
    lengths: (B,) real steps of each sequence. state: as of `model.unroll`.

    In float64, from a QR decomposition of [1 h y], taken piece by piece, and the singular values of its part of h: the
    condition of h is not squared, as by normal equations, and time costs no memory. Penalties are compared with the
    sum over steps, as in scikit-learn's Ridge, not with the mean.

    Returns `RidgeFit`: .model, .penalty, .error. TypeError or ValueError for what does not fit, for NaN in what the
    readout hears or in targets, and where no step counts.

    Source: Jaeger (2001), GMD report 148; Lukoševičius (2012), A practical guide to applying echo state networks.

    >>> import numpy as np, throughtime as tt
    >>> x = np.sin(2 * np.pi * np.arange(600) / 40)[:, None]
    >>> reservoir = tt.models.reservoir(1, 100, 1, radius=0.9, seed=0)
    >>> fitted = tt.training.ridge(reservoir, x[:499], x[1:500], [1e-8, 1e-6, 1e-4], warmup=100)
    >>> ahead = fitted.model.closed_loop().forecast(x[:500], 100)
    >>> fitted.model is reservoir, bool(np.abs(ahead - x[500:]).max() < 0.01)
    (True, True)
    """
    several = np.ndim(numeric.numbers("penalty", penalty)) > 0
    penalties = _penalties(penalty)
    warmup = arguments.step("warmup", warmup, 0)
    part = arguments.real("validation", validation)
    if several and not 0 < part < 1:
        raise ValueError(f"`validation` is {part:g}; expected a part of each sequence, between 0 and 1.")
    y = numeric.numbers("targets", targets)
    chain = _chain(model, y)
    readout = chain.pieces[-1]
    before, after = _triangles(chain, x, y, warmup, lengths, state, part if several else 0.0)
    rows = before.rows + after.rows
    if not rows or (several and not (before.rows and after.rows)):
        raise ValueError(
            f"No step counts: {rows} are left of all sequences after `warmup`={warmup}"
            + (", too few to hold some out; pass longer sequences." if several else "; pass longer sequences.")
        )
    errors = [after.error(before.solution(one)) for one in penalties] if several else []
    best = float(penalties[int(np.argmin(errors))] if several else penalties[0])
    both = before.joined(after)
    solution = both.solution(best)
    readout.parameters["weight"][...] = solution[readout.bias :].T
    if readout.bias:
        readout.parameters["bias"][...] = solution[0]
    tried = penalties if several else np.empty(0)
    return RidgeFit(chain, best, both.error(solution), rows, tried, np.array(errors))


ridge = checking(single_blas(ridge), {})


class _Triangle:
    """R (p, p) of the QR decomposition of rows [1 h y], all that least squares needs to know of them."""

    def __init__(self, features: int, outputs: int, bias: bool) -> None:
        self.features, self.outputs, self.bias, self.rows = features, outputs, bias, 0
        self.r = np.zeros((bias + features + outputs,) * 2)

    def add(self, h: Array, y: Array) -> None:
        ones = [np.ones((len(h), 1))] * self.bias
        self._take(np.concatenate([*ones, h, y], axis=1), len(h))

    def joined(self, other: _Triangle) -> _Triangle:
        both = _Triangle(self.features, self.outputs, self.bias)
        both._take(self.r, self.rows)
        both._take(other.r, other.rows)
        return both

    def _take(self, block: Array, rows: int) -> None:
        self.rows += rows
        found = np.linalg.qr(np.concatenate([self.r, block]), mode="r")
        self.r[: len(found)] = found

    def solution(self, penalty: float) -> Array:
        """b and W, (1 + N, O) or (N, O). The rows of R below the first are those of h and y less their means."""
        first, end = int(self.bias), self.bias + self.features
        u, s, vt = np.linalg.svd(self.r[first:end, first:end])
        kept = s > s[0] * len(s) * np.finfo(float).eps  # the others are rounding
        factor = np.divide(s, s * s + penalty, out=np.zeros_like(s), where=kept)
        weights = vt.T @ (factor[:, None] * (u.T @ self.r[first:end, end:]))
        if not self.bias:
            return weights
        intercept = (self.r[0, end:] - self.r[0, 1:end] @ weights) / self.r[0, 0]
        return np.concatenate([intercept[None], weights])

    def error(self, solution: Array) -> float:
        """The mean squared error of these rows."""
        left = self.r @ np.concatenate([solution, -np.eye(self.outputs)])
        return float((left * left).sum() / (self.rows * self.outputs))


def _penalties(penalty: Any) -> Array:
    found = np.atleast_1d(numeric.numbers("penalty", penalty)).astype(float)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError("`penalty` is a finite number of at least 0, or a list of such.")
    return found


def _chain(model: Any, y: Array) -> Chain:
    """The model whose last piece is a readout."""
    outputs = y.shape[-1] if y.ndim else 0
    if name_of(model) == "a network" and isinstance(model, Network):
        if y.ndim not in (2, 3) or not outputs:
            raise ValueError(f"`targets` has shape {y.shape}; expected (time, batch, outputs), or (time, outputs).")
        inputs = model.hidden_sizes[-1] * model.num_directions
        room.check(f"A readout of {inputs} inputs and {outputs} outputs", inputs * outputs)
        return Chain([copy.deepcopy(model), Readout(inputs, outputs, dtype=model.dtype, seed=0)])
    if not isinstance(model, Chain) or not isinstance(model.pieces[-1], Readout):
        raise TypeError(
            f"`model` is {told(model)}; `ridge` takes a network, or a `tt.models.Chain` that ends with a Readout."
        )
    if model.device != "cpu":
        raise ValueError('`model` is on the GPU; `ridge` works on the CPU: pass `model.to("cpu")`.')
    if y.ndim not in (2, 3) or outputs != model.sizes[1]:
        raise ValueError(
            f"`targets` has shape {y.shape}, and the model says {model.sizes[1]} numbers at a step: expected (time, "
            f"batch, {model.sizes[1]}), or (time, {model.sizes[1]}) for one sequence."
        )
    return model


def _triangles(
    chain: Chain, x: Any, y: Array, warmup: int, lengths: Any, state: Any, held_out: float
) -> tuple[_Triangle, _Triangle]:
    """All steps that count, in those before the part that is held out and those of it."""
    readout, outputs = chain.pieces[-1], y.shape[-1]
    width = readout.inputs + outputs + readout.bias
    room.check(f"A readout of {readout.inputs} inputs and {outputs} outputs", 4 * width * width)
    before, after = (_Triangle(readout.inputs, outputs, readout.bias) for _ in range(2))
    if chain.one_out and (warmup or held_out):
        raise ValueError(
            "`warmup` and several penalties are for a model that says something at each step; this one says one thing "
            "of a sequence."
        )
    end = 0
    for at, run, h in _heard(chain, x, lengths, state):
        own, end = y[at : at + len(h)], at + len(h)
        if own.shape[:-1] != h.shape[:-1]:
            break
        if chain.one_out:
            before.add(*_rows(h, own))
            continue
        h, own = h.reshape(len(h), -1, h.shape[-1]), own.reshape(len(h), -1, outputs)
        real = np.full(h.shape[1], len(y)) if run.lengths is None else run.lengths
        cut = np.where(held_out > 0, warmup + np.ceil((1 - held_out) * np.maximum(real - warmup, 0)), real)
        steps = at + np.arange(len(h))[:, None]
        before.add(*_rows(h, own, (steps >= warmup) & (steps < np.minimum(cut, real))))
        after.add(*_rows(h, own, (steps >= cut) & (steps < real)))
    if end != len(y) or own.shape[:-1] != h.shape[:-1]:
        said = (*run.output.shape[:-1], outputs) if at == 0 else ("…", *run.output.shape[1:-1], outputs)
        raise ValueError(f"`targets` has shape {y.shape}; for this `x` the model says {said}, and is compared with it.")
    return before, after


def _rows(h: Array, y: Array, chosen: Any = ...) -> tuple[Array, Array]:
    """What is heard and wanted in the steps chosen, in float64."""
    rows = h[chosen].astype(float), y[chosen].astype(float)
    for name, found in zip(("what the readout hears", "`targets`"), rows, strict=True):
        if not np.isfinite(found).all():
            raise ValueError(f"A least squares fit has no meaning beyond NaN or infinity: {name} holds such a number.")
    return rows


def _heard(chain: Chain, x: Any, lengths: Any, state: Any) -> Iterator[tuple[int, Any, Array]]:
    """The first step, the run and what the readout hears in it, piece by piece where time goes one way."""
    found = numeric.numbers("x", x)
    whole = lengths is not None or chain.one_out or chain.one_in or found.ndim not in (2, 3) or _two_ways(chain)
    piece = len(found) if whole and found.ndim else max(1, ROWS // max(found.size // max(len(found), 1), 1))
    for at in range(0, len(found), piece) if found.ndim and piece else [0]:
        own = found[at : at + piece] if found.ndim else found
        run: Any = chain.unroll(own, state, lengths)
        state = run.final_state
        yield at, run, run.runs[-2][1].output if len(run.runs) > 1 else own


def _two_ways(piece: Any) -> bool:
    return getattr(piece, "bidirectional", False) or any(map(_two_ways, getattr(piece, "pieces", ())))
