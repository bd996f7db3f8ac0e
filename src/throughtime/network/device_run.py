"""A run on the GPU: `Unrolled` with device arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells.versions import in_force
from ..engine.cuda import arrays, device, jacobians
from ..engine.cuda import run as gpu
from ..refuse import checks
from .derivatives import LayerDerivatives
from .on_host import OnHost
from .unrolled import Gradients, Unrolled

Array = Any


class DeviceRun(Unrolled):
    """What `Unrolled` is, on the GPU: its arrays are Numba device arrays, as are the results of its methods.

    Arguments may be NumPy arrays or device arrays. CuPy and PyTorch take the results without a copy; `numpy.asarray`
    and `.copy_to_host()` copy them. For K networks the batch holds K times as many sequences as `x`, network after
    network, or `x` has them all.
    """

    device = "cuda"
    network: Any

    def __init__(self, network: Any, x: Any, state: Any = None, lengths: Any = None) -> None:
        self.network = network
        self.stream = device.stream_of(x)
        with device.on(self.stream):
            self._unroll(x, state, lengths)

    def _unroll(self, x: Any, state: Any, lengths: Any) -> None:
        network = self.network
        self.input, self._had_batch = _sequence(x, network)
        T, B, _ = self.input.shape
        if network.stacked and lengths is not None and np.shape(lengths) == (B // network.networks,):
            lengths = np.tile(np.asarray(lengths), network.networks)
        given = checks.lengths(lengths, T, B)
        self.lengths = given
        ends = device.to_device(np.full(B, T, np.int64) if given is None else given)
        if given is not None:
            self.input = arrays.pad(arrays.compact(self.input), ends)
        initial = _state(state, network, B, self._had_batch)
        states = device.empty((T + 1, B, network.state_size), network.dtype)
        self._layers: list[list[Any]] = []
        reaching, cell = self.input, in_force(network.cell)
        for k in range(network.num_layers):
            directions, sent = [], []
            for d in range(network.num_directions):
                columns = self.columns(k, d)
                arrays.move(states[T if d else 0, :, columns], initial[:, columns])
                layer = gpu.unroll(cell, network.layer(k, bool(d)), reaching, states, columns.start, ends, bool(d))
                directions.append(layer)
                sent.append(layer.output())
            self._layers.append(directions)
            reaching = arrays.joined(sent)
        if given is not None:
            reaching = arrays.pad(arrays.compact(reaching), ends)
        self.states, self.output = states, self._outside(reaching)

    def backprop(self, grad_output: Any = None, grad_final_state: Any = None, window: int | None = None) -> Gradients:
        """As `Unrolled.backprop`; of an ensemble without `window`."""
        checks.some_gradient(grad_output, grad_final_state)
        with device.on(self.stream):
            B = self.input.shape[1]
            g = _output_gradient(grad_output, self)
            at_end = _state(grad_final_state, self.network, B, self._had_batch, "grad_final_state")
            window = self._cut(window)
            if window is None:
                return self._backprop(g, at_end)
            if self.network.networks > 1:
                raise ValueError(
                    '`window` works for one network on the GPU: pass it to the run of `network.to("cuda")` for each '
                    "`network` of the ensemble."
                )
            from .device_truncated import backprop  # late, because it stands above this file

            return backprop(self, g, at_end, window)

    def _backprop(self, g: Array | None, carry: Array) -> Gradients:
        states = device.empty(tuple(self.states.shape), self.network.dtype)
        parameters: dict[str, Array] = {}
        initial = device.empty(tuple(carry.shape), self.network.dtype)
        for k in reversed(range(self.network.num_layers)):
            reached: Array | None = None
            for d, layer in enumerate(self._layers[k]):
                columns, n = self.columns(k, d), self.network.hidden_size
                part = g if g is None else g[:, :, d * n : (d + 1) * n]
                below_top = k + 1 < self.network.num_layers
                back = gpu.backprop(layer, arrays.compact(carry[:, columns]), part, grad_states=states, apart=below_top)
                arrays.move(initial[:, columns], back.carry)
                self._name(parameters, k, d, back.parameters)
                reached = back.x if reached is None else arrays.add(reached, back.x)
            g = reached
        in_order = {name: parameters[name] for name in self.network.shapes}
        return Gradients(in_order, self._outside(g), self._as_state(initial), states)

    def jvp(self, v: Any, start: int, stop: int) -> Array:
        """As `Unrolled.jvp`."""
        with device.on(self.stream):
            rows, copies, back = self._perturbation("v", v, start, stop)
            return back(self._forward(rows, copies, start, stop))

    def jvp_rows(self, v: Array, start: int, stop: int) -> Array:
        """`jvp` of perturbations (B, K, S) on the device, each in one piece; for frames, which stay so."""
        B, K, S = (int(n) for n in v.shape)
        with device.on(self.stream):
            return device.shaped(self._forward(v.reshape((B * K, S)), K, start, stop), (B, K, S))

    def _forward(self, rows: Array, copies: int, start: int, stop: int) -> Array:
        piece = self._piece(rows)
        for a in range(start, stop, piece):
            b, reaching = min(a + piece, stop), None
            out = device.empty(tuple(int(n) for n in rows.shape), rows.dtype)
            for k, (layer,) in enumerate(self._layers):
                columns, below_top = self.columns(k), k + 1 < len(self._layers)
                own = arrays.compact(rows[:, columns])
                own, reaching = gpu.tangent(layer, own, reaching, start=a, stop=b, copies=copies, to_output=below_top)
                arrays.move(out[:, columns], own)
            rows = out
        return rows

    def vjp(self, u: Any, start: int, stop: int) -> Array:
        """As `Unrolled.vjp`."""
        with device.on(self.stream):
            rows, copies, back = self._perturbation("u", u, start, stop)
            piece, layers = self._piece(rows), [layer for (layer,) in self._layers]
            for b in range(stop, start, -piece):
                rows, _ = self._backward(layers, rows, max(b - piece, start), b, copies)
            return back(rows)

    def _backward(
        self, layers: list[Any], rows: Array, start: int, stop: int, copies: int = 1, to_weights: bool = False,
        above: Array | None = None,
    ) -> tuple[Array, dict[str, Array]]:  # fmt: skip
        """Cotangents (M, S) taken back through these layers, and the gradients of their parameters, if asked for."""
        out = device.empty((layers[0].batch * copies, int(rows.shape[1])), rows.dtype)
        parameters: dict[str, Array] = {}
        for k in reversed(range(len(layers))):
            columns = self.columns(k)
            back = gpu.backprop(
                layers[k], arrays.compact(rows[:, columns]), above, start=start, stop=stop, copies=copies,
                to_weights=to_weights, to_input=k > 0,
            )  # fmt: skip
            arrays.move(out[:, columns], back.carry)
            above = back.x
            if to_weights:
                self._name(parameters, k, 0, back.parameters)
        return out, parameters

    def costates(self, u: Array, grad_output: Array | None, start: int, stop: int) -> Array:
        """As `Unrolled.costates`."""
        with device.on(self.stream):
            u, g = self._cotangents(u, grad_output, start, stop)
            states = device.empty((stop - start + 1, *(int(n) for n in u.shape)), self.network.dtype)
            for k in reversed(range(len(self._layers))):
                below_top = k + 1 < len(self._layers)
                back = gpu.backprop(
                    self._layers[k][0], arrays.compact(u[:, self.columns(k)]), g, start=start, stop=stop,
                    grad_states=states, apart=below_top, to_weights=False, to_input=k > 0,
                )  # fmt: skip
                g = back.x
            return states

    def pullback(
        self, u: Array, start: int, stop: int, grad_output: Array | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """As `Unrolled.pullback`; of an ensemble each gradient with its leading axis."""
        with device.on(self.stream):
            u, g = self._cotangents(u, grad_output, start, stop)
            layers = [layer for (layer,) in self._layers]
            out, parameters = self._backward(layers, u, start, stop, above=g, to_weights=True)
            return out, {name: parameters[name] for name in self.network.shapes}

    def _cotangents(self, u: Any, grad_output: Any, start: int, stop: int) -> tuple[Array, Any]:
        self._one_way("A cotangent of one state")
        self._window(start, stop)
        B, S = self._rows
        u = _device_array("u", u, (B, S), self.network.dtype)
        if grad_output is not None:
            shape = (stop - start, B, self.network.hidden_size)
            grad_output = _device_array("grad_output", grad_output, shape, self.network.dtype)
        return u, grad_output

    def derivatives(
        self, k: int, start: int = 0, stop: int | None = None, units: int | None = None
    ) -> LayerDerivatives:
        """As `Unrolled.derivatives`; the arrays are NumPy's."""
        self._one_way("A derivative of one step")
        stop = self.steps if stop is None else stop
        self._window(start, stop)
        layer, n, columns = self._layers[k][0], self.network.hidden_size, self.columns(k)
        with device.on(self.stream):
            states = self.states[start : stop + 1]
            if len(self._layers) > 1:
                states = arrays.compact(states[:, :, columns])
            own = device.to_host(states)
            saved = layer.saved_by_unit(start, stop)
        chosen = slice(0, n if units is None else units)
        parts = tuple(own[:, :, a : a + n][:, :, chosen] for a in range(0, self._own, n))
        return LayerDerivatives(layer.cell, parts, tuple(part[:, :, chosen] for part in saved))

    def sent(self, k: int, d: int = 0) -> Array:
        """As `Unrolled.sent`."""
        return self._layers[k][d].sent_at_all_times()

    def single_steps(self, start: int = 0, stop: int | None = None) -> SingleSteps:
        """A run in which each row (t, b) of the steps from states[start] to states[stop] is a sequence of one step.

        Its batch is (stop-start) B, the sequences of one time next to each other; `vjp`, `pullback` and
        `output_cotangent` take all of them one step back in one launch. For one network, not an ensemble.
        """
        self._one_way("A step of its own")
        stop = self.steps if stop is None else stop
        self._window(start, stop)
        with device.on(self.stream):
            return SingleSteps(self, start, stop)

    def jacobians(self, start: int = 0, stop: int | None = None) -> Array:
        """As `Unrolled.jacobians`."""
        self._one_way("A Jacobian")
        stop = self.steps if stop is None else stop
        self._window(start, stop)
        with device.on(self.stream):
            if len(self._layers) == 1:
                return jacobians.jacobians(self._layers[0][0], int(start), int(stop))
            B, S = (int(n) for n in self.states.shape[1:])
            unit = device.to_device(np.eye(S, dtype=self.network.dtype))
            if self.network.networks == 1 and start < stop:  # row i is J^T e_i
                rows = device.empty(((stop - start) * B, S, S), self.network.dtype)
                arrays.move(rows, device.repeated(unit, len(rows)))
                found, _ = self._backward(self._apart(start, stop), rows.reshape((len(rows) * S, S)), 0, 1, copies=S)
                return device.shaped(found, (stop - start, B, S, S))
            out = device.empty((stop - start, B, S, S), self.network.dtype)
            columns = arrays.compact(device.repeated(unit, B))
            for t in range(start, stop):  # the sequences of a network lie together at each time, and apart over all
                arrays.move(out[t - start], self.jvp(columns, t, t + 1))
            return out

    def _apart(self, start: int, stop: int) -> list[Any]:
        """The layers with each row (t, b) of the steps start ... stop-1 as a sequence of a single step."""
        lengths = np.full(int(self.states.shape[1]), self.steps) if self.lengths is None else self.lengths
        alive = device.to_device((np.arange(start, stop)[:, None] < lengths).astype(np.int64).reshape(-1))
        return [layer.apart(start, alive) for (layer,) in self._layers]

    def output_cotangent(self, t: int, g: Any) -> Array:
        """As `Unrolled.output_cotangent`."""
        self._one_way("The cotangent of one state")
        B, S = self._rows
        with device.on(self.stream):
            given = _device_array("g", g, (B, self.network.hidden_size), self.network.dtype)
            given = given.reshape((1, B, self.network.hidden_size))
            out, columns = arrays.zeros((B, S), self.network.dtype), self.columns(len(self._layers) - 1)
            arrays.move(out[:, columns], gpu.sent_back(self._layers[-1][0], given, t - 1))
            return out

    @property
    def _rows(self) -> tuple[int, int]:
        """B, S"""
        return int(self._layers[0][0].batch), int(self.network.state_size)

    def on_host_side(self) -> OnHost:
        """The run as the analyses of the CPU see it: it computes on the device and answers in NumPy."""
        return OnHost(self)

    # ------------------------------------------------------------------------------------------ places and shapes

    @property
    def final_state(self) -> Array | tuple[Array, ...]:
        """As `Unrolled.final_state`."""
        with device.on(self.stream):
            out = device.empty(tuple(self.states.shape[1:]), self.network.dtype)
            for k, d in self._blocks():
                columns = self.columns(k, d)
                arrays.move(out[:, columns], self.states[0 if d else self.steps, :, columns])
            return self._as_state(out)

    def _outside(self, own: Array) -> Array:
        if not self._had_batch:
            return device.shaped(arrays.compact(own), (int(own.shape[0]), int(own.shape[2])))
        return arrays.compact(own, (1, 0, 2)) if self.network.batch_first else own

    def _as_state(self, flat: Array) -> Array | tuple[Array, ...]:
        """(B, S) as h, or (h, c), in PyTorch's shapes."""
        n, (B, S) = self.network.hidden_size, flat.shape
        blocks, parts = len(self._blocks()), []
        shaped = flat.reshape((int(B), blocks, S // blocks))
        for j in range(self._own // n):
            part = arrays.compact(shaped[:, :, j * n : (j + 1) * n], (1, 0, 2))
            parts.append(part if self._had_batch else device.shaped(part, (blocks, n)))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def _name(self, parameters: dict[str, Array], k: int, d: int, grads: Any) -> None:
        for kind, grad in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), grads, strict=True):
            name = f"{kind}_l{k}{'_reverse' if d else ''}"
            if name in self.network.shapes:
                shape, stacked = self.network.shapes[name], self.network.stacked
                parameters[name] = device.shaped(grad, (self.network.networks, *shape) if stacked else shape)

    def _perturbation(self, name: str, value: Any, start: int, stop: int) -> tuple[Array, int, Any]:
        self._one_way("A product with Jacobians")
        self._window(start, stop)
        B, S = self._rows
        if device.on_device(value):
            given = device.wrap(value)
            had_copies = len(given.shape) == 3
            if tuple(given.shape[:2]) != (B, S) or given.dtype != self.network.dtype:
                raise ValueError(
                    f"`{name}` is {given.dtype} {tuple(given.shape)}; expected {self.network.dtype} {(B, S)} or "
                    f"({B}, {S}, K)."
                )
            given = given if had_copies else given.reshape((B, S, 1))
        else:
            host, had_copies = checks.perturbation(name, value, B, S, self.network.dtype)
            given = device.to_device(host)
        K = int(given.shape[2])
        rows = arrays.compact(given, (0, 2, 1)).reshape((B * K, S))

        def back(rows: Array) -> Array:
            if not had_copies:
                return device.shaped(rows, (B, S))
            return arrays.compact(rows.reshape((B, K, S)), (0, 2, 1))

        return rows, K, back


class SingleSteps(DeviceRun):
    """A run of one step for each row (t, b) of another run's steps; see `DeviceRun.single_steps`."""

    def __init__(self, run: DeviceRun, start: int, stop: int) -> None:
        self.network, self.stream, self._had_batch = run.network, run.stream, True
        rows = (stop - start) * int(run.states.shape[1])
        self.input = device.shaped(arrays.compact(run.input[start:stop]), (1, rows, run.network.input_size))
        self.lengths = None
        if run.lengths is not None:
            self.lengths = (np.arange(start, stop)[:, None] < run.lengths).astype(np.int64).reshape(-1)
        self._layers = [[layer] for layer in run._apart(start, stop)]

    def jvp(self, v: Any, start: int, stop: int) -> Array:
        raise ValueError("Single steps go back only: take `run.jvp(v, t, t + 1)` for each time.")

    def jacobians(self, start: int = 0, stop: int | None = None) -> Array:
        raise ValueError("The Jacobians of single steps are `run.jacobians(start, stop)`.")


def _device_array(name: str, given: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """What was given, in NumPy or on the device, as a device array of this shape."""
    if not device.on_device(given):
        return device.to_device(checks.array(name, given, dict(zip("ijk", shape, strict=False)), dtype))
    found = device.wrap(given)
    if tuple(found.shape) != shape or found.dtype != dtype:
        raise ValueError(f"`{name}` is {found.dtype} {tuple(found.shape)}; expected {dtype} {shape}.")
    return found


def _sequence(x: Any, network: Any) -> tuple[Array, bool]:
    """The input on the device, (T, B, I), and whether the results have a batch axis; a device array is not copied."""
    if not device.on_device(x):
        host, had_batch = checks.sequence(x, network)
        if network.stacked:  # the same sequences for every network
            return device.to_device(np.concatenate([host] * network.networks, axis=1)), True
        return device.to_device(host), had_batch
    found = device.wrap(x)
    shape = tuple(found.shape)
    if len(shape) not in (2, 3) or shape[-1] != network.input_size:
        raise ValueError(checks.wrong_sequence(shape, network))
    if found.dtype != network.dtype:
        raise TypeError(
            f"`x` is a device array of {found.dtype}; this network computes in {network.dtype}: convert it first, or "
            "pass a NumPy array."
        )
    if network.stacked and (len(shape) == 2 or shape[1 - network.batch_first] % network.networks):
        raise ValueError(
            f"`x` has shape {shape}; on the device the batch of an ensemble holds the sequences of its "
            f"{network.networks} networks one after another: pass as many for each, or a NumPy array for all."
        )
    had_batch = len(shape) == 3
    if had_batch and network.batch_first:
        return arrays.compact(found, (1, 0, 2)), True
    if not device.contiguous(found):
        found = arrays.compact(found)
    return (found if had_batch else device.shaped(found, (shape[0], 1, shape[1]))), had_batch


def _state(given: Any, network: Any, batch: int, had_batch: bool, name: str = "state") -> Array:
    """A state as `checks.state` takes it, its parts in NumPy or on the device, as a device array (B, S)."""
    parts = given if isinstance(given, (tuple, list)) else (given,)
    parts = tuple(device.to_host(device.wrap(part)) if device.on_device(part) else part for part in parts)
    whole = parts if isinstance(given, (tuple, list)) else parts[0]
    return device.to_device(checks.state(whole, network, batch, had_batch, name=name))


def _output_gradient(given: Any, run: DeviceRun) -> Array | None:
    """dL/doutput (T, B, N*D) on the device."""
    if given is None:
        return None
    if not device.on_device(given):
        host = checks.output_gradient(given, run)
        return None if host is None else device.to_device(host)
    found = device.wrap(given)
    if tuple(found.shape) != tuple(run.output.shape) or found.dtype != run.network.dtype:
        raise ValueError(
            f"`grad_output` is {found.dtype} {tuple(found.shape)}; expected {run.network.dtype} "
            f"{tuple(run.output.shape)}, as `run.output`."
        )
    if len(found.shape) == 2:
        found = arrays.compact(found)
        return found.reshape((int(found.shape[0]), 1, int(found.shape[1])))
    return arrays.compact(found, (1, 0, 2)) if run.network.batch_first else arrays.compact(found)
