"""Which kernel for which size."""

from typing import NamedTuple

import numpy as np


class Plan(NamedTuple):
    """How a kernel is cut: see loops.py."""

    lanes: int
    groups: int
    units: int
    rows: int
    alone: bool
    resident: bool
