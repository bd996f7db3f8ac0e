"""A `state` means the same wherever there is one, and sequences of different lengths have their own exponents."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.analysis import covariant_vectors, lyapunov_spectrum, perturbed_twin

ANALYSES = {
    "lyapunov_spectrum": lambda net, x, state: lyapunov_spectrum(net, x, k=1, seed=0, state=state).exponents,
    "perturbed_twin": lambda net, x, state: perturbed_twin(net, x, seed=0, state=state).exponent,
    "covariant_vectors": lambda net, x, state: covariant_vectors(net, x, k=1, seed=0, state=state).exponents,
}
h, c = np.full((2, 3), 0.5), np.full((2, 3), -0.25)
FORMS = {  # (cell, state without an axis of the batch)
    "array": ("tanh", h),
    "list": ("tanh", h.tolist()),
    "whole numbers": ("gru", [[1, 0, 1], [0, 1, 0]]),
    "float32": ("gru", h.astype(np.float32)),
    "tuple": ("lstm", (h, c)),
    "list of two": ("lstm", [h, c]),
    "lists in a tuple": ("lstm", (h.tolist(), c.tolist())),
    "None in a tuple": ("lstm", (None, c)),
}


@pytest.mark.parametrize("analysis", sorted(ANALYSES))
@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_that_unroll_takes(form, analysis):
    cell, state = FORMS[form]
    net = tt.Network(cell, 1, 3, num_layers=2, seed=0)
    x = np.random.default_rng(0).standard_normal((60, 1))
    run = net.unroll(x[:20], state=state)
    following = net.unroll(x[:20], state=state).final_state
    whole = ANALYSES[analysis](net, x, state)
    plain = net.unroll(np.zeros((0, 1)), state=state).final_state  # the same state in the form of results
    np.testing.assert_array_equal(whole, ANALYSES[analysis](net, x, plain))
    assert np.isfinite(ANALYSES[analysis](net, x[20:], following)).all()
    assert run.steps == 20
    batch = (
        tuple(None if part is None else np.asarray(part, float)[:, None] for part in state)
        if cell == "lstm"
        else (np.asarray(state, float)[:, None])
    )
    np.testing.assert_allclose(np.ravel(ANALYSES[analysis](net, x[:, None], batch)), np.ravel(whole), atol=1e-12)
    assert np.isfinite(ANALYSES[analysis](net, None, state)).all()


@pytest.mark.parametrize("analysis", sorted(ANALYSES))
def test_a_state_that_unroll_refuses(analysis):
    net = tt.Network("tanh", 1, 3, seed=0)
    for state in (np.zeros((2, 3)), (np.zeros((1, 3)),), np.zeros((1, 1, 3))):
        for call in (net.unroll, lambda x, state: ANALYSES[analysis](net, x, state)):
            with pytest.raises(ValueError, match="`state"):
                call(np.zeros((60, 1)), state=state)


@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_are_the_sequences_alone(batch_first):
    net = tt.Network("tanh", 2, 6, seed=1, batch_first=batch_first)
    x, lengths = np.random.default_rng(0).standard_normal((500, 4, 2)), [500, 240, 500, 3]
    for b, end in enumerate(lengths):
        x[end:, b] = np.nan  # what stands in the padding does not matter
    state = np.random.default_rng(1).standard_normal((1, 4, 6))
    given = x.swapaxes(0, 1) if batch_first else x
    found = lyapunov_spectrum(net, given, lengths=lengths, state=state, seed=0, discard=10)
    assert found.times.shape[1] == 4
    for b, end in enumerate(lengths[:3]):
        alone = lyapunov_spectrum(net, x[:end, b], state=state[:, b], seed=0, discard=10)
        np.testing.assert_allclose(found.exponents[b], alone.exponents, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.sum_rule_residual[b], 0.0, atol=1e-10)
        assert (found.steps[b], found.warmup[b], found.discarded[b]) == (alone.steps, alone.warmup, alone.discarded)
        assert np.nanmax(found.times[:, b]) == alone.steps
    assert np.isnan(found.exponents[3]).all()
    assert not found.converged
    assert "sequence 3: 3 steps are too few" in found.reason
    assert "4 sequences" in repr(found)
    assert found.kaplan_yorke_dimension.shape == (4,)


def test_lengths_that_are_all_alike_change_nothing():
    net, x = tt.Network("gru", 2, 4, seed=1), np.random.default_rng(0).standard_normal((200, 2, 2))
    found = lyapunov_spectrum(net, x, lengths=[200, 200], seed=0, k=3)
    expected = lyapunov_spectrum(net, x, seed=0, k=3)
    np.testing.assert_array_equal(found.exponents, expected.exponents)
    np.testing.assert_array_equal(found.standard_error, expected.standard_error)
    one = lyapunov_spectrum(net, x[:, 0], lengths=[150], seed=0)
    np.testing.assert_array_equal(one.exponents, lyapunov_spectrum(net, x[:150, 0], seed=0).exponents)


def test_a_picture_of_different_lengths():
    plots = pytest.importorskip("throughtime.plots")
    net, x = tt.Network("tanh", 2, 4, seed=1), np.random.default_rng(0).standard_normal((300, 2, 2))
    drawn = plots.lyapunov_history(lyapunov_spectrum(net, x, lengths=[300, 100], seed=0), sequence=1)
    assert np.isfinite(drawn["curves"][0].get_xydata()).all()


def test_refused_lengths():
    net, x = tt.Network("tanh", 2, 4, seed=1), np.zeros((60, 2, 2))
    for call, words in (
        (lambda: lyapunov_spectrum(net, x, lengths=[60]), "one length for each"),
        (lambda: lyapunov_spectrum(net, x, lengths=[61, 3]), "between 0 and the 60"),
        (lambda: lyapunov_spectrum(net, lengths=[60]), "belongs to `x`"),
        (lambda: lyapunov_spectrum(net, x, lengths=[2, 0], steps=50), "long enough"),
        (lambda: covariant_vectors(net, x, lengths=[60, 3]), "each alone"),
        (lambda: perturbed_twin(net, x, lengths=[60, 3]), "each sequence alone"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
