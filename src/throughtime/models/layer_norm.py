"""Layer normalisation of what enters a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import normalised
from ..refuse import arguments, checks, numeric, room
from .embedding import no_state, output_gradient
from .machines import engine_of, padded, steps_there
from .model import Model
from .model_run import ModelGradients, ModelRun, beyond

Array = np.ndarray


class LayerNorm(Model):
    """Each step's numbers brought to mean 0 and variance 1, then scaled and shifted.

        y = w (x − μ)/√(σ² + ε) + b,    μ, σ² the mean and the variance of the N numbers of a step

    As torch.nn.LayerNorm, with its names, first values w = 1 and b = 0, and ε = 10⁻⁵; it stands before a network, and
    leaves its recurrence alone (Ba, Kiros & Hinton 2016 normalise inside the cell, which this is not).

    Args:
        size: N, the numbers of a step.
        eps: ε.
        dtype: "float64" or "float32".

    Attributes:
        parameters: {"weight": (N,), "bias": (N,)}, views into `flat`.
        shapes, dtype, flat: of these.

    Raises:
        TypeError, ValueError: for an argument that means nothing, or an input of another shape.

    >>> import numpy as np, throughtime as tt
    >>> norm = tt.models.LayerNorm(4)
    >>> norm.unroll(np.arange(8.0).reshape(1, 2, 4)).output.round(3)
    array([[[-1.342, -0.447,  0.447,  1.342],
            [-1.342, -0.447,  0.447,  1.342]]])
    """

    on_gpu = True

    def __init__(self, size: int, *, eps: float = 1e-5, dtype: Any = "float64") -> None:
        self.size, self.eps = arguments.size("size", size), arguments.real("eps", eps, 0.0)
        room.check(f"A normalisation of {self.size} numbers", 2 * self.size)
        values = {"weight": np.ones(self.size), "bias": np.zeros(self.size)}
        self._hold(values, arguments.float_type(dtype))

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers in and out at a step."""
        return self.size, self.size

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun` with the output for x (T, B, N), (B, N) or (N,): in its shape, 0 in the padding.

        lengths: (B,) real steps of an x with a time axis. state: None, for there is none.
        """
        no_state(state, "a layer normalisation")
        if self.device != "cpu":
            arrays = self.engine.arrays
            with arrays.on(arrays.stream_of(x)):
                return _NormThere(self, *steps_there(x, self.size, "a normalisation of size", self.dtype, lengths))
        own, held = steps_of(x, self.size, "a normalisation of size", self.dtype, lengths)
        return _NormRun(self, own, held)


class _NormRun(ModelRun):
    def __init__(self, norm: LayerNorm, x: Array, lengths: Array | None) -> None:
        self.lengths, self._weight = lengths, norm.parameters["weight"].copy()
        self._padding = None if lengths is None else beyond(x.shape[:-1], lengths)
        self._normal, self._scale = normalised.normal(x, norm.eps)
        with np.errstate(all="ignore"):  # NaN and infinity are for the result to show
            self.output = self._weight * self._normal + norm.parameters["bias"]
        if self._padding is not None:
            self.output[self._padding] = self._normal[self._padding] = self._scale[self._padding] = 0

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        no_state(grad_final_state, "a layer normalisation", "grad_final_state")
        g = output_gradient(grad_output, self.output)
        if self._padding is not None:
            g = np.where(self._padding[..., None], 0, g)
        rows, normal = g.reshape(-1, g.shape[-1]), self._normal.reshape(-1, g.shape[-1])
        parameters = dict(zip(("weight", "bias"), normalised.of_parameters(rows, normal), strict=True))
        with np.errstate(all="ignore"):
            d = g * self._weight
        return ModelGradients(parameters, normalised.through(d, self._normal, self._scale))


class _NormThere(ModelRun):
    """The same on the GPU."""

    def __init__(self, norm: LayerNorm, x: Any, lengths: Array | None) -> None:
        machine = norm.engine
        self.lengths, self._weight = lengths, machine.arrays.copy(norm.parameters["weight"])
        rows = machine.arrays.dense(machine.arrays.rows(x))
        y, self._normal, self._scale = machine.row_norms.forward(rows, self._weight, norm.parameters["bias"], norm.eps)
        self.output = padded(machine.arrays.shaped(y, tuple(x.shape)), lengths)

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None) -> ModelGradients:
        no_state(grad_final_state, "a layer normalisation", "grad_final_state")
        machine = engine_of(self.output)
        arrays = machine.arrays
        with arrays.on(arrays.stream_of(self.output)):
            g = output_gradient(grad_output, self.output)
            g = g if self.lengths is None else padded(arrays.copy(g), self.lengths)
            dx, weight, bias = machine.row_norms.back(arrays.rows(g), self._weight, self._normal, self._scale)
            return ModelGradients({"weight": weight, "bias": bias}, arrays.shaped(dx, tuple(g.shape)))


def steps_of(x: Any, size: int, what: str, dtype: Any, lengths: Any) -> tuple[Array, Array | None]:
    """x (T, B, N), (B, N) or (N,) as an own array of `dtype`, 0 in the padding, and the lengths of its sequences; or an
    error in words."""
    found = numeric.numbers("x", x)
    if not 1 <= found.ndim <= 3 or found.shape[-1] != size:
        raise ValueError(f"`x` has shape {found.shape}; {what}={size} takes (time, batch, {size}), or (batch, {size}).")
    room.check(f"`x`, of shape {found.shape},", found.size)
    held, rows = None, found.shape[:-1]
    if lengths is not None:
        if not rows:
            raise ValueError("`lengths` belong to an `x` with a time axis, and this one has none; leave them out.")
        held = checks.lengths(lengths, rows[0], rows[1] if len(rows) == 2 else 1)
    with np.errstate(all="ignore"):  # a number too large for float32 becomes inf, as it would by arithmetic
        own = np.array(found, dtype, order="C", copy=found.flags.writeable or held is not None or None)
    if held is not None:
        own[beyond(rows, held)] = 0  # padding is never seen: NaN there would reach the gradients as 0 * NaN
    return own, held
