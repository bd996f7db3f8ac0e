"""A batch of pairs, or one that a user built by hand: what takes a batch works on it, or says what is wrong with it."""

from __future__ import annotations

import itertools
import traceback
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt
from throughtime.tasks import Batch

T, B, I, O = 4, 3, 2, 2
RNG = np.random.default_rng(0)
FLOATS, TOKENS = RNG.normal(size=(T, B, I)), RNG.integers(0, 5, (T, B))
EACH, ONCE = RNG.integers(0, O, (T, B)), RNG.integers(0, O, B)
PAIR = Batch(TOKENS, EACH, [4, 2, 3], np.ones((T, B), bool)).teacher_forced(0)

# What stands in each place of a batch, right and wrong.
XS = (
    FLOATS, FLOATS.tolist(), TOKENS, TOKENS.tolist(), -TOKENS, (TOKENS, EACH), (TOKENS, EACH[:2]),
    (TOKENS, EACH[:, :2]), (TOKENS,), (1, 2), (), None, "x", 3, FLOATS[:, 0], FLOATS[0, 0], [[1], [1, 2]], FLOATS[:0],
    FLOATS[:, :0], TOKENS > 1, np.array([None]), {"x": 1}, FLOATS[None],
)  # fmt: skip
TARGETS = (
    EACH, EACH.tolist(), ONCE, ONCE.tolist(), FLOATS, FLOATS[0], FLOATS[..., :1], EACH[:2], EACH[:, :2], None, 1, "x",
    [[1], [1, 2]], EACH > 0, EACH[None, None], {}, np.zeros((0, B), int),
)  # fmt: skip
LENGTHS = (
    None, [4, 2, 0], np.array([4, 2, 3]), [0, 0, 0], [4, 2], [5, 2, 3], [-1, 2, 3], [1.5, 2, 3], 4, "x", [[1], [1, 2]],
    ([4, 2, 3], None), (None, [1, 2, 3]), (None, None), ([4, 2, 3], [9, 9, 9]), {},
)  # fmt: skip
MASKS = (None, EACH > 0, (EACH > 0).tolist(), EACH / 3, ONCE > 0, EACH[:2] > 0, 1, "x", [[1], [1, 2]], {})
BATCHES = {
    "x": [Batch(x, targets) for x, targets in itertools.product(XS, (EACH, ONCE, FLOATS, FLOATS[0]))],
    "targets": [Batch(x, targets) for x, targets in itertools.product((FLOATS, TOKENS, (TOKENS, EACH)), TARGETS)],
    "lengths": [Batch(*parts) for parts in itertools.product((TOKENS, (TOKENS, EACH)), (EACH, ONCE), LENGTHS)],
    "mask": [Batch(x, t, None, m) for x, t, m in itertools.product((TOKENS, (TOKENS, EACH)), (EACH, ONCE), MASKS)],
    "continues": [Batch(TOKENS, EACH, None, None, value) for value in (True, 1, None, "x", EACH)],
}


def runs_or_is_told(call, batch):
    """Its result; an error has to be a sentence from a `raise` of the package."""
    try:
        return call(batch)
    except (TypeError, ValueError) as raised:
        error = raised
    last = traceback.extract_tb(error.__traceback__)[-1]
    ours = "throughtime" in Path(last.filename).parts and (last.line or "").startswith("raise ")
    assert ours, f"{batch}: {last.filename}:{last.lineno}: {error}"
    assert len(str(error).split()) > 5, error
    return None


METHODS = {
    "one_hot": lambda batch: batch.one_hot(5), "aligned": lambda batch: batch.aligned(),
    "teacher_forced": lambda batch: batch.teacher_forced(0), "pieces": lambda batch: batch.pieces(3),
}  # fmt: skip


