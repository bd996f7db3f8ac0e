"""The pattern of translation: every way of looking, pairs for it, training that goes on where it stopped."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

m = tt.models
TASK = tt.tasks.Reversal(shortest=1, longest=4, symbols=5, aligned=False)
START = 5
PAIR = TASK.batch(6, seed=0).teacher_forced(START)


def model(**options):
    return m.sequence_to_sequence("gru", TASK.inputs, TASK.outputs, hidden_size=8, embedding=4, seed=0, **options)


@pytest.mark.parametrize("attention", ["general", "additive"])
@pytest.mark.parametrize("feeding", [None, "attended", "context"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_way_of_looking(attention, feeding, bidirectional):
    given = model(attention=attention, feeding=feeding, bidirectional=bidirectional, num_layers=2, dtype="float32")
    found = given.forward_backward(*PAIR[:2], TASK.loss, PAIR.lengths, weights=PAIR.mask)
    assert found.gradient.dtype == np.float32
    assert found.run.output.shape == (5, 6, TASK.outputs)
    assert found.run.attention_weights.shape == (5, 6, 4)
    lengths = PAIR.lengths[0]
    written = m.generate(given, START, 5, temperature=0, end=START, source=PAIR.x[0], source_lengths=lengths)
    first = found.run.output[0].argmax(axis=1)
    assert np.array_equal(written.tokens[0], first)


def test_the_same_seed_is_the_same_model():
    one, other = model(attention="additive"), model(attention="additive")
    assert np.array_equal(one.flat, other.flat)
    assert len(np.unique(one.flat)) > 0.99 * one.flat.size  # no part drawn as another


def test_pairs():
    batch = TASK.batch(6, seed=0)
    (source, inputs), lengths = PAIR.x, PAIR.lengths
    assert np.array_equal(source, batch.x)
    assert np.array_equal(inputs[0], np.full(6, START))
    assert np.array_equal(inputs[1:], batch.targets[:-1])
    assert np.array_equal(lengths[0], batch.lengths)
    assert np.array_equal(lengths[1], batch.mask.sum(axis=0))
    scattered = batch._replace(mask=np.roll(batch.mask, 1, axis=0), lengths=None).teacher_forced(START)
    assert scattered.lengths == (None, None) or scattered.lengths is None
    batches = TASK.batches(6, seed=0)
    next(batches)
    pairs, state = batches.teacher_forced(START), batches.state
    second = next(pairs)
    pairs.state = state
    for one, other in zip((*second.x, second.targets), (*(again := next(pairs)).x, again.targets), strict=True):
        assert np.array_equal(one, other)


def test_training_goes_on_where_it_stopped(tmp_path):
    def train(steps, path=None):
        given = model(attention="general", feeding="context")
        pairs = TASK.batches(8, seed=1).teacher_forced(START)
        done = tt.training.fit(given, pairs, TASK.loss, tt.training.Adam(0.01), steps=steps, checkpoint=path)
        return given, done

    whole, done = train(12)
    path = str(tmp_path / "point")
    train(5, path)
    again, _ = train(12, path)
    assert np.array_equal(whole.flat, again.flat)
    assert done.history["loss"][-1] < done.history["loss"][0]
    assert tt.training.evaluate(whole, PAIR, TASK.loss) < np.log(TASK.outputs)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: model(attention="luong"), ValueError, 'There is no kind of attention "luong"'),
        (lambda: model(feeding="context"), ValueError, "pass `attention` too"),
        (lambda: model(attention="dot", feeding="all"), ValueError, 'no input feeding "all"'),
        (lambda: model(attention="dot", bidirectional=True), ValueError, "multiplies them number by number"),
        (lambda: m.sequence_to_sequence("gru", 0, 3, hidden_size=4), ValueError, "`source_tokens` is 0"),
        (lambda: PAIR.teacher_forced(5), ValueError, "has a source and inputs already"),
        (lambda: tt.tasks.Adding(5).batch(2).teacher_forced(0), ValueError, "no class for each step"),
        (lambda: TASK.batches(2).teacher_forced("a"), TypeError, "`start` is 'a'"),
    ],
)
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
