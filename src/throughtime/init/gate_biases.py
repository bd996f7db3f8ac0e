"""Biases of gates: how long a cell remembers before it has learnt anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cells import CELLS
from ..network.parameters import layer_of
from ..refuse import arguments, numeric, words
from .draws import Initialiser, Layout, Values
from .named import drawn, initialiser


@dataclass(frozen=True)
class _ForgetBias:
    value: np.ndarray
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        places = _places(network, ("lstm",))
        if not places:
            raise ValueError(f"init=forget_bias(…) is for the cell lstm; {_shown(network)} has no forget gate.")
        _has_biases(network, "forget_bias")
        values = drawn(self.base, network, rng)
        for suffix, k in places:
            n = network.hidden_sizes[k]
            if self.value.shape not in ((), (n,)):
                raise ValueError(
                    f"`value` of init=forget_bias(…) has shape {self.value.shape}; expected one number, or one for "
                    f"each of the {n} units."
                )
            _set_gate(values, suffix, n, 1, self.value)  # gate blocks i, f, g, o
        return values


@dataclass(frozen=True)
class _Chrono:
    longest: float
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        places = _places(network, ("lstm", "gru"))
        if not places:
            raise ValueError(
                f"init=chrono(…) is for the cells lstm and gru; {_shown(network)} has no gate that keeps its state."
            )
        _has_biases(network, "chrono")
        values = drawn(self.base, network, rng)
        for suffix, k in places:
            n = network.hidden_sizes[k]
            kept = np.log(rng.uniform(1.0, self.longest - 1.0, n))
            _set_gate(values, suffix, n, 1, kept)  # LSTM i, f, g, o; GRU r, z, n
            if isinstance(network.cells[k], CELLS["lstm"]):
                _set_gate(values, suffix, n, 0, -kept)
        return values


def _has_biases(network: Layout, name: str) -> None:
    if not network.bias:
        raise ValueError(f"init={name}(…) sets biases, but the network was asked for with `bias=False`.")


def _places(network: Layout, cells: tuple[str, ...]) -> list[tuple[str, int]]:
    """How the names of every layer and direction of one of these cells end, and the number of the layer."""
    ends = [name.removeprefix("weight_ih") for name in network.shapes if name.startswith("weight_ih")]
    return [(end, k) for end in ends if isinstance(network.cells[k := layer_of(end)], tuple(CELLS[c] for c in cells))]


def _shown(network: Layout) -> str:
    return " and ".join(dict.fromkeys(map(repr, network.cells)))


def _set_gate(values: Values, suffix: str, n: int, gate: int, value: np.ndarray) -> None:
    """The sum of both biases of a gate is `value`: all of it in bias_ih."""
    rows = slice(gate * n, (gate + 1) * n)
    values["bias_ih" + suffix][rows], values["bias_hh" + suffix][rows] = value, 0.0


@words.explained
def forget_bias(value: Any, base: Initialiser | str = "uniform") -> Initialiser:
    """For the LSTM: forget-gate biases bias_ih = value and bias_hh = 0, so their sum is `value`; all else as `base`.

    Where layers have different cells, in those that are LSTMs.

    value: one number, or N of them, one for each unit: with ln(uniform(1, T_max − 1)) units of all time constants, the
    "chrono" initialisation of the paper below.

    With no other drive the cell state decays as exp(−t/τ), 1/τ = −ln σ(value) = ln(1 + exp(−value)) nats per time step:
    .69 at 0, .31 at 1, .049 at 3 (Tallec & Ollivier 2018, arXiv:1804.11188). ValueError from Network without an LSTM,
    with bias=False and for another number of values.

        >>> import throughtime as tt
        >>> tt.Network("lstm", 3, 2, init=tt.init.forget_bias(3.0)).parameters["bias_ih_l0"][2:4]
        array([3., 3.])
    """
    found = numeric.numbers("value", value)
    if found.ndim == 0:
        found = np.asarray(arguments.real("value", found[()]))
    if found.ndim > 1 or not np.isfinite(found).all():
        raise ValueError(f"`value` has shape {found.shape}; expected one finite number, or one for each unit.")
    return _ForgetBias(found.astype(float), initialiser(base, name="base"))


@words.explained
def chrono(longest: float, base: Initialiser | str = "uniform") -> Initialiser:
    """Biases of the gates for memories of 1 to `longest` steps, drawn unit by unit; all else as `base`.

        LSTM:  b_f = ln u,  b_i = −b_f      GRU:  b_z = ln u        u ~ U(1, longest − 1)

    longest : T_max ≥ 2, the longest dependency that is to be learnt, in steps. b stands for the sum of the two biases;
    bias_hh of these gates is 0. With nothing else at the gate, it keeps u/(1 + u) of the state in a step: time
    constants of about u steps, and an input that enters with weight 1/(1 + u). PyTorch's z keeps the state, as ours
    does. Layers and directions have draws of their own; layers of other cells are as `base` has them. ValueError if
    longest < 2, and from Network where no layer is an LSTM or a GRU and with bias=False.

    Source: Tallec & Ollivier (2018), arXiv:1804.11188, §2.2; they take T_max = 3/2 of the gap for copying, the length
    for adding.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("lstm", 3, 100, init=tt.init.chrono(longest=200), seed=0)
        >>> b_i, b_f = net.parameters["bias_ih_l0"][:200].reshape(2, 100)
        >>> bool((b_i == -b_f).all()), bool((b_f >= 0).all() and (b_f <= np.log(199)).all())
        (True, True)
    """
    return _Chrono(arguments.real("longest", longest, low=2.0), initialiser(base, name="base"))