@pytest.mark.parametrize("part", BATCHES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method(method, part):
    answers = [runs_or_is_told(METHODS[method], batch) for batch in BATCHES[part]]
    assert any(answer is not None for answer in answers)


@pytest.mark.parametrize("part", BATCHES)
def test_every_method_after_another(part):
    for first, batch in itertools.product(METHODS.values(), BATCHES[part]):
        found = runs_or_is_told(first, batch)
        for second in METHODS.values():
            for each in found if type(found) is list else [] if found is None else [found]:
                runs_or_is_told(second, each)


@pytest.mark.parametrize("name", tt.tasks.TASKS)
def test_every_method_of_a_task(name):
    task = tt.tasks.TASKS[name]()
    own = task.batch(B, seed=0)
    batches = [batch for some in BATCHES.values() for batch in some]
    batches += [own._replace(**{part: value}) for part, values in SPOILT.items() for value in values]
    taking = [name for name in ("legal", "text", "errors", "rates", "alignment") if hasattr(task, name)]
    for batch in (own, *batches):
        for method in taking:
            of_task = getattr(task, method)
            output = (np.zeros((*own.targets.shape[:2], task.outputs)),) if method == "errors" else ()
            assert (
                runs_or_is_told(lambda given, f=of_task, o=output: f(*o, given), batch) is not None or batch is not own
            )
        for shape in {(*own.targets.shape[:2], task.outputs), (T, B, task.outputs), (B, task.outputs)}:
            runs_or_is_told(lambda given, s=shape: task.wrong(np.zeros(s), given), batch)


SPOILT = {"x": XS, "targets": TARGETS, "lengths": LENGTHS, "mask": MASKS}


@pytest.mark.parametrize("truncate", [None, 2, (2, 3)])
def test_fit_and_evaluate(truncate):
    def model():
        return tt.models.Chain([tt.Network("tanh", I, 3, seed=0), tt.models.Readout(3, O, seed=1)])

    ways = [lambda b: tt.training.fit(model(), [b], tt.training.cross_entropy, steps=1, truncate=truncate)]
    if truncate is None:
        ways += [lambda b, wrap=wrap: tt.training.evaluate(model(), wrap(b), tt.training.cross_entropy)
                 for wrap in (list, lambda b: [b], lambda b: b)]  # fmt: skip
    for batch, way in itertools.product([batch for some in BATCHES.values() for batch in some], ways):
        runs_or_is_told(way, batch)


# ------------------------------------------------------------------------------------------ what works is right


def same(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


def test_lists_are_as_good_as_arrays():
    arrays = Batch(TOKENS, EACH, np.array([4, 2, 3]), EACH > 0)
    lists = Batch(TOKENS.tolist(), EACH.tolist(), [4, 2, 3], (EACH > 0).tolist())
    assert same(lists.one_hot(5).x, arrays.one_hot(5).x)
    assert all(same(a, b) for a, b in zip(lists.pieces(3), arrays.pieces(3), strict=True))
    found, wanted = lists.teacher_forced(1), arrays.teacher_forced(1)
    assert same(found.x, wanted.x)
    assert same(found.lengths[:1], wanted.lengths[:1])
    once = Batch(FLOATS.tolist(), ONCE.tolist(), [4, 0, 3]).aligned()
    assert once.mask.sum(axis=0).tolist() == [1, 0, 1]
    assert once.targets[[3, 2], [0, 2]].tolist() == ONCE[[0, 2]].tolist()


@pytest.mark.parametrize("aligned", [True, False])
def test_a_task_looks_at_what_a_pair_says(aligned):
    task = tt.tasks.Reversal(2, 5, aligned=aligned)
    batch = task.batch(6, seed=0)
    pair = batch.teacher_forced(task.symbols)
    output = np.eye(task.outputs)[batch.targets]
    output[:, 2] = 1 - output[:, 2]
    assert task.wrong(output, pair).nonzero()[0].tolist() == task.wrong(output, batch).nonzero()[0].tolist() == [2]


def test_a_number_for_each_sequence_is_right_at_its_own_step():
    task = tt.tasks.Adding(length=5)
    batch = task.batch(6, seed=0)
    output = np.broadcast_to(batch.targets, (5, 6, 1)).copy()
    output[:4] += 1
    assert not task.wrong(output, batch.aligned()).any()
    output[4, 3] += 1
    assert task.wrong(output, batch.aligned()).nonzero()[0].tolist() == [3]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: PAIR.pieces(3), ValueError, "taken whole; `pieces` cuts one sequence: leave it out"),
        (lambda: PAIR.one_hot(5), ValueError, r"`batch\.one_hot\(tokens\)\.teacher_forced\(start\)`"),
        (lambda: Batch(-TOKENS, EACH).one_hot(5), ValueError, "go down to -"),
        (lambda: Batch((TOKENS,), EACH).pieces(3), TypeError, "a tuple of 1; expected one array"),
        (lambda: Batch(FLOATS[:, 0], EACH).pieces(3), ValueError, r"pass `x\[:, None\]`"),
        (lambda: Batch(FLOATS, None).aligned(), TypeError, "`targets` is None"),
        (lambda: Batch(FLOATS, EACH[:2]).pieces(3), ValueError, "they have 4 and 2"),
        (lambda: Batch(FLOATS, EACH, [4, 9, 1]).pieces(3), ValueError, r"`lengths\[1\]` is 9"),
        (lambda: Batch(FLOATS, EACH, None, EACH[:2]).pieces(3), ValueError, r"expected \(time, batch\) = \(4, 3\)"),
        (lambda: Batch((TOKENS, EACH), EACH, [1, 2, 3]).aligned(), ValueError, r"`\(of_sources, of_inputs\)`"),
        (lambda: Batch(FLOATS[:0], ONCE).aligned(), ValueError, "no step to which a target could go"),
        (lambda: Batch(FLOATS, EACH, None, None, "x").pieces(3), TypeError, "`continues` is 'x'"),
    ],
)  # fmt: skip
def test_the_words(make, error, words):
    with pytest.raises(error, match=words):
        make()
