"""A training that is killed goes on to the same bits; a checkpoint of another model or training is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

sys.path.insert(0, str(Path(__file__).parent))
from learners import TASK, every_step, many_to_one, series

from throughtime.training.tree import packed, unpacked

t = tt.training
STEPS = 60


def training(path, steps=STEPS, model=None, **options):
    """A stream in windows, with a schedule, a validation, a measure, and a generator of the caller's own."""
    stream = tt.tasks.text_stream(b"to be or not to be, that is the question; " * 12, batch=3, length=10)
    net = tt.Network("lstm", 4, 6, seed=0)
    model = model or tt.models.Chain(
        [tt.models.Embedding(stream.inputs, 4, seed=0), net, tt.models.Readout(6, stream.outputs, seed=0)]
    )
    noise = np.random.default_rng(5)

    def shake(now):
        now.model.flat += 1e-3 * noise.normal(size=now.model.flat.size)

    optimiser = t.Adam(t.Cosine(0.01, STEPS), transforms=(t.ClipNorm(1.0),))
    trained = t.fit(
        model, stream.batches(), "cross_entropy", optimiser, steps=steps, truncate=(3, 6),
        validation=list(stream.held_out_batches()), validate_every=4, callbacks=[shake],
        monitor=t.Monitor(every=5, probe=np.zeros((4, 2), int), measure={"h": lambda run: run.output.mean()}),
        checkpoint=path, checkpoint_every=1, generators={"noise": noise} if path else None, **options,
    )  # fmt: skip
    return model, optimiser, trained


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return training(None)


def same(found, expected):
    (model, optimiser, trained), (other, there, whole) = found, expected
    assert np.array_equal(model.flat, other.flat)
    assert all(np.array_equal(value, there.state[name]) for name, value in optimiser.state.items())
    assert all(np.array_equal(a, b) for a, b in zip(trained.state, whole.state, strict=True))
    assert (trained.best_step, trained.best_loss) == (whole.best_step, whole.best_loss)
    for name, column in trained.history.arrays().items():
        assert name == "seconds" or np.array_equal(column, whole.history.arrays()[name], equal_nan=True), name


@pytest.mark.parametrize("cuts", [[1], [7, 8, 30], list(range(10, STEPS, 10)), [STEPS]])
def test_stopped_and_resumed_is_uninterrupted_bit_by_bit(cuts, tmp_path, uninterrupted):
    for steps in [*cuts, STEPS]:
        found = training(tmp_path / "run.tt", steps)
    same(found, uninterrupted)


SCRIPT = """
import sys
sys.path[:0] = sys.argv[2:]
import test_checkpoint
test_checkpoint.training(sys.argv[1])
"""


def test_killed_at_random_moments_it_resumes_to_the_same_bits(tmp_path, uninterrupted):
    """SIGKILL, also while a checkpoint is written, until one gets through."""
    path, rng = tmp_path / "run.tt", np.random.default_rng()
    folders = [str(Path(tt.__file__).parents[1]), str(Path(__file__).parent), str(Path(__file__).parents[1])]
    command = [sys.executable, "-c", SCRIPT, str(path), *folders]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    kills = 0
    for _ in range(30):
        before = path.read_bytes() if path.exists() else None
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        limit = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < limit:  # until it has begun to write
            if path.exists() and path.read_bytes() != before:
                time.sleep(rng.uniform(0, 0.05))
                break
            time.sleep(0.002)
        if kills < 4 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        error = process.communicate(timeout=120)[1].decode()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, error
    assert process.returncode == 0
    assert kills
    same(training(path), uninterrupted)


def test_parameters_and_optimiser_come_out_of_it(tmp_path):
    model, optimiser, trained = training(tmp_path / "run.tt", 9)
    other = training(None, 1)[0]
    again = t.Adam(0.1)
    history = t.load_checkpoint(tmp_path / "run.tt", other, again)
    assert np.array_equal(other.flat, model.flat)  # the best of the validations
    assert again.steps == 9
    assert np.array_equal(again.state["square"], optimiser.state["square"])
    assert len(history) == 9
    assert np.array_equal(history["validation"], trained.history["validation"])


