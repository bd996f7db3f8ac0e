"""The rate unit of theoretical neuroscience (Sompolinsky, Crisanti & Sommers 1988), in steps of leak = dt/tau.

    x' = (1 - leak) x + leak (W_hh tanh(x) + b_hh + W_ih input + b_ih)

The matrix acts on the rate tanh(x), not on the state: the unit sends tanh(x) to the other units, to the next layer and
to the output, and its state is x alone. A network of N units has N Lyapunov exponents.
"""

from typing import NamedTuple

from ..scalar import tanh, tanh_slope
from .base import cell


@cell()
class Rate(NamedTuple):
    """x' = (1 - leak) x + leak u, sends tanh(x): a current that is driven by the rates of the others.

        x' = (1 - leak) x + leak u,     u = W_ih input + b_ih + W_hh tanh(x) + b_hh

    Euler's step of tau dx/dt = -x + u with leak = dt/tau: the step over the time constant, 0 < leak <= 1; an exponent
    in nats per step is one in nats per tau after division by leak. A unit sends tanh(x) to the other units, to the next
    layer and to `run.output`; its state is x alone, so that a network of N units has N Lyapunov exponents.

    Fields:
        leak: dt/tau, 0.1 by default.

    Source: Sompolinsky, Crisanti & Sommers, Phys. Rev. Lett. 61, 259, 1988.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network(tt.Rate(leak=0.05), 3, 16, seed=0).unroll(np.ones((10, 3)))
    >>> bool(np.allclose(run.output, np.tanh(run.states[1:, 0])))
    True
    """

    leak: float = 0.1

    def valid(cell):
        if not 0.0 < cell.leak < 2.0:
            raise ValueError(
                f"The `leak` of the cell is {cell.leak:g}; expected more than 0 and less than 2, as a rule at most 1: "
                "the part of the state that one step replaces; from 2 on what is left of the state grows by itself."
            )

    def forward(cell, x, r, s):
        return (s[0] + cell.leak * (x[0] + r[0] - s[0]),), ()

    def backward(cell, ds, s, s_next, saved):
        du = (cell.leak * ds[0],)
        return du, du, (ds[0] - cell.leak * ds[0],)

    def emit(cell, s):
        return tanh(s[0])

    def emit_slope(cell, s):
        return (tanh_slope(s[0]),)

    def slope_bounds(cell, ranges, state_bound):
        return ((abs(cell.leak),),), ((abs(1.0 - cell.leak),),), (1.0,)
