"""Coupled oscillators, coRNN (Rusch & Mishra 2021): a second-order equation for every unit, in steps of dt.

    y'' = tanh(W_y y + W_z z + W_ih input + b) - gamma y - epsilon y',       z = y'

    z' = z + dt (tanh(u) - gamma y - epsilon z)      u = W_ih input + b_ih + W_y y + W_z z + b_hh
    y' = y + dt z'

The authors' code: the damping epsilon z is taken at the old time (explicit), and y moves with the new z. In their
theorems it is taken at the new one.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import tanh, tanh_slope
from .base import cell


@cell(gates=("u",), states=2, sends={"y": ("u",), "z": ("u",)})
class CoRNN(NamedTuple):
    """coRNN: a driven, damped oscillator y with velocity z, coupled to the others through both.

        z' = z + dt (tanh(u) - gamma y - epsilon z),     u = W_ih input + b_ih + W_y y + W_z z + b_hh
        y' = y + dt z'

    For each of the N units: weight_ih (N, I); weight_hh (2N, N), W_y above W_z. The state is (y, z), so that a network
    of N units has 2N Lyapunov exponents; the next layer and the output hear y. Their code's variant, explicit in the
    damping; their theorems are for damping at the new time.

    No product of Jacobians over k steps grows faster than exp(k dt rho), in the largest row sum, where
    rho = |1 - dt epsilon| + dt (gamma + ‖W_y‖ + ‖W_z‖) and dt is so small that rho ≤ 1/(1 - dt).

    Fields:
        dt: the step, 0.042 by default.
        gamma: the square of the frequency without coupling, 2.7 by default.
        epsilon: the damping, 4.7 by default. All three as for sequential MNIST in their code.

    Source: Rusch & Mishra, Coupled oscillatory recurrent neural network, ICLR 2021, arXiv:2010.00951.

    >>> import throughtime as tt
    >>> net = tt.Network(tt.CoRNN(dt=0.1, gamma=1.0, epsilon=1.0), 3, 16, seed=0)
    >>> net.state_size, net.parameters["weight_hh_l0"].shape
    (32, (32, 16))
    """

    dt: float = 0.042
    gamma: float = 2.7
    epsilon: float = 4.7

    def valid(cell):
        if not cell.dt > 0.0:
            raise ValueError(
                f"The `dt` of the cell is {cell.dt:g}; expected more than 0: how far time goes in one step."
            )

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        z = s[1] + cell.dt * (tanh(u) - cell.gamma * s[0] - cell.epsilon * s[1])
        return (s[0] + cell.dt * z, z), (u,)

    def backward(cell, ds, s, s_next, saved):
        dz = ds[1] + cell.dt * ds[0]
        du = (cell.dt * dz * tanh_slope(saved[0]),)
        return du, du, (ds[0] - cell.dt * cell.gamma * dz, dz - cell.dt * cell.epsilon * dz)

    def published(cell, network, rng, values):
        """One nn.Linear of input, y and z together: U(-b, b) with b = 1/√(I + 2N), and one bias."""
        units = values["weight_hh"].shape[1]
        bound = 1.0 / np.sqrt(values["weight_ih"].shape[1] + 2 * units)
        for value in values.values():
            value[...] = rng.uniform(-bound, bound, value.shape)
        if "bias_hh" in values:
            values["bias_hh"][...] = 0.0
