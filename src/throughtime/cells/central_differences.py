"""Whether a cell's functions of the way back belong to those of the way there, by central differences in plain Python.

At random points of some units the derivative D that `backward` describes must satisfy, for every direction v,
(f(p + e v) - f(p - e v)) / 2e = D v + O(e^2), and be linear in its cotangent; so must that of the stage, and the slopes
of what is sent.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .array_fields import of_units, units_of
from .examined import Spec
from .initial_values import initial_values
from .on_arrays import Values, emitted, on_arrays, signal_slopes, stage_derivatives, staged, unit_derivatives

STEPS = (1e-2, 5e-3, 2.5e-3)  # halved twice: the error of a central difference falls four times each, slope 2


@dataclass(frozen=True)
class Point:
    """What a step of some units depends on, arrays (units,): x, r, s and the parameters p."""

    x: Values
    r: Values
    s: Values
    p: Values

    def moved(self, side: str, k: int, e: float) -> "Point":
        """The point with number k of x, r, s or p larger by e."""
        own = tuple(value + e if j == k else value for j, value in enumerate(getattr(self, side)))
        return replace(self, **{side: own})

    @property
    def own(self) -> tuple[Values, ...]:
        """p as the last argument of a function, of a cell that has it."""
        return (self.p,) if self.p else ()

    @property
    def arguments(self) -> tuple[Values, ...]:
        """Those of `forward`."""
        return (self.x, self.r, self.s, *self.own)


def drawn(cell: Any, record: Spec, units: int, rng: np.random.Generator) -> Point:
    """Normal random numbers; parameters near where they start, none of them 0."""
    x, r, s = (tuple(rng.normal(size=units) for _ in range(n)) for n in (record.gates, record.parts, record.states))
    own = initial_values(cell, units, rng) if record.parameters else ()
    near = (
        np.where(value == 0.0, rng.normal(size=units), value * np.exp(0.3 * rng.normal(size=units))) for value in own
    )
    return Point(x, r, s, tuple(near))


def neighbours(cell: Any, units: int) -> Iterator[tuple[Any, str]]:
    """The cell, and it with each field in turn at other values of the same sign that it does not refuse; with words
    that say which. Last all fields with a value for each of so many units, of which any arrays are made."""
    return (found for found in _neighbours(cell, units) if not found[1] or _takes(found[0]))


def _takes(cell: Any) -> bool:
    """Whether a cell's own `valid` lets its fields pass."""
    try:
        if callable(getattr(type(cell), "valid", None)):
            for unit in range(units_of(cell) or 1):
                of_units(cell, unit).valid()
    except ValueError:
        return False
    return True


def _neighbours(cell: Any, units: int) -> Iterator[tuple[Any, str]]:
    cls: Any = type(cell)
    cell = of_units(cell, np.arange(units) % (units_of(cell) or 1))
    yield cell, ""
    for field, value in zip(cls._fields, cell, strict=True):
        if np.ndim(value):
            for factor in (0.5, 2.0):
                yield cell._replace(**{field: factor * value}), f" with {factor:g} times its {field}"
            continue
        own, usual = float(value), cls._field_defaults.get(field, value)
        sign = -1.0 if own < 0.0 else 1.0
        for other in dict.fromkeys((own if np.ndim(usual) else float(usual), sign, own / 2.0, 2.0 * own)):
            if other != own:
                yield cell._replace(**{field: other}), f" with {field}={other:g}"
    if len(cell):
        factors = np.linspace(1.0, 0.5, units)  # as a rule within what a field may be
        each = cls._make(np.asarray(value, np.float64) * factors for value in cell)
        yield each, f" with arrays of {', '.join(cls._fields)}, a value for each unit"


def agree(cell: Any, record: Spec, point: Point, said: str) -> None:
    """ValueError with a sentence unless the derivatives are the central differences, where the step is a number."""
    if said:
        try:
            s_next, _ = on_arrays(cell.forward, point.arguments)
        except ArithmeticError:
            return
        if not all(np.isfinite(value).all() for value in s_next):
            return
    try:
        _check_same(cell, record, point)
        _check_step(cell, record, point)
        if record.stage:
            _check_stage(cell, record, point)
        if record.emits:
            _check_emit(cell, record, point.s)
    except ValueError as error:
        if said and str(error).startswith(f"{record.name}."):
            raise ValueError(f"{str(error).rstrip('.')}, with the field{said.removeprefix(' with')}.") from None
        raise


def _check_same(cell: Any, record: Spec, point: Point) -> None:
    first, again = (on_arrays(cell.forward, point.arguments) for _ in range(2))
    for one, other in zip((*first[0], *first[1]), (*again[0], *again[1]), strict=True):
        if not np.array_equal(one, other, equal_nan=True):
            raise ValueError(
                f"{record.name}.forward gives other numbers when it is called once more with the same; noise belongs "
                "into the input: net.unroll(x + noise)."
            )


