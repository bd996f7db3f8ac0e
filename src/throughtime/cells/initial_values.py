"""How the parameters of units start, as the cell says.

Dimensions: N units, P parameters of each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, numeric
from ..refuse.called import told
from .base import spec


def initial_values(cell: Any, units: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """P arrays (N,) in float64: what `initial(cell, units, rng)` gives, or U(−1/√N, 1/√N) for a cell without.

    TypeError or ValueError with a sentence if it gives something else than P arrays (N,) or numbers.
    """
    names = spec(cell).parameters
    if not hasattr(cell, "initial"):
        bound = 1.0 / np.sqrt(units)
        return tuple(rng.uniform(-bound, bound, units) for _ in names)
    given = cell.initial(units, rng)
    wanted = f"expected {len(names)} arrays ({units},) or numbers, of {', '.join(names)}"
    what = f"`{type(cell).__name__}.initial(cell, units, rng)` returned"
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        count = f" of {len(given)}" if isinstance(given, (tuple, list)) else ""
        raise TypeError(f"{what} {arguments.kind(given) if not count else type(given).__name__ + count}; {wanted}.")
    found = []
    for name, value in zip(names, given, strict=True):
        own = numeric.numbers(name, value)
        if own.shape not in ((), (units,)):
            raise ValueError(f"{what} for {name} {told(value)}; {wanted}.")
        if not np.isfinite(own).all():
            raise ValueError(f"{what} for {name} numbers that are not finite; {wanted}.")
        found.append(np.array(np.broadcast_to(own, (units,)), np.float64))
    return tuple(found)
