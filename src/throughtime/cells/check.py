"""check_cell: does a cell's `backward` belong to its `forward`? Said in words, before a network trains on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..refuse.expected import checking
from .base import Spec, Values, on_arrays, spec, unit_derivatives
from .examined import ARGUMENTS, in_plain_python, real_field
from .versions import in_force

STEPS = (1e-2, 5e-3, 2.5e-3)  # halved twice: the error of a central difference falls four times each, slope 2


@checking
def check_cell(cell: Any, *, units: int = 64, seed: int = 0) -> str:
    """Check a cell: finite differences with slope 2, the adjoint identity, the compiled step, float32 stays float32.

    At random points of `units` units the derivative D that `backward` describes must satisfy, for every direction v and
    cotangent u,

        (f(p + e v) - f(p - e v)) / 2e = D v + O(e^2),        <u, D v> = <D^T u, v>

    in each of the gates of x, of the gates of r and of the states; and so at other values of every field (its default,
    1, half of it, twice). Then all functions are compiled in both precisions, and a small network of the cell is run
    by the engine and by plain Python, with all its gradients. The first time that takes some seconds.

    cell : an instance of a cell. units : points that are tried at once. seed : of these points.
    Returns one line of praise. Raises ValueError with a sentence that says which derivative is wrong and by how much,
    or which function and line does not compile or leaves float32, and what to write; TypeError for what is no cell.

    >>> import throughtime as tt
    >>> tt.check_cell(tt.GRU())
    'GRU is right: 3 gates, 1 state, 4 saved; backward agrees with forward.'
    """
    from ..engine import failures
    from ..engine.cpu import trial  # against the stream, as this stands where the user looks for it

    _record(cell)  # or a sentence
    cell = in_force(cell)
    record = spec(cell)
    rng = np.random.default_rng(seed)
    point = tuple(rng.normal(size=units) for _ in range(2 * record.gates + record.states))
    try:
        with np.errstate(all="ignore"):
            for near, said in _neighbours(cell):
                _in_python(near, record, point, said)
    except ValueError as error:
        if str(error).startswith(f"{record.name}."):
            raise
        _fails(record, error)
    except Exception as error:
        _fails(record, error)
    failures.examine(record, np.dtype("float64"))
    failures.widened(record)
    for near, said in _neighbours(cell):
        for batch in (1, 3):
            difference = trial.disagreement(near, batch)
            if difference:
                raise ValueError(
                    f"{record.name} compiled is not what it is in plain Python{said}: here {difference}. "
                    "Its functions must depend on their arguments and the fields alone."
                )
    states = "state" if record.states == 1 else "states"
    gates = "gate" if record.gates == 1 else "gates"
    counts = f"{record.gates} {gates}, {record.states} {states}, {record.saved} saved"
    return f"{record.name} is right: {counts}; backward agrees with forward."


def _record(cell: Any) -> Spec:
    record = spec(cell)
    if isinstance(cell, type):
        raise TypeError(f"`cell` is the class {record.name}; pass an instance: tt.check_cell({record.name}()).")
    for field, value in zip(record.cls._fields, cell, strict=True):  # type: ignore[attr-defined]
        real_field(record.cls, field, value)
    return record


def _neighbours(cell: Any) -> Iterator[tuple[Any, str]]:
    """The cell, and it with each field in turn at other values of the same sign; with words that say which."""
    cls: Any = type(cell)
    yield cell, ""
    for field, value in zip(cls._fields, cell, strict=True):
        own, usual = float(value), float(cls._field_defaults.get(field, value))
        sign = -1.0 if own < 0.0 else 1.0
        for other in dict.fromkeys((usual, sign, own / 2.0, 2.0 * own)):
            if other != own:
                yield cell._replace(**{field: other}), f" with {field}={other:g}"


def _in_python(cell: Any, record: Spec, point: Values, said: str) -> None:
    """The derivatives against central differences, for values of the fields for which the step is a number."""
    if said:
        try:
            s_next, _ = on_arrays(cell.forward, _split(record, point))
        except ArithmeticError:
            return
        if not all(np.isfinite(value).all() for value in s_next):
            return
    try:
        _check_same(cell, record, point)
        _check_derivatives(cell, record, point)
        if record.emits:
            _check_emit(cell, record, point[2 * record.gates :])
    except ValueError as error:
        if said and str(error).startswith(f"{record.name}."):
            raise ValueError(f"{str(error).rstrip('.')}, with the field{said.removeprefix(' with')}.") from None
        raise


def _fails(record: Spec, error: Exception) -> None:
    """Raises for a cell that stops in plain Python: the sentence about its compilation, if that fails as well."""
    from ..engine import failures

    failures.examine(record, np.dtype("float64"))
    trace = error.__traceback__
    codes = {getattr(record.cls, name).__code__: name for name in ARGUMENTS if hasattr(record.cls, name)}
    found = "forward"
    while trace is not None:
        found, trace = codes.get(trace.tb_frame.f_code, found), trace.tb_next
    raise ValueError(in_plain_python(record.cls, found, error)) from None


def _split(record: Spec, point: Values) -> tuple[Values, Values, Values]:
    G = record.gates
    return point[:G], point[G : 2 * G], point[2 * G :]


def _rows(cell: Any, record: Spec, point: Values) -> list[Values]:
    """The derivative of each next state by every number it depends on, from `backward` fed with unit cotangents."""
    s = _split(record, point)[2]
    s_next, saved = on_arrays(cell.forward, _split(record, point))
    each = unit_derivatives(cell, s, s_next, saved)
    return [tuple(np.broadcast_to(value, s[0].shape) for part in parts for value in part) for parts in each]


def _check_same(cell: Any, record: Spec, point: Values) -> None:
    first, again = (on_arrays(cell.forward, _split(record, point)) for _ in range(2))
    for one, other in zip((*first[0], *first[1]), (*again[0], *again[1]), strict=True):
        if not np.array_equal(one, other, equal_nan=True):
            raise ValueError(
                f"{record.name}.forward gives other numbers when it is called once more with the same; noise belongs "
                "into the input: net.unroll(x + noise)."
            )


def _check_derivatives(cell: Any, record: Spec, point: Values) -> None:
    rows = _rows(cell, record, point)
    labels = (
        [f"x[{g}]" for g in range(record.gates)]
        + [f"r[{g}]" for g in range(record.gates)]
        + [f"s[{j}]" for j in range(record.states)]
    )
    for k, label in enumerate(labels):
        for i in range(record.states):
            _check_one(
                lambda e, k=k, i=i: on_arrays(cell.forward, _split(record, _moved(point, k, e)))[0][i],
                rows[i][k],
                f"the derivative of s_next[{i}] with respect to {label}",
                f"{record.name}.backward",
            )
    u = tuple(np.cos(3.0 * j + point[0]) for j in range(record.states))  # any cotangent will do
    s_next, saved = on_arrays(cell.forward, _split(record, point))
    dx, dr, ds = on_arrays(cell.backward, (u, _split(record, point)[2], s_next, saved))
    for value, k, label in zip((*dx, *dr, *ds), range(len(labels)), labels, strict=True):
        expected = sum(u[i] * rows[i][k] for i in range(record.states))
        scale = np.abs(expected).max() + 1e-12
        if not np.allclose(value, expected, rtol=0, atol=1e-10 * scale):
            raise ValueError(
                f"{record.name}.backward is not linear in `ds`: for a mixed cotangent its gradient of {label} is off "
                f"by {np.abs(value - expected).max():.3g}. Every term it returns must carry one factor ds[i]."
            )


def _check_emit(cell: Any, record: Spec, s: Values) -> None:
    (slopes,) = on_arrays(lambda s: (cell.emit_slope(s),), (s,))
    for j in range(record.states):
        _check_one(
            lambda e, j=j: on_arrays(lambda s: ((cell.emit(s),),), (_moved(s, j, e),))[0][0],
            np.broadcast_to(slopes[j], s[0].shape),
            f"the slope of what the unit sends with respect to s[{j}]",
            f"{record.name}.emit_slope",
        )


def _moved(point: Values, k: int, e: float) -> Values:
    return tuple(value + e if j == k else value for j, value in enumerate(point))


def _check_one(function: Any, derivative: np.ndarray, what: str, where: str) -> None:
    """Central differences at three steps: their errors must fall with slope 2 or be rounding.

    Points near a kink are left out.
    """
    errors = np.array([np.abs((function(e) - function(-e)) / (2 * e) - derivative) for e in STEPS])
    if np.isnan(errors).any():
        raise ValueError(f"{where}: {what} is NaN at ordinary arguments (normal random numbers).")
    scale = np.abs(derivative).max() + np.abs(function(0.0)).max() + 1e-300
    smooth = errors[-1] <= 1e-3 * scale  # what a wrong formula exceeds almost everywhere, and a kink only beside itself
    if smooth.mean() < 0.9:
        worst = int(errors[-1].argmax())
        slope = (function(STEPS[-1]) - function(-STEPS[-1])) / (2 * STEPS[-1])
        raise ValueError(
            f"{where} is wrong: {what} should be {slope[worst]:.6g} by central differences at a random point, "
            f"and it is {derivative[worst]:.6g}."
        )
    errors = errors[:, smooth]
    rounding = 1e-11 * scale / STEPS[-1]
    first, last = errors[0].max(), errors[-1].max()
    if last > rounding and np.log(first / last) / np.log(STEPS[0] / STEPS[-1]) < 1.7:
        raise ValueError(
            f"{where} is slightly wrong: the central differences of {what} do not approach it with slope 2, "
            f"they stay {last:.3g} away."
        )
