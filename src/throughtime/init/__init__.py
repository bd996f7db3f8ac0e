"""Initial parameters. An initialiser is a callable `init(network, rng)` that returns {name: array} for every name of
`network.shapes`. `Network(..., init=...)` takes one of these, a name ("uniform", "gaussian", "orthogonal", "identity",
"irnn", "published"), or yours.

    uniform, gaussian, orthogonal, identity, irnn    drawn
    sparse, spectral_radius                          another's W_hh with some weights kept, or rescaled
    forget_bias, chrono                              another's biases of gates set
    published                                        what the cell's authors took

The last five take another as `base`, so that they compose. Parameters of units start as their cell says. Values are
drawn in float64 and then cast, so one seed gives the same network in float32 and float64 up to rounding.

The "smart tanh" of Pascanu, Mikolov & Bengio (2013), N = 50 units, 15 incoming weights each, spectral radius .95:

>>> import throughtime as tt
>>> small = tt.init.gaussian(0.01 * 50**0.5)  # standard deviation .01
>>> net = tt.Network("tanh", 6, 50, init=tt.init.spectral_radius(0.95, tt.init.sparse(15, small)), seed=0)
>>> w = net.parameters["weight_hh_l0"]
>>> int((w != 0).sum(axis=1).max()), round(tt.analysis.spectral_radius(w), 6)
(15, 0.95)
"""

from .draws import gaussian, identity, irnn, orthogonal, uniform
from .gate_biases import chrono, forget_bias
from .published import published
from .rescaled import sparse, spectral_radius

__all__ = [
    "chrono", "forget_bias", "gaussian", "identity", "irnn", "orthogonal", "published", "sparse",
    "spectral_radius", "uniform",
]  # fmt: skip
