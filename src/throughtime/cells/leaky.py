"""The leaky unit, an Elman unit that keeps a part of its state: the "leaky integrator" of Jaeger et al. (2007).

    u = W_ih x + b_ih + W_hh h + b_hh
    h' = (1 - leak) h + leak tanh(u)         leak = 1: the tanh network; leak -> 0: an integrator, time constant 1/leak

They use it in echo state networks.
"""

from typing import NamedTuple

from ..scalar import tanh, tanh_slope
from .base import cell


@cell()
class LeakyTanh(NamedTuple):
    """h' = (1 - leak) h + leak tanh(u): an Elman unit that keeps a part of its state.

        h' = (1 - leak) h + leak tanh(u),     u = W_ih input + b_ih + W_hh h + b_hh

    leak = 1 is the tanh network; leak -> 0 an integrator of time constant 1/leak steps. The state is h, N numbers.

    Fields:
        leak: the part of the state that is replaced in a step, 0 < leak <= 1, 0.1 by default.

    Source: Jaeger, Lukoševičius, Popovici & Siewert, Neural Networks 20, 335, 2007.

    >>> import throughtime as tt
    >>> tt.Network(tt.LeakyTanh(leak=0.05), 3, 16, seed=0).cell
    LeakyTanh(leak=0.05)
    """

    leak: float = 0.1

    def valid(cell):
        if not 0.0 < cell.leak < 2.0:
            raise ValueError(
                f"The `leak` of the cell is {cell.leak:g}; expected more than 0 and less than 2, as a rule at most 1: "
                "the part of the state that one step replaces; from 2 on what is left of the state grows by itself."
            )

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (s[0] + cell.leak * (tanh(u) - s[0]),), (u,)

    def backward(cell, ds, s, s_next, saved):
        du = (cell.leak * tanh_slope(saved[0]) * ds[0],)
        return du, du, (ds[0] - cell.leak * ds[0],)

    def slope_bounds(cell, ranges, state_bound):
        return ((abs(cell.leak),),), ((abs(1.0 - cell.leak),),), (1.0,)
