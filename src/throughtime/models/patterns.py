"""The patterns of the textbooks, each one call: what goes in and comes out, with a recurrent network between.

    one_to_one     x (B, I)        -> (B, O)       one step
    one_to_many    x (B, I)        -> (T, B, O)    a sequence from a vector
    many_to_one    x (T, B, I)     -> (B, O)       classification, regression
    many_to_many   x (T, B, I)     -> (T, B, O)    a target at every step: tagging, forecasting
    language_model x (T, B) tokens -> (T, B, V)    logits of the next token

Each returns a `Chain`: look at its `pieces`, or write one yourself.
"""

from __future__ import annotations

from typing import Any

from ..network.each_layer import each_layer
from ..network.network import Network
from ..refuse import arguments, words
from .chain import Chain
from .embedding import Embedding
from .pooling import POOLINGS
from .readout import Readout
from .repeat import Repeat


@words.explained
def one_to_one(
    cell: Any, inputs: int, outputs: int, *, hidden_size: Any, classes: bool = False, seed: Any = None, **network: Any
) -> Chain:
    """A network of a single step between a vector and a readout: x (B, I) -> (B, O).

    cell, inputs, hidden_size and what else `network` says: of the `tt.Network`. outputs: of the `Readout`. classes:
    whether they are logits, of which `predict` gives the number of the largest. seed: of all first values.
    TypeError and ValueError for what means nothing.

    >>> import numpy as np, throughtime as tt
    >>> tt.models.one_to_one("tanh", 3, 5, hidden_size=8, seed=0).predict(np.ones((4, 3))).shape
    (4, 5)
    """
    pieces = _pieces(cell, inputs, outputs, hidden_size, None, seed, network)
    return Chain([Repeat(1), pieces[0], POOLINGS[0], *pieces[1:]], classes=classes)


@words.explained
def one_to_many(
    cell: Any,
    inputs: int,
    outputs: int,
    *,
    steps: int,
    hidden_size: Any,
    classes: bool = False,
    seed: Any = None,
    **network: Any,
) -> Chain:
    """A sequence from a vector, which the network hears at every step: x (B, I) -> (T, B, O).

    steps: T. cell, inputs, hidden_size and what else `network` says: of the `tt.Network`. outputs: of the `Readout`.
    classes: whether they are logits, of which `predict` gives the number of the largest. seed: of all first values.
    TypeError and ValueError for what means nothing. For sentences of tokens, each read again as the next input, take a
    `language_model` and `tt.models.generate`.

    >>> import numpy as np, throughtime as tt
    >>> model = tt.models.one_to_many("gru", 3, 2, steps=50, hidden_size=8, seed=0)
    >>> model.predict(np.ones((4, 3))).shape
    (50, 4, 2)
    """
    pieces = _pieces(cell, inputs, outputs, hidden_size, None, seed, network)
    return Chain([Repeat(arguments.size("steps", steps)), *pieces], classes=classes)


@words.explained
def many_to_one(
    cell: Any,
    inputs: int,
    outputs: int,
    *,
    hidden_size: Any,
    embedding: int | None = None,
    pool: str = "last",
    classes: bool = False,
    seed: Any = None,
    **network: Any,
) -> Chain:
    """One output for a sequence: x (T, B, I) -> (B, O); classification or regression.

    cell, inputs, hidden_size and what else `network` says: of the `tt.Network`. embedding: where x are tokens (T, B),
    of which there are `inputs`, the size of a token's vector. pool: "last" state or "mean" over the real steps.
    outputs: of the `Readout`. classes: whether they are logits, of which `predict` gives the number of the largest.
    seed: of all first values. TypeError and ValueError for what means nothing.

    >>> import numpy as np, throughtime as tt
    >>> task = tt.tasks.TemporalOrder(length=30)
    >>> model = tt.models.many_to_one("lstm", task.inputs, task.outputs, hidden_size=16, embedding=8, classes=True,
    ...                               seed=0)
    >>> optimiser, batch = tt.training.Adam(0.01), task.batch(64, seed=0)
    >>> for _ in range(200):
    ...     value, gradient = model.value_and_gradient(batch.x, batch.targets, tt.training.cross_entropy)
    ...     norm = optimiser.step(model.flat, gradient)
    >>> bool((model.predict(batch.x) == batch.targets).mean() > 0.9)
    True
    """
    by_name = {piece.__name__: piece for piece in POOLINGS}
    between = by_name[arguments.known("pool", pool, by_name)]
    *first, readout = _pieces(cell, inputs, outputs, hidden_size, embedding, seed, network)
    return Chain([*first, between, readout], classes=classes)


