"""One step back through the normalisation of what a layer reads, for the rows of many times at once.

Dimensions: M rows = times × sequences, I inputs.
"""

from typing import Any

from ...engine.normalised import of_parameters, through
from ...network.parameters import NORM
from ...results import Array


class NormalisedBack:
    """That of layer k of a run; `names` are the parameters whose gradients are wanted."""

    def __init__(self, run: Any, k: int, names: tuple[str, ...]) -> None:
        norm = run.norms[k]
        self.weight = norm.weight
        self.normal, self.scale = (own.reshape(-1, own.shape[2]) for own in (norm.normal, norm.scale))
        self.names = [f"{kind}_l{k}" for kind in NORM]
        self.wanted = [name in names for name in self.names]

    def back(self, g: Array, scale: Array | None) -> tuple[Array, dict[str, Array]]:
        """From the gradients g (M, I) of what the weights read those of what the layer is given, and the wanted ones of
        its parameters, in which row m counts scale[m] times."""
        n = self.normal[: len(g)]
        sums = of_parameters(g if scale is None else g * scale, n) if any(self.wanted) else ()
        found = {name: value for name, wanted, value in zip(self.names, self.wanted, sums, strict=False) if wanted}
        return through(self.weight * g, n, self.scale[: len(g)]), found
