"""Model: parameters in one vector with names, and a loss with its gradient as a function of that vector."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import memory
from ..network.network import Network
from ..refuse import arguments, words
from ..refuse.called import called
from . import machines, pieces_on_disk, views
from .held import Held
from .kinds import arguments_of, kind
from .loss_answer import answer
from .model_run import Evaluation, ModelRun, Wanted, sent_back

Array = np.ndarray


@called("a model")
class Model(Held):
    """What all models have: parameters in one vector, losses and gradients as functions of it.

    flat        (P,), all parameters, one after another; written in place
    parameters  dict name -> array, views into `flat`, by PyTorch's names
    shapes      dict name -> shape of these
    dtype       of the parameters and of the arithmetic
    device      "cpu", or "cuda" of what `model.to("cuda")` gives: `flat`, runs and gradients then are device arrays

    A model of your own gives `unroll(x, state=None, lengths=None)`, which returns a `ModelRun`, and calls `_hold` with
    its first parameters when it is made. `tt.models.Chain` is the one to begin with.
    """

    directions = 1  # that the output has side by side
    _sealed_by = "parameters"

    def __init_subclass__(cls, **options: Any) -> None:
        """Every public method says in words which arguments it cannot take."""
        super().__init_subclass__(**options)
        words.explain(cls)
        kind(cls)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, from which `throughtime.load(path)` makes it again, bit by bit.

        What it is made of, the parameters, and where the generators of its dropouts stand; no code. The format is
        described in throughtime.models.pieces_on_disk. A file already there is replaced in one step, once the new one
        is complete. FileNotFoundError if there is no such folder, TypeError for a model of your own that does not keep
        the arguments of its class, each under its own name.

        >>> import os, tempfile, throughtime as tt
        >>> path = os.path.join(tempfile.mkdtemp(), "letters.tt")
        >>> tt.models.language_model("gru", 26, hidden_size=8, embedding=4, seed=0).save(path)
        >>> tt.load(path)
        Chain(Embedding, Network, Readout; dtype="float64", 674 parameters)
        """
        self._held()
        pieces_on_disk.write(self.to("cpu"), path)

    # -------------------------------------------------------------------------------------------- runs and gradients

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> ModelRun:
        """`ModelRun`: the model over x, from `state`; `lengths` (B,) where sequences are shorter than T."""
        raise NotImplementedError

    def _run(self, x: Any, state: Any, lengths: Any, training: bool) -> ModelRun:
        """As `unroll`; a model that trains otherwise than it predicts says how."""
        return self.unroll(x, state, lengths)

    @property
    def recurrent(self) -> bool:
        """Whether there is a state to carry."""
        return False

    @property
    def generators(self) -> dict[str, np.random.Generator]:
        """The generators from which training draws, by name: what a checkpoint has to hold. Mostly there are none."""
        return {}

    def predict(self, x: Any, state: Any = None, lengths: Any = None) -> Array:
        """The output for x in NumPy, with `state` and `lengths` as of `unroll`."""
        output = self.unroll(x, state, lengths).output
        return machines.engine_of(output).arrays.to_host(output)

    def forward_backward(
        self,
        x: Any,
        targets: Any,
        loss: Callable,
        lengths: Any = None,
        state: Any = None,
        weights: Any = None,
        out: Any = None,
        clip_state: float | None = None,
        states: bool = True,
    ) -> Evaluation:
        """`Evaluation`: a loss, its gradient, the final state to go on from, and the run.

        x, lengths, state: as of `unroll`. targets, weights: what the loss compares with and by how much each counts.
        loss: a function loss(output, targets, lengths=None, weights=None) -> (value, gradient of it by the output), as
        those of tt.training; `lengths` is passed on where sequences have them and the output has a time axis, `weights`
        where there are some. out: a vector (P,) for the gradient, in place of a fresh one. clip_state: the norm to
        which every dL/ds_t of the networks is clipped on its way back, as of `tt.Network(…).unroll(x).backprop`.
        states: whether `gradients.networks` are to have the dL/ds_t, which cost a few per cent of the time.

        The gradient stops at `state`: a loss of earlier steps is not differentiated by this one (truncated BPTT).
        TypeError and ValueError for what does not fit, such as a loss that returns no gradient.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("gru", 3, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
        >>> half = lambda output, targets: (0.5 * ((output - targets) ** 2).sum(), output - targets)
        >>> x, targets = np.ones((20, 4, 3)), np.ones((20, 4, 2))
        >>> one = model.forward_backward(x[:10], targets[:10], half)
        >>> two = model.forward_backward(x[10:], targets[10:], half, state=one.final_state)
        >>> whole = model.forward_backward(x, targets, half)
        >>> two.gradient.shape, bool(np.isclose(one.value + two.value, whole.value))
        ((330,), True)
        """
        run = self._run(x, state, lengths, training=True)
        value, gradient = answer(loss, run, targets, weights)
        if clip_state is not None and not run.networks:
            raise ValueError("`clip_state` is given, but this model has no network whose states have gradients.")
        if out is not None and self.device != "cpu":
            raise ValueError("`out` is for models on the CPU; on the GPU a gradient is an array of its own.")
        vector = None if out is None else views.to_write("out", out, self.flat, self.shapes)
        if self.device != "cpu":
            vector = self.engine.arrays.empty((self.flat.size,), self.dtype)
        elif vector is None or vector.dtype != self.dtype or not vector.flags.carray:
            vector = memory.empty(self.flat.size, self.dtype)
        wanted = Wanted(False, arguments.flag("states", states), dict(views.views(self.shapes, vector)), clip_state)
        gradients = sent_back(run, gradient, None, wanted)
        if out is not None and out is not vector:
            out[...] = vector
        return Evaluation(value, vector if out is None else out, run.final_state, run, gradients)

    def value_and_gradient(
        self,
        x: Any,
        targets: Any,
        loss: Callable,
        lengths: Any = None,
        state: Any = None,
        weights: Any = None,
        out: Any = None,
    ) -> tuple[float, Array]:
        """(loss, its gradient by all parameters): the gradient is a vector as `flat`, in its dtype.

        x, targets, loss, lengths, state, weights, out and what is refused: as of `forward_backward`.

        >>> import numpy as np, throughtime as tt
        >>> model = tt.models.Chain([tt.Network("gru", 3, 8, seed=0), tt.models.Readout(8, 2, seed=1)])
        >>> half = lambda output, targets: (0.5 * ((output - targets) ** 2).sum(), output - targets)
        >>> value, gradient = model.value_and_gradient(np.ones((20, 4, 3)), np.ones((20, 4, 2)), half)
        >>> model.flat -= 1e-3 * gradient
        >>> model.value_and_gradient(np.ones((20, 4, 3)), np.ones((20, 4, 2)), half)[0] < value
        True
        """
        found = self.forward_backward(x, targets, loss, lengths, state, weights, out, states=False)
        return found.value, found.gradient

    def objective(
        self, x: Any, targets: Any, loss: Callable, lengths: Any = None, state: Any = None, weights: Any = None
    ) -> Callable[[Array], tuple[float, Array]]:
        """The loss as a function of the vector of parameters, with its gradient, for scipy.optimize.minimize(jac=True).

        x, targets, loss, lengths, state, weights: as of `forward_backward`. Each call writes its vector into `flat`,
        which therefore holds the last one tried: write the best one there at the end.

        >>> import numpy as np, scipy.optimize, throughtime as tt
        >>> readout = tt.models.Readout(1, 1, seed=0)
        >>> x = np.linspace(0, 1, 20)[:, None, None]
        >>> half = lambda output, targets: (0.5 * ((output - targets) ** 2).sum(), output - targets)
        >>> found = scipy.optimize.minimize(readout.objective(x, 3 * x - 1, half), readout.flat, jac=True)
        >>> readout.flat[...] = found.x
        >>> np.round(readout.flat, 4)
        array([ 3., -1.])
        """

        def fun(vector: Array) -> tuple[float, Array]:
            self.write(np.asarray(vector))
            value, gradient = self.value_and_gradient(x, targets, loss, lengths, state, weights)
            return float(value), self.engine.arrays.to_host(gradient).astype(np.float64)

        return fun

    # ------------------------------------------------------------------------------------------------ as an object

    def __repr__(self) -> str:
        shown = []
        for name, argument in arguments_of(type(self)).items():
            value = getattr(self, name, argument.default)
            if isinstance(value, (bool, int, float, str, Model, Network)) and value != argument.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)}{self._told()}"

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__ or self.__dict__[name] is not value:  # `model.flat -= step` is in place
            super().__setattr__(name, value)

    def _unset(self, name: str) -> str:
        if name == "flat":
            return "The vector of a model is written in place: `model.flat[...] = vector`."
        if name == "parameters":
            return "The parameters of a model are written in place: `model.parameters[name][...] = value`."
        return f"`{name}` says what the model is; make another." if hasattr(self, name) else ""

    def __getattr__(self, name: str) -> Any:
        raise words.NoSuchAttribute(self, name, "A model", _WRITE.get(name, ""))

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise TypeError("A model is not called as a function; write `run = model.unroll(x)`, or `model.predict(x)`.")


words.explain(Model)
_WRITE = {
    "forward": "write `run = model.unroll(x)`; its `.output` is what the last piece gives",
    "backward": "write `model.value_and_gradient(x, targets, loss)`, or `model.unroll(x).backprop(grad_output)`",
    "fit": "write a loop of `optimiser.step(model.flat, model.value_and_gradient(x, targets, loss)[1])`",
    "weights": "the arrays in the dict `model.parameters` are written in place, all of them together as `model.flat`",
}
