"""Embedding: a vector for each token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..refuse import arguments, checks, numeric, room
from ..refuse.called import told
from .machines import engine_of, gradient_there
from .model import Model
from .model_run import ModelGradients, ModelRun, beyond

Array = np.ndarray


class Embedding(Model):
    """A vector for each token: y_t = E[x_t], the row of a table.

    The product of a one-hot vector with E, without the product: a step costs `size` numbers, whatever `tokens` is.
    As torch.nn.Embedding, with its name and its first values: N(0, 1).

    Args:
        tokens: V, how many there are; tokens are whole numbers from 0 to V - 1.
        size: E, the numbers of a vector.
        dtype: "float64" or "float32".
        seed: of the first values: None, a whole number, or a numpy Generator, which is drawn from.

    Attributes:
        parameters: {"weight": (V, E)}, views into `flat` (V E,).
        shapes, dtype, flat: of these.

    Raises:
        TypeError, ValueError: for an argument that means nothing, a token that is no whole number or not below V. What
            stands in the padding is not looked at.

    >>> import numpy as np, throughtime as tt
    >>> letters = tt.models.Embedding(tokens=256, size=16, seed=0)
    >>> letters.unroll(np.frombuffer(b"hello", np.uint8)).output.shape
    (5, 16)
    """

    on_gpu = True

    def __init__(self, tokens: int, size: int, *, dtype: Any = "float64", seed: Any = None) -> None:
        self.tokens, self.size = arguments.size("tokens", tokens), arguments.size("size", size)
        room.check(f"An embedding of {self.tokens} tokens, each {self.size} numbers,", self.tokens * self.size)
        weight = arguments.generator(seed).standard_normal((self.tokens, self.size))
        self._hold({"weight": weight}, arguments.float_type(dtype))

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in and out at a step; 0 of the former stands for a token."""
        return 0, self.size

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` with the vectors of the tokens x (T, B), or (T,): output (T, B, E), or (T, E), 0 in the padding.

        lengths: (B,) real steps. state: None, for there is none.
        """
        no_state(state, "an embedding")
        tokens, lengths = self._tokens(x, lengths)
        return _EmbeddingRun(self, tokens, lengths)

    def _tokens(self, x: Any, lengths: Any) -> tuple[Array, Array | None]:
        """Whole numbers (T, B), or (T,), -1 in the padding."""
        found = numeric.numbers("x", x)
        if found.dtype.kind not in "iu":
            raise TypeError(
                f"`x` has dtype {found.dtype}; an embedding takes tokens, whole numbers from 0 to {self.tokens - 1}."
            )
        if found.ndim not in (1, 2):
            raise ValueError(f"`x` has shape {found.shape}; tokens are (time, batch), or (time,) for one sequence.")
        held = checks.lengths(lengths, len(found), found.shape[1] if found.ndim == 2 else 1)
        wrong = (found < 0) | (found >= self.tokens)
        padding = None if held is None else beyond(found.shape, held)
        if padding is not None:
            wrong &= ~padding
        if wrong.any():
            raise ValueError(
                f"`x` holds the token {found[wrong][0]}; this embedding has {self.tokens}, 0 to {self.tokens - 1}."
            )
        room.check(f"The vectors of {found.size} tokens, each {self.size} numbers,", found.size * self.size)
        tokens = found.astype(np.int64)
        if padding is not None:
            tokens[padding] = -1
        return tokens, held


class _EmbeddingRun(ModelRun):
    def __init__(self, embedding: Embedding, tokens: Array, lengths: Array | None) -> None:
        self._tokens, self._count, self.lengths = tokens, embedding.tokens, lengths
        self._held = embedding.parameters
        output = embedding.engine.dense.vectors(tokens.reshape(-1), self._held["weight"])
        self.output = embedding.engine.arrays.shaped(output, (*tokens.shape, embedding.size))

    frugal = True

    def backprop(
        self,
        grad_output: Any = None,
        grad_final_state: Any = None,
        *,
        input: bool = True,
        states: bool = True,
        out: Any = None,
    ) -> ModelGradients:
        no_state(grad_final_state, "an embedding", "grad_final_state")
        g, machine = output_gradient(grad_output, self.output), engine_of(self.output)
        rows = machine.arrays.rows(g)
        target = written_to(out, {"weight": (self._count, int(rows.shape[1]))}, g.dtype, self._held)
        rows = machine.dense.to_rows(self._tokens.reshape(-1), rows, self._count, target.get("weight"))
        return ModelGradients({"weight": rows}, None)


def no_state(state: Any, what: str, name: str = "state") -> None:
    """ValueError for a state given to what has none."""
    if state is not None:
        raise ValueError(f"`{name}` is {arguments.kind(state)}, but {what} has no state; leave it out.")


def written_to(
    out: Any, shapes: dict[str, tuple[int, ...]], dtype: Any, parameters: Mapping[str, Array]
) -> dict[str, Array]:
    """The arrays of `out` that the gradients of these parameters are written to, looked at; empty for None."""
    if out is None:
        return {}
    if not isinstance(out, dict):
        raise TypeError(f"`out` is {told(out)}; expected a dict of arrays by the names of the parameters.")
    for name, shape in shapes.items():
        if name in out and not isinstance(out[name], np.ndarray):
            continue  # on the GPU, where a model alone makes them
        if name not in out:
            raise ValueError(f"`out` has no array for {name}; it has one for every parameter, of its shape, {shape}.")
        arguments.writable(f"out[{name}]", out[name], shape, dtype, parameter=parameters[name])
    return out


def output_gradient(given: Any, output: Any) -> Any:
    """dL/doutput in the shape and dtype of `output`."""
    checks.some_gradient(given)
    if not isinstance(output, np.ndarray):
        return gradient_there(given, output)
    shape = {f"axis {k}": n for k, n in enumerate(output.shape)}
    hint = "It is dL/doutput, in the shape of `run.output`."
    return numeric.array("grad_output", given, shape, output.dtype, hint=hint)