def _labels(record: Spec, parts: int) -> list[tuple[str, int, str]]:
    """(side, number, words) of everything that a step depends on, of r its first `parts`."""
    sides = (("x", record.gate_names), ("r", record.part_names[:parts]), ("s", ("",) * record.states))
    found = [
        (side, k, f"{side}[{k}]" + (f" ({name})" if name and name != str(k) else ""))
        for side, names in (*sides, ("p", record.parameters))
        for k, name in enumerate(names)
    ]
    return found


def _check_step(cell: Any, record: Spec, point: Point) -> None:
    s_next, saved = on_arrays(cell.forward, point.arguments)
    rows = list(unit_derivatives(cell, point.s, s_next, saved, point.p))
    hint = " Of r all parts are held fixed: what comes by way of the stage, stage_backward gives." * bool(record.stage)
    _check_rows(
        record, point, rows, lambda at: on_arrays(cell.forward, at.arguments)[0],
        lambda u: on_arrays(cell.backward, (u, point.s, s_next, saved, *point.own)),
        ("backward", "s_next", "ds", record.parts, hint),
    )  # fmt: skip


def _check_stage(cell: Any, record: Spec, point: Point) -> None:
    _, saved = on_arrays(cell.forward, point.arguments)
    rows = list(stage_derivatives(cell, point.s, saved, point.p))
    _check_rows(
        record, point, rows, lambda at: staged(cell, at.x, at.r[: record.first], at.s, at.p),
        lambda u: on_arrays(cell.stage_backward, (u, point.s, saved, *point.own)),
        ("stage_backward", "the stage's signal ", "da", record.first, ""),
    )  # fmt: skip


def _check_rows(
    record: Spec,
    point: Point,
    rows: list[tuple],
    function: Callable[[Point], Values],
    back: Callable[[Values], tuple],
    words: tuple[str, str, str, int, str],
) -> None:
    """Each row of derivatives beside differences of the function, and a mixed cotangent beside the sum of the rows."""
    name, of, cotangent, parts, hint = words
    shape, where, labels = point.s[0].shape, f"{record.name}.{name}", _labels(record, parts)
    flat = [[np.broadcast_to(value, shape) for part in row for value in part] for row in rows]
    for column, (side, k, label) in enumerate(labels):
        for i, row in enumerate(flat):
            _check_one(
                lambda e, side=side, k=k, i=i: function(point.moved(side, k, e))[i],
                row[column], f"the derivative of {of}[{i}] with respect to {label}", where, hint,
            )  # fmt: skip
    u = tuple(np.cos(3.0 * j + point.s[0]) for j in range(len(rows)))  # any cotangent will do
    mixed = [value for part in back(u) for value in part]
    for column, (value, (_, _, label)) in enumerate(zip(mixed, labels, strict=True)):
        expected = sum(u[i] * row[column] for i, row in enumerate(flat))
        scale = np.abs(expected).max() + 1e-12
        if not np.allclose(value, expected, rtol=0, atol=1e-10 * scale):
            raise ValueError(
                f"{where} is not linear in `{cotangent}`: for a mixed cotangent its gradient of {label} is off "
                f"by {np.abs(value - expected).max():.3g}. Every term it returns must carry one factor {cotangent}[i]."
            )


def _check_emit(cell: Any, record: Spec, s: Values) -> None:
    for k, slopes in enumerate(signal_slopes(cell, s)):
        signal = f"its signal {record.sends[k][0]}" if record.signals > 1 else "what the unit sends"
        for j in range(record.states):
            _check_one(
                lambda e, j=j, k=k: emitted(cell, tuple(v + e if i == j else v for i, v in enumerate(s)))[k],
                np.broadcast_to(slopes[j], s[0].shape),
                f"the slope of {signal} with respect to s[{j}]", f"{record.name}.emit_slope",
            )  # fmt: skip


def _check_one(function: Any, derivative: np.ndarray, what: str, where: str, hint: str = "") -> None:
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
            f"and it is {derivative[worst]:.6g}.{hint}"
        )
    errors = errors[:, smooth]
    rounding = 1e-11 * scale / STEPS[-1]
    first, last = errors[0].max(), errors[-1].max()
    if last > rounding and np.log(first / last) / np.log(STEPS[0] / STEPS[-1]) < 1.7:
        raise ValueError(
            f"{where} is slightly wrong: the central differences of {what} do not approach it with slope 2, "
            f"they stay {last:.3g} away."
        )
