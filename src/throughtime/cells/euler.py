"""Euler's method for dh/dt = tanh(u): the unit of the antisymmetric network (Chang, Chen, Haber & Chi 2019).

    h' = h + step tanh(u)                            u = W_ih x + b_ih + W_hh h + b_hh

A residual network in time. Theirs has W_hh = M - M^T - gamma 1, a parametrisation of the weights and no other cell.
"""

from typing import NamedTuple

from ..scalar import tanh, tanh_slope
from .base import cell


@cell()
class EulerTanh(NamedTuple):
    """h' = h + step tanh(u): Euler's method for dh/dt = tanh(u), a unit without leak.

        h' = h + step tanh(u),     u = W_ih input + b_ih + W_hh h + b_hh

    weight_ih (N, I), weight_hh (N, N). The state is h, N numbers; an exponent in nats per step is one in nats per unit
    of time after division by step. With an antisymmetric W_hh, M - M^T - gamma 1, it is the AntisymmetricRNN: dh/dt has
    no eigenvalue with a real part above 0, and gamma makes up for what Euler's method adds.

    Fields:
        step: of the time, more than 0, 0.1 by default.

    Source: Chang, Chen, Haber & Chi, AntisymmetricRNN, ICLR 2019, arXiv:1902.09689.

    >>> import throughtime as tt
    >>> tt.Network(tt.EulerTanh(step=0.05), 3, 16, seed=0).cell
    EulerTanh(step=0.05)
    """

    step: float = 0.1

    def valid(cell):
        if not cell.step > 0.0:
            raise ValueError(
                f"The `step` of the cell is {cell.step:g}; expected more than 0: how far time goes in one step."
            )

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (s[0] + cell.step * tanh(u),), (u,)

    def backward(cell, ds, s, s_next, saved):
        du = (cell.step * tanh_slope(saved[0]) * ds[0],)
        return du, du, (ds[0],)

    def slope_bounds(cell, ranges, state_bound):
        return ((abs(cell.step),),), ((1.0,),), (1.0,)
