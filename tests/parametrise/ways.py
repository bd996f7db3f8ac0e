"""Every parametrisation, at sizes of your choice."""

import numpy as np

import throughtime as tt

P = tt.parametrise


def every_way(units, gates=1):
    """name -> parametrisation of weight_hh of so many units and gates."""
    rng = np.random.default_rng(units)
    there = rng.random((units, units)) < 0.6
    return {
        "antisymmetric": P.antisymmetric(gamma=0.1),
        "symmetric": P.symmetric(),
        "exp": P.orthogonal(),
        "exp_negative": P.orthogonal(negative=(units + 1) // 2),
        "cayley": P.orthogonal("cayley"),
        "cayley_negative": P.orthogonal("cayley", negative=1),
        "low_rank": P.low_rank(min(2, units)),
        "low_rank_fixed": P.low_rank(1, fixed=rng.normal(size=(gates * units, units)) / units**0.5),
        "diagonal": P.diagonal(),
        "masked": P.masked(there),
        "sparse": P.sparse(there),
        "sparse_by_gate": P.sparse(rng.random((gates * units, units)) < 0.4),
        "dale": P.dale(np.where(rng.random(units) < 0.8, 1, -1)),
        "dale_pattern": P.dale(np.where(rng.random(units) < 0.8, 1, -1), pattern=there),
    }


NAMES = tuple(every_way(3))
# for weights of the input, which are not square
OF_INPUT = {
    "low_rank": lambda rows, columns: P.low_rank(1),
    "masked": lambda rows, columns: P.masked(np.arange(rows * columns).reshape(rows, columns) % 3 > 0),
    "sparse": lambda rows, columns: P.sparse(np.arange(rows * columns).reshape(rows, columns) % 2 > 0),
    "dale": lambda rows, columns: P.dale(np.where(np.arange(columns) % 2, 1, -1)),
}


def network(way, cell="tanh", inputs=3, units=5, **options):
    return tt.Network(cell, inputs, units, parametrise={"weight_hh": way}, **({"seed": 1} | options))


def plain_twin(net):
    """The network with the same weights, held as they are."""
    weights = net.weights()
    return tt.Network(
        net.cell, net.input_size, net.hidden_size, num_layers=net.num_layers, bidirectional=net.bidirectional,
        bias=net.bias, dtype=net.dtype, init=lambda *_: weights,
    )  # fmt: skip
