"""What every task promises: shapes, seeds, checkpoints, what counts as right; a new task of TASKS is asked the same."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

import throughtime as tt
from throughtime.tasks.batch import counted, one_each

TASKS = tt.tasks.TASKS
VARIANTS = [
    *((name, {}) for name in TASKS if name != "selective_copying"),
    ("selective_copying", {"length": 50, "count": 5}),
    *(("adding", {"length": 20, "variant": variant}) for variant in ("arjovsky", "pascanu", "hochreiter")),
    ("copy_memory", {"delay": 7, "count": 3, "variable": True}),
    ("temporal_order", {"marks": 3}),
    ("temporal_order", {"length": 20, "variant": "pascanu"}),
    ("reversal", {"shortest": 2, "longest": 7}),
    ("reversal", {"shortest": 2, "longest": 7, "aligned": False}),
    ("spoken_digits", {"shortest": 1, "longest": 4, "reverse": True}),
    ("counting_grammar", {"most": 4, "letters": 3}),
]
EVERY = pytest.mark.parametrize(
    "task", [TASKS[name](**options) for name, options in VARIANTS], ids=[f"{n}-{o}" for n, o in VARIANTS]
)


def perfect(task, batch):
    """The output of a model that knows the task."""
    if isinstance(task, tt.tasks.EmbeddedReber):
        return task.legal(batch).astype(float)
    if isinstance(task, tt.tasks.CountingGrammar):
        return task.legal(batch).astype(float)
    if isinstance(task, tt.tasks.BernoulliAdd):
        return np.log(np.stack([1 - task.rates(batch), task.rates(batch)], axis=-1) + 1e-12)
    if isinstance(task, tt.tasks.TemporalXor):  # nobody knows the coins
        return (20 * batch.targets - 10) * (np.arange(len(batch.x)) % 3 == 1)[:, None, None]
    if task.loss is tt.training.cross_entropy:
        return np.eye(task.outputs)[batch.targets]
    return 20 * batch.targets - 10 if task.loss is tt.training.binary_cross_entropy else batch.targets


@EVERY
def test_shapes_are_what_the_task_says(task):
    batch = task.batch(6, seed=0)
    steps = batch.x.shape[0]
    assert steps <= task.steps
    assert batch.x.shape == ((steps, 6) if task.tokens else (steps, 6, task.inputs))
    assert batch.x.dtype.kind == ("i" if task.tokens else "f")
    if task.tokens:
        assert 0 <= batch.x.min() <= batch.x.max() < task.inputs
    wide = batch.targets.shape[: 1 if one_each(batch) else 2]
    assert wide[-1] == 6
    if task.loss is tt.training.cross_entropy:
        assert batch.targets.shape == wide
        assert 0 <= batch.targets.min() <= batch.targets.max() < task.outputs
    else:
        assert batch.targets.shape == (*wide, task.outputs)
        assert batch.targets.dtype == float
    if batch.lengths is not None:
        assert batch.lengths.shape == (6,)
        assert 1 <= batch.lengths.min() <= batch.lengths.max() <= steps
        padding = np.arange(steps)[:, None] >= batch.lengths
        assert not batch.x[padding].any() or isinstance(task, tt.tasks.CountingGrammar | tt.tasks.Reversal)
    if batch.mask is not None:
        assert batch.mask.shape == batch.targets.shape[:2]
        assert batch.mask.dtype == bool
        assert batch.mask.any(axis=0).all()


@EVERY
def test_a_seed_is_a_batch(task):
    def same(a, b):
        return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))

    assert same(task.batch(5, seed=3), task.batch(5, seed=np.random.default_rng(3)))
    assert not np.array_equal(task.batch(5, seed=3).x, task.batch(5, seed=4).x)
    first, second = (task.batches(5, seed=3) for _ in range(2))
    assert same(next(first), task.batch(5, seed=3))
    for _ in range(3):
        next(second)
    state = json.loads(json.dumps(second.state))
    wanted = [next(second) for _ in range(3)]
    first.state = state
    assert all(same(next(first), batch) for batch in wanted)
    assert first.state == second.state


@EVERY
def test_right_and_wrong(task):
    batch = task.batch(40, seed=1)
    output = perfect(task, batch)
    assert not task.wrong(output, batch).any()
    assert task.solved(output, batch)
    assert task.share_wrong(output, batch) == 0.0
    noise = np.random.default_rng(0).normal(size=output.shape)
    assert task.share_wrong(noise, batch) > 0.3
    assert not task.solved(noise, batch)
    assert not task.solved(np.full(output.shape, np.nan), batch)
    spoilt = output.copy()  # one sequence alone
    if one_each(batch):
        spoilt[7] = -spoilt[7] + 1
    else:
        spoilt[:, 7] = 1 - spoilt[:, 7]
    assert task.wrong(spoilt, batch).nonzero()[0].tolist() == [7]


@EVERY
def test_the_output_of_every_step_serves_where_one_is_wanted(task):
    batch = task.batch(9, seed=1)
    spread = batch.aligned()
    if not one_each(batch):
        assert spread is batch
        return
    assert not one_each(spread)
    assert counted(spread).sum(axis=0).tolist() == [1] * 9
    assert np.array_equal(spread.targets.swapaxes(0, 1)[counted(spread).T], batch.targets)
    output = np.random.default_rng(0).normal(size=(*batch.x.shape[:2], task.outputs))
    output.swapaxes(0, 1)[counted(spread).T] = perfect(task, batch)
    assert not task.wrong(output, batch).any()


@EVERY
def test_a_network_takes_it(task):
    batch = task.batch(3, seed=0)
    if task.tokens:
        plain = batch.one_hot(task.inputs)
        assert np.array_equal(plain.x.argmax(axis=-1), batch.x)
        assert (plain.x.sum(axis=-1) == 1).all()
    else:
        plain = batch
        with pytest.raises(TypeError, match="as it is"):
            batch.one_hot(2)
    lengths = batch.lengths if batch.mask is None or len(batch.mask) == len(batch.x) else None
    tt.Network("tanh", task.inputs, 2, seed=0).unroll(plain.x[:20], lengths=lengths if len(plain.x) <= 20 else None)


@EVERY
def test_baselines_are_above_the_optimum(task):
    assert 0.0 <= task.optimum < task.baseline
    assert 0.0 <= task.allowed < 0.1


@EVERY
def test_a_task_is_a_value(task):
    assert pickle.loads(pickle.dumps(task)) == task
    assert hash(task) == hash(type(task)(**vars(task)))
    assert repr(task).startswith(type(task).__name__ + "(")
    with pytest.raises(AttributeError):
        task.length = 3


@EVERY
def test_what_is_refused(task):
    for size in (0, -1, 2**62):
        with pytest.raises(ValueError, match=r"size|needs"):
            task.batch(size)
    with pytest.raises(TypeError, match="`size` is"):
        task.batches(1.5)
    with pytest.raises(TypeError, match="`seed` is"):
        task.batch(2, seed="a")
    with pytest.raises(TypeError, match="expected a Batch"):
        task.wrong(np.zeros((2, 2)), "batch")
    batch = task.batch(2, seed=0)
    with pytest.raises(ValueError, match=r"`output` has shape \(3,\)"):
        task.wrong(np.zeros(3), batch)
    with pytest.raises(TypeError, match="has no argument `number`"):
        task.batch(number=3)


@pytest.mark.parametrize("name", TASKS)
def test_settings_are_checked(name):
    cls = TASKS[name]
    with pytest.raises(TypeError, match="has no argument `nothing`"):
        cls(nothing=1)
    for field, kind in cls.__annotations__.items():
        if kind in ("int", "float"):
            for bad in ("a", None, float("nan"), -1)[: 4 if kind == "int" else 3]:
                with pytest.raises((TypeError, ValueError), match=f"`{field}`"):
                    cls(**{field: bad})
        elif kind in ("bool", "str"):
            with pytest.raises((TypeError, ValueError), match=f"{field}"):
                cls(**{field: 3})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tt.tasks.Adding(length=1), "expected at least 2"),
        (lambda: tt.tasks.Adding(variant="hochreitr"), 'Did you mean "hochreiter"'),
        (lambda: tt.tasks.Multiplication(length=19), "expected at least 20"),
        (lambda: tt.tasks.SelectiveCopying(length=3, count=4), "4 symbols to remember"),
        (lambda: tt.tasks.TemporalOrder(length=9), "at least 10"),
        (lambda: tt.tasks.TemporalOrder(marks=4), "from 2 to 3"),
        (lambda: tt.tasks.DelayedXor(delay=10, length=20), "more than 20"),
        (lambda: tt.tasks.ElmanLetters(length=2), "at least 3"),
        (lambda: tt.tasks.FlipFlop(pulses=1.5), "a probability"),
        (lambda: tt.tasks.BernoulliAdd(first=3, second=3), "two different lags"),
        (lambda: tt.tasks.BernoulliAdd(length=10), "more than 10 steps"),
        (lambda: tt.tasks.Reversal(shortest=11), "above `longest`"),
        (lambda: tt.tasks.CountingGrammar().strings([]), "expected a list of whole numbers"),
        (lambda: tt.tasks.CountingGrammar().strings([0]), r"n\[0\]"),
        (lambda: tt.tasks.CopyMemory().batch(2).one_hot(9), "go up to 9"),
        (lambda: tt.tasks.Adding().batch(2).pieces(10), "aligned"),
    ],
)
def test_words_for_settings_that_do_not_fit(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_states_that_do_not_fit():
    batches = tt.tasks.Adding().batches(2, seed=0)
    with pytest.raises(TypeError, match=r"what `batches\.state` gave"):
        batches.state = {"epoch": 0}
    with pytest.raises(ValueError, match="another generator"):
        batches.state = batches.state | {"generator": {"bit_generator": "MT19937"}}
    state = batches.state
    with pytest.raises(ValueError, match="an epoch has 1 batches"):
        batches.state = state | {"position": 1}
    assert batches.state == state
    other = tt.tasks.Adding().batches(2, seed=np.random.Generator(np.random.Philox(3)))
    with pytest.raises(ValueError, match="another generator"):
        other.state = state


def test_pieces_follow_one_another():
    batch = tt.tasks.Reversal(shortest=2, longest=9).batch(5, seed=0)
    pieces = batch.pieces(4)
    assert [len(piece.x) for piece in pieces] == [4, 4, 4, 4, 3]
    assert [piece.continues for piece in pieces] == [False, True, True, True, True]
    assert np.array_equal(np.concatenate([piece.x for piece in pieces]), batch.x)
    assert np.array_equal(np.concatenate([piece.mask for piece in pieces]), batch.mask)
    assert np.array_equal(sum(piece.lengths for piece in pieces), batch.lengths)


def test_a_task_of_your_own():
    class Echo(tt.tasks.Task):
        loss = "mean_squared_error"
        sizes = (1, 1, 5)
        baseline = 1.0

        def _draw(self, size, rng):
            x = rng.normal(size=(5, size, 1))
            return tt.tasks.Batch(x, x)

    batch = next(Echo().batches(3, seed=0))
    assert batch.x.shape == (5, 3, 1)
