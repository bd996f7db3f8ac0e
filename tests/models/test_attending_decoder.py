"""Decoders with attention: PyTorch's hundred steps, weights and masks, steps against the whole, writing, refusals."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))

import make_attending
from attending_by_hand import LENGTHS, WIRINGS, B, E, N, S, T, V, W, case, trained

import throughtime as tt

m = tt.models
WIRING = pytest.mark.parametrize("name", WIRINGS)
PADDED = pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
GOLDEN = np.load(make_attending.PATH)


def agree(ours, losses, parameters):
    assert np.abs(ours[0] - losses).max() <= 1e-9 * np.abs(losses).max()
    assert np.abs(ours[1] - parameters).max() <= 1e-9 * np.abs(parameters).max()


@PADDED
@WIRING
def test_a_hundred_steps_as_pytorch(name, padded):
    theirs = GOLDEN[make_attending.key(name, padded)]
    agree(trained(case(name, padded)), theirs[:100], theirs[100:])


@WIRING
def test_a_hundred_steps_as_pytorch_live(name, torch):
    agree(trained(case(name, True)), *make_attending.trained(torch, case(name, True)))


@WIRING
def test_weights_sum_to_one_and_masked_places_are_zero(name):
    given = case(name, True)
    weights = given.model.unroll(given.x, lengths=LENGTHS).attention_weights
    real = (np.arange(T)[:, None] < LENGTHS[1])[:, :, None] & (np.arange(S) < LENGTHS[0][:, None])
    assert weights.shape == (T, B, S)
    assert np.array_equal(weights > 0, real)
    assert np.abs(weights.sum(axis=2)[real.any(axis=2)] - 1).max() <= S * 2.3e-16


@WIRING
def test_a_sequence_alone_is_that_of_the_batch(name):
    given = case(name, True)
    whole = given.model.unroll(given.x, lengths=LENGTHS)
    back = whole.backprop(np.ones_like(whole.output))
    total = {key: np.zeros_like(value) for key, value in back.parameters.items()}
    for b in range(B):
        n, k = LENGTHS[0][b], LENGTHS[1][b]
        run = given.model.unroll((given.x[0][:n, b], given.x[1][:k, b]))
        assert run.output.shape == (k, W)
        assert np.allclose(run.output, whole.output[:k, b], rtol=1e-12, atol=1e-14)
        assert np.allclose(run.attention_weights, whole.attention_weights[:k, b, :n], rtol=1e-12, atol=1e-14)
        for key, value in run.backprop(np.ones_like(run.output)).parameters.items():
            total[key] += value
    for key, value in back.parameters.items():
        assert np.allclose(total[key], value, rtol=1e-10, atol=1e-12), key


@WIRING
def test_the_networks_of_a_run(name):
    """Those of all steps, with what was fed as input; their gradients are those of the whole way back."""
    given = case(name, True)
    run = given.model.unroll(given.x, lengths=LENGTHS)
    found = run.backprop(np.ones_like(run.output))
    assert list(run.networks) == list(found.networks) == ["encoder.1", "decoder.1"]
    for key, own in found.networks.items():
        assert own.states.shape == run.networks[key].states.shape
        assert own.input.shape == run.networks[key].input.shape
        for inner, value in own.parameters.items():
            assert np.array_equal(value, found.parameters[f"{key}.{inner}"])
    net = run.networks["decoder.1"]
    assert np.allclose(net.final_state[0], run.final_state[0], rtol=1e-13, atol=1e-15)
    assert tt.analysis.gradient_norms(net, np.ones_like(net.output)).rate.shape == (B,)


def by_hand(given, tokens, b, start=0):
    """ln p(tokens | source b), and the weights of every step, by one run over all of them."""
    n, model = LENGTHS[0][b], given.model
    run = model.unroll((given.x[0][:n, b], np.concatenate([[start], tokens[:-1]])))
    logs = run.output - np.log(np.exp(run.output).sum(axis=1, keepdims=True))
    return logs[np.arange(len(tokens)), tokens].sum(), run.attention_weights


def sharpened(name):
    """A model with opinions."""
    given = case(name, True)
    given.model.parameters["decoder.2.weight"] *= 12
    given.model.parameters["combine.weight"] *= 3
    return given


@WIRING
@pytest.mark.parametrize("end", [None, 2])
def test_writing_carries_its_state(name, end):
    """Greedy, batched, of sources of different lengths, against runs over all that was written."""
    given = sharpened(name)
    found = m.generate(given.model, 0, 6, temperature=0, end=end, source=given.x[0], source_lengths=LENGTHS[0])
    assert found.attention_weights.shape == (len(found.tokens), B, S)
    for b in range(B):
        tokens = found.tokens[: found.lengths[b], b]
        score, weights = by_hand(given, tokens, b)
        assert np.isclose(found.log_probability[b], score, rtol=1e-12, atol=0)
        own = found.attention_weights[:, b]
        assert np.allclose(own[: len(tokens), : LENGTHS[0][b]], weights, rtol=1e-11, atol=1e-14)
        assert not own[len(tokens) :].any()
        one = m.generate(given.model, [0], 6, temperature=0, end=end, source=given.x[0][: LENGTHS[0][b], b])
        assert np.array_equal(one.tokens, tokens)
        assert one.attention_weights.shape == (len(tokens), LENGTHS[0][b])


@WIRING
@pytest.mark.parametrize("end", [None, 2])
def test_a_beam_of_one_is_greedy_and_a_wide_one_finds_the_likeliest(name, end):
    given = sharpened(name)
    options = {"end": end, "source": given.x[0], "source_lengths": LENGTHS[0]}
    one, greedy = m.beam_search(given.model, 0, 6, width=1, **options), m.generate(given.model, 0, 6, 0, **options)
    assert np.array_equal(one.tokens, greedy.tokens)
    assert np.allclose(one.attention_weights, greedy.attention_weights, rtol=1e-12, atol=1e-15)
    best = m.beam_search(given.model, 0, 2, width=W, **options)
    for b in range(B):
        scores = {}
        for tokens in product(range(W), repeat=2):
            own = tokens[: tokens.index(end) + 1] if end in tokens else tokens
            scores[own] = by_hand(given, np.array(own), b)[0]
        likeliest = max(scores, key=scores.get)
        assert tuple(best.tokens[: best.lengths[b], b]) == likeliest
        assert np.isclose(best.log_probability[b], scores[likeliest], rtol=1e-12, atol=0)
        weights = by_hand(given, np.array(likeliest), b)[1]
        own = best.attention_weights[: len(weights), b, : LENGTHS[0][b]]
        assert np.allclose(own, weights, rtol=1e-11, atol=1e-14)


@WIRING
def test_what_is_interrupted_goes_on(name):
    given = sharpened(name)
    options = {"source": given.x[0], "source_lengths": LENGTHS[0]}
    whole, rng = m.generate(given.model, 0, 6, seed=5, **options), np.random.default_rng(5)
    first = m.generate(given.model, 0, 2, seed=rng, **options)
    second = m.generate(given.model, first.tokens[-1:], 4, seed=rng, state=first.final_state, **options)
    assert np.array_equal(np.concatenate([first.tokens, second.tokens]), whole.tokens)
    assert np.allclose(second.attention_weights, whole.attention_weights[2:], rtol=1e-12, atol=1e-15)


def test_the_bottleneck_alone_is_written_with_by_the_same_call():
    encoder = m.Chain([m.Embedding(V, E, seed=0), tt.Network("lstm", E, N, seed=1)])
    model = m.EncoderDecoder(encoder, m.language_model("lstm", W, hidden_size=N, embedding=E, seed=2))
    source = np.random.default_rng(0).integers(0, V, (S, B))
    found = m.generate(model, 0, 6, temperature=0, source=source, source_lengths=LENGTHS[0])
    start, state = np.zeros((1, B), int), model.encode(source, LENGTHS[0])
    again = m.generate(model.decoder, start, 6, temperature=0, state=state)
    assert np.array_equal(found.tokens, again.tokens)
    assert found.attention_weights is None


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("units", [N, 2 * N])
def test_the_state_of_both_directions(cell, units):
    """Their sum, or both side by side, of every layer."""
    encoder = tt.Network(cell, 2, N, num_layers=2, bidirectional=True, seed=0)
    model = m.EncoderDecoder(encoder, tt.Network(cell, 3, units, num_layers=2, seed=1))
    x = np.random.default_rng(0).standard_normal((S, B, 2))
    given, found = encoder.unroll(x).final_state, model.encode(x)
    for theirs, ours in zip(
        *(state if isinstance(state, tuple) else (state,) for state in (given, found)), strict=True
    ):
        for layer in range(2):
            one, other = theirs[2 * layer], theirs[2 * layer + 1]
            both = one + other if units == N else np.concatenate([one, other], axis=1)
            assert np.array_equal(ours[layer], both)


def net(*sizes, **options):
    return tt.Network("gru", *sizes, seed=0, **options)


def attending(*behind, attention=("dot", 3, 3), first=(), decoder=None, **options):
    says = m.Chain([m.Readout(2, 4), *behind]) if behind else net(2, 3)
    return m.EncoderDecoder(m.Chain([net(2, 3, **options), *first]), decoder or says, m.Attention(*attention))


def going_on(name, state):
    return m.generate(case(name, True).model, 0, 5, source=np.ones((3, 2), int), state=state)


def luong():
    return case("luong dot", True).model


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: attending(attention=("general", 2, 3)), ValueError, "queries=2, but the last network .* sends 3"),
        (lambda: attending(attention=("general", 3, 2)), ValueError, "keys=2, but `encoder` gives 3"),
        (lambda: m.EncoderDecoder(net(2, 3), net(2, 3), "dot"), TypeError, "`attention` is 'dot'"),
        (lambda: attending(first=(m.last,)), ValueError, "a memory has an entry for each step"),
        (
            lambda: attending(decoder=net(2, 3, bidirectional=True), bidirectional=True),
            ValueError,
            "`decoder` reads in both directions",
        ),
        (lambda: attending(m.InputFeeding("attended", 2), net(6, 3)), ValueError, '"attended" feeds 3'),
        (lambda: attending(m.InputFeeding("context", 3), net(6, 3)), ValueError, "takes 6 numbers .* gives 7"),
        (lambda: attending(net(4, 3), m.InputFeeding("context", 3), net(6, 3)), ValueError, "differ"),
        (
            lambda: attending(
                first=(net(3, 3),), decoder=m.Chain([net(2, 3), m.InputFeeding("context", 3), net(6, 3)])
            ),
            ValueError,
            "A network stands before the InputFeeding",
        ),
        (lambda: m.Chain([m.InputFeeding("context", 3), net(3, 3)]), ValueError, "`pieces` begins with"),
        (lambda: m.InputFeeding("bahdanau", 3), ValueError, 'no input feeding "bahdanau"'),
        (
            lambda: m.EncoderDecoder(net(2, 3), m.Chain([m.Readout(2, 4), m.InputFeeding("context", 3), net(7, 3)])),
            ValueError,
            "hears what an attention sees",
        ),
        (
            lambda: m.Chain([m.Readout(2, 4), m.InputFeeding("context", 3), net(7, 3)]).unroll(np.ones((5, 2))),
            ValueError,
            "nothing feeds it",
        ),
        (lambda: m.generate(luong(), 0, 5), ValueError, "goes on from a source"),
        (
            lambda: m.generate(m.language_model("gru", 4, hidden_size=3), [0], 5, source=[1]),
            ValueError,
            "`source` is read by an encoder",
        ),
        (lambda: going_on("luong dot", np.ones(3)), ValueError, "`state` has shape"),
        (lambda: going_on("fed context", np.ones(3)), ValueError, "`state` is .*the tuple|`state` has shape"),
        (lambda: going_on("fed context", {}), TypeError, "`state` is"),
        (
            lambda: going_on("fed attended", {"state": None, "fed": np.ones((1, 2, 5))}),
            ValueError,
            "state.*fed.* has shape",
        ),
        (lambda: m.generate(luong(), 0, 5, source=np.ones((3, 2, 2), int)), ValueError, "`source` has"),
        (
            lambda: m.generate(luong(), np.zeros((1, 3), int), 5, source=np.ones((3, 2), int)),
            ValueError,
            "`source` has 2 sequences",
        ),
        (lambda: m.beam_search(luong(), 9, 5, source=np.ones(3, int)), ValueError, "this model has 9"),
    ],
)  # fmt: skip
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_no_clipping_of_states_with_input_feeding():
    given = case("fed context", False)
    run = given.model.unroll(given.x)
    with pytest.raises(ValueError, match="leave `clip_state` out"):
        run.backprop(np.ones_like(run.output), clip_state=1.0)
