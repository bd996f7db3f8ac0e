"""A curriculum gives the lengths it is told, and resumes to the same batches."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

sys.path.insert(0, str(Path(__file__).parent))
from learners import many_to_one

t = tt.training


def growing():
    return t.Curriculum(lambda length: tt.tasks.Adding(length).batches(4, seed=length), lambda n: 3 + (n // 2) % 3)


def test_batches_are_those_of_each_length_in_turn():
    mixed, own = growing(), {length: tt.tasks.Adding(length).batches(4, seed=length) for length in (3, 4, 5)}
    for n in range(12):
        assert np.array_equal(next(mixed).x, next(own[3 + (n // 2) % 3]).x)
    assert (mixed.number, mixed.lengths) == (12, [3, 4, 5])
    assert repr(mixed) == "<Curriculum: batch 12, lengths 3, 4, 5>"


@pytest.mark.parametrize("start", [0, 1, 5, 11])
def test_a_state_put_back_gives_the_same_batches(start):
    whole, again = growing(), growing()
    for _ in range(start):
        next(whole)
    again.state = whole.state
    for _ in range(9):
        assert np.array_equal(next(whole).x, next(again).x)


def test_a_training_along_it_resumes_to_the_same_bits(tmp_path):
    models = [many_to_one() for _ in range(3)]
    t.fit(models[0], growing(), "mean_squared_error", t.Adam(0.01), steps=14)
    for model, steps in zip(models[1:], (5, 14), strict=True):
        t.fit(model, growing(), "mean_squared_error", t.Adam(0.01), steps=steps, checkpoint=tmp_path / "run.tt")
    assert np.array_equal(models[0].flat, models[2].flat)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: t.Curriculum(3, lambda n: 1), TypeError, "`make` is 3"),
        (lambda: t.Curriculum(list), TypeError, "needs `length`"),
        (lambda: t.Curriculum(lambda n: [], tt.Network), TypeError, "`length` is the class Network"),
        (lambda: next(t.Curriculum(lambda length: [], lambda n: 0)), ValueError, "gives 0 for batch 0"),
        (lambda: next(t.Curriculum(lambda length: [], lambda n: 2.5)), ValueError, "expected a whole number"),
        (lambda: next(t.Curriculum(lambda length: 7, lambda n: 2)), TypeError, r"`make` gives 7 \(int\) for length 2"),
        (lambda: setattr(growing(), "state", 3), TypeError, "of a Curriculum gave"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
