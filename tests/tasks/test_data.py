"""Streams, windows and buckets: every byte, target and sequence once an epoch, nothing of the held-out part in
training, and resumed to the same bits."""

from __future__ import annotations

import json
import pickle
from itertools import islice

import numpy as np
import pytest

import throughtime as tt

TEXT = bytes(np.random.default_rng(0).choice(list(b"abcdefg, "), 1003, p=np.arange(1, 10) / 45).tolist())
SERIES = np.random.default_rng(1).normal(size=(130, 2)).cumsum(axis=0)
RAGGED = [np.arange(1, n + 1) for n in (5, 2, 9, 2, 7, 3, 3, 8, 1, 4)]

ENDLESS = {
    "text": lambda: tt.tasks.text_stream(TEXT, 4, 50).batches(),
    "windows": lambda: tt.tasks.windows(SERIES, 20, 32).batches(seed=5),
    "buckets": lambda: tt.tasks.length_buckets(RAGGED, 3, targets=list(range(10))).batches(seed=5),
}


def same(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("before", [0, 1, 3, 4, 9, 23])
def test_resumed_is_uninterrupted(kind, before):
    whole = list(islice(ENDLESS[kind](), before + 12))
    batches = ENDLESS[kind]()
    for _ in range(before):
        next(batches)
    state = json.loads(json.dumps(batches.state))
    assert all(same(a, b) for a, b in zip(islice(batches, 12), whole[before:], strict=True))
    again = ENDLESS[kind]()
    again.state = state
    assert again.state == state
    assert all(same(a, b) for a, b in zip(islice(again, 12), whole[before:], strict=True))


# ------------------------------------------------------------------------------------------ text


@pytest.mark.parametrize(("lanes", "length", "share"), [(4, 50, 0.1), (7, 1000, 0.0), (1, 13, 0.5), (300, 3, 0.0)])
def test_every_byte_of_every_lane_is_read_once(lanes, length, share):
    stream = tt.tasks.text_stream(TEXT, lanes, length, held_out=share)
    train = TEXT[: len(TEXT) - round(share * len(TEXT))]
    batches = stream.batches()
    read = [next(batches)]
    assert not read[0].continues
    while (batch := next(batches)).continues:
        read.append(batch)
    assert batches.epoch == (1 if len(read) > 1 else 2)
    assert same(batch, read[0])
    x, targets = (np.concatenate([getattr(part, name) for part in read]) for name in ("x", "targets"))
    assert np.array_equal(x[1:], targets[:-1])
    lane = (len(train) - 1) // lanes
    assert x.shape == (lane, lanes)
    for b in range(lanes):
        assert stream.decode(x[:, b]) == train[b * lane : (b + 1) * lane]
        assert stream.decode(targets[:, b]) == train[b * lane + 1 : (b + 1) * lane + 1]
    assert all(len(part.x) == length for part in read[:-1])


def test_the_held_out_text_is_read_once(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    stream = tt.tasks.text_stream(path, 4, 10)
    batches = stream.held_out_batches()
    x = np.concatenate([batch.x for batch in batches])
    assert stream.decode(x.T.ravel()) == TEXT[-100:][: x.size]
    assert x.size == 4 * (99 // 4)
    with pytest.raises(StopIteration):
        next(batches)
    assert stream.vocabulary == bytes(sorted(set(TEXT)))
    assert stream.tokens.nbytes == 903
    assert stream.decode(stream.encode("a, bad cab")) == b"a, bad cab"


def test_the_baseline_of_a_text_is_that_of_its_bytes():
    stream = tt.tasks.text_stream(TEXT, 4, 50)
    train, rest = TEXT[:-100], TEXT[-100:]
    nats = [-np.log((train.count(bytes([byte])) + 1) / (len(train) + 9)) for byte in rest[1:]]
    assert stream.baseline == pytest.approx(np.mean(nats), rel=1e-13)
    assert np.isnan(tt.tasks.text_stream(TEXT, 4, 50, held_out=0.0).baseline)


# ------------------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("horizon", [1, 4])
def test_every_window_once_an_epoch(horizon):
    found = tt.tasks.windows(SERIES, 20, 32, horizon=horizon)
    assert len(found.series) == 104
    np.testing.assert_allclose(found.series.mean((0, 1)), 0, atol=1e-14)
    np.testing.assert_allclose(found.series.std((0, 1)), 1, rtol=1e-14)
    batches, starts = found.batches(seed=0), []
    while batches.epoch == 0:
        batch = next(batches)
        for b in range(batch.x.shape[1]):
            start = int(np.nonzero((found.series[:, 0] == batch.x[0, b]).all(axis=1))[0][0])
            assert np.array_equal(batch.x[:, b], found.series[start : start + 20, 0])
            assert np.array_equal(batch.targets[:, b], found.series[start + horizon : start + horizon + 20, 0])
            starts.append(start)
    assert sorted(starts) == list(range(104 - 20 - horizon + 1))
    assert starts != sorted(starts)
    np.testing.assert_allclose(found.restore(found.held_out)[:, 0], SERIES[104:], rtol=1e-12)


@pytest.mark.parametrize("steps", [100, 115, 130])
@pytest.mark.parametrize("several", [1, 3])
def test_every_held_out_target_counts_once(steps, several):
    series = np.random.default_rng(2).normal(size=(steps, several, 2))
    found = tt.tasks.windows(series, 6, 4, horizon=2, held_out=0.3, standardise=False)
    targets, naive = [], []
    for batch in found.held_out_batches():
        assert batch.x.shape[1] <= 4
        targets.append(batch.targets[batch.mask])
        naive.append(((batch.targets - batch.x)[batch.mask] ** 2).ravel())
    counted, wanted = np.concatenate(targets), found.held_out[2:].reshape(-1, 2)
    assert np.array_equal(np.sort(counted, axis=0), np.sort(wanted, axis=0))
    assert found.baseline == pytest.approx((wanted**2).mean(), rel=1e-13)
    assert np.concatenate(naive).size == wanted.size
    later = found.held_out[2:] - found.held_out[:-2]
    assert found.persistence == pytest.approx((later**2).mean(), rel=1e-13)


# ------------------------------------------------------------------------------------------ buckets


def test_every_sequence_once_an_epoch():
    found = tt.tasks.length_buckets(RAGGED, 3, targets=list(range(10)))
    batches, seen, shapes = found.batches(seed=1), [], []
    while batches.epoch == 0:
        batch = next(batches)
        shapes.append(batch.x.shape)
        for b, label in enumerate(batch.targets):
            n = batch.lengths[b]
            assert np.array_equal(batch.x[:n, b], RAGGED[label])
            assert not batch.x[n:, b].any()
            seen.append(label)
    assert sorted(seen) == list(range(10))
    assert sum(t * b for t, b in shapes) == pytest.approx(sum(map(len, RAGGED)) / (1 - found.padding))
    assert found.padding < 0.2
    lengths = [batch.lengths.tolist() for batch in found.once()]
    assert lengths == [[1, 2, 2], [3, 3, 4], [5, 7, 8], [9]]
    other = [batch.targets.tolist() for batch in islice(found.batches(seed=2), 40)]
    assert any(other[i] != other[i + 4] for i in range(0, 36))


def test_targets_of_each_kind():
    floats = [np.random.default_rng(n).normal(size=(len(one), 2)) for n, one in enumerate(RAGGED)]
    of_steps = next(tt.tasks.length_buckets(floats, 4, targets=RAGGED).once())
    assert of_steps.x.shape == (3, 4, 2)
    assert of_steps.targets.shape == (3, 4)
    regression = next(tt.tasks.length_buckets(RAGGED, 4, targets=floats).once())
    assert regression.targets.shape == (3, 4, 2)
    vectors = next(tt.tasks.length_buckets(RAGGED, 4, targets=np.ones((10, 3))).once())
    assert vectors.targets.shape == (4, 3)
    following = next(tt.tasks.length_buckets(RAGGED[:3], 4).once())
    assert following.lengths.tolist() == [1, 4, 8]
    assert np.array_equal(following.targets[:4, 1], following.x[:4, 1] + 1)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: tt.tasks.text_stream("no such file", 2, 3), FileNotFoundError, "passed as bytes"),
        (lambda: tt.tasks.text_stream(".", 2, 3), ValueError, "is a folder"),
        (lambda: tt.tasks.text_stream(3, 2, 3), TypeError, "the name of a file"),
        (lambda: tt.tasks.text_stream(b"", 2, 3), ValueError, "has 0 bytes"),
        (lambda: tt.tasks.text_stream(b"abc", 3, 3, held_out=0.0), ValueError, "3 lanes need 4"),
        (lambda: tt.tasks.text_stream(TEXT, 2, 3, held_out=2.0), ValueError, "a probability"),
        (lambda: tt.tasks.text_stream(TEXT, 2, 3).encode("Z"), ValueError, "0x5a"),
        (lambda: tt.tasks.text_stream(TEXT, 200, 3).held_out_batches(), ValueError, "too few for 200 lanes"),
        (lambda: tt.tasks.windows([1.0, np.nan, 2.0], 1), ValueError, "first at step 1"),
        (lambda: tt.tasks.windows(np.ones(10), 3), ValueError, "never changes"),
        (lambda: tt.tasks.windows(np.arange(10), 9), ValueError, "need 10"),
        (lambda: tt.tasks.windows(np.arange(20), 9).held_out_batches(), ValueError, "no window of 9"),
        (lambda: tt.tasks.windows(np.zeros((2, 2, 2, 2)), 1), ValueError, r"\(n, S, I\)"),
        (lambda: tt.tasks.length_buckets([], 2), ValueError, "is empty"),
        (lambda: tt.tasks.length_buckets(3, 2), TypeError, "a list of arrays"),
        (lambda: tt.tasks.length_buckets([np.ones(3)], 2), ValueError, "of whole numbers"),
        (lambda: tt.tasks.length_buckets([np.ones((3, 2)), np.ones((3, 1))], 2), ValueError, r"sequences\[1\]"),
        (lambda: tt.tasks.length_buckets([[1, 2], [3]], 2), ValueError, "none to predict"),
        (lambda: tt.tasks.length_buckets([[1, 2], [3]], 2, targets=[1]), ValueError, "1 entries for 2"),
        (lambda: tt.tasks.length_buckets([[1, 2], [3]], 2, targets=[[1, 2], [3, 4]]), ValueError, r"targets\[1\]"),
        (lambda: tt.tasks.length_buckets([[1, 2], [3]], 2, targets=[0.5, 1.5]), ValueError, r"targets\[0\]"),
    ],
)
def test_what_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("text", ["one line\nand another", "word " * 80])
def test_a_text_in_place_of_a_file_is_told_to_be_bytes(text):
    with pytest.raises(ValueError, match="`source` is a text; a str is the name of a file, and a text itself is bytes"):
        tt.tasks.text_stream(text, 2, 5)


def test_batches_can_be_pickled_where_they_stand():
    """As for a process of their own; what follows is the same."""
    sequences = [np.ones((n, 2)) for n in (3, 5, 4, 3)]
    buckets = tt.tasks.length_buckets(sequences, 2, targets=np.arange(4))
    windows, text = (
        tt.tasks.windows(np.sin(np.arange(60.0)), length=5),
        tt.tasks.text_stream(b"to be or not " * 9, 2, 5),
    )
    kinds = [
        tt.tasks.Adding(5).batches(3, seed=0), tt.tasks.Reversal(aligned=False).batches(3, seed=0).teacher_forced(8),
        windows.batches(seed=0), windows.held_out_batches(), text.batches(), text.held_out_batches(),
        buckets.batches(seed=0), buckets.once(),
    ]  # fmt: skip
    for batches in kinds:
        next(batches)
        again = pickle.loads(pickle.dumps(batches))
        one, other = next(batches, None), next(again, None)
        assert (one is None) == (other is None)
        if one is not None:
            assert np.array_equal(one.targets, other.targets)
            assert all(map(np.array_equal, *([b.x] if isinstance(b.x, np.ndarray) else b.x for b in (one, other))))
