"""A model of parts: their parameters in one vector, named after the parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..network.network import Network
from .model import Model

Array = np.ndarray


class Composite(Model):
    """A model whose parameters are those of its parts: "1.weight" is "weight" of part "1". For `Chain` and the like."""

    def _join(self, parts: Sequence[tuple[str, Any]]) -> None:
        """Take over the parameters of networks and models, all of one precision, each by its name."""
        self._numbered = list(parts)
        values = {f"{n}.{name}": value for n, part in self._numbered for name, value in part.parameters.items()}
        self._hold(values, self._numbered[0][1].dtype)

    def _take(self, flat: Array) -> None:
        """Look into `flat`, and let the parts look into theirs of it."""
        super()._take(flat)
        self._segments, at = dict[str, Array](), 0
        for number, part in self._numbered:
            names = {name: f"{number}.{name}" for name in part.shapes}
            end = at + sum(self.parameters[name].size for name in names.values())
            self._segments[number] = flat[at:end]
            if isinstance(part, Network):
                part.parameters.update({own: self.parameters[name] for own, name in names.items()})
            else:
                part._take(self._segments[number])
            at = end

    def _elsewhere(self, device: str) -> Any:
        made = super()._elsewhere(device)
        made.__dict__["_numbered"] = [
            (number, part.to(device) if isinstance(part, Network) else part._elsewhere(device))
            for number, part in self._numbered
        ]
        return made

    def _held(self) -> None:
        """ValueError if a part no longer looks into the vector."""
        for number, part in self._numbered:
            lost = part.flat is not self._segments[number] if isinstance(part, Model) else None
            for name in part.shapes:
                if lost or (lost is None and part.parameters.get(name) is not self.parameters[f"{number}.{name}"]):
                    raise ValueError(
                        f'The parameter "{name}" of piece {number} has been replaced by another array, or taken over '
                        "by another model, and no longer belongs to this one: write into it, "
                        f'`parameters["{name}"][...] = value`, and make each model of pieces of its own.'
                    )
