"""The product of given matrices as a source of Jacobians.

Dimensions: S state size, K tangent vectors.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from ...network import norms
from ...refuse import finite, numeric
from ...results import Array
from .interval import row_risk
from .step_jacobian import Dense


class GivenMatrices:
    """The product of an iterator of matrices, as a `Source`."""

    batch, parts = 1, [slice(None)]
    dtype = np.dtype(np.float64)
    on_device, placed = False, True
    longest = 6  # steps of an interval: the rows of any matrices do not tell what they hide, and a QR costs little

    def __init__(self, matrices: Iterator[Array], size: int) -> None:
        self.matrices, self.state_size = matrices, size
        self.read: list[Array] = []  # since the last mark
        self.again: deque[Array] = deque()  # to be given once more
        self.shift = 0.0  # since the last mark: ln of the powers of 2 by which matrices were divided
        self.still = np.zeros(1, bool)

    def mark(self) -> Any:
        """This point of the product, for `back`; the matrices after it are kept until the next mark."""
        self.read, self.shift = [], 0.0

    def back(self, mark: Any) -> None:
        """Return to the last mark: the same matrices follow once more."""
        self.again.extendleft(reversed(self.read))
        self.read, self.shift = [], 0.0

    def risks(self, steps: int, columns: int) -> Array:
        """As those of `Trajectory`; the matrices are read ahead."""
        while len(self.again) < steps:
            matrix = next(self.matrices, None)
            if matrix is None:
                break
            self.again.append(matrix)
        sizes = np.array([np.abs(matrix).max(axis=1) for matrix in islice(self.again, steps)])
        return row_risk(sizes, columns) if sizes.size else np.zeros(0)

    def _next(self, steps: int) -> Iterator[Array]:
        for _ in range(steps):
            matrix = self.again.popleft() if self.again else next(self.matrices, None)
            if matrix is None:
                return
            self.read.append(matrix)
            matrix, shift = norms.within_range(matrix)
            self.shift += shift
            yield matrix

    def advance(self, frame: Array, steps: int, with_det: bool) -> tuple[Array, int, Array]:
        """As that of `Trajectory`."""
        taken, log_det = 0, np.zeros(1)
        for matrix in self._next(steps):
            with np.errstate(all="ignore"):  # overflow ends as NaN exponents, and the result says so
                frame = matrix @ frame
            if with_det:
                log_det = log_det + Dense(matrix[None], len(matrix)).log_det()
            taken += 1
        return frame, taken, log_det

    def jacobians(self, steps: int) -> Array:
        """Up to `steps` further matrices, (n, 1, S, S)."""
        found = list(self._next(steps))
        return np.array(found).reshape(len(found), 1, self.state_size, self.state_size)

    def step_jacobians(self, steps: int) -> Iterator[Dense]:
        """The matrices of up to `steps` further steps."""
        for matrix in self._next(steps):
            yield Dense(matrix[None], len(matrix))


def checked_matrices(jacobians: Iterable[Any], what: str) -> Iterator[Array]:
    """Each matrix as it is read, in float64; what is none, or has no such `what`, is refused in words."""
    if isinstance(jacobians, np.ndarray) and jacobians.ndim != 3:
        raise ValueError(
            f"`jacobians` has shape {jacobians.shape}, but a sequence of "
            "Jacobians is (time, S, S); for one matrix pass jacobians[None]"
        )
    shape = None
    for t, given in enumerate(jacobians):
        matrix = numeric.numbers(f"jacobians[{t}]", given).astype(np.float64, copy=False)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise ValueError(
                f"`jacobians[{t}]` has shape {matrix.shape}, but a Jacobian of a state onto the next is square: (S, S)"
            )
        if shape is not None and matrix.shape != shape:
            raise ValueError(
                f"`jacobians[{t}]` has shape {matrix.shape}, but the "
                f"ones before it have {shape}: one state size throughout"
            )
        shape = matrix.shape
        finite.matrix(f"jacobians[{t}]", matrix, what)
        yield matrix
