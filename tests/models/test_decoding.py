"""Writing with a model: a carried state against runs from the start, beams against all sequences there are."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import throughtime as tt

V, B = 4, 3
CELLS = pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
generate, beam_search = tt.models.generate, tt.models.beam_search


def writer(cell="lstm", gain=4.0, **options):
    """A model with opinions: the readout's first weights say nearly the same of every token."""
    model = tt.models.language_model(cell, V, hidden_size=6, embedding=3, seed=0, num_layers=2, **options)
    model.parameters["2.weight"] *= gain
    return model


START = np.array([[0, 1, 2], [3, 3, 0]])


def log_probability(model, start, tokens):
    """ln p(tokens | start) of one sequence, by one run over all of it."""
    x = np.concatenate([start, tokens])
    y = model.unroll(x[:-1]).output[len(start) - 1 :]
    logs = y - np.log(np.exp(y).sum(axis=1, keepdims=True))
    return logs[np.arange(len(tokens)), tokens].sum()


@CELLS
def test_greedy_is_the_likeliest_each_time(cell):
    model = writer(cell)
    found = generate(model, START, 12, temperature=0)
    x = START
    for _ in range(12):  # from the start each time, nothing carried
        x = np.concatenate([x, model.unroll(x).output[-1].argmax(axis=1)[None]])
    assert np.array_equal(found.tokens, x[2:])
    assert found.lengths.tolist() == [12] * B
    each = [log_probability(model, START[:, b], found.tokens[:, b]) for b in range(B)]
    assert np.allclose(found.log_probability, each, rtol=1e-12, atol=0)


@CELLS
def test_a_batch_is_its_sequences(cell):
    model = writer(cell)
    whole, best = generate(model, START, 9, temperature=0, end=2), beam_search(model, START, 5, width=6, end=2)
    for b in range(B):
        one = generate(model, START[:, b], 9, temperature=0, end=2)
        assert np.array_equal(one.tokens, whole.tokens[: len(one.tokens), b])
        assert (one.lengths[0], one.log_probability[0]) == (whole.lengths[b], whole.log_probability[b])
        one = beam_search(model, START[:, b], 5, width=6, end=2)
        n = int(one.lengths[0])
        assert np.array_equal(one.tokens[:n], best.tokens[:n, b])
        assert (n, one.log_probability[0]) == (best.lengths[b], best.log_probability[b])


def test_the_chances_are_those_of_softmax():
    """20,000 draws: each share within five standard errors."""
    model, count = writer(gain=10.0), 20_000
    start = np.zeros((1, count), int)
    y = model.unroll(start[:, :1]).output[0, 0]
    for temperature, top_k in ((1.0, None), (0.5, None), (2.0, 2), (1e-300, None)):
        kept = np.argsort(-y)[:top_k]
        with np.errstate(over="ignore"):
            chances = np.zeros(V)
            chances[kept] = np.exp((y[kept] - y.max()) / temperature)
        chances /= chances.sum()
        found = generate(model, start, 1, temperature=temperature, top_k=top_k, seed=0).tokens
        shares = np.bincount(found[0], minlength=V) / count
        assert (np.abs(shares - chances) <= 5 * np.sqrt(chances * (1 - chances) / count)).all()


def test_an_end_token_ends():
    model = writer(gain=1.0)
    found = generate(model, np.zeros((1, 50), int), 30, end=1, seed=0)
    steps = np.arange(len(found.tokens))[:, None]
    assert (found.tokens[steps >= found.lengths] == 1).all() if (steps >= found.lengths).any() else True
    for b, n in enumerate(found.lengths):
        assert (found.tokens[: n - 1, b] != 1).all()
        assert n == 30 or found.tokens[n - 1, b] == 1
        exact = log_probability(model, np.zeros(1, int), found.tokens[:n, b])
        assert np.isclose(found.log_probability[b], exact, rtol=1e-12, atol=0)
    assert len(set(found.lengths)) > 5
    h, c = found.final_state
    for b in (0, 7):  # the state is that of the sequence when it had read all but its last token
        x = np.concatenate([[0], found.tokens[: found.lengths[b] - 1, b]])
        assert np.allclose(h[:, b], model.unroll(x).final_state[0], rtol=1e-12, atol=1e-15)
        assert np.allclose(c[:, b], model.unroll(x).final_state[1], rtol=1e-12, atol=1e-15)


