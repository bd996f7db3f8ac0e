"""A reservoir: a random network whose readout alone is fitted, an echo state network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cells import CELLS
from ..init.rescaled import sparse, spectral_radius
from ..network.network import Network
from ..refuse import arguments, words
from .chain import Chain
from .readout import Readout


@words.explained
def reservoir(
    inputs: int,
    units: int,
    outputs: int,
    *,
    leak: float = 1.0,
    radius: float = 0.9,
    incoming: int = 10,
    input_scaling: float = 1.0,
    bias_scaling: float = 0.0,
    dtype: Any = "float64",
    seed: Any = None,
) -> Chain:
    """An echo state network: `Chain` of a random network and a readout of zeros, which `tt.training.ridge` fits.

        h' = (1 − leak) h + leak tanh(W_hh h + W_ih x + b),    y = W h + b_out

    inputs, units, outputs: I, N, O. leak: 0 < leak < 2, of the cell, 1 for a tanh network. radius: the largest
    |eigenvalue| of W_hh, which is Gaussian with `incoming` weights for each unit (all where N is less).
    input_scaling, bias_scaling: W_ih and b are uniform in ± these. dtype: "float64" or "float32". seed: of all of it.
    TypeError and ValueError for what means nothing.

    Below radius 1 the state as a rule forgets where it began (the echo state property), at the rate of the largest
    Lyapunov exponent under its input: `tt.analysis.lyapunov_spectrum(model.pieces[0], x, k=1)` says whether it does.
    When fitted, `model.closed_loop()` is the reservoir that hears its own forecast, and its `.network` a `Network`.

    Source: Jaeger (2001), GMD report 148; Jaeger & Haas, Science 304, 78, 2004; Lukoševičius (2012) for the ranges.

    >>> import numpy as np, throughtime as tt
    >>> x = tt.tasks.Lorenz(dt=0.05, length=6050).batch(1, seed=0).x
    >>> model = tt.models.reservoir(3, 300, 3, radius=0.4, input_scaling=0.5, bias_scaling=0.2, seed=0)
    >>> fitted = tt.training.ridge(model, x[:5999], x[1:6000], 1e-8, warmup=100)
    >>> ahead = model.closed_loop().forecast(x[:6000], 50)                   # over 2.3 Lyapunov times
    >>> bool(np.abs(ahead - x[6000:]).max() < 0.05)
    True
    """
    rng, n = arguments.generator(seed), arguments.size("units", units)
    leak = arguments.real("leak", leak)
    scales = [arguments.real("input_scaling", input_scaling), arguments.real("bias_scaling", bias_scaling, 0.0)]
    base = spectral_radius(radius, sparse(min(arguments.size("incoming", incoming), n)))

    def init(network: Any, generator: np.random.Generator) -> dict[str, np.ndarray]:
        values = base(network, generator)
        for name, scale in zip(("weight_ih_l0", "bias_ih_l0"), scales, strict=True):
            values[name] = scale * generator.uniform(-1.0, 1.0, values[name].shape)
        return values

    cell = CELLS["tanh"]() if leak == 1 else CELLS["leaky_tanh"](leak)
    readout = Readout(n, outputs, dtype=dtype, seed=0)
    readout.flat[...] = 0.0
    return Chain([Network(cell, inputs, n, dtype=dtype, init=init, seed=rng), readout])
