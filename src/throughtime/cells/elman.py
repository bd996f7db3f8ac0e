"""The vanilla recurrent unit, h' = phi(u), u = W_ih x + b_ih + W_hh h + b_hh (Elman 1990), with four choices of phi.

`tanh` and `relu` are PyTorch's nn.RNN. A step saves u and takes the slope there: 1 - h'^2, computed from h', is
exactly 0 for |u| > 19 and would put -inf into a Lyapunov spectrum.
"""

from typing import NamedTuple

from ..scalar import relu, relu_slope, sigmoid, sigmoid_slope, tanh, tanh_slope
from .base import cell


@cell()
class Tanh(NamedTuple):
    """h' = tanh(u), dh'/du = sech^2 u.

    u = W_ih input + b_ih + W_hh h + b_hh, for each of the N units: weight_ih (N, I), weight_hh (N, N). The state is h,
    N numbers. It has no fields. The vanilla unit of Elman (1990): nn.RNN.

    >>> import throughtime as tt
    >>> tt.Network("tanh", 3, 16, seed=0).cell
    Tanh()
    """

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (tanh(u),), (u,)

    def backward(cell, ds, s, s_next, saved):
        du = (ds[0] * tanh_slope(saved[0]),)
        return du, du, (0.0,)

    def slope_bounds(cell, ranges, state_bound):
        return ((1.0,),), ((0.0,),), (1.0,)


@cell()
class Relu(NamedTuple):
    """h' = max(u, 0), dh'/du = 1 for u > 0 and 0 otherwise.

    u = W_ih input + b_ih + W_hh h + b_hh, for each of the N units: weight_ih (N, I), weight_hh (N, N). The state is h,
    N numbers. It has no fields. PyTorch's nn.RNN with nonlinearity="relu". A unit with u <= 0 is dead for that step: no
    gradient passes it.

    >>> import throughtime as tt
    >>> tt.Network("relu", 3, 16, seed=0).cell
    Relu()
    """

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (relu(u),), (u,)

    def backward(cell, ds, s, s_next, saved):
        du = (ds[0] * relu_slope(saved[0]),)
        return du, du, (0.0,)

    def slope_bounds(cell, ranges, state_bound):
        return ((1.0,),), ((0.0,),), (1.0,)


@cell()
class Linear(NamedTuple):
    """h' = u, dh'/du = 1.

    u = W_ih input + b_ih + W_hh h + b_hh, for each of the N units: weight_ih (N, I), weight_hh (N, N). The state is h,
    N numbers. It has no fields. All of its Jacobians are W_hh: what theory is exact for.

    >>> import throughtime as tt
    >>> tt.Network("linear", 3, 16, seed=0).cell
    Linear()
    """

    def forward(cell, x, r, s):
        return (x[0] + r[0],), ()

    def backward(cell, ds, s, s_next, saved):
        return ds, ds, (0.0,)

    def slope_bounds(cell, ranges, state_bound):
        return ((1.0,),), ((0.0,),), (1.0,)


@cell()
class Sigmoid(NamedTuple):
    """h' = sigma(u), dh'/du = sigma(u) sigma(-u) <= 1/4.

    u = W_ih input + b_ih + W_hh h + b_hh, for each of the N units: weight_ih (N, I), weight_hh (N, N). The state is h,
    N numbers. It has no fields. sigma(u) = 1/(1 + exp(-u)): the unit of the first papers on backpropagation.

    >>> import throughtime as tt
    >>> tt.Network("sigmoid", 3, 16, seed=0).cell
    Sigmoid()
    """

    def forward(cell, x, r, s):
        u = x[0] + r[0]
        return (sigmoid(u),), (u,)

    def backward(cell, ds, s, s_next, saved):
        du = (ds[0] * sigmoid_slope(saved[0]),)
        return du, du, (0.0,)

    def slope_bounds(cell, ranges, state_bound):
        return ((0.25,),), ((0.0,),), (1.0,)