@CELLS
def test_what_is_interrupted_goes_on(cell):
    model = writer(cell, gain=1.0)
    whole = generate(model, START, 10, seed=5)
    rng = np.random.default_rng(5)
    first = generate(model, START, 4, seed=rng)
    second = generate(model, first.tokens[-1:], 6, seed=rng, state=first.final_state)
    assert np.array_equal(np.concatenate([first.tokens, second.tokens]), whole.tokens)


@CELLS
@pytest.mark.parametrize("end", [None, 2])
def test_a_beam_of_one_is_greedy(cell, end):
    model = writer(cell)
    one, greedy = beam_search(model, START, 10, width=1, end=end), generate(model, START, 10, temperature=0, end=end)
    assert np.array_equal(one.tokens, greedy.tokens)
    assert np.array_equal(one.lengths, greedy.lengths)
    assert np.allclose(one.log_probability, greedy.log_probability, rtol=1e-14, atol=0)


@CELLS
@pytest.mark.parametrize("end", [None, 2])
def test_a_wide_beam_finds_the_likeliest_of_all(cell, end):
    """Against every sequence of four tokens, one by one."""
    model, steps = writer(cell, gain=2.0), 4
    found = beam_search(model, START, steps, width=V ** (steps - 1), end=end)
    for b in range(B):
        scores = {}
        for tokens in product(range(V), repeat=steps):
            own = tokens[: tokens.index(end) + 1] if end in tokens else tokens
            if own not in scores:
                scores[own] = log_probability(model, START[:, b], np.array(own))
        best = max(scores, key=scores.get)
        assert tuple(found.tokens[: found.lengths[b], b]) == best
        assert np.isclose(found.log_probability[b], scores[best], rtol=1e-12, atol=0)


def test_two_networks_carry_their_states():
    pieces = [tt.models.Embedding(V, 3, seed=0), tt.Network("lstm", 3, 5, seed=1), tt.Network("gru", 5, 4, seed=2)]
    model = tt.models.Chain([*pieces, tt.models.Readout(4, V, seed=3)])
    best = beam_search(model, START, 3, width=V**2)
    assert np.isclose(
        best.log_probability[1], log_probability(model, START[:, 1], best.tokens[:, 1]), rtol=1e-12, atol=0
    )
    assert list(best.final_state) == ["1", "2"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: generate(tt.Network("gru", 2, 3), START, 5), TypeError, "`model` is a network; expected a model of"),
        (lambda m: generate(tt.models.Readout(2, 3), START, 5), ValueError, "its first piece is no Embedding"),
        (lambda m: generate(m, np.zeros((0, 2), int), 5), ValueError, "at least one"),
        (lambda m: generate(m, START + V, 5), ValueError, "holds a token that there is not; this model has 4"),
        (lambda m: generate(m, START * 0.5, 5), TypeError, "expected tokens"),
        (lambda m: generate(m, START, 5, temperature=-1), ValueError, "`temperature` is -1"),
        (lambda m: generate(m, START, 5, top_k=0), ValueError, "`top_k` is 0"),
        (lambda m: generate(m, START, 5, end=V), ValueError, "`end` is 4"),
        (lambda m: generate(m, START, 0), ValueError, "`steps` is 0"),
        (lambda m: beam_search(m, START, 5, width=0), ValueError, "`width` is 0"),
        (lambda m: beam_search(m, START, 5, width=10**15), ValueError, "`width`=1000000000000000"),
        (
            lambda m: generate(tt.models.Chain([tt.models.Embedding(4, 2), tt.models.Readout(2, 3)]), START, 5),
            ValueError,
            "reads 4 tokens, but says 3",
        ),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(writer())


def test_a_model_that_says_nan():
    model = writer()
    model.flat[-1] = np.nan
    with pytest.raises(ValueError, match="`model` says NaN"):
        generate(model, START, 5)
