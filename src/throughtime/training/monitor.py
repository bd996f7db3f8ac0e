"""Monitor: what a loop of one's own tells it, and what it measures of the network every so many steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..refuse import arguments, words
from ..refuse.called import called, name_of, told
from .history import History, add_row, not_taken
from .measures import MEASURES


@called("a monitor")
@words.explain
class Monitor:
    """Records what training does, in any loop, and measures the network every so many steps.

    every: steps from measurement to measurement. probe: the input on which is measured, as `unroll` takes it, or a
    `tt.tasks.Batch`. measure: a list of names, and of functions of a network's run; or a dict name -> function, by
    which the columns are called. Names:

        "exponent"     largest Lyapunov exponent along the probe, nats per step
        "horizon"      steps back over which the gradient of the last output changes by a factor e, the median
        "by_lag"       (T,) share of each lag in the gradient of the recurrent weights, of the sum of all outputs
        "saturation"   (layers, gates, 2) share of the gates below 0.1 and above 0.9, of an LSTM (i, f, o) or GRU (r, z)

    history: the `History` that it goes on with; by default a new one. Of a model with several networks the columns are
    called "1.horizon", by the names of its pieces. TypeError or ValueError for arguments that mean nothing.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("gru", 2, 8, seed=0)
        >>> monitor = tt.training.Monitor(every=10, probe=np.ones((50, 4, 2)), measure=["horizon", "saturation"])
        >>> for step in range(21):
        ...     net.parameters["bias_ih_l0"] += 0.1
        ...     monitor(net, loss=1.0)
        >>> monitor.history["saturation"].shape, monitor.history.at("horizon")
        ((3, 1, 2, 2), array([ 0, 10, 20]))

    In a loop of PyTorch's, where `module` is an nn.GRU of the same sizes and batch_first is False:

        >>> for step in range(1000):                                                   # doctest: +SKIP
        ...     loss = …
        ...     loss.backward()
        ...     norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        ...     optimiser.step()
        ...     net.load_state_dict(module.state_dict())
        ...     monitor(net, loss=loss.item(), norm=float(norm))
        >>> monitor.history.plot(kind="measured")                                      # doctest: +SKIP
    """

    def __init__(self, every: int = 100, probe: Any = None, measure: Any = (), history: History | None = None) -> None:
        self.every = arguments.size("every", every)
        self.probe, self.measure = probe, _functions(measure)
        if history is not None and not isinstance(history, History):
            raise TypeError(f"`history` is {told(history)}; expected a History, `monitor.history` of another.")
        if self.measure and probe is None:
            raise ValueError("`measure` needs an input to measure on: pass `probe=x`, as `model.unroll` takes it.")
        self.history = History() if history is None else history
        self.begin()

    def begin(self) -> None:
        """Start the clock; it goes on from the last row of the history."""
        self._began = time.perf_counter() - (self.history.rows["seconds"][-1] if len(self.history) else 0.0)

    def __call__(self, model: Any = None, **row: float) -> None:
        """One step is made: write what is told as a row, and measure if it is time.

        model: the model or network as it is now; of one in PyTorch, a `tt.Network` with its parameters loaded.
        row: columns by name, loss=…, norm=…; "step" goes on by itself.
        """
        before = self.history.rows["step"]
        step = int(row.pop("step", before[-1] + 1 if before else 0))
        for name, value in row.items():
            if type(value) is not float:
                row[name] = _number(name, value)
        due = bool(self.measure) and model is not None and step % self.every == 0
        if due and name_of(model) not in ("a model", "a network"):
            raise TypeError(f"`model` is {told(model)}; what is measured is a model or a `tt.Network`, as it is now.")
        add_row(self.history, {"step": step, "seconds": time.perf_counter() - self._began, **row})
        if due:
            self._measure(model, step)

    def _measure(self, model: Any, step: int) -> None:
        x, lengths = (self.probe[0], self.probe[2]) if isinstance(self.probe, tuple) else (self.probe, None)
        if name_of(model) == "a model" and model.device != "cpu":
            model = model.to("cpu")  # measures are taken in NumPy
        run = model.unroll(x, lengths=lengths)
        runs = getattr(run, "networks", None)
        runs = {"": run} if runs is None else runs
        for piece, own in runs.items():
            for name, function in self.measure.items():
                self.history.measure(f"{piece}.{name}" if len(runs) > 1 else name, step, function(own))


def _number(name: str, value: Any) -> float:
    """A float of what is told of a step: a tensor of PyTorch would keep the graph of its whole past alive."""
    number = value.detach() if hasattr(value, "detach") else value
    try:
        if np.ndim(number) == 0 and not isinstance(number, (str, bytes)):
            return float(number)
    except (TypeError, ValueError):
        pass
    raise TypeError(f"`{name}` is {told(value)}; a column has one real number for each step.")


def _functions(measure: Any) -> dict[str, Callable]:
    if isinstance(measure, str) or callable(measure):
        measure = [measure]
    if isinstance(measure, dict):
        named = dict(measure)
    elif isinstance(measure, (list, tuple)):
        named = {}
        for one in measure:
            if callable(one):
                named[getattr(one, "__name__", type(one).__name__)] = one
            else:
                name = arguments.known("measure", one, MEASURES)
                named[name] = MEASURES[name]
    else:
        raise TypeError(f"`measure` is {told(measure)}; expected a list of {', '.join(MEASURES)}, or of functions.")
    for name, function in named.items():
        if not isinstance(name, str) or not callable(function) or isinstance(function, type):
            raise TypeError(f"`measure` has {told(function)} as {name!r}; expected a function of a network's run.")
        not_taken("measure", name)
    return named
