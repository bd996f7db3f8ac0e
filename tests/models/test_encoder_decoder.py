"""Encoder and decoder: PyTorch's answers step by step, central differences, two lengths, writing, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from patterns_by_hand import cross_entropy
from test_model_gradients import slope_two

import throughtime as tt

S, T, B, N, V, W = 7, 5, 3, 6, 8, 9
Chain, Embedding, EncoderDecoder = tt.models.Chain, tt.models.Embedding, tt.models.EncoderDecoder
RNG = np.random.default_rng(0)
X = (RNG.integers(0, V, (S, B)), RNG.integers(0, W, (T, B)))
TARGETS = RNG.integers(0, W, (T, B))
LENGTHS = (np.array([S, 1, 4]), np.array([T, 3, 1]))
CELLS = pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
WITH_LENGTHS = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])


def model(cell="lstm", dtype="float64"):
    encoder = Chain([Embedding(V, 4, dtype=dtype, seed=0), tt.Network(cell, 4, N, num_layers=2, dtype=dtype, seed=1)])
    options = {"hidden_size": N, "embedding": 3, "num_layers": 2, "dtype": dtype, "seed": 2}
    return EncoderDecoder(encoder, tt.models.language_model(cell, W, **options))


@CELLS
@WITH_LENGTHS
def test_central_differences(cell, lengths):
    given = model(cell)
    slope_two(given.objective(X, TARGETS, cross_entropy, lengths), given.flat.copy())


@WITH_LENGTHS
def test_a_hundred_steps_as_pytorch(lengths, torch):
    """To 1e-9 relative, the loss of every step and the parameters after them."""
    given, rate = model(), 0.1
    modules = {
        "encoder.0": torch.nn.Embedding(V, 4),
        "encoder.1": torch.nn.LSTM(4, N, num_layers=2),
        "decoder.0": torch.nn.Embedding(W, 3),
        "decoder.1": torch.nn.LSTM(3, N, num_layers=2),
        "decoder.2": torch.nn.Linear(N, W),
    }
    for name, module in modules.items():
        start = f"{name}."
        state = {key: value for key, value in given.state_dict().items() if key.startswith(start)}
        module.double().load_state_dict({key.removeprefix(start): torch.from_numpy(v) for key, v in state.items()})
    optimiser = torch.optim.SGD([p for module in modules.values() for p in module.parameters()], lr=rate)
    source, inputs, targets = (torch.from_numpy(a) for a in (*X, TARGETS))
    ends = [torch.from_numpy(a) for a in (lengths or (np.full(B, S), np.full(B, T)))]
    real = torch.arange(T)[:, None] < ends[1]
    for _ in range(100):
        value, gradient = given.value_and_gradient(X, TARGETS, cross_entropy, lengths)
        given.flat -= rate * gradient
        packed = torch.nn.utils.rnn.pack_padded_sequence(modules["encoder.0"](source), ends[0], enforce_sorted=False)
        _, state = modules["encoder.1"](packed)
        output = modules["decoder.2"](modules["decoder.1"](modules["decoder.0"](inputs), state)[0])
        loss = torch.nn.functional.cross_entropy(output[real], targets[real])
        assert abs(loss.item() - value) <= 1e-9 * value
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    theirs = np.concatenate([p.detach().numpy().ravel() for m in modules.values() for p in m.parameters()])
    assert np.abs(given.flat - theirs).max() <= 1e-9 * np.abs(theirs).max()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_padding_changes_nothing(dtype):
    given = model(dtype=dtype)
    value, gradient = given.value_and_gradient(X, TARGETS, cross_entropy, LENGTHS)
    x = tuple(part.copy() for part in X)
    for part, ends in zip(x, LENGTHS, strict=True):
        part[np.arange(len(part))[:, None] >= ends] = -1
    again, other = given.value_and_gradient(x, TARGETS, cross_entropy, LENGTHS)
    assert again == value
    assert np.array_equal(gradient, other)


@WITH_LENGTHS
def test_gradients_of_input_and_state(lengths):
    """Of two networks of numbers, without embeddings: both inputs and the encoder's first state."""
    both = EncoderDecoder(tt.Network("lstm", 2, N, seed=0), tt.Network("lstm", 3, N, seed=1))
    shapes = [(S, B, 2), (T, B, 3), (1, B, N), (1, B, N)]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def fun(vector):
        x, y, h, c = (vector[a:b].reshape(n) for a, b, n in zip(ends[:-1], ends[1:], shapes, strict=True))
        run = both.unroll((x, y), (h, c), lengths)
        found = run.backprop(np.cos(run.output), tuple(np.cos(part) for part in run.final_state))
        value = np.sin(run.output).sum() + sum(np.sin(part).sum() for part in run.final_state)
        return value, np.concatenate([part.ravel() for part in (*found.input, *found.initial_state)])

    slope_two(fun, 0.3 * RNG.standard_normal(ends[-1]))
    assert list(both.parameters)[:1] == ["encoder.weight_ih_l0"]
    assert list(both.unroll((np.zeros((S, B, 2)), np.zeros((T, B, 3)))).networks) == ["encoder", "decoder"]


