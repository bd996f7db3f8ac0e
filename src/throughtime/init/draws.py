"""Parameters as they are drawn: uniform, and square blocks of W_hh, one for each gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..cells.base import spec
from ..engine.blas import single_blas
from ..refuse import arguments, words
from .layer_parts import Values, in_order, layer_parts, norm_values, told_cells, unit_parameters
from .per_gate import PerGate, per_gate


class Layout(Protocol):
    """What an initialiser may ask of a network (a Network has it)."""

    cells: Sequence[Any]  # of each layer
    hidden_sizes: Sequence[int]
    bias: bool
    shapes: dict[str, tuple[int, ...]]


Initialiser = Callable[[Any, np.random.Generator], Values]


@dataclass(frozen=True)
class _Uniform:
    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        values = norm_values(network)
        for part in layer_parts(network):
            bound, own = 1 / np.sqrt(part.hidden_size), spec(part.cell).parameters
            drawn = {kind: rng.uniform(-bound, bound, shape) for kind, shape in part.shapes.items() if kind not in own}
            values |= in_order(part, drawn | unit_parameters(part.cell, part.hidden_size, rng))
        return values


@dataclass(frozen=True)
class _Blocks:
    """W_hh from square blocks, one per gate; W_ih and the biases Gaussian."""

    block: Callable[[int, np.random.Generator], np.ndarray]
    gain: PerGate
    input_gain: PerGate
    bias_std: PerGate
    per_input: bool = True  # whether the spread of W_ih is input_gain/√I, or input_gain itself

    def __call__(self, network: Layout, rng: np.random.Generator) -> Values:
        parts, values = layer_parts(network), norm_values(network)
        numbers = (
            self.gain.of_all([spec(part.cell).part_names for part in parts], told_cells(parts)),
            self.input_gain.of_all([spec(part.cell).gate_names for part in parts], told_cells(parts)),
            self.bias_std.of_all([spec(part.cell).gate_names for part in parts], told_cells(parts)),
        )
        for part, gains, input_gains, stds in zip(parts, *numbers, strict=True):
            record, n, drawn = spec(part.cell), part.hidden_size, Values()
            for kind, shape in part.shapes.items():
                if kind == "weight_ih":
                    spread = np.repeat(input_gains, n) / (np.sqrt(shape[1]) if self.per_input else 1.0)
                    drawn[kind] = spread[:, None] * rng.standard_normal(shape)
                elif kind == "weight_hh":  # of one signal and all gates it is one block for each gate
                    drawn[kind] = np.concatenate([gains[fed] * self.block(n, rng) for _, fed in record.blocks])
                elif kind == "bias_ih":  # this one alone, so that the sum of the two has the spread asked for
                    drawn[kind] = np.repeat(stds, n) * rng.standard_normal(shape)
                elif kind == "bias_hh":
                    drawn[kind] = np.zeros(shape)
            values |= in_order(part, drawn | unit_parameters(part.cell, part.hidden_size, rng))
        return values


@words.explained
def uniform() -> Initialiser:
    """Every parameter from U(−1/√N, 1/√N): PyTorch's default, and ours.

    With it W_hh has gain 1/√3: σ² = 1/(3N). Parameters of the units start as their cell says, by its `initial`, here
    and with every other initialiser. It takes no arguments: TypeError for any.
    Source: torch.nn.RNNBase.reset_parameters.

        >>> import throughtime as tt
        >>> bool(abs(tt.Network("gru", 3, 64, init=tt.init.uniform()).parameters["bias_hh_l0"]).max() <= 1 / 8)
        True
    """
    return _Uniform()


@words.explained
def gaussian(gain: Any = 1.0, *, input_gain: Any = 1.0, bias_std: Any = 0.0) -> Initialiser:
    """W_hh ~ N(0, gain²/N) in every gate block, W_ih ~ N(0, input_gain²/I), biases of sum ~ N(0, bias_std²).

    N hidden units, I inputs of the layer. The random network of Sompolinsky, Crisanti & Sommers (1988): chaotic for
    tanh at gain > 1. input_gain : of the weights of the input. bias_std goes to bias_ih, bias_hh is 0.

    Each is one number for all gates, or numbers in the order of the gates, `gain=(1.0, 1.0, 2.0)`, or a dict by their
    names, `gain={"n": 2.0}`, others as by default; of a cell with signals of its own the gain is that of the parts of r
    that they feed. ValueError if a number is not finite or bias_std < 0, and from Network for gates that none of its
    cells has, or for another number of them.

        >>> import throughtime as tt
        >>> net = tt.Network("tanh", 3, 400, init=tt.init.gaussian(gain=2.0), seed=0)
        >>> round(float(net.parameters["weight_hh_l0"].std()), 3)  # 2/√400
        0.1
        >>> gru = tt.Network("gru", 3, 400, init=tt.init.gaussian(gain={"n": 2.0}), seed=0)
        >>> gru.parameters["weight_hh_l0"].reshape(3, -1).std(axis=1).round(3)
        array([0.05, 0.05, 0.1 ])
    """
    return _blocks(_gaussian, gain, input_gain, bias_std)


@words.explained
def orthogonal(gain: Any = 1.0, *, input_gain: Any = 1.0, bias_std: Any = 0.0) -> Initialiser:
    """Every gate block of W_hh is gain·Q with QᵀQ = 1, Q uniform over all orthogonal matrices; the rest as in gaussian.

    Every singular value of a block is |gain|. gain, input_gain, bias_std and ValueError : as of `gaussian`, also gate
    by gate. Q from the QR of a Gaussian matrix, its columns times the signs of R's diagonal, without which it is not
    uniform (Haar): Mezzadri, Notices of the AMS 54 (2007) 592.

        >>> import numpy as np, throughtime as tt
        >>> w = tt.Network("linear", 3, 64, init=tt.init.orthogonal(gain=2.0)).parameters["weight_hh_l0"]
        >>> bool(np.allclose(w.T @ w, 4 * np.eye(64)))
        True
    """
    return _blocks(_orthogonal, gain, input_gain, bias_std)


@words.explained
def identity(gain: Any = 1.0, *, input_gain: Any = 1.0, bias_std: Any = 0.0) -> Initialiser:
    """Every gate block of W_hh is gain·1; the rest as in gaussian.

    With the cell "relu" the IRNN of Le, Jaitly & Hinton (2015), arXiv:1504.00941. gain, input_gain, bias_std and
    ValueError : as of `gaussian`, also gate by gate.

        >>> import throughtime as tt
        >>> tt.Network("relu", 3, 2, init="identity").parameters["weight_hh_l0"]
        array([[1., 0.],
               [0., 1.]])
    """
    return _blocks(_identity, gain, input_gain, bias_std)


@words.explained
def irnn(gain: Any = 1.0, *, input_std: float = 0.001) -> Initialiser:
    """W_hh = gain·1 in every gate block, W_ih ~ N(0, input_std²), biases 0: for the cell "relu" the IRNN.

    At gain 1 a state without input stays as it is, and gradients neither vanish nor explode before learning has moved
    the weights; below 1 they decay as gain^t, and memory is short. `identity` has larger weights of the input, 1/√I.
    gain : one number, or gate by gate as of `gaussian`. ValueError if a number is not finite or input_std < 0.

    Source: Le, Jaitly & Hinton (2015), arXiv:1504.00941, whose input_std is 0.001 and gain 1.

        >>> import throughtime as tt
        >>> net = tt.Network("relu", 3, 2, init=tt.init.irnn(), seed=0)
        >>> net.parameters["weight_hh_l0"], bool(abs(net.parameters["weight_ih_l0"]).max() < 0.005)
        (array([[1., 0.],
               [0., 1.]]), True)
    """
    spread = arguments.real("input_std", input_std, low=0.0)
    none = per_gate("bias_std", 0.0, 0.0)
    return _Blocks(_identity, per_gate("gain", gain, 1.0), per_gate("input_std", spread, 1.0), none, per_input=False)


def _gaussian(n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((n, n)) / np.sqrt(n)


def _identity(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.eye(n)


@single_blas
def _orthogonal(n: int, rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.copysign(1.0, r.diagonal())


def _blocks(block: Callable[..., np.ndarray], gain: Any, input_gain: Any, bias_std: Any) -> Initialiser:
    return _Blocks(
        block,
        per_gate("gain", gain, 1.0),
        per_gate("input_gain", input_gain, 1.0),
        per_gate("bias_std", bias_std, 0.0, low=0.0),
    )
