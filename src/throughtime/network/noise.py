"""Noise of training in the recurrence: zoneout, and dropout of what the units send to each other; each draws from a
generator of its own, and only where a run asks for it.

Dimensions: T time steps, B sequences, N units, S states of a unit, E signals that its state sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..cells.base import spec
from ..refuse import arguments, words
from ..refuse.called import called, told

Array = np.ndarray
Masks = list[list[tuple[Array, Array]]]  # of layer k, direction d: kept (T, B, S*N), heard (B, E*N)


def _rate(name: str, value: Any) -> float:
    rate = arguments.real(name, value, 0.0)
    if rate >= 1:
        raise ValueError(f"`{name}` is {rate:g}; it is the share of all that are left out: expected less than 1.")
    return rate


@called("a zoneout")
@words.explain
class Zoneout:
    """States that stay what they were, at random: each of every unit, step and sequence by itself.

        s_t = z s_{t−1} + (1 − z) c_t,    z = 1 with probability `rate`, otherwise 0

    c_t is the next state as the cell has it; an LSTM's h is of the c that was to come, whether or not that is kept.
    `net.unroll(x, noise=Zoneout(0.1, seed=0))` draws; so does a `tt.models.Chain` made with `noise=` while it is
    trained, and nothing else. Gradients are exact, with the masks as they were drawn.

    rate: at least 0 and below 1, for all states, or a tuple with one for each, (h, c); a layer whose units have fewer
    takes the first of them. seed: None, a whole number, or a numpy Generator; `generator` is the one that is drawn
    from. TypeError and ValueError for what means nothing.

    Source: Krueger et al. (2017), arXiv:1606.01305; their LSTM of text has (0.05, 0.5). They evaluate with the mean of
    z, here nothing is kept then, as with other noise.

    >>> import numpy as np, throughtime as tt
    >>> net, x = tt.Network("lstm", 3, 8, seed=0), np.ones((20, 4, 3))
    >>> run, again = (net.unroll(x, noise=tt.Zoneout((0.05, 0.5), seed=1)) for _ in range(2))
    >>> kept = run.states[1:, :, 8:] == run.states[:-1, :, 8:]                                   # of c
    >>> np.array_equal(run.states, again.states), float(kept.mean().round(1))
    (True, 0.5)
    """

    def __init__(self, rate: Any, *, seed: Any = None) -> None:
        several = isinstance(rate, (tuple, list))
        if several and not rate:
            raise ValueError("`rate` is empty; expected a number, or one for each state of a unit, (h, c).")
        self.rate = tuple(_rate(f"rate[{j}]", own) for j, own in enumerate(rate)) if several else _rate("rate", rate)
        self.generator = arguments.generator(seed)

    def kept(self, states: int, shape: tuple[int, int, int]) -> Array:
        """1 for what stays and 0 for the rest, (T, B, S*N), for `shape` (T, B, N)."""
        rates = self.rate if isinstance(self.rate, tuple) else (self.rate,) * states
        if len(rates) < states:
            raise ValueError(
                f"`rate` has {len(rates)} values, but a unit of this network has {states} states: pass one for each, "
                "(h, c), or one number."
            )
        *rows, units = shape
        limits, found = np.repeat(rates[:states], units), np.empty((*rows, states * units), bool)
        for own in found:  # step by step: the numbers drawn take eight times the memory of what comes of them
            own[...] = self.generator.random(own.shape) < limits
        return found

    def __repr__(self) -> str:
        return f"Zoneout({self.rate})"


@called("a recurrent dropout")
@words.explain
class RecurrentDropout:
    """What units send to each other left out at random, the same units for all steps of a sequence.

        r_t = W_hh (m e_{t−1}) + b_hh,    m = 1/(1 − rate) with probability 1 − rate, otherwise 0

    m is drawn once for each unit and sequence. The next layer and the output hear e as it is. Otherwise as `Zoneout`.

    rate: at least 0 and below 1. seed: None, a whole number, or a numpy Generator; `generator` is the one that is drawn
    from. TypeError and ValueError for what means nothing.

    Source: Gal & Ghahramani (2016), arXiv:1512.05287, their untied-weights form: one mask for all gates.

    >>> import numpy as np, throughtime as tt
    >>> net, noise = tt.Network("gru", 3, 8, seed=0), tt.RecurrentDropout(0.5, seed=1)
    >>> x = np.ones((20, 4, 3))
    >>> one, two = (net.unroll(x, noise=noise).output for _ in range(2))
    >>> np.array_equal(one, two), np.array_equal(net.unroll(x).output, net.unroll(x).output)
    (False, True)
    """

    def __init__(self, rate: float, *, seed: Any = None) -> None:
        self.rate, self.generator = _rate("rate", rate), arguments.generator(seed)

    def heard(self, batch: int, numbers: int) -> Array:
        """The factors of what is sent, (B, E*N)."""
        return np.where(self.generator.random((batch, numbers)) < self.rate, 0.0, 1.0 / (1.0 - self.rate))

    def __repr__(self) -> str:
        return f"RecurrentDropout({self.rate:g})"


def checked(noise: Any) -> tuple[Any, ...]:
    """Zoneout, RecurrentDropout, or both in a list; TypeError or ValueError for anything else."""
    if noise is None:
        return ()
    given = tuple(noise) if isinstance(noise, (list, tuple)) else (noise,)
    for own in given:
        if not isinstance(own, (Zoneout, RecurrentDropout)):
            raise TypeError(
                f"`noise` is {told(noise)}; expected `tt.Zoneout(rate)`, `tt.RecurrentDropout(rate)`, or a list of "
                "both."
            )
    if len({type(own) for own in given}) < len(given):
        raise ValueError("`noise` has two of one kind; expected one zoneout, one recurrent dropout, or one of each.")
    return given


def masks(noise: Sequence[Any], network: Any, steps: int, batch: int) -> Masks | None:
    """The masks of a run, drawn layer by layer; None without noise."""
    if not noise:
        return None
    if network.device != "cpu":
        raise ValueError('`noise` works on the CPU: take the run of `network.to("cpu")`.')
    zones = next((own for own in noise if isinstance(own, Zoneout)), None)
    drops = next((own for own in noise if isinstance(own, RecurrentDropout)), None)
    found: Masks = []
    for cell, units in zip(network.cells, network.hidden_sizes, strict=True):
        of_layer, record = [], spec(cell)
        for _ in range(network.num_directions):
            shape, sent = (steps, batch, units), (batch, record.signals * units)
            kept = (
                np.zeros((steps, batch, record.states * units), np.uint8)
                if zones is None
                else zones.kept(record.states, shape)
            )
            heard = np.ones(sent) if drops is None else drops.heard(*sent)
            of_layer.append((kept.view(np.uint8), heard.astype(network.dtype)))
        found.append(of_layer)
    return found
