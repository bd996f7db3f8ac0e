"""The threshold-power-law rate unit of supralinear networks (Ahmadian, Rubin & Miller 2013; Hennequin et al. 2018).

    v' = v + (u - v)/tau                             u = W_ih input + b_ih + W_hh k [v]_+^power + b_hh

in Hennequin, Ahmadian, Rubin, Lengyel & Miller's form: the voltage v is the state, the rate k [v]_+^power is sent, and
tau is one number, or one for each unit. Ahmadian et al. have tau dr/dt = -r + k [u]_+^power for the rates themselves;
where all tau are equal, v = W r + input makes of it the form here.
"""

from typing import NamedTuple

from ..scalar import relu, relu_slope
from .base import cell


@cell()
class ThresholdPower(NamedTuple):
    """v' = v + (u - v)/tau, sends k [v]_+^power: a voltage driven by rates that grow faster than it.

        v' = v + (u - v)/tau,     u = W_ih input + b_ih + W_hh k [v]_+^power + b_hh,     [v]_+ = max(v, 0)

    Euler's step of tau dv/dt = -v + u. A unit sends its rate k [v]_+^power to the other units, to the next layer and to
    `run.output`; its state is v alone, N numbers. weight_ih (N, I), weight_hh (N, N). Without enough inhibition rates
    run away: nothing bounds them.

    Fields:
        tau: time constant in steps, more than 1/2, as a rule at least 1; a number, or an array (N,) with one for each
            unit. 20 by default, and 10 in the paper for inhibitory units, with steps of 1 ms.
        k: the scale of the rate, 0.3 by default.
        power: at least 1, 2 by default.

    Source: Hennequin, Ahmadian, Rubin, Lengyel & Miller, Neuron 98, 846, 2018; Ahmadian, Rubin & Miller, Neural
    Computation 25, 1994, 2013.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network(tt.ThresholdPower(tau=10.0), 3, 16, seed=0).unroll(np.ones((10, 3)))
    >>> bool(np.allclose(run.output, 0.3 * np.maximum(run.states[1:, 0], 0) ** 2))
    True
    """

    tau: float = 20.0
    k: float = 0.3
    power: float = 2.0

    def valid(cell):
        if not cell.tau > 0.5:
            raise ValueError(
                f"The `tau` of the cell is {cell.tau:g}; expected more than 1/2, as a rule at least 1: the time "
                "constant in steps; from 1/2 down what is left of the state grows by itself."
            )
        if not cell.power >= 1.0:
            raise ValueError(
                f"The `power` of the cell is {cell.power:g}; expected at least 1: below, the rate has no slope at 0."
            )

    def forward(cell, x, r, s):
        return (s[0] + (x[0] + r[0] - s[0]) / cell.tau,), ()

    def backward(cell, ds, s, s_next, saved):
        du = (ds[0] / cell.tau,)
        return du, du, (ds[0] - ds[0] / cell.tau,)

    def emit(cell, s):
        return cell.k * relu(s[0]) ** cell.power

    def emit_slope(cell, s):
        return (cell.k * cell.power * relu(s[0]) ** (cell.power - 1.0) * relu_slope(s[0]),)  # 0^0 is 1
