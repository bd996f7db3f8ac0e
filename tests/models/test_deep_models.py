"""Deep models: skips, dropout between layers, layer normalisation, two directions added up; chains inside chains."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_model_gradients import slope_two

import throughtime as tt

T, B, N = 8, 3, 6
models = tt.models
Chain, Dropout, LayerNorm, Readout, Residual = (
    models.Chain,
    models.Dropout,
    models.LayerNorm,
    models.Readout,
    models.Residual,
)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((T, B, N))
LENGTHS = np.array([T, 1, 5])
WITH_LENGTHS = pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "lengths"])


def loss(output, targets, lengths=None):
    """Σ sin y over the real steps."""
    real = 1.0 if lengths is None else (np.arange(len(output))[:, None] < lengths)[..., None]
    return (np.sin(output) * real).sum(), (np.cos(output) * real).astype(output.dtype)


def net(seed, inputs=N, **options):
    return tt.Network("gru", inputs, N, seed=seed, **options)


def deep(dtype="float64"):
    def block(seed):
        return Residual([LayerNorm(N, dtype=dtype), net(seed, dtype=dtype)])

    return Chain([net(0, dtype=dtype), block(1), block(2), Readout(N, 2, dtype=dtype, seed=3)])


def shaken(model):
    """With normalisations that are not at their first values."""
    model.flat += 0.3 * np.random.default_rng(1).standard_normal(model.flat.size)
    return model


@WITH_LENGTHS
def test_central_differences(lengths):
    for model in (
        shaken(deep()),
        shaken(LayerNorm(N)),
        Residual([net(0)]),
        Chain([net(0, bidirectional=True), models.sum_directions, Readout(N, 2, seed=1)]),
    ):
        slope_two(model.objective(X, None, loss, lengths), model.flat.copy())


@WITH_LENGTHS
def test_central_differences_of_the_input(lengths):
    model = shaken(deep())

    def fun(vector):
        run = model.unroll(vector.reshape(X.shape), lengths=lengths)
        value, g = loss(run.output, None, lengths)
        return value, run.backprop(g).input.ravel()

    slope_two(fun, X.ravel())


def test_names_and_torch(torch):
    """The normalisation is PyTorch's, value and gradients; the skip is x + f(x)."""
    model = shaken(deep())
    assert list(model.parameters)[4:8] == ["1.0.weight", "1.0.bias", "1.1.weight_ih_l0", "1.1.weight_hh_l0"]
    layers = [torch.nn.GRU(N, N), torch.nn.LayerNorm(N), torch.nn.GRU(N, N), torch.nn.LayerNorm(N), torch.nn.GRU(N, N)]
    head = torch.nn.Linear(N, 2)
    parts = [
        ("0", layers[0]),
        ("1.0", layers[1]),
        ("1.1", layers[2]),
        ("2.0", layers[3]),
        ("2.1", layers[4]),
        ("3", head),
    ]
    for name, layer in parts:
        start = f"{name}."
        own = {
            key.removeprefix(start): torch.from_numpy(value)
            for key, value in model.state_dict().items()
            if key.startswith(start)
        }
        layer.double().load_state_dict(own)
    x = torch.from_numpy(X).requires_grad_()
    y = layers[0](x)[0]
    y = y + layers[2](layers[1](y))[0]
    y = y + layers[4](layers[3](y))[0]
    y = head(y)
    y.sin().sum().backward()
    run = model.unroll(X)
    found = run.backprop(np.cos(run.output))
    assert np.allclose(run.output, y.detach().numpy(), rtol=1e-12, atol=1e-14)
    assert np.allclose(found.input, x.grad.numpy(), rtol=1e-10, atol=1e-13)
    for name, layer in parts:
        for key, value in layer.named_parameters():
            assert np.allclose(found.parameters[f"{name}.{key}"], value.grad.numpy(), rtol=1e-10, atol=1e-12), (
                name,
                key,
            )


@WITH_LENGTHS
def test_a_residual_is_its_input_and_its_pieces(lengths):
    plain, model = Chain([net(0)]), Residual([net(0)])
    run, skipped = plain.unroll(X, lengths=lengths), model.unroll(X, lengths=lengths)
    real = np.ones((T, B, 1)) if lengths is None else (np.arange(T)[:, None] < lengths)[..., None]
    assert np.array_equal(skipped.output, run.output + X * real)
    g = RNG.standard_normal(X.shape)
    assert np.array_equal(skipped.backprop(g).input, run.backprop(g).input + g * real)
    assert all(np.array_equal(a, b) for a, b in zip(skipped.final_state, run.final_state, strict=True))


