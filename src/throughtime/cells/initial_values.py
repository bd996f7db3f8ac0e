"""How the parameters of units start, as the cell says.

Dimensions: N units, P parameters of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse.arguments import kind
from .base import spec


def initial_values(cell: Any, units: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """P arrays (N,) in float64: what `initial(cell, units, rng)` gives, or U(−1/√N, 1/√N) for a cell without.

    ValueError with a sentence if it gives something else than a number, or N of them, for each parameter.
    """
    record = spec(cell)
    bound = 1.0 / np.sqrt(units)
    if not hasattr(cell, "initial"):
        return tuple(rng.uniform(-bound, bound, units) for _ in record.parameters)
    given = cell.initial(units, rng)
    wanted = f"expected a tuple of {len(record.parameters)}, for {', '.join(record.parameters)}: a number or ({units},)"
    if not isinstance(given, (tuple, list)) or len(given) != len(record.parameters):
        told = f"{len(given)} of them" if isinstance(given, (tuple, list)) else kind(given)
        raise ValueError(f"{record.name}.initial gives {told}; {wanted}.")
    found = []
    for name, value in zip(record.parameters, given, strict=True):
        try:
            found.append(np.array(np.broadcast_to(np.asarray(value, np.float64), (units,))))
        except (TypeError, ValueError):
            shape = f"an array {np.shape(value)}" if isinstance(value, np.ndarray) else kind(value)
            raise ValueError(f"{record.name}.initial gives {shape} for {name}; {wanted}.") from None
        if not np.isfinite(found[-1]).all():
            raise ValueError(f"{record.name}.initial gives {name} that is not finite.")
    return tuple(found)