def test_an_end_that_was_reached_is_not_passed(tmp_path):
    path, held = tmp_path / "run.tt", TASK.batch(4, seed=3)
    for _ in range(2):
        model = many_to_one()
        trained = t.fit(
            model, TASK.batches(4, seed=0), TASK.loss, t.SGD(0.0), steps=50, validation=held, validate_every=1,
            patience=2, checkpoint=path,
        )  # fmt: skip
        assert (trained.reason, trained.steps) == ("validation", 3)


def test_another_model_is_refused(tmp_path):
    path = tmp_path / "run.tt"

    def go(model, optimiser=None, batches=None, **options):
        batches = TASK.batches(4, seed=0) if batches is None else batches
        t.fit(model, batches, TASK.loss, optimiser or t.SGD(0.1), steps=2, checkpoint=path, **options)

    go(many_to_one())
    good = path.read_bytes()
    for call, words in (
        (lambda: go(many_to_one(units=9)), r"of another model: 0.weight_ih_l0, .* are not the same in both"),
        (lambda: go(many_to_one(dtype="float32")), "of another model: dtype"),
        (lambda: go(many_to_one(), t.SGD(0.2)), r"its optimiser is SGD\(0.1.*not SGD\(0.2"),
        (lambda: go(many_to_one(), t.Adam(0.1)), r"its optimiser is SGD\(0.1"),
        (lambda: go(many_to_one(), generators={"a": np.random.default_rng()}), r"has the generators \[\]"),
        (lambda: t.load_checkpoint(path, every_step()), "of another model"),
    ):
        model = many_to_one()
        with pytest.raises(ValueError, match=words):
            call()
        assert path.read_bytes() == good
        assert np.array_equal(model.flat, many_to_one().flat)
    options = {"loss": "mean_squared_error", "optimiser": t.SGD(0.1), "steps": 1, "checkpoint": tmp_path / "two.tt"}
    t.fit(every_step(), Own(), **options)
    with pytest.raises(ValueError, match="its truncate is None, not"):
        t.fit(every_step(), Own(), truncate=3, **options)


class Own:
    """Batches of one's own that say where they stand."""

    def __init__(self):
        self.state = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.state += 1
        return series(seed=self.state)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-100], lambda data: b"", lambda data: data.replace(b"flat", b"flaf")]
)
def test_a_damaged_checkpoint_is_a_sentence(damage, tmp_path):
    path = tmp_path / "run.tt"
    training(path, 2)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"damaged|empty|not a checkpoint"):
        training(path, 3)


def test_a_saved_network_is_no_checkpoint(tmp_path):
    tt.Network("tanh", 1, 1).save(tmp_path / "net.tt")
    with pytest.raises(ValueError, match="not a checkpoint saved by throughtime"):
        t.load_checkpoint(tmp_path / "net.tt", many_to_one())
    with pytest.raises(FileNotFoundError, match="There is no file"):
        t.load_checkpoint(tmp_path / "none.tt", many_to_one())
    path = tmp_path / "none" / "a.tt"
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        t.fit(many_to_one(), TASK.batches(2, seed=0), TASK.loss, t.SGD(0.1), steps=1, checkpoint=path)


def test_trees_come_back_as_they_were():
    tree = {"a": [1, (2.5, None, "x")], "b": {"c": np.arange(3)}, "d": True, "e": (np.ones((1, 2)),), "f": float("inf")}
    again = unpacked(*packed(tree))
    assert again["a"] == tree["a"]
    assert np.array_equal(again["b"]["c"], tree["b"]["c"])
    assert isinstance(again["e"], tuple)
    assert again["f"] == float("inf")
    with pytest.raises(TypeError, match="has no place in a checkpoint"):
        packed({"a": object()})
