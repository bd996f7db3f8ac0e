"""Initial parameters. An initialiser is a callable `init(network, rng)` that returns {name: array} for every name of
`network.shapes`. `Network(..., init=...)` takes one of these, a name ("uniform", "gaussian", "orthogonal", "identity"),
or yours.

Values are drawn in float64 and then cast, so one seed gives the same network in float32 and float64 up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .cells import CELLS
from .engine.blas import single_blas
from .refuse import arguments, numeric, words

__all__ = ["forget_bias", "gaussian", "identity", "orthogonal", "uniform"]

Values = dict[str, np.ndarray]


class Layout(Protocol):
    """What an initialiser may ask of a network (a Network has it)."""

    cell: Any
    hidden_size: int
    bias: bool
    shapes: dict[str, tuple[int, ...]]


Initialiser = Callable[[Any, np.random.Generator], Values]


@dataclass(frozen=True)
class _Uniform:
    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        bound = 1 / np.sqrt(network.hidden_size)
        return {name: rng.uniform(-bound, bound, shape) for name, shape in network.shapes.items()}


@dataclass(frozen=True)
class _Blocks:
    """W_hh from square blocks, one per gate; W_ih and the biases Gaussian."""

    block: Callable[[int, np.random.Generator], np.ndarray]
    gain: float
    input_gain: float
    bias_std: float

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        n, values = network.hidden_size, {}
        for name, shape in network.shapes.items():
            if name.startswith("weight_ih"):
                values[name] = self.input_gain / np.sqrt(shape[1]) * rng.standard_normal(shape)
            elif name.startswith("weight_hh"):
                values[name] = self.gain * np.concatenate([self.block(n, rng) for _ in range(shape[0] // n)])
            elif name.startswith("bias_ih"):  # this one alone, so that the sum of the two has the spread asked for
                values[name] = self.bias_std * rng.standard_normal(shape)
            else:
                values[name] = np.zeros(shape)
        return values


@dataclass(frozen=True)
class _ForgetBias:
    value: np.ndarray
    base: Initialiser

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        if not isinstance(network.cell, CELLS["lstm"]):
            raise ValueError(f"init=forget_bias(…) is for the cell lstm; {network.cell!r} has no forget gate.")
        if not network.bias:
            raise ValueError("init=forget_bias(…) sets biases, but the network was asked for with `bias=False`.")
        if self.value.shape not in ((), (network.hidden_size,)):
            raise ValueError(
                f"`value` of init=forget_bias(…) has shape {self.value.shape}; expected one number, or one for each of "
                f"the {network.hidden_size} units."
            )
        values = {name: np.array(value, dtype=float) for name, value in self.base(network, rng).items()}
        forget = slice(network.hidden_size, 2 * network.hidden_size)  # gate blocks i, f, g, o
        for name in values:
            if name.startswith("bias"):
                values[name][forget] = self.value if name.startswith("bias_ih") else 0.0
        return values


@words.explained
def uniform() -> Initialiser:
    """Every parameter from U(−1/√N, 1/√N): PyTorch's default, and ours.

    With it W_hh has gain 1/√3: σ² = 1/(3N). It takes no arguments: TypeError for any.
    Source: torch.nn.RNNBase.reset_parameters.

        >>> import throughtime as tt
        >>> bool(abs(tt.Network("gru", 3, 64, init=tt.init.uniform()).parameters["bias_hh_l0"]).max() <= 1 / 8)
        True
    """
    return _Uniform()


@words.explained
def gaussian(gain: float = 1.0, *, input_gain: float = 1.0, bias_std: float = 0.0) -> Initialiser:
    """W_hh ~ N(0, gain²/N) in every gate block, W_ih ~ N(0, input_gain²/I), biases of sum ~ N(0, bias_std²).

    N hidden units, I inputs of the layer. The random network of Sompolinsky, Crisanti & Sommers (1988): chaotic for
    tanh at gain > 1. input_gain : of the weights of the input. bias_std goes to bias_ih, bias_hh is 0. ValueError if a
    number is not finite or bias_std < 0.

        >>> import throughtime as tt
        >>> net = tt.Network("tanh", 3, 400, init=tt.init.gaussian(gain=2.0), seed=0)
        >>> round(float(net.parameters["weight_hh_l0"].std()), 3)  # 2/√400
        0.1
    """
    return _blocks(_gaussian, gain, input_gain, bias_std)


@words.explained
def orthogonal(gain: float = 1.0, *, input_gain: float = 1.0, bias_std: float = 0.0) -> Initialiser:
    """Every gate block of W_hh is gain·Q with QᵀQ = 1, Q uniform over all orthogonal matrices; the rest as in gaussian.

    Every singular value of a block is |gain|. input_gain, bias_std and ValueError : as of `gaussian`. Q from the QR of
    a Gaussian matrix, its columns times the signs of R's diagonal, without which it is not uniform (Haar): Mezzadri,
    Notices of the AMS 54 (2007) 592.

        >>> import numpy as np, throughtime as tt
        >>> w = tt.Network("linear", 3, 64, init=tt.init.orthogonal(gain=2.0)).parameters["weight_hh_l0"]
        >>> bool(np.allclose(w.T @ w, 4 * np.eye(64)))
        True
    """
    return _blocks(_orthogonal, gain, input_gain, bias_std)


@words.explained
def identity(gain: float = 1.0, *, input_gain: float = 1.0, bias_std: float = 0.0) -> Initialiser:
    """Every gate block of W_hh is gain·1; the rest as in gaussian.

    With the cell "relu" the IRNN of Le, Jaitly & Hinton (2015), arXiv:1504.00941. input_gain, bias_std and ValueError :
    as of `gaussian`.

        >>> import throughtime as tt
        >>> tt.Network("relu", 3, 2, init="identity").parameters["weight_hh_l0"]
        array([[1., 0.],
               [0., 1.]])
    """
    return _blocks(lambda n, rng: np.eye(n), gain, input_gain, bias_std)


@words.explained
def forget_bias(value: Any, base: Initialiser | str = "uniform") -> Initialiser:
    """For the LSTM: forget-gate biases bias_ih = value and bias_hh = 0, so their sum is `value`; all else as `base`.

    value: one number, or N of them, one for each unit: with ln(uniform(1, T_max − 1)) units of all time constants, the
    "chrono" initialisation of the paper below.

    With no other drive the cell state decays as exp(−t/τ), 1/τ = −ln σ(value) = ln(1 + exp(−value)) nats per time step:
    .69 at 0, .31 at 1, .049 at 3 (Tallec & Ollivier 2018, arXiv:1804.11188). ValueError from Network for any other
    cell, with bias=False and for another number of values.

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


