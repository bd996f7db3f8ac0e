"""The decorators of every public analysis: `@of_networks` if its first argument is a network, a run, or a matrix that
may be that of a step of a run; `@public` for all others.

    @of_networks                       also of an Ensemble or its run: mapped over all networks
    @of_networks(on_gpu=True)          likewise, and of networks or runs on the GPU
    @public                            of anything else

All say in words which arguments they cannot take (`refuse.expected`), and hold BLAS to one thread, since its own would
spin on the cores that the engine needs. Calls from one analysis to another pay for this too: some 10 µs each.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast, overload

from ..engine.blas import single_blas
from ..ensemble.family import Ensemble
from ..ensemble.family_run import EnsembleRun
from ..refuse.expected import checking
from ..results.of_ensemble import EnsembleResult

F = TypeVar("F", bound=Callable[..., Any])
_on_gpu: dict[str, list[str]] = {"net": [], "run": []}  # the names of the analyses that work there, by what they take


def public(function: F) -> F:
    """A public function: arguments checked in words, BLAS held to one thread."""
    return cast(F, checking(single_blas(function)))


@overload
def of_networks(function: F) -> F: ...
@overload
def of_networks(*, on_gpu: bool) -> Callable[[F], F]: ...
def of_networks(function: Any = None, *, on_gpu: bool = False) -> Any:
    """A public analysis whose first argument is a network, a run or a matrix, or an ensemble of them.

    Of an `Ensemble` or an `EnsembleRun` it gives an `EnsembleResult`: it is mapped over all networks. on_gpu : whether
    it takes networks or runs on the GPU; a run then comes as it is seen from the CPU, which computes there and answers
    in NumPy, and the result of several networks in one run is told apart by `Result.of_sequences`.
    """
    if function is None:
        return functools.partial(of_networks, on_gpu=on_gpu)
    first, name = next(iter(inspect.signature(function).parameters)), function.__name__
    if on_gpu:
        _on_gpu[first].append(name)

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        given: Any = args[0] if args else options.get(first)
        if isinstance(given, (Ensemble, EnsembleRun)):
            rest = options if args else {key: value for key, value in options.items() if key != first}
            return given.map(function, *args[1:], **rest)
        if getattr(given, "device", "cpu") != "cuda":
            return function(*args, **options)
        if not on_gpu:
            raise ValueError(
                f'`{name}` works on the CPU: pass `network.to("cpu")`, or the run of it. On the GPU are '
                f"{', '.join(sorted(_on_gpu['net']))}, for networks and ensembles, and for runs "
                f"{', '.join(sorted(_on_gpu['run']))}."
            )
        if first == "net":
            return function(*args, **options)
        seen = given.on_host()
        args, options = ((seen, *args[1:]), options) if args else (args, options | {first: seen})
        result = function(*args, **options)
        return _by_network(result, seen) if seen.network.stacked else result

    call.per_network = function  # type: ignore[attr-defined]  # what an ensemble maps
    return public(call)


def _by_network(result: Any, run: Any) -> Any:
    """The result for a run of all networks of an ensemble on the GPU, network by network."""
    each = run.states.shape[1] // run.network.networks
    places = (range(k * each, (k + 1) * each) for k in range(run.network.networks))
    return EnsembleResult(run.network.axes, tuple(result.of_sequences(place) for place in places))
