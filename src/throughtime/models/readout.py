"""Readout: a linear map of every step."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..refuse import arguments, room
from .embedding import no_state, output_gradient, written_to
from .layer_norm import steps_of
from .machines import engine_of, padded, steps_there
from .model import Model
from .model_run import ModelGradients, ModelRun

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

    on_gpu = True

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
        arrays, look = self.engine.arrays, steps_of if self.device == "cpu" else steps_there
        with arrays.on(arrays.stream_of(x)):
            own, held = look(x, self.inputs, "a readout of inputs", self.dtype, lengths)
            return _ReadoutRun(self, own, held)


class _ReadoutRun(ModelRun):
    def __init__(self, readout: Readout, x: Array, lengths: Array | None) -> None:
        arrays, dense = readout.engine.arrays, readout.engine.dense
        self.lengths, self._x, self._weight = lengths, x, arrays.copy(readout.parameters["weight"])
        output = dense.forward(arrays.rows(x), self._weight, readout.parameters.get("bias"))
        self._has_bias, self._held = readout.bias, readout.parameters
        self.output = padded(arrays.shaped(output, (*tuple(x.shape)[:-1], readout.outputs)), lengths)

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
        machine = engine_of(self.output)
        arrays, dense = machine.arrays, machine.dense
        with arrays.on(arrays.stream_of(self.output)):
            g = output_gradient(grad_output, self.output)
            g = g if self.lengths is None else padded(arrays.copy(g), self.lengths)
            rows, x, (outputs, inputs) = arrays.rows(g), self._x, map(int, self._weight.shape)
            shapes: dict[str, tuple[int, ...]] = {"weight": (outputs, inputs)}
            if self._has_bias:
                shapes["bias"] = (outputs,)
            target = written_to(out, shapes, g.dtype, self._held)
            weight, bias = dense.to_weights(rows, arrays.rows(x), target.get("weight"), target.get("bias"))
            parameters = {"weight": weight, "bias": bias} if self._has_bias else {"weight": weight}
            of_input = arrays.shaped(dense.to_inputs(rows, self._weight), tuple(x.shape)) if input else None
            return ModelGradients(parameters, of_input)