def test_writing_goes_on_from_the_source():
    given = model()
    state = given.encode(X[0], LENGTHS[0])
    run = given.unroll(X, lengths=(LENGTHS[0], None))
    assert np.array_equal(given.decoder.unroll(X[1], state).output, run.output)
    found = tt.models.generate(given.decoder, X[1][:1], 6, temperature=0, state=state)
    x = X[1][:1]
    for _ in range(6):
        output = given.unroll((X[0], x), lengths=(LENGTHS[0], None)).output
        x = np.concatenate([x, output[-1].argmax(axis=1)[None]])
    assert np.array_equal(found.tokens, x[1:])


def test_several_networks_pass_their_states_in_order():
    encoder = Chain([Embedding(V, 4, seed=0), tt.Network("gru", 4, N, seed=1), tt.Network("lstm", N, 5, seed=2)])
    decoder = Chain([tt.Network("gru", 2, N, seed=3), tt.Network("lstm", N, 5, seed=4)])
    both = EncoderDecoder(encoder, decoder)
    x, targets = (X[0], RNG.standard_normal((T, B, 2))), np.zeros((T, B, 5))
    slope_two(both.objective(x, targets, tt.training.mean_squared_error), both.flat.copy())


def net(*sizes, **options):
    return tt.Network("gru", *sizes, seed=0, **options)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: EncoderDecoder(net(2, 3), "gru"), TypeError, "`decoder` is 'gru'"),
        (lambda: EncoderDecoder(net(2, 3), net(2, 4)), ValueError, "differ, .*: 1 x 1 x 3 and 1 x 1 x 4"),
        (lambda: EncoderDecoder(net(2, 3, bidirectional=True), net(2, 4)), ValueError, "1 x 2 x 3 and 1 x 1 x 4"),
        (lambda: EncoderDecoder(net(2, 3), Chain([tt.models.Readout(2, 3)])), ValueError, "`decoder` has no state"),
        (lambda: EncoderDecoder(net(2, 3), Chain([net(2, 3), tt.models.last])), ValueError, "at every step"),
        (lambda: EncoderDecoder(net(2, 3), net(2, 3, dtype="float32")), ValueError, "make both of one"),
        (lambda: EncoderDecoder(net(2, 3), net(2, 3, batch_first=True)), ValueError, "in a model time is first"),
        (lambda: EncoderDecoder(net(2, 3), net(2, 3)).unroll(X[0]), TypeError, "`x` is .*it is a tuple of two"),
        (
            lambda: model().unroll((X[0], X[1][:, :2])),
            ValueError,
            rf"`x\[0\]` has {B} sequences and `x\[1\]` 2, in shape",
        ),
        (lambda: model().unroll(X, lengths=[1, 2, 3]), TypeError, "`lengths` is .*it is a tuple of two"),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
