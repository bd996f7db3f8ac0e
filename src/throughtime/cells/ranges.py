"""Where a number of a cell can be: what bounds on its slopes are worked out from, for all units at once.

Dimensions: N units.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..scalar import relu


@dataclass(frozen=True)
class Range:
    """The numbers from centre − width to centre + width, (N,) each; width may be inf.

    >>> both = Range(np.array([1.0]), np.array([0.5])) + Range(np.array([1.0]), np.array([1.0]))
    >>> both.low, both.high, both.nearest, both.farthest
    (array([0.5]), array([3.5]), array([0.5]), array([3.5]))
    """

    centre: Any
    width: Any

    def __add__(self, other: "Range") -> "Range":
        """Where the sum can be, if the two are independent of each other."""
        return Range(self.centre + other.centre, self.width + other.width)

    @property
    def low(self) -> Any:
        return self.centre - self.width

    @property
    def high(self) -> Any:
        return self.centre + self.width

    @property
    def nearest(self) -> Any:
        """The least modulus: even slopes that fall with it are largest there."""
        return relu(np.abs(self.centre) - self.width)

    @property
    def farthest(self) -> Any:
        """The largest modulus."""
        return np.abs(self.centre) + self.width
