"""Readout: a linear map of every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.cpu import dense
from ..refuse import arguments, room
from .embedding import no_state, output_gradient, written_to
from .layer_norm import steps_of
from .model import Model
from .model_run import ModelGradients, ModelRun, beyond

Array = np.ndarray


class Readout(Model):
    """A linear map of every step: y_t = W x_t + b.

    As torch.nn.Linear, with its names and its first values: U(−1/√I, 1/√I). The products run on the library's own
    threads, with the same bits for any number of them.

    Args:
        inputs: I, numbers that come in at a step: the `hidden_size` of a network, twice that of two directions.
        outputs: O, numbers that go out.
        bias: whether there is b.
        dtype: "float64" or "float32".
        seed: of the first values: None, a whole number, or a numpy Generator, which is drawn from.

    Attributes:
        parameters: {"weight": (O, I), "bias": (O,)}, views into `flat`.
        shapes, dtype, flat: of these.

    Raises:
        TypeError, ValueError: for an argument that means nothing, or an input of another shape.

    >>> import numpy as np, throughtime as tt
    >>> readout = tt.models.Readout(inputs=3, outputs=2, seed=0)
    >>> run = readout.unroll(np.ones((5, 4, 3)))
    >>> run.output.shape, run.backprop(np.ones((5, 4, 2))).input.shape
    ((5, 4, 2), (5, 4, 3))
    """

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool = True, dtype: Any = "float64", seed: Any = None
    ) -> None:
        self.inputs, self.outputs = arguments.size("inputs", inputs), arguments.size("outputs", outputs)
        self.bias = arguments.flag("bias", bias)
        room.check(f"A readout of {self.inputs} inputs and {self.outputs} outputs", self.inputs * self.outputs)
        rng, bound = arguments.generator(seed), 1 / np.sqrt(self.inputs)
        values = {"weight": rng.uniform(-bound, bound, (self.outputs, self.inputs))}
        if self.bias:
            values["bias"] = rng.uniform(-bound, bound, self.outputs)
        self._hold(values, arguments.float_type(dtype))

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in and out at a step."""
        return self.inputs, self.outputs

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` with the output for x (T, B, I), (B, I) or (I,): in the same shape with O last, 0 in the padding.

        lengths: (B,) real steps of an x with a time axis. state: None, for there is none. An x that is read-only, as
        the outputs of runs are, is not copied.
        """
        no_state(state, "a readout")
        own, held = steps_of(x, self.inputs, "a readout of inputs", self.dtype, lengths)
        return _ReadoutRun(self, own, held)


class _ReadoutRun(ModelRun):
    def __init__(self, readout: Readout, x: Array, lengths: Array | None) -> None:
        self.lengths = lengths
        self._padding = None if lengths is None else beyond(x.shape[:-1], lengths)
        self._x, self._weight = x, readout.parameters["weight"].copy()
        output = dense.forward(x.reshape(-1, readout.inputs), self._weight, readout.parameters.get("bias"))
        self._has_bias, self._held = readout.bias, readout.parameters
        self.output = output.reshape(*x.shape[:-1], readout.outputs)
        if self._padding is not None:
            self.output[self._padding] = 0

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
        no_state(grad_final_state, "a readout", "grad_final_state")
        g = output_gradient(grad_output, self.output)
        if self._padding is not None:
            g = g.copy()
            g[self._padding] = 0
        rows, x = g.reshape(-1, g.shape[-1]), self._x
        shapes: dict[str, tuple[int, ...]] = {"weight": self._weight.shape}
        if self._has_bias:
            shapes["bias"] = self._weight.shape[:1]
        target = written_to(out, shapes, g.dtype, self._held)
        weight, bias = dense.to_weights(rows, x.reshape(-1, x.shape[-1]), target.get("weight"), target.get("bias"))
        parameters = {"weight": weight, "bias": bias} if self._has_bias else {"weight": weight}
        return ModelGradients(parameters, dense.to_inputs(rows, self._weight).reshape(x.shape) if input else None)
