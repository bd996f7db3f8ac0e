"""Biases of gates: how long a cell remembers before it has learnt anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cells.base import spec
from ..refuse import arguments, numeric, words
from .draws import Initialiser, Layout
from .layer_parts import LayerPart, Values, layer_parts, told_cells
from .named import drawn, initialiser


@dataclass(frozen=True)
class _ForgetBias:
    value: np.ndarray
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        forgetting, values = _forgetting(network, "forget_bias"), drawn(self.base, network, rng)
        for part in forgetting:
            if self.value.shape not in ((), (part.hidden_size,)):
                raise ValueError(
                    f"`value` of init=forget_bias(…) has shape {self.value.shape}; expected one number, or one for "
                    f"each of the {part.hidden_size} units."
                )
            gate, sign = spec(part.cell).forgets[0]
            _set_gate(values, part, gate, sign * self.value)
        return values


@dataclass(frozen=True)
class _Chrono:
    longest: float
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        forgetting, values = _forgetting(network, "chrono"), drawn(self.base, network, rng)
        for part in forgetting:
            kept = np.log(rng.uniform(1.0, self.longest - 1.0, part.hidden_size))
            for gate, sign in spec(part.cell).forgets:
                _set_gate(values, part, gate, sign * kept)
        return values


def _forgetting(network: Layout, name: str) -> list[LayerPart]:
    """The layers and directions whose cell says which gate forgets."""
    parts = layer_parts(network)
    found = [part for part in parts if spec(part.cell).forgets]
    if not found:
        raise ValueError(
            f"init={name}(…) sets the bias of the gate that forgets, and of {told_cells(parts)} none is known. "
            'A cell of your own says it as it is registered: `@tt.cell(gates=("f", "n"), forgets="f")`, or '
            '{"f": -1} where a large bias lets go of the state.'
        )
    if not network.bias:
        raise ValueError(f"init={name}(…) sets biases, but the network was asked for with `bias=False`.")
    return found


def _set_gate(values: Values, part: LayerPart, gate: str, value: np.ndarray) -> None:
    """The sum of all biases of a gate is `value`: all of it in bias_ih, or, where no input reaches it, in bias_hh."""
    record, n = spec(part.cell), part.hidden_size
    places = [("bias_ih", k) for k, name in enumerate(record.gate_names) if name == gate]
    places += [("bias_hh", k) for k, name in enumerate(record.part_names) if name == gate]
    for first, (kind, k) in enumerate(places):
        values[kind + part.end][k * n : (k + 1) * n] = 0.0 if first else value


@words.explained
def forget_bias(value: Any, base: Initialiser | str = "uniform") -> Initialiser:
    """Biases of the gate that forgets: bias_ih = value and bias_hh = 0, so that their sum is `value`; all else as base.

    value: one number, or N of them, one for each unit: with ln(uniform(1, T_max − 1)) units of all time constants, the
    "chrono" initialisation of the paper below, of the forget gate alone.

    Which gate it is the cell says, with `@tt.cell(…, forgets=…)`: f of an LSTM, z of a GRU. A large value keeps the
    state; of a gate whose large bias lets go of it the sum is −value. Layers of cells that name no gate are as `base`
    has them. With no other drive the state of an LSTM decays
    as exp(−t/τ), 1/τ = −ln σ(value) = ln(1 + exp(−value)) nats per time step: .69 at 0, .31 at 1, .049 at 3 (Tallec &
    Ollivier 2018, arXiv:1804.11188). ValueError from Network where no cell names a gate that forgets, with bias=False
    and for another number of values.

        >>> import throughtime as tt
        >>> tt.Network("lstm", 3, 2, init=tt.init.forget_bias(3.0)).parameters["bias_ih_l0"][2:4]
        array([3., 3.])
        >>> tt.Network("gru", 3, 2, init=tt.init.forget_bias([1.0, 2.0])).parameters["bias_ih_l0"][2:4]
        array([1., 2.])
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
    does. Of another cell it is the gates that `@tt.cell(…, forgets=…)` names, with ln u times the sign that stands
    there. Layers and directions have draws of their own; layers of cells that name none are as `base` has them.
    ValueError if longest < 2, and from Network where no cell names one and with bias=False.

    Source: Tallec & Ollivier (2018), arXiv:1804.11188, §2.2; they take T_max = 3/2 of the gap for copying, the length
    for adding.

        >>> import numpy as np, throughtime as tt
        >>> net = tt.Network("lstm", 3, 100, init=tt.init.chrono(longest=200), seed=0)
        >>> b_i, b_f = net.parameters["bias_ih_l0"][:200].reshape(2, 100)
        >>> bool((b_i == -b_f).all()), bool((b_f >= 0).all() and (b_f <= np.log(199)).all())
        (True, True)
    """
    return _Chrono(arguments.real("longest", longest, low=2.0), initialiser(base, name="base"))