NAMED: dict[str, Callable[[], Initialiser]] = {
    "uniform": uniform,
    "gaussian": gaussian,
    "orthogonal": orthogonal,
    "identity": identity,
}


def initialiser(value: Any, name: str = "init") -> Initialiser:
    """The initialiser that a user means by its name or by itself."""
    if isinstance(value, str):
        return NAMED[arguments.known("initialiser", value, NAMED)]()
    if any(value is function for function in (*NAMED.values(), forget_bias)):
        raise TypeError(f"`{name}` is the function {value.__name__}; call it: throughtime.init.{value.__name__}(…).")
    if not callable(value):
        raise TypeError(
            f"`{name}` is {arguments.kind(value)}; expected a name ({', '.join(NAMED)}), an "
            "initialiser such as throughtime.init.gaussian(gain=1.5), or your own function of (network, rng)."
        )
    return value


def _gaussian(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((n, n)) / np.sqrt(n)


@single_blas
def _orthogonal(n: int, rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.copysign(1.0, r.diagonal())


def _blocks(block: Callable[..., np.ndarray], gain: float, input_gain: float, bias_std: float) -> Initialiser:
    return _Blocks(
        block,
        arguments.real("gain", gain),
        arguments.real("input_gain", input_gain),
        arguments.real("bias_std", bias_std, low=0.0),
    )
