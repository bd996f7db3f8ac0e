"""What the axes of the fields of each result mean, for arrays with labels: fields that belong together share a name."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .record import Array

OPTIONAL = ("kept", "sequence")  # axes that are not there for one sequence, or one time, alone
# result -> axes -> its fields and properties that have them
MEANING: dict[str, dict[str, str]] = {
    "LyapunovSpectrum": {
        "sequence exponent": "exponents standard_error",
        "block sequence exponent": "history block_rates",
        "block sequence": "times",
        "sequence": "sum_rule_residual mean_log_det entropy_rate entropy_rate_saturated kaplan_yorke_dimension "
        "kaplan_yorke_saturated steps discarded warmup interval",
    },
    "TwinGrowth": {"sequence": "exponent standard_error", "block sequence": "history block_rates", "block": "times"},
    "CovariantVectors": {
        "sequence exponent": "exponents standard_error participation",
        "sequence step exponent": "local_rates",
        "sequence time": "angles",
        "time_kept": "times",
        "sequence time_kept state exponent": "vectors",
        "sequence": "split",
    },
    "FixedPoints": {
        "point state": "points",
        "point phase state": "orbits",
        "point": "residual error hits neutral_directions spectral_radius stable unstable_directions",
        "point eigenvalue": "eigenvalues",
        "slow_point state": "slow_points",
        "slow_point": "slow_speed",
        "slow_point eigenvalue": "slow_eigenvalues",
    },
    "GradientBound": {"to_part from_part": "block_norms", "part gate": "gamma", "gate": "sigma"},
    "LossSurface": {
        "along_first": "first",
        "along_second": "second",
        "along_first along_second": "loss gradient_norm",
        "along_first along_second direction": "gradient",
    },
    "GradientNorms": {"time sequence": "log_norm", "sequence": "last rate rate_standard_error horizon"},
    "GradientProducts": {"lag sequence": "log_norm log_step_bound", "lag": "log_bound"},
    "JacobianSpectrum": {
        "kept sequence direction": "eigenvalues singular_values",
        "kept": "t",
        "kept sequence": "norm spectral_radius",
    },
    "ProductSingularValues": {"sequence direction": "log_singular_values rates", "sequence": "log_condition steps"},
    "GradientByLag": {"time lag sequence": "log_norm", "lag": "share cosine profile"},
    "TruncationBias": {"window": "windows relative_error cosine norm_ratio"},
    "ClippingEffect": {"threshold": "thresholds", "way threshold": "cosine norm_ratio clipped"},
    "NonNormality": {"step": "log_norm", "eigenvalue": "eigenvalues"},
    "Pseudospectrum": {"along_real": "real", "along_imag": "imag", "along_imag along_real": "sigma_min",
                       "eigenvalue": "eigenvalues"},
}  # fmt: skip


def dimensions(kind: str, field: str, count: int) -> list[str]:
    """The names of the `count` axes of a field; by number, field_0, …, where they have no meaning of their own."""
    for axes, fields in MEANING.get(kind, {}).items():
        if field in fields.split():
            names = axes.split()
            for optional in OPTIONAL:
                if len(names) > count and optional in names:
                    names.remove(optional)
            if len(names) == count:
                return names
    return [f"{field}_{i}" for i in range(count)]


def derived(result: Any) -> list[str]:
    """The properties of a result that are numbers or arrays."""
    found = []
    for name in dir(type(result)):
        kind = getattr(type(result), name)
        if not name.startswith("_") and hasattr(kind, "__get__") and not callable(kind):
            try:
                value = np.asarray(getattr(result, name))
            except Exception:  # what this result has no answer to
                continue
            if value.dtype.kind in "biufc":
                found.append(name)
    return found


def free(name: str, taken: Iterable[str]) -> str:
    """`name`, or, where an axis of the user's or another field has it, name_of_result."""
    known = set(taken)
    while name in known:
        name += "_of_result"
    return name


def coordinate(values: list) -> Array:
    """The values of an axis as one dimension, whatever they are."""
    try:
        found = np.asarray(values)
    except ValueError:  # lists of different lengths
        found = np.empty((0, 0))
    if found.ndim != 1:
        found = np.empty(len(values), object)
        found[:] = values
    return found
