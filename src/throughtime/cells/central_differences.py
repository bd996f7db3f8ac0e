"""Whether a cell's `backward` belongs to its `forward`, by central differences in plain Python.

At random points of some units the derivative D that `backward` describes must satisfy, for every direction v,
(f(p + e v) - f(p - e v)) / 2e = D v + O(e^2), and be linear in its cotangent.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .examined import Spec
from .on_arrays import Values, on_arrays, unit_derivatives

STEPS = (1e-2, 5e-3, 2.5e-3)  # halved twice: the error of a central difference falls four times each, slope 2


def neighbours(cell: Any) -> Iterator[tuple[Any, str]]:
    """The cell, and it with each field in turn at other values of the same sign; with words that say which."""
    cls: Any = type(cell)
    yield cell, ""
    for field, value in zip(cls._fields, cell, strict=True):
        own, usual = float(value), float(cls._field_defaults.get(field, value))
        sign = -1.0 if own < 0.0 else 1.0
        for other in dict.fromkeys((usual, sign, own / 2.0, 2.0 * own)):
            if other != own:
                yield cell._replace(**{field: other}), f" with {field}={other:g}"


def agree(cell: Any, record: Spec, point: Values, said: str) -> None:
    """ValueError with a sentence unless the derivatives are the central differences, where the step is a number."""
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
