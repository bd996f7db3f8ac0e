"""Network: a cell, its parameters, layers. It holds numbers and checks them; `unroll` sends a sequence through it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import mul
from typing import Any

import numpy as np

from .. import engine
from ..cells.base import spec
from ..engine.blas import single_blas
from ..init.named import Initialiser, initialiser
from ..refuse import arguments, in_place, words
from ..refuse.called import called
from . import not_set, on_disk, parameters, parametrised
from .each_layer import alike, as_written, each_layer, one_or_all
from .forwards import forwards
from .layer_parameters import LayerParameters
from .on_device import together
from .unrolled import Unrolled


@called("a network")
@words.explain
class Network(LayerParameters):
    """A recurrent network of one kind of cell, in PyTorch's conventions.

    With emit(s) what a unit of state s sends (h for most cells), layer by layer and direction by direction

        x_t = W_ih input_t + b_ih,    r_t = W_hh emit(s_{t-1}) + b_hh,    s_t = cell.forward(x_t, r_t, s_{t-1}),

    unit by unit; the next layer's input is emit(s_t), of both directions side by side where there are two. If the code
    of the cell is edited, the next unroll takes the new version, and the runs made before keep theirs.

    Args:
        cell: a name of tt.CELLS ("tanh", "lstm", "gru", …), or an instance of a cell; or a list of such, one for each
            layer: tt.Network(["gru", "tanh"], 3, [64, 32]).
        input_size: I, the inputs per time step.
        hidden_size: N, the units per layer and direction; or a list, one for each layer.
        num_layers: L; by default the length of the lists, or 1.
        bidirectional: whether a second set of units in every layer reads the sequence from its end: D = 2, otherwise 1.
        bias: whether there are b_ih and b_hh; without, both are 0.
        layer_norm: whether what every layer reads is normalised first over its I numbers, for each time and sequence:
            w (x − μ)/√(σ² + 10⁻⁵) + b, with w, norm_weight_l0 (I,) …, of ones and b, norm_bias_l0, of zeros, both
            trained (Ba, Kiros & Hinton 2016, of the input alone; the recurrence is as it is). On the CPU.
        batch_first: input and output are (batch, time, …) instead of (time, batch, …); states are not touched.
        dtype: "float64" or "float32", of the parameters and of the arithmetic.
        init: an initialiser (throughtime.init), or the name of one; by default U(−1/√N, 1/√N).
        parametrise: which weights follow from free parameters, and how (throughtime.parametrise):
            {"weight_hh": tt.parametrise.orthogonal()} for all layers, or by the name of one array, "weight_hh_l0".
        seed: of the initial parameters: None, a whole number, or a numpy Generator, which is drawn from.
        device: "cpu", or "cuda" for a GPU: parameters, runs and their results then are Numba device arrays, which CuPy
            (`cupy.asarray`) and PyTorch (`torch.as_tensor(a, device="cuda")`) take without a copy.

    Attributes:
        parameters: dict name -> writable array, by PyTorch's names: weight_ih_l0 (G*N, I), weight_hh_l0 (G*N, N),
            bias_ih_l0 and bias_hh_l0 (G*N,), the same with _reverse, then l1, …; rows are outputs, the blocks of the G
            gates one after another. Change the arrays in place, or put others there: the next unroll uses, and
            checks, what it finds. Free parameters stand in place of weights that follow from them.
        shapes, weight_shapes: dicts name -> shape of these, and of `weights()`, the same where nothing is parametrised.
        state_size: S = L*D*N*states, of unlike layers the sum of D*N*states: the numbers that the network carries from
            step to step.
        cells, hidden_sizes: tuples, those of every layer; cell and hidden_size are the one that all layers have, or
            these tuples.
        num_directions: D.
        networks, stacked, axes: 1, False, None; of an ensemble on the GPU, `ensemble.to("cuda")`, the number K of its
            networks, True, and its axes: every parameter has a leading axis K, and the batch of a run holds the K
            networks' sequences one network after another.
        Every argument but init and seed is there under its own name too. All but `parameters` stay what they were when
        the network was made: AttributeError says what to write instead.

    Raises:
        TypeError: for an argument of the wrong kind.
        RuntimeError: with what is missing, for device="cuda" where there is no GPU or no Numba CUDA package.
        ValueError: for one of the right kind that means nothing, such as an unknown name.

    Example:
        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("lstm", input_size=3, hidden_size=16, seed=0)
        >>> net
        Network(LSTM(), input_size=3, hidden_size=16, dtype="float64", 1,344 parameters)
        >>> net.unroll(np.zeros((10, 2, 3))).output.shape
        (10, 2, 16)
    """

    def __init__(
        self,
        cell: Any,
        input_size: int,
        hidden_size: Any,
        *,
        num_layers: int | None = None,
        bidirectional: bool = False,
        bias: bool = True,
        layer_norm: bool = False,
        batch_first: bool = False,
        dtype: Any = "float64",
        init: Initialiser | str = "uniform",
        parametrise: Mapping[str, Any] | None = None,
        seed: Any = None,
        device: str = "cpu",
    ) -> None:
        device = arguments.device(device)
        self.cells, self.hidden_sizes = each_layer(cell, hidden_size, num_layers)
        self.cell, self.hidden_size = one_or_all(self.cells), one_or_all(self.hidden_sizes)
        self.input_size, self.num_layers = arguments.size("input_size", input_size), len(self.cells)
        self.bidirectional = arguments.flag("bidirectional", bidirectional)
        self.bias = arguments.flag("bias", bias)
        self.layer_norm = arguments.flag("layer_norm", layer_norm)
        self.batch_first = arguments.flag("batch_first", batch_first)
        self.dtype = arguments.float_type(dtype)
        sizes = self.cells, self.input_size, self.hidden_sizes, self.bidirectional, self.bias, self.layer_norm
        parameters.room_for(*sizes)
        self.num_directions = 1 + self.bidirectional
        self.unit_states = tuple(spec(own).states for own in self.cells)
        self.state_size = self.num_directions * sum(map(mul, self.hidden_sizes, self.unit_states))
        self.shapes = self.weight_shapes = parameters.shapes(*sizes)
        self._assignment = parametrised.assigned(parametrise, self.shapes, self.hidden_sizes)
        self.parametrise = {name: own.way for name, own in self._assignment.items()}
        with single_blas():
            initial = initialiser(init)(self, arguments.generator(seed))
        own = parametrised.begun(initial, self._assignment, self.shapes, self.dtype)
        self.shapes = parametrised.free_shapes(self._assignment, self.shapes)
        self.device, self.networks, self.stacked = "cpu", 1, False
        self.axes: Mapping[str, list] | None = None
        self.parameters: dict[str, Any] = own
        if device == "cuda":
            self.__dict__.update(self.to(device).__dict__)

    _sealed_by = "parameters"  # the last that __init__ sets

    @property
    def engine(self) -> Any:
        """The engine's module, with the functions and array operations of the machine that the network is on."""
        return engine.of(self.device)

    def _unset(self, name: str) -> str:
        return not_set.advice(self, name, dir(Network), own_class=type(self) is not Network)

    def __getattr__(self, name: str) -> Any:
        write = f'write `net.parameters["{name}"]`' if name in self.__dict__.get("shapes", ()) else ""
        raise words.NoSuchAttribute(self, name, "A network", write)

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise TypeError(f"A network is not called as a function; {words.UNROLL}.")

    def unroll(
        self, x: Any, state: Any = None, lengths: Any = None, *, method: str | None = None, noise: Any = None,
        checkpoint: Any = None,
    ) -> Unrolled:  # fmt: skip
        """The network unfolded over one input: outputs, states, and from there backprop, jvp, vjp and jacobian.

        x (T, B, I), or (T, I) for one sequence, or (B, T, I) with batch_first. state: the initial h, of an LSTM (h, c),
        each (L*D, B, N), or (L*D, N) for one sequence; of layers of unlike sizes or states a list with what each layer
        would take alone; or all of it in one array, (B, S) or (S,), as another run's `states[t]` of one direction has
        it; None is zeros. lengths: B whole numbers from 0 to T, where sequences are shorter than T; what follows is
        padding, and the reverse direction starts at the last valid step. method: "loop" step by step, "scan" by
        pieces of time side by side, for cells that are linear in their state (tt.MinGRU); None: by size. NaN and inf go
        through and stay in their own sequence. noise: for training, a `tt.Zoneout`, a `tt.RecurrentDropout`, or both in
        a list, whose masks are drawn now; such a run has gradients and products going back, and no Jacobians.
        checkpoint: for long sequences, k steps after each of which the state is kept, or "auto" (True) for about √T,
        in whole groups of 1024/B steps, of wide layers fewer, so that short runs keep all; the steps between are
        computed again on the way back, with the same gradients to the rounding of sums, and for "auto" to the bit in
        one layer that goes step by step, without `layer_norm` and `clip_state`. Such a run has neither `states` nor
        what is of all steps at once: analyses that look at these say so. On the CPU; with window or clip_state its way
        back holds the gradients of all states (Chen et al. 2016, arXiv:1604.06174; Gruslys et al. 2016, 1606.03401).
        TypeError or ValueError for what does not fit.

        On the GPU x is a NumPy array, which is copied to the device, or anything there: an object with
        `__cuda_array_interface__` (CuPy, PyTorch, Numba) or DLPack, of the network's dtype, which is not copied if it
        is C-contiguous, and must not change while the run is in use. Work is queued on the stream that x names.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 3, 4, seed=0).unroll(np.ones((5, 2, 3)), lengths=[5, 2])
        >>> run.output.shape, run.final_state.shape, run.output[2:, 1].any()
        ((5, 2, 4), (1, 2, 4), np.False_)
        >>> long = tt.Network("gru", 3, 4, seed=0).unroll(np.ones((5000, 3)), checkpoint="auto")
        >>> long.checkpoint, long.backprop(long.output).input.shape
        (1024, (5000, 3))
        """
        run = Unrolled.__new__(Unrolled)
        run.__dict__.update(forwards(self, x, state, lengths, method, noise, checkpoint))
        return run

    def to(self, device: str) -> Any:
        """The network on a device, "cpu" or "cuda": this one if it is there, or another with copies of the parameters;
        of an ensemble that comes back from the GPU a list of networks.

        RuntimeError with what is missing where there is no GPU, or no Numba CUDA package.

        >>> import throughtime as tt
        >>> net = tt.Network("tanh", 3, 4)
        >>> net.to("cpu") is net
        True
        """
        if arguments.device(device) == self.device:
            return self
        if device == "cuda":
            return together([self], None)
        host, alone = self.state_dict(), {"device": "cpu", "networks": 1, "stacked": False, "axes": None}
        if not self.stacked:
            return self._with(parameters=host, **alone)
        each = [{name: np.array(value[k]) for name, value in host.items()} for k in range(self.networks)]
        return [self._with(parameters=own, **alone) for own in each]

    def on_host(self) -> Network:
        """The network with its parameters in NumPy, for what only looks at them: itself on the CPU."""
        return self if self.device == "cpu" else self._with(parameters=self.state_dict())

    def _with(self, **changed: Any) -> Network:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__ | changed)
        return made

    def __copy__(self) -> Network:
        """Another of the same arrays."""
        return self._with()

    def __getstate__(self) -> dict[str, Any]:
        """Pickled, and copied deeply, by way of the CPU."""
        return self.__dict__ if self.device == "cpu" else self.__dict__ | {"parameters": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.device == "cuda":
            arrays = self.engine.arrays
            arrays.require()
            self.__dict__["parameters"] = {name: arrays.from_host(value) for name, value in self.parameters.items()}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the parameters in NumPy, by PyTorch's names. PyTorch takes them as torch.from_numpy of each.

        >>> import throughtime as tt
        >>> tt.Network("tanh", 3, 4).state_dict()["weight_hh_l0"].shape
        (4, 4)
        """
        if self.device == "cpu":
            return {name: np.array(value) for name, value in self.parameters.items()}
        to_host = self.engine.arrays.to_host
        return {name: to_host(value) for name, value in self._held().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy parameters from a mapping of NumPy arrays, lists, torch tensors or anything else with `__array__`.

        All names have to be there and no others, in the right shapes; values are cast to the network's dtype. If
        anything is wrong, one ValueError names all of it and nothing is changed. `parameters` are filled in place; on
        the GPU there are new ones.

        >>> import throughtime as tt
        >>> net = tt.Network("tanh", 3, 4)
        >>> net.load_state_dict(tt.Network("tanh", 3, 4, seed=1).state_dict())
        """
        shapes = {name: self.held_shape(name) for name in self.shapes}
        new = parameters.fitting(state_dict, shapes, self.dtype, "The state dict")
        if self.device == "cuda":
            self._held()
            self.parameters = {name: self.engine.arrays.from_host(value) for name, value in new.items()}
            return
        for name, value in new.items():
            here = self.parameters.get(name)
            if here is not None and in_place.fits(here, value.shape, value.dtype) and here.flags.writeable:
                here[...] = value
            else:  # somebody has put something else there; this mends it
                self.parameters[name] = value

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, from which `throughtime.load(path)` makes it again, bit by bit.

        The format is described in throughtime.network.archive. A file already there is replaced in one step, once the
        new one is complete. FileNotFoundError if there is no such folder, ValueError for the networks of an ensemble
        on the GPU, which are many files.

        >>> import os, tempfile, throughtime as tt
        >>> path = os.path.join(tempfile.mkdtemp(), "net.tt")
        >>> tt.Network("gru", 3, 4).save(path)
        >>> tt.load(path)
        Network(GRU(), input_size=3, hidden_size=4, dtype="float64", 108 parameters)
        """
        if self.stacked:
            raise ValueError(
                f"A file holds one network, and these are {self.networks}: save each of them, "
                '`for k, own in enumerate(networks.to("cpu")): own.save(f"{k}.tt")`.'
            )
        on_disk.write(self.to("cpu"), path)

    def __repr__(self) -> str:
        usual = {"bidirectional": False, "bias": True, "layer_norm": False, "batch_first": False}
        changed = [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        changed += [f"parametrise={self.parametrise}"] if self.parametrise else []
        numbers = sum(int(np.prod(shape)) for shape in self.shapes.values())
        several = self.num_layers > 1 and alike(self.cells) and alike(self.hidden_sizes)
        start = f"{as_written(self.cells)}, input_size={self.input_size}, hidden_size={as_written(self.hidden_sizes)}"
        start += f", num_layers={self.num_layers}" if several else ""
        whole = f'Network({", ".join([start, *changed])}, dtype="{self.dtype}", {numbers:,} parameters)'
        count = f"{self.networks} of " if self.stacked else ""
        return whole if self.device == "cpu" else f"{count}{whole} on the GPU"
