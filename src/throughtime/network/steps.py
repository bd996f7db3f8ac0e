"""What analyses take from a run beside jvp, vjp and jacobian: costates, derivatives of units, what a layer sends.

Dimensions: T time steps, B sequences, N units, S the state size of the whole network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cells.array_fields import of_units
from ..refuse import arguments, direction, words
from . import handed_in, parametrised
from .derivatives import LayerDerivatives
from .parameters import MATRICES, NORM
from .run_layers import RunLayers

Array = np.ndarray  # or of the machine that the run is on
PRODUCT = "A product with Jacobians"


@words.explain
class Steps(RunLayers):
    """The steps of a run; `Unrolled` is one. Arrays are those of the run's machine, NumPy's or device arrays."""

    def output_cotangent(self, t: int, g: Any) -> Array:
        """(B, S): what the gradient g (B, N) of the output after input t-1 brings into states[t], for t = 1 ... T."""
        self._one_way("The cotangent of one state")
        t = arguments.step("t", t, 1, self.steps)
        shape = {"batch": self._stack.batch, "hidden_size": self.network.hidden_sizes[-1]}
        with self._on():
            g = self.engine.arrays.compact(handed_in.array("g", g, shape, self.network))
            return self._stack.sent_back(g.reshape((1, *g.shape)), t - 1)

    def costates(self, u: Array, grad_output: Array | None, start: int, stop: int) -> Array:
        """dL/ds_t for t = start … stop, (stop-start+1, B, S), from u (B, S) at `stop` and what the outputs bring in.

        grad_output (stop-start, B, N), or None: its entry i belongs to the output after states[start+i+1], so the last
        one adds to u. As in Gradients.states, except that the first does not count what the output at `start` brings.
        ValueError for a bidirectional network, a window out of range, or what does not fit.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> run.costates(np.zeros((1, 8)), np.ones((5, 1, 8)), 10, 15).shape
        (6, 1, 8)
        """
        start, stop = self._window("A cotangent of one state", start, stop)
        with self._on():
            u, g = self._cotangents(u, grad_output, stop - start)
            states = self.engine.arrays.empty((stop - start + 1, *u.shape), u.dtype)
            self._stack.back(u, g, start=start, stop=stop, grad_states=states)
            return states

    def pullback(
        self, u: Array, start: int, stop: int, grad_output: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Cotangents of states[stop], and of the outputs on the way, taken back to states[start]: the cotangent there,
        (B, S), and the gradients of the parameters by these steps alone, by name.

        u (B, S). grad_output (stop-start, B, N), or None: entry i is the gradient of the output after
        states[start+i+1], so the last one adds to u, and what the output at `start` brings in is not counted. A whole
        run from zeros is `run.backprop`. ValueError for a bidirectional network, a window out of range, or what does
        not fit.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> u, parameters = run.pullback(np.zeros((1, 8)), 0, 20, np.ones((20, 1, 8)))
        >>> whole = run.backprop(np.ones((20, 8)))
        >>> np.allclose(u, whole.states[0]), np.allclose(parameters["bias_hh_l0"], whole.parameters["bias_hh_l0"])
        (True, True)
        """
        start, stop = self._window("A cotangent of one state", start, stop)
        with self._on():
            u, g = self._cotangents(u, grad_output, stop - start)
            found = self._stack.back(u, g, start=start, stop=stop, to_weights=True)
            return found.carry, self.to_parameters(self._named(found.parameters, found.norms))

    def _cotangents(self, u: Any, grad_output: Any, steps: int) -> tuple[Array, Any]:
        """Both as the engine takes them."""
        B = self._stack.batch
        u = handed_in.array("u", u, {"batch": B, "state_size": self._stack.size}, self.network)
        if grad_output is None:
            return u, None
        shape = {"steps": steps, "batch": B, "hidden_size": self.network.hidden_sizes[-1]}
        return u, handed_in.array("grad_output", grad_output, shape, self.network)

    def derivatives(
        self, k: int, start: int = 0, stop: int | None = None, units: int | None = None
    ) -> LayerDerivatives:
        """The local derivatives of layer k's units, or of its first `units`, from states[start] to states[stop],
        by default T: a `LayerDerivatives`, whose arrays (stop-start, B, N) are NumPy's on either machine.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> weights = run.network.parameters["weight_hh_l0"]
        >>> own = run.derivatives(0, 6, 7).by_recurrent[0][0][0, 0]
        >>> bool(np.allclose(own[:, None] * weights, run.jacobian(7)[0]))
        True
        """
        start, stop = self._window("A derivative of one step", start, stop)
        self._stack.without_noise()
        k = self._place(k)[0]
        n = self.network.hidden_sizes[k]
        units = n if units is None else arguments.step("units", units, 1, n)
        layer, columns = self._layers[k][0], self._stack.columns(k)
        arrays, whole = self.engine.arrays, len(self._layers) == 1
        with self._on():
            states = self.states[start : stop + 1]
            states = arrays.to_host(states if whole else arrays.ordered(states[:, :, columns], (0, 1, 2)))
            saved = layer.saved_by_unit(start, stop)
            own = [arrays.to_host(p) for p in layer.parameters[len(MATRICES) :]]
        if self.device == "cuda":  # (K, N), the sequences of a network one after another
            own = [np.repeat(p, self._stack.batch // len(p), axis=0) for p in own]
        chosen = slice(0, units)
        parts = tuple(states[:, :, a : a + n][:, :, chosen] for a in range(0, columns.stop - columns.start, n))
        return LayerDerivatives(
            of_units(layer.cell, chosen), parts, tuple(part[:, :, chosen] for part in saved),
            tuple(p[..., chosen] for p in own),
        )  # fmt: skip

    def jvp_rows(self, v: Array, start: int, stop: int) -> Array:
        """`jvp` with the K perturbations of a sequence as rows: v (B, K, S), taken from states[`start`] to
        states[`stop`] without turning them; for frames that stay in this form, on the GPU above all.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> v = np.eye(8)[None]
        >>> bool(np.array_equal(run.jvp_rows(v, 3, 7), run.jvp(v, 3, 7).swapaxes(1, 2)))
        True
        """
        start, stop = self._window(PRODUCT, start, stop)
        K = int(np.shape(v)[1]) if len(np.shape(v)) == 3 else 1
        shape = {"batch": self._stack.batch, "perturbations": K, "state_size": self._stack.size}
        with self._on():
            rows = handed_in.array("v", v, shape, self.network).reshape((self._stack.batch * K, self._stack.size))
            return self.engine.arrays.shaped(self._stack.tangents(rows, start, stop, K), tuple(shape.values()))

    def single_steps(self, start: int = 0, stop: int | None = None) -> Any:
        """A run in which each row (t, b) of the steps from states[start] to states[stop] is a sequence of one step.

        Its batch is (stop-start) B, the sequences of one time next to each other; `vjp`, `pullback` and
        `output_cotangent` take all of them one step back at once. It has no `states` of its own, and nothing in it goes
        forward. For one network; ValueError for a bidirectional one.

        >>> import numpy as np, throughtime as tt
        >>> run, u = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 3, 2))), np.ones((10, 3, 8))
        >>> at_once = run.single_steps(5, 15).vjp(u.reshape(30, 8), 0, 1).reshape(10, 3, 8)
        >>> bool(np.allclose(at_once[7], run.vjp(u[7], 12, 13)))
        True
        """
        start, stop = self._window("A step of its own", start, stop)
        run = object.__new__(type(self))
        with self._on():
            single, rows = self._stack.single_steps(start, stop), (stop - start) * self._stack.batch
            x = self.engine.arrays.compact(self.input[start:stop]).reshape((1, rows, self.network.input_size))
        run.__dict__.update(network=self.network, stream=self.stream, input=x, lengths=single.lengths, _stack=single)
        run.__dict__.update(_had_batch=True, _followed=self._followed)
        return run

    def made_with(self) -> dict[str, Array]:
        """The weights that the run was made with, as `network.weights()`, by PyTorch's names; those of the network may
        have changed since.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("tanh", 2, 8, seed=0)
        >>> run = net.unroll(np.ones((20, 2)))
        >>> net.parameters["weight_hh_l0"][...] = 0.0
        >>> bool(run.made_with()["weight_hh_l0"].any())
        True
        """
        with self._on():
            norms = [(own.weight, own.bias) for own in self.norms]
            held = [[layer.parameters for layer in of_layer] for of_layer in self._layers]
            if self.device == "cuda":  # which other runs share
                held = [[tuple(map(self.engine.arrays.copy, own)) for own in of_layer] for of_layer in held]
            return self._named(held, norms)

    def to_parameters(self, gradients: dict[str, Array]) -> dict[str, Array]:
        """Gradients by the weights of the run, a dict by PyTorch's names, as those by the parameters of the network,
        from which the weights follow; the same where nothing is parametrised. Each may have axes before its own.
        TypeError or ValueError for what does not fit.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("tanh", 2, 8, parametrise={"weight_hh": tt.parametrise.diagonal()}, seed=0)
        >>> found = net.unroll(np.ones((20, 2))).to_parameters({"weight_hh_l0": np.ones((8, 8))})
        >>> {name: value.shape for name, value in found.items()}
        {'weight_hh_l0.diagonal': (8,)}
        """
        if not self._followed and isinstance(gradients, dict):
            return gradients
        return parametrised.to_parameters(self.network, self._followed, gradients)

    # ---------------------------------------------------------------------------------------------- names and checks

    def _named(self, parameters: list[list[Any]], norms: Sequence[Sequence[Any]] = ()) -> dict[str, Array]:
        """What belongs to the parameters of each layer and direction, and to its normalisation, by PyTorch's names."""
        network, found = self.network, dict[str, Array]()
        shapes = network.weight_shapes
        for k, (of_layer, ways) in enumerate(zip(parameters, network._layer_names, strict=False)):
            for kind, value in zip(NORM, norms[k] if norms else (), strict=False):
                if value is not None:
                    found[f"{kind}_l{k}"] = value
            for values, names in zip(of_layer, ways, strict=True):
                for name, value in zip(names, values or (), strict=False):
                    if value is not None and name in shapes:  # asked for, and there
                        found[name] = value
        if self.device != "cpu":  # an engine has an axis for several networks
            for name, value in found.items():
                shape = network.held_shape(name)
                found[name] = value if value.shape == shape else self.engine.arrays.shaped(value, shape)
        return found

    def _one_way(self, what: str) -> None:
        direction.one_way(self.network, what, ", or use `run.backprop`")

    def _window(self, what: str, start: Any, stop: Any) -> tuple[int, int]:
        """The times between which `what` is asked for, checked, in Python's numbers: products of NumPy's int8 overflow.
        None for `stop` is T."""
        self._one_way(what)
        if type(start) is type(stop) is int and 0 <= start <= stop <= self.steps:
            return start, stop
        stop = self.steps if stop is None else stop
        meaning = f"times of states go from 0 to T = {self.steps}"
        start, stop = (arguments.step(*one, 0, self.steps, meaning) for one in (("start", start), ("stop", stop)))
        if start > stop:
            raise ValueError(
                f"`start` is {start} and `stop` is {stop}; a window goes from states[start] to states[stop], "
                "start <= stop."
            )
        return start, stop