@words.explained
def many_to_many(
    cell: Any,
    inputs: int,
    outputs: int,
    *,
    hidden_size: Any,
    embedding: int | None = None,
    classes: bool = False,
    seed: Any = None,
    **network: Any,
) -> Chain:
    """An output at every step, aligned with the input: x (T, B, I) -> (T, B, O); tagging or forecasting.

    cell, inputs, hidden_size and what else `network` says: of the `tt.Network`; bidirectional=True for tagging, where
    what comes later may be looked at. embedding: where x are tokens (T, B), of which there are `inputs`, the size of a
    token's vector. outputs: of the `Readout`. classes: whether they are logits, of which `predict` gives the number of
    the largest. seed: of all first values. TypeError and ValueError for what means nothing.

    >>> import numpy as np, throughtime as tt
    >>> wave = np.sin(0.1 * np.arange(201))[:, None, None]
    >>> model = tt.models.many_to_many("tanh", 1, 1, hidden_size=16, seed=0)
    >>> optimiser, x, y = tt.training.Adam(0.01), wave[:-1], wave[1:]
    >>> for _ in range(200):
    ...     value, gradient = model.value_and_gradient(x, y, tt.training.mean_squared_error)
    ...     norm = optimiser.step(model.flat, gradient)
    >>> value < 0.01
    True
    """
    return Chain(_pieces(cell, inputs, outputs, hidden_size, embedding, seed, network), classes=classes)


@words.explained
def language_model(
    cell: Any, tokens: int, *, hidden_size: Any, embedding: int = 64, seed: Any = None, **network: Any
) -> Chain:
    """Logits of the next token at every step: x (T, B) of tokens -> (T, B, V).

    tokens: V, how many there are. embedding: the size of a token's vector. cell, hidden_size and what else `network`
    says: of the `tt.Network`, which reads in one direction. seed: of all first values. Its targets are x one step on;
    `tt.models.generate` and `tt.models.beam_search` write with it. TypeError and ValueError for what means nothing.

    >>> import numpy as np, throughtime as tt
    >>> text = np.frombuffer(b"to be or not to be, that is the question. " * 4, np.uint8)[:, None]
    >>> model = tt.models.language_model("gru", 256, hidden_size=32, embedding=16, seed=0)
    >>> optimiser = tt.training.Adam(0.01)
    >>> for _ in range(150):
    ...     value, gradient = model.value_and_gradient(text[:-1], text[1:].astype(int), tt.training.cross_entropy)
    ...     norm = optimiser.step(model.flat, gradient)
    >>> bytes(tt.models.generate(model, text[:6], 20, temperature=0).tokens[:, 0].astype(np.uint8))
    b'or not to be, that i'
    """
    if network.get("bidirectional"):
        raise ValueError(
            "A language model reads in one direction: with `bidirectional` it would see the token it is to say; leave "
            "it out."
        )
    size = arguments.size("embedding", embedding)
    return Chain(_pieces(cell, tokens, tokens, hidden_size, size, seed, network, "tokens"), classes=True)


def _pieces(
    cell: Any,
    inputs: int,
    outputs: int,
    hidden_size: Any,
    embedding: int | None,
    seed: Any,
    network: dict[str, Any],
    name: str = "inputs",
) -> list[Any]:
    """[Embedding,] Network, Readout; their first values drawn one after another."""
    rng, inputs = arguments.generator(seed), arguments.size(name, inputs)
    each_layer(cell, hidden_size, network.get("num_layers"))  # looked at before anything is made
    dtype, first = arguments.float_type(network.get("dtype", "float64")), list[Any]()
    if embedding is not None:
        size = arguments.size("embedding", embedding)
        first.append(Embedding(inputs, size, dtype=dtype, seed=rng))
        inputs = size
    net = Network(cell, inputs, hidden_size, seed=rng, **network)
    return [*first, net, Readout(net.hidden_sizes[-1] * net.num_directions, outputs, dtype=dtype, seed=rng)]
