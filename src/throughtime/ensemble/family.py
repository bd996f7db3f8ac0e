"""Ensembles: a family of networks or models, unrolled, analysed and trained in one call, one thread for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, overload

import numpy as np

from ..cells.array_fields import comparable
from ..cells.versions import contents
from ..network.each_layer import one_or_all
from ..network.network import Network
from ..network.on_device import together
from ..network.unrolled import Unrolled
from ..refuse import arguments, words
from ..refuse.called import called, told
from ..results.of_ensemble import EnsembleResult
from . import axes as along
from . import kept_results, random_streams, sweep
from .family_run import EnsembleRun
from .pieces import NetworkToBe, analysed, is_model, label

SHAPE = (
    "input_size", "hidden_size", "num_layers", "bidirectional", "bias", "layer_norm", "batch_first", "dtype", "shapes",
)  # fmt: skip
MODELS = ("a model",)  # in place of the shape that all networks have


@called("an Ensemble")
class Ensemble(words.Sealed):
    """A family of networks of one shape, or of models: seeds × gains × initialisations, or whatever axes you name.

    Args:
        networks: a function that makes one network, called with one value of every axis by name, whenever its network
            is needed, here or in another process: the same values have to give the same network. Or a list of networks.
            Models of `throughtime.models` in their place need not be of one shape; `training.fit` trains all of them.
        axes: dict name -> values; the networks are all combinations, the last axis fastest. For a list, optional, their
            product its length; by default {"network": 0, 1, …}.
        backend: "threads": networks side by side in as many threads as `get_num_threads()`, each with single-threaded
            linear algebra. "joblib": processes on all cores, or wherever `joblib.parallel_config` says;
            backend="dask" there spreads them over a Dask cluster, n_jobs=1 takes one after another.
        save: a folder for the results. An interrupted sweep goes on where it stopped when the same call is made again.
            A result is read again only if all that it depends on is the same, bit by bit: networks, arguments and
            generators, the code of the function, of what it calls and of the cell, the globals they read, this
            library; what cannot be compared (an open file) is refused. Damaged files are computed again, and where
            nothing can be written a warning says so. (Pickle files: read only folders of your own.)
        progress: whether to show a bar.

    Every function of `throughtime.analysis` that takes a network takes an ensemble, and every one that takes a run
    takes `ensemble.unroll(x)`; the other arguments are the same for all, except that of a random generator (`seed=` a
    numpy Generator, or any other among the arguments) each network gets a stream of its own, so that the results do not
    depend on threads, backend or order. The streams are spawned from one draw of the generator: a second call with it
    gives others, a fresh `default_rng(7)` the same again. A whole number is the same seed for every network. They
    return an `EnsembleResult` with labelled axes. Of models they take the runs of one piece,
    `family.unroll(x).networks`.

    Raises:
        TypeError, ValueError: for networks of different shapes, a function whose networks differ from call to call,
            axes that do not fit, an unknown backend, a `save` that is no path of a folder, a mapped function that draws
            from a generator outside its arguments. An error in one network carries a note that says in which.

    Example:
        >>> import throughtime as tt
        >>> def make(gain, seed):
        ...     return tt.Network("tanh", 1, 50, bias=False, init=tt.init.gaussian(gain), seed=seed)
        >>> family = tt.Ensemble(make, {"gain": [0.5, 1.5], "seed": [0, 1, 2]})
        >>> found = tt.analysis.lyapunov_spectrum(family, steps=60, k=1, seed=0)
        >>> found["exponents"].shape
        (2, 3, 1)
    """

    def __init__(
        self,
        networks: Callable[..., Network] | Sequence[Network],
        axes: Mapping[str, Any] | None = None,
        *,
        backend: str = "threads",
        save: Any = None,
        progress: bool = False,
    ) -> None:
        if not isinstance(backend, str):
            raise TypeError(f'`backend` is {arguments.kind(backend)}; expected "threads" or "joblib".')
        self.backend = arguments.known("backend", backend, sweep.BACKENDS)
        self.save, self.progress = kept_results.checked(save), arguments.flag("progress", progress)
        self._make: Callable[..., Network] | None = None
        self._list: list[Network] = []
        if callable(networks) and not isinstance(networks, Network):  # a network is callable, to say that it is not
            self._make = networks
        else:
            self._list = along.networks(networks)
        if axes is None:
            if self._make is not None:
                raise ValueError(
                    'A function of networks needs `axes`, the values to call it with: {"gain": [0.5, 1.5]}.'
                )
            axes = {"network": range(len(self._list))}
        self.axes = along.checked(axes)
        self.points = [dict(zip(self.axes, point, strict=True)) for point in product(*self.axes.values())]
        if self._make is None and len(self._list) != len(self.points):
            shape = " × ".join(f"{len(values)} of {name}" for name, values in self.axes.items()) or "no names"
            raise ValueError(
                f"There are {len(self._list)} networks, but `axes` have {shape} = {len(self.points)} points."
            )
        if not self.points:
            raise ValueError("An ensemble needs at least one network; one of `axes` has no values.")
        if self._make is not None:
            along.fits(self._make, self.points[0])
        self._first: tuple | None = None
        first = self[0]
        if self._make is not None and _numbers(first) != _numbers(self[0]):
            raise ValueError(
                f"`networks` made two different networks from the same values {self.points[0]}: give the network "
                "a seed, an axis of its own or a constant, so that it can be made again where it is needed."
            )
        if self._make is None:
            for i in range(1, len(self)):
                self[i]

    _sealed_by = "_first"

    def _unset(self, name: str) -> str:
        if name in ("axes", "backend", "save", "progress"):
            return f"`family.{name}` says what the ensemble is; make another, `tt.Ensemble(networks, axes, …)`."
        return f"An ensemble has no attribute `{name}` to set; its networks are `family[0]`, `family[1]`, …"

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(len(values) for values in self.axes.values())

    @property
    def _kind(self) -> str:
        return "a model" if self.of_models else "a network"

    @property
    def of_models(self) -> bool:
        """Whether it holds models, not networks."""
        return self._first == MODELS

    def __len__(self) -> int:
        return len(self.points)

    @overload
    def __getitem__(self, index: int) -> Network: ...

    @overload
    def __getitem__(self, index: Any) -> Any: ...

    def __getitem__(self, index: Any) -> Any:
        """family[3]: a network by its place in `points`; family[0, 1]: by one index for each axis; with a slice among
        them, the `Ensemble` of a part, where an axis with a number keeps length 1.

        >>> import throughtime as tt
        >>> family = tt.Ensemble([tt.Network("gru", 2, 8, seed=k) for k in range(6)], {"a": [1, 2, 3], "b": [0, 1]})
        >>> family[1:, 0].axes
        {'a': [2, 3], 'b': [0]}
        """
        found = along.places(self.axes, index)
        return self._network(found) if isinstance(found, int) else self._part(*found)

    def _part(self, axes: dict[str, list], places: list[int]) -> Ensemble:
        networks = [self._list[k] for k in places] if self._make is None else self._make
        return Ensemble(networks, axes, backend=self.backend, save=self.save, progress=self.progress)

    def _network(self, index: int) -> Network:
        network: Any = self._list[index] if self._make is None else self._make(**self.points[index])
        if is_model(network) and self._first in (None, MODELS):
            if network.device != "cpu":
                raise TypeError(
                    f"The model of {label(self.points[index])} is on the GPU; an ensemble trains models on the CPU, "
                    'one in each thread: pass `model.to("cpu")`.'
                )
            self._first = MODELS
            return network
        if not isinstance(network, Network) or self._first == MODELS:
            wanted = (
                "a throughtime.Network, or a model" if self._first is None else f"{self._kind}, as the first one is"
            )
            raise TypeError(f"The network of {label(self.points[index])} is {told(network)}; expected {wanted}.")
        if network.device != "cpu":
            raise TypeError(
                f"The network of {label(self.points[index])} is on the GPU; an ensemble is made of networks on the "
                'CPU, and `ensemble.to("cuda")` takes all of them there at once.'
            )
        shape = (one_or_all([type(cell) for cell in network.cells]), *(getattr(network, name) for name in SHAPE))
        if self._first is None:
            self._first = shape
        for name, here, first in zip(("cell", *SHAPE), shape, self._first, strict=True):
            if here != first:
                raise ValueError(
                    f"An ensemble has networks of one shape, but the network of {label(self.points[index])} has "
                    f"{name}={here} and the first one {first}. Make one ensemble for each."
                )
        return network

    def __iter__(self) -> Iterator[Network]:
        return (self[i] for i in range(len(self)))

    def unroll(self, x: Any, state: Any = None, lengths: Any = None) -> EnsembleRun:
        """Every network unfolded over the same input; x, state and lengths as for `Network.unroll`.

        >>> import numpy as np, throughtime as tt
        >>> family = tt.Ensemble([tt.Network("gru", 2, 8, seed=seed) for seed in range(3)])
        >>> family.unroll(np.ones((5, 2))).output.shape
        (3, 5, 8)
        """
        return EnsembleRun(self, (x, state, lengths), self._map)

    def to(self, device: str) -> Any:
        """All networks on a device: one `Network`, every parameter with a leading axis, run in one launch.

        device : "cuda", or "cpu" for the ensemble itself; ValueError for another.
        Of its runs the axis of the batch holds the networks in the order of `points`; the analyses give what they give
        here, an `EnsembleResult`. With a Generator as their `seed`, all networks there share one draw of it.
        """
        if arguments.device(device) == "cpu":
            return self
        if self.of_models:
            raise ValueError("Models work on the CPU; an ensemble of networks goes to the GPU.")
        return together(list(self), self.axes)

    def map(self, function: Callable, *args: Any, **options: Any) -> Any:
        """`function(network, *args, **options)` for every network -> `EnsembleResult`.

        >>> import numpy as np, throughtime as tt
        >>> family = tt.Ensemble([tt.Network("gru", 2, 8, seed=seed) for seed in range(3)])
        >>> family.map(lambda net: np.abs(net.parameters["weight_hh_l0"]).max())[()].shape
        (3,)
        """
        return self._map((), [None] * len(self), function, args, options)

    def _map(
        self,
        way: tuple,
        runs: list[Any],
        function: Callable,
        args: tuple,
        options: dict,
        known: str | None = None,
        own: Sequence[tuple] = (),
    ) -> Any:
        """`way`: () or the arguments of `unroll`, `known` their key; `runs`: what is unrolled already; `own`: arguments
        of each network that follow those of all."""
        if not callable(function):
            raise TypeError(
                f"`function` is {arguments.kind(function)}; expected a function that is called with each network."
            )
        function = getattr(function, "per_network", function)
        calls = random_streams.calls(function, args, options, len(self))
        if own:
            calls = [(f, (*a, *more), o) for (f, a, o), more in zip(calls, own, strict=True)]

        def keys() -> list[str]:
            sweep.named(function)
            shared = sweep.key(calls[0]) if calls[0] is calls[-1] else None
            whole = [sweep.key(call) for call in calls] if shared is None else [shared] * len(calls)
            by = sweep.key(way) if known is None else known
            return [sweep.key(whole[i], by, self._content(i, runs[i])) for i in range(len(self))]

        pieces = [(analysed, (self, i, runs[i], way, *calls[i])) for i in range(len(self))]
        if self.backend == "joblib":
            pieces = [(analysed, (self._member(i), 0, runs[i], way, *calls[i])) for i in range(len(self))]
        names = [f"the network of {label(self.points[i])}" for i in range(len(self))]
        results = sweep.sweep(pieces, names, backend=self.backend, save=self.save, keys=keys, progress=self.progress)
        return EnsembleResult(self.axes, tuple(results))

    def _content(self, index: int, run: Any) -> str:
        """A digest of all that a network is, or was when it was unrolled: numbers, the code of its cell, attributes."""
        if self.of_models and not isinstance(run, Unrolled):
            return sweep.key(self[index] if run is None else run)
        network = self[index] if run is None else run.network
        numbers = network.parameters if run is None else run.made_with()
        names = network.shapes if run is None else network.weight_shapes
        cells = network.cells if run is None else run.cells
        held: dict[str, Any] = {"parameters": {name: np.asarray(numbers[name]) for name in names}}
        held |= {"cells": [contents(cell) for cell in cells], "cell": None}
        if self.of_models:  # of a piece: what came to it, through other pieces
            held |= {"input": run.input, "begins": run.states[0], "lengths": run.lengths}
        return sweep.key(type(network), vars(network) | held)

    def _member(self, index: int) -> Any:
        """What another process needs of one network: itself, or how to make it."""
        return (self[index],) if self._make is None else NetworkToBe(self._make, self.points[index])

    def __repr__(self) -> str:
        axes = " × ".join(f"{len(values)} {name}" for name, values in self.axes.items())
        return f"Ensemble of {len(self)} {self._kind[2:]}s ({axes}), backend {self.backend}; the first: {self[0]!r}"


def _numbers(network: Any) -> tuple:
    """Everything a network's behaviour depends on, to compare and to hash."""
    if is_model(network):
        return type(network), network.shapes, network.flat.tobytes()
    parameters = {name: (value.shape, value.tobytes()) for name, value in network.parameters.items()}
    cells = tuple((type(cell), *comparable(cell)) for cell in network.cells)
    shape = tuple(str(getattr(network, name)) for name in SHAPE)
    return cells, shape, parameters, tuple(network.parametrise.items())
