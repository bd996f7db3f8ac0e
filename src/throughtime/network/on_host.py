"""A run on the GPU as the analyses of the CPU see it: it computes there and answers in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse.called import called
from .derivatives import LayerDerivatives

Array = Any


@called("a run")
class OnHost:
    """What an analysis asks of a run, answered in NumPy by a run on the device."""

    def __init__(self, run: Any) -> None:
        self.device_run, self.lengths, self.steps = run, run.lengths, run.steps
        self.network = run.network.on_host()
        self.states, self.output, self.input = map(self._fetch, (run.states, run.output, run.input))

    def jvp(self, v: Any, start: int, stop: int) -> np.ndarray:
        return self._fetch(self.device_run.jvp(v, start, stop))

    def vjp(self, u: Any, start: int, stop: int) -> np.ndarray:
        return self._fetch(self.device_run.vjp(u, start, stop))

    def jacobian(self, t: int) -> np.ndarray:
        return self._fetch(self.device_run.jacobian(t))

    def jacobians(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        return self._fetch(self.device_run.jacobians(start, stop))

    def output_cotangent(self, t: int, g: Any) -> np.ndarray:
        return self._fetch(self.device_run.output_cotangent(t, g))

    def made_with(self) -> dict[str, np.ndarray]:
        return {name: self._fetch(value) for name, value in self.device_run.made_with().items()}

    def costates(self, u: np.ndarray, grad_output: np.ndarray | None, start: int, stop: int) -> np.ndarray:
        return self._fetch(self.device_run.costates(u, grad_output, start, stop))

    def pullback(
        self, u: np.ndarray, start: int, stop: int, grad_output: np.ndarray | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        found, parameters = self.device_run.pullback(u, start, stop, grad_output)
        return self._fetch(found), {name: self._fetch(value) for name, value in parameters.items()}

    def derivatives(
        self, k: int, start: int = 0, stop: int | None = None, units: int | None = None
    ) -> LayerDerivatives:
        return self.device_run.derivatives(k, start, stop, units)

    def columns(self, k: int, d: int = 0) -> slice:
        return self.device_run.columns(k, d)

    def sent(self, k: int, d: int = 0) -> np.ndarray:
        return self._fetch(self.device_run.sent(k, d))

    @property
    def cell(self) -> Any:
        return self.device_run.cell

    @property
    def cells(self) -> tuple[Any, ...]:
        return self.device_run.cells

    def _fetch(self, array: Array) -> np.ndarray:
        """A copy in NumPy, of what the run's stream has then done."""
        with self.device_run._on():
            return self.device_run.engine.arrays.to_host(array)
