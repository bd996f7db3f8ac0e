"""The linear recurrent unit (Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu & De 2023): a damped rotation.

    s' = lambda s + gamma (x_re + i x_im)            complex; x = W_ih input + b_ih, blocks re, im: B u of the paper
    lambda = exp(-exp(nu_log) + i exp(theta_log)),   gamma = exp(gamma_log)

The complex state is two real ones. A unit shows Re s. The paper's layer shows Re(C s) with complex C, which reads the
imaginary part too: a second unit of the same lambda and gamma whose x is (x_im, -x_re), that is -i (x_re + i x_im), has
the state -i s and shows Im s. Twice as many units so give any C, and two inputs of a layer need no other way out.
"""

from typing import NamedTuple

import numpy as np

from ..scalar import cos, exp, sin
from .base import cell


@cell(gates=("re", "im"), states=2, sends={}, parameters=("nu_log", "theta_log", "gamma_log"))
class LRU(NamedTuple):
    """The linear recurrent unit: a complex state that turns and shrinks by one factor lambda in every step.

        s' = lambda s + gamma (x_re + i x_im)
        lambda = exp(-exp(nu_log) + i exp(theta_log)),     gamma = exp(gamma_log)

    For each of the N units; x = W_ih input + b_ih has a block of N rows for re and im, Re and Im of the paper's B u:
    weight_ih (2N, I). Trainable numbers of each unit, (N,) each: nu_log, theta_log and gamma_log, of |lambda| =
    exp(-exp(nu_log)) < 1, of the angle exp(theta_log) in radians per step, and of the scale of what comes in. There is
    no W_hh. The state is (Re s, Im s), all of the first, then all of the second: 2N numbers, and 2N Lyapunov exponents,
    two for each unit, both -exp(nu_log) nats per step. A unit shows Re s. A general complex C of the paper's y =
    Re(C s) needs Im s too, which twice as many units give: see the head of this cell's file.

    At the start |lambda| is drawn from the ring r_min to r_max, uniformly over its area, the angle from 0 to max_phase,
    and gamma = √(1 - |lambda|²): white input of variance 1 then brings E|s|² to E|x_re + i x_im|².

    Fields: they say how a network starts, and no more.
        r_min, r_max: the ring, 0 and 1 by default; for long memory 0.9 and 0.999.
        max_phase: the largest angle in radians, 2π by default; for long sequences π/10.

    Source: Orvieto et al., Resurrecting recurrent neural networks for long sequences, ICML 2023, arXiv:2303.06349.

    >>> import numpy as np, throughtime as tt
    >>> net = tt.Network(tt.LRU(r_min=0.9, r_max=0.999), 3, 16, seed=0)
    >>> modulus = np.exp(-np.exp(net.parameters["nu_log_l0"]))
    >>> bool(modulus.min() >= 0.9), bool(modulus.max() <= 0.999)
    (True, True)
    """

    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 6.283185307179586

    def valid(cell):
        if not 0.0 <= cell.r_min < cell.r_max <= 1.0:
            raise ValueError(
                f"The fields `r_min` and `r_max` of the cell are {cell.r_min:g} and {cell.r_max:g}; expected a ring "
                "inside the unit circle, 0 ≤ r_min < r_max ≤ 1: the least and the largest |lambda| at the start."
            )
        if not cell.max_phase > 0.0:
            raise ValueError(
                f"The `max_phase` of the cell is {cell.max_phase:g}; expected more than 0: the largest angle of lambda "
                "at the start, in radians per step."
            )

    def forward(cell, x, r, s, p):
        modulus, angle, gamma = exp(-exp(p[0])), exp(p[1]), exp(p[2])
        re, im = modulus * cos(angle), modulus * sin(angle)
        return (re * s[0] - im * s[1] + gamma * x[0], im * s[0] + re * s[1] + gamma * x[1]), (x[0], x[1])

    def backward(cell, ds, s, s_next, saved, p):
        decay, angle, gamma = exp(p[0]), exp(p[1]), exp(p[2])
        modulus = exp(-decay)
        re, im = modulus * cos(angle), modulus * sin(angle)
        ds_re, ds_im = re * ds[0] + im * ds[1], re * ds[1] - im * ds[0]
        dnu = -decay * (ds_re * s[0] + ds_im * s[1])
        dtheta = angle * (ds_im * s[0] - ds_re * s[1])
        dgamma = gamma * (ds[0] * saved[0] + ds[1] * saved[1])
        return (gamma * ds[0], gamma * ds[1]), (), (ds_re, ds_im), (dnu, dtheta, dgamma)

    def initial(cell, units, rng):
        modulus = np.sqrt(rng.uniform(np.square(cell.r_min), np.square(cell.r_max), units))
        angle = rng.uniform(0.0, cell.max_phase, units)
        return np.log(-np.log(modulus)), np.log(angle), np.log(1.0 - modulus**2) / 2.0

    def published(cell, network, rng, values):
        """B ~ N(0, 1/(2I)) for the real and the imaginary part, which makes E|B u|² = 1 for white u; no bias."""
        inputs = values["weight_ih"].shape[1]
        values["weight_ih"][...] = rng.standard_normal(values["weight_ih"].shape) / np.sqrt(2.0 * inputs)
        if "bias_ih" in values:
            values["bias_ih"][...] = 0.0
