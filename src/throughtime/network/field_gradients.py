"""What gradients say of the fields of cells, and when it is worked out: when somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np

from ..refuse import words


@words.explain
class FieldGradients:
    """dL/df for each field f of the cell of one layer and direction, by its name: `grads.cells[0].leak`.

    A number, or an array (N,) where the field has one value for each unit; with per_sequence=True there is a first axis
    B. `vars(grads.cells[0])` is a dict of them.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network(tt.LeakyTanh(leak=0.2), 2, 8, seed=0).unroll(np.ones((20, 2)))
    >>> of_cell = run.backprop(np.ones((20, 8))).cells[0]
    >>> list(vars(of_cell)), isinstance(of_cell.leak, float)
    (['leak'], True)
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        fields = ", ".join(vars(self)) or "none"
        raise words.NoSuchAttribute(self, name, "The gradients of a cell's fields", f"its fields: {fields}")

    def __repr__(self) -> str:
        shown = (f"{name} {np.array2string(np.asarray(value), precision=6)}" for name, value in vars(self).items())
        return f"Gradients of the fields {', '.join(shown)}"


class Deferred:
    """The gradients by fields of one way back, one for each layer and direction: worked out by `function(*given)` when
    somebody looks; until then it keeps what the function takes, and afterwards lets go of it."""

    def __init__(self, function: Callable[..., tuple[FieldGradients, ...]], *given: Any) -> None:
        self._lock = Lock()
        self._found: tuple[FieldGradients, ...] = ()
        self._left: tuple[Any, ...] | None = (function, *given)

    def found(self) -> tuple[FieldGradients, ...]:
        with self._lock:
            if self._left is not None:
                function, *given = self._left
                self._found, self._left = function(*given), None
            return self._found

    def __reduce__(self) -> tuple:
        return Deferred, (tuple, self.found())


def added(each: Sequence[tuple[FieldGradients, ...]]) -> tuple[FieldGradients, ...]:
    """The sums of several ways back through the same layers.

    >>> added([(FieldGradients({"leak": 1.0}),), (FieldGradients({"leak": 2.0}),)])[0].leak
    3.0
    """
    first, *others = each
    sums = [dict(vars(own)) for own in first]
    for other in others:
        for own, more in zip(sums, other, strict=True):
            for name, value in vars(more).items():
                own[name] = own[name] + value
    return tuple(map(FieldGradients, sums))