def test_the_gradient_of_a_skip_does_not_vanish():
    """Through twenty layers at weights near 0 the gradient of the input is that of the output."""
    blocks = [Residual([net(k)]) for k in range(20)]
    model = Chain(blocks)
    model.flat *= 1e-3
    back = model.unroll(X).backprop(np.ones_like(X)).input
    assert np.abs(back - 1).max() < 0.1
    bare = Chain([net(k) for k in range(20)])
    bare.flat *= 1e-3
    assert np.abs(bare.unroll(X).backprop(np.ones_like(X)).input).max() < 1e-20


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_padding_changes_nothing(dtype):
    model = shaken(deep(dtype))
    value, gradient = model.value_and_gradient(X, None, loss, LENGTHS)
    x = X.copy()
    x[np.arange(T)[:, None] >= LENGTHS] = np.nan
    again, other = model.value_and_gradient(x, None, loss, LENGTHS)
    assert gradient.dtype == np.dtype(dtype)
    assert again == value
    assert np.array_equal(gradient, other)


def test_two_directions_added_up():
    both = net(0, bidirectional=True)
    run = both.unroll(X, lengths=LENGTHS)
    added = models.sum_directions(run)
    assert np.array_equal(added.output, run.output[..., :N] + run.output[..., N:])
    ends = models.sum_directions(models.last(run))
    assert np.array_equal(ends.output, run.final_state[0] + run.final_state[1])
    model = Chain([both, models.last, models.sum_directions, Readout(N, 2, seed=1)])
    slope_two(model.objective(X, None, lambda y, t: (np.sin(y).sum(), np.cos(y)), LENGTHS), model.flat.copy())
    assert Chain([net(0, bidirectional=True), models.sum_directions]).sizes == (N, N)


class Fixed:
    """A generator's state put back before each call, so that every mask is the same."""

    def __init__(self, model):
        self.model = model
        self.states = {name: generator.bit_generator.state for name, generator in model.generators.items()}

    def reset(self):
        for name, generator in self.model.generators.items():
            generator.bit_generator.state = self.states[name]


def dropped(rate=0.4):
    return Chain([net(0), Dropout(rate, seed=7), Residual([net(1), Dropout(rate, seed=8)]), Readout(N, 2, seed=2)])


def test_dropout_goes_the_same_way_back():
    model = dropped()
    fixed = Fixed(model)
    assert list(fixed.states) == ["1", "2.1"]

    def fun(vector):
        fixed.reset()
        return model.objective(X, None, loss, LENGTHS)(vector)

    slope_two(fun, model.flat.copy())


def test_dropout_draws_in_training_alone():
    model, plain = dropped(), Chain([net(0), Residual([net(1)]), Readout(N, 2, seed=2)])
    assert np.array_equal(model.predict(X), plain.predict(X))
    first, second = (model.forward_backward(X, None, loss) for _ in range(2))
    assert not np.array_equal(first.run.output, second.run.output)
    none = Chain([net(0), Dropout(0.0), Readout(N, 2, seed=2)])
    assert np.array_equal(none.forward_backward(X, None, loss).run.output, none.predict(X))
    again = dropped()
    assert np.array_equal(again.forward_backward(X, None, loss).run.output, first.run.output)


def test_dropout_keeps_the_mean():
    """Of 10^5 numbers: the share of zeros and the mean, each within five standard errors."""
    rate, count = 0.3, 100_000
    model = Chain([Readout(1, 1, seed=0), Dropout(rate, seed=0), Readout(1, 1, seed=0)])
    model.flat[...] = [1, 0, 1, 0]
    y = model.forward_backward(np.ones((count, 1, 1)), None, loss).run.output
    share = (y == 0).mean()
    assert abs(share - rate) < 5 * np.sqrt(rate * (1 - rate) / count)
    assert set(np.unique(y)) == {0.0, 1 / (1 - rate)}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Residual([net(0), Readout(N, 2)]), "numbers at a step and give 2; what goes in is added"),
        (lambda: Residual([net(0), models.last]), "keep the time axis"),
        (lambda: Residual([net(0)]).unroll(X[..., :2]), "a residual of size=6 takes"),
        (lambda: LayerNorm(0), "`size` is 0"),
        (lambda: LayerNorm(3, eps=-1), "`eps` is -1"),
        (lambda: LayerNorm(3).unroll(X), "a normalisation of size=3 takes"),
        (lambda: Dropout(1.0), "leaves nothing"),
        (lambda: Dropout(-0.1), "`rate` is -0.1"),
        (lambda: Chain([Dropout(0.5), net(0)]), "begins with a network"),
        (lambda: Chain([net(0), models.sum_directions]), "adds two directions, but the Network before it gives one"),
        (lambda: models.sum_directions(net(0).unroll(X)), "`run` has one direction"),
        (lambda: Chain([Chain([net(0), models.last]), net(1)]), "needs a time axis"),
        (lambda: Chain([net(0), Chain([models.Repeat(3), net(1)])]), "takes one vector for a sequence"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_chains_inside_chains_that_change_the_time_axis():
    inner, outer = Chain([net(0), models.last]), Chain([models.Repeat(5), net(1)])
    model = Chain([inner, outer, Readout(N, 2, seed=2)])
    assert model.unroll(X, lengths=LENGTHS).output.shape == (5, B, 2)
    slope_two(model.objective(X, None, loss, LENGTHS), model.flat.copy())
