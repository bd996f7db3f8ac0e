"""fit and evaluate of a family are those of each model alone, bit by bit; labels, divergence, going on, refusals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt

sys.path.insert(0, str(Path(__file__).parent))
from learners import TASK, every_step, series

t = tt.training
GAINS, SEEDS = [0.5, 1.5], [0, 1, 2]
CLIP = (t.ClipNorm(1.0),)


def make(gain, seed):
    net = tt.Network("tanh", TASK.inputs, 8, init=tt.init.gaussian(gain), seed=seed)
    return tt.models.Chain([net, tt.models.last, tt.models.Readout(8, TASK.outputs, seed=seed)])


def family(**options):
    return tt.Ensemble(make, {"gain": GAINS, "seed": SEEDS}, **options)


def batches(seed):
    return TASK.batches(4, seed=seed)


def fit(models, steps=12, **options):
    return t.fit(
        models, options.pop("batches", batches), TASK.loss, t.Adam(0.01, transforms=CLIP), steps=steps, **options
    )


def alone(gain, seed, steps=12, **options):
    model = make(gain, seed)
    return model, t.fit(model, batches(seed), TASK.loss, t.Adam(0.01, transforms=CLIP), steps=steps, **options)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_is_trained_as_it_would_be_alone(count, threads):
    threads(count)
    trained = fit(family())
    assert isinstance(trained, t.TrainedFamily)
    assert trained.axes == {"gain": GAINS, "seed": SEEDS}
    assert trained.history["loss"].shape == (2, 3, 12)
    assert tt.get_num_threads() == count
    for i, gain in enumerate(GAINS):
        for j, seed in enumerate(SEEDS):
            model, one = alone(gain, seed)
            np.testing.assert_array_equal(trained.models[i, j].flat, model.flat)
            for name in ("loss", "norm", "clipped_norm", "rate", "step"):
                np.testing.assert_array_equal(trained.history[name][i, j], one.history[name])
            assert trained.at(gain=gain, seed=seed).steps == 12


@pytest.mark.parametrize("listed", [False, True])
def test_in_other_processes_too(listed):
    pytest.importorskip("joblib")
    models = [make(gain, seed) for gain in GAINS for seed in SEEDS]
    axes = {"gain": GAINS, "seed": SEEDS}
    there = fit(tt.Ensemble(models, axes, backend="joblib") if listed else family(backend="joblib"))
    here = fit(family())
    for one, other in zip(here.models, there.models, strict=True):
        np.testing.assert_array_equal(one.flat, other.flat)
    np.testing.assert_array_equal(here.history["loss"], there.history["loss"])
    if listed:  # as `fit` of one model, it changes the models that were handed in
        assert all(one is other for one, other in zip(models, there.models, strict=True))


def test_the_generators_of_dropout_come_back_from_other_processes():
    pytest.importorskip("joblib")

    def dropping(seed):
        net = tt.Network("tanh", TASK.inputs, 8, seed=seed)
        rest = [tt.models.Dropout(0.3, seed=seed), tt.models.last, tt.models.Readout(8, TASK.outputs, seed=seed)]
        return tt.models.Chain([net, *rest])

    here, there = [dropping(0), dropping(1)], [dropping(0), dropping(1)]
    for models, backend in ((here, "threads"), (there, "joblib")):
        for _ in range(2):  # the second begins where the first has left the generators
            fit(tt.Ensemble(models, {"seed": [0, 1]}, backend=backend), steps=3)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.flat, other.flat)


def test_arguments_may_be_functions_of_the_axes():
    """Rates, optimisers, validation and monitors of each its own: those values of the axes that a function names."""
    models = tt.Ensemble(lambda rate, length: make(1.0, 0), {"rate": [0.0, 0.1], "length": [3, 9]})

    def task(length):
        return tt.tasks.Adding(length=length)

    trained = t.fit(
        models,
        lambda length: task(length).batches(4, seed=0),
        TASK.loss,
        lambda rate: t.SGD(rate),
        steps=lambda length: 4,
        validation=lambda length: [task(length).batch(5, seed=1)],
        validate_every=2,
        monitor=lambda length: t.Monitor(every=2, probe=task(length).batch(2, seed=2), measure=["horizon", steps_of]),
    )
    np.testing.assert_array_equal(trained.history["rate"][:, :, 0], [[0.0, 0.0], [0.1, 0.1]])
    np.testing.assert_array_equal(trained.history["steps_of"][:, :, 0], [[3.0, 9.0], [3.0, 9.0]])
    assert trained.history["validation"].shape == (2, 2, 2)
    assert trained["best_loss"].shape == (2, 2)
    assert trained.history.at("horizon").tolist() == [0, 2]
    np.testing.assert_array_equal(trained.models[0, 0].flat, make(1.0, 0).flat)  # with a rate of 0
    found = t.evaluate(trained.models, lambda length: task(length).batch(5, seed=1), TASK.loss)
    assert found.axes == trained.axes
    expected = t.evaluate(trained.models[1, 1], task(9).batch(5, seed=1), TASK.loss)
    assert found[()][1, 1] == expected
    data = trained.history.to_xarray()
    assert data["horizon"].dims == ("rate", "length", "horizon_step")
    assert "rate_of_result" in data  # the axis keeps its name


def steps_of(run):
    return float(len(run.output))


def test_one_optimiser_and_one_monitor_are_copied_for_each():
    optimiser = t.SGD(0.1, momentum=0.9)
    monitor = t.Monitor(every=5, probe=TASK.batch(2, seed=0), measure=["horizon"])
    trained = t.fit(family(), batches, TASK.loss, optimiser, steps=6, monitor=monitor)
    assert optimiser.steps == 0
    assert len(monitor.history) == 0
    assert trained.history["horizon"].shape == (2, 3, 2)


def test_batches_in_a_list_are_the_same_for_all():
    listed = [TASK.batch(4, seed=k) for k in range(3)]
    trained = fit(family(), batches=listed, steps=99)
    assert trained["steps"].tolist() == [[3] * 3] * 2
    same = fit(family(), batches=lambda: TASK.batches(4, seed=0), steps=3)
    one = fit(make(1.5, 2), batches=TASK.batches(4, seed=0), steps=3)
    np.testing.assert_array_equal(same.history["loss"][1, 2], one.history["loss"])


def test_who_diverges_does_not_end_the_others(tmp_path):
    models = tt.Ensemble(lambda rate: every_step(), {"rate": [0.01, 1e200, 0.02]})
    data = [series(seed=k) for k in range(9)]
    trained = t.fit(models, data, t.mean_squared_error, lambda rate: t.SGD(rate), steps=9)
    assert trained.diverged.tolist() == [False, True, False]
    assert trained["steps"].tolist() == [9, 1, 9]
    loss = trained.history["loss"]
    assert np.isfinite(loss[[0, 2]]).all()
    assert not np.isfinite(loss[1, 1:]).any()
    assert np.isnan(loss[1, 2:]).all()
    assert np.isfinite(trained.models[1].flat).all()
    assert trained.results[1].reason == "diverged"
    assert "diverged (1)" in repr(trained)
    assert "what is finite" in repr(trained.results[1])


def test_callbacks_know_which_model_they_see():
    seen, lock = [], threading.Lock()

    def stop_some(training):
        with lock:
            seen.append((training.point["gain"], training.point["seed"]))
        return "stop" if training.point["gain"] == 0.5 and training.step == 2 else None

    trained = fit(family(), callbacks=stop_some, steps=4)
    assert trained["steps"].tolist() == [[2] * 3, [4] * 3]
    assert sorted(set(seen)) == [(gain, seed) for gain in GAINS for seed in SEEDS]
    assert np.isnan(trained.history["loss"][0, :, 2:]).all()
    assert not np.isnan(trained.history["loss"][1]).any()


class Killed(BaseException):
    """What ends a process in the middle."""


@pytest.mark.parametrize("where", ["checkpoint", "save"])
def test_an_interrupted_family_goes_on(where, tmp_path, threads):
    threads(1)
    whole, count = fit(family()), [0]

    def interrupt(training):
        count[0] += 1
        if count[0] == 40:  # in the fourth of six
            raise Killed

    def call(**more):
        ensemble = family(save=tmp_path if where == "save" else None)
        given = {"checkpoint": tmp_path / "here"} if where == "checkpoint" else {}
        return fit(ensemble, **given, checkpoint_every=5, **more)

    with pytest.raises(Killed):
        call(callbacks=interrupt)
    assert 3 <= len(list(tmp_path.rglob("*.tt"))) < 6
    told = []
    again = call(callbacks=told.append)
    assert len(told) < 72 - 36 + 1  # those that were done are not done again
    for one, other in zip(whole.models, again.models, strict=True):
        np.testing.assert_array_equal(one.flat, other.flat)
    np.testing.assert_array_equal(whole.history["loss"], again.history["loss"])
    more = call(callbacks=()) if where == "save" else None
    assert more is None or len(list(tmp_path.rglob("*.tt"))) == 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, FloatingPointError])
def test_an_interrupt_or_an_error_ends_all_of_them_at_once(error, threads):
    """The other models stop at their next step, not after the thousands that they have before them."""
    threads(2)
    seen = []

    def end(training):
        seen.append(tuple(training.point.values()))
        if training.step == 5 and training.point == {"gain": 0.5, "seed": 0}:
            if error is KeyboardInterrupt:
                os.kill(os.getpid(), signal.SIGINT)  # the main thread gets it, which waits
            else:
                raise error

    with pytest.raises(error):
        fit(family(), steps=20_000, callbacks=[end])
    assert len(seen) < 20_000
    assert len(set(seen)) <= 3  # of six: two at once, and one that a thread may take before the end is seen


def test_more_steps_go_on_and_another_start_does_not(tmp_path):
    fit(family(), steps=6, checkpoint=tmp_path)
    more = fit(family(), steps=12, checkpoint=tmp_path)
    np.testing.assert_array_equal(more.history["loss"], fit(family()).history["loss"])
    assert len(os.listdir(tmp_path)) == 6
    others = tt.Ensemble(lambda gain, seed: make(2 * gain, seed), {"gain": GAINS, "seed": SEEDS})
    found = fit(others, checkpoint=tmp_path)
    np.testing.assert_array_equal(found.history["loss"], fit(others).history["loss"])
    assert len(os.listdir(tmp_path)) == 12


def test_models_of_different_shapes_train_together():
    cells = tt.Ensemble(lambda cell: every_step(cell=cell), {"cell": ["tanh", "lstm"]})
    trained = t.fit(cells, [series()] * 3, t.mean_squared_error, t.Adam(0.01), steps=3)
    assert trained.history["loss"].shape == (2, 3)
    assert [model.flat.size for model in trained.models] == [every_step(cell=c).flat.size for c in ("tanh", "lstm")]


def test_an_error_says_in_which_model():
    with pytest.raises(ValueError, match="shape") as caught:
        t.fit(family(), [series(inputs=5)], "mean_squared_error", t.Adam(0.1), steps=1)
    assert "the model of gain=" in caught.value.__notes__[0]


ONE, USED = TASK.batches(4, seed=0), t.SGD(0.1)
RNG = np.random.default_rng(0)
WRONG = {
    "one iterator": (lambda: fit(family(), batches=ONE), r"one iterator.*lambda seed: task\.batches\(32, seed=seed\)"),
    "one generator": (lambda: fit(family(), batches=(b for b in [])), "one iterator"),
    "one iterator from a function": (lambda: fit(family(), batches=lambda seed: ONE), "gives the same Batches"),
    "one generator of numbers": (
        lambda: fit(family(), batches=lambda seed: TASK.batches(4, seed=RNG)), "draws from the generator `RNG`"
    ),
    "no axes": (lambda: fit(family(), batches=lambda sead: ONE), r"function of \(sead\).*by name: gain, seed"),
    "one optimiser from a function": (
        lambda: t.fit(family(), batches, TASK.loss, lambda: USED, steps=2), "gives the same SGD"
    ),
    "networks": (
        lambda: fit(tt.Ensemble([tt.Network("tanh", 2, 3)])), r"Ensemble of networks.*tt\.models\.Chain"
    ),
    "a model twice": (lambda: fit(tt.Ensemble([make(1, 0)] * 2), batches=[TASK.batch(2, 0)]), "stands twice"),
    "a monitor in use": (lambda: fit(family(), monitor=used_monitor()), "has 1 steps already"),
    "generators": (lambda: fit(family(), generators={"a": np.random.default_rng(0)}), "same for all models"),
    "an array of generators": (lambda: fit(family(), generators=np.array([1, 2])), "same for all models"),
    "a file for a folder": (lambda: fit(family(), checkpoint=__file__), "path of a folder, which gets one file"),
    "batches without a place": (
        lambda: fit(family(), batches=[TASK.batch(2, 0)], checkpoint="somewhere"), "place in the batches"
    ),
    "no such argument": (lambda: fit(family(), stepz=3), "`fit` has no argument `stepz`"),
    "such batches where all is kept": (
        lambda: fit(family(save="somewhere"), batches=[TASK.batch(2, 0)]), "or of the Ensemble's `save`"
    ),
    "a column": (lambda: fit(family(), steps=1).history["lost"], "There is no column 'lost'"),
    "an iterator to evaluate": (lambda: t.evaluate(family(), ONE, TASK.loss), "one iterator"),
    "no loss": (lambda: t.evaluate(family(), TASK.batch(2, 0), 3.0), "expected a function"),
}  # fmt: skip


def used_monitor():
    monitor = t.Monitor()
    monitor(loss=1.0)
    return monitor


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = WRONG[case]
    with pytest.raises((TypeError, ValueError, KeyError), match=words):
        call()


def test_what_differs_in_shape_is_told():
    models = tt.Ensemble(lambda length: make(1.0, 0), {"length": [3, 9]})
    measure = {"one": lambda run: 1.0, "all": lambda run: run.output[:, 0]}
    monitors = lambda length: t.Monitor(every=length, measure=measure, probe=np.ones((length, 2)))  # noqa: E731
    trained = fit(models, batches=[TASK.batch(2, seed=0)] * 20, steps=10, monitor=monitors)
    with pytest.raises(ValueError, match=r"different shapes.*\.histories"):
        trained.history["all"]
    with pytest.raises(ValueError, match="at other steps"):
        trained.history.at("one")
    assert "one" not in trained.history.arrays()
    assert set(trained.history.to_xarray().data_vars) >= {"loss", "norm"}


def test_whether_a_task_is_solved_is_what_the_task_says():
    task = tt.tasks.CopyMemory(delay=1, count=1, symbols=6)

    def model(steps, seed):
        pieces = [tt.models.Embedding(8, 8, seed=seed), tt.Network("gru", 8, 8, seed=seed)]
        return tt.models.Chain([*pieces, tt.models.Readout(8, 7, seed=seed)])

    models = tt.Ensemble(model, {"steps": [1, 500], "seed": [0, 1]})
    trained = t.fit(
        models, lambda seed: task.batches(16, seed=seed), task.loss, t.Adam(0.02), steps=lambda steps: steps
    )
    found = t.solves(trained.models, task, size=200)
    assert found[()].tolist() == [[False, False], [True, True]]
    batch = task.batch(200, seed=0)
    assert task.share_wrong(trained.models[0, 0].predict(batch.x), batch) > task.allowed
    assert t.solves(trained.models[1, 0], task) is True
    longer = t.solves(trained.models, lambda steps: tt.tasks.CopyMemory(steps, count=1, symbols=6), size=50)
    assert longer.axes == trained.axes
    with pytest.raises(TypeError, match=r"expected one of tt\.tasks"):
        t.solves(trained.models[0, 0], 3)
    with pytest.raises(ValueError, match="shape"):
        t.solves(make(1.0, 0), tt.tasks.FlipFlop())


def test_the_bars_of_a_share_are_wilsons():
    from matplotlib.figure import Figure

    from throughtime.plots.ensembles import _errors_of_share

    below, above = _errors_of_share(np.array([0.0, 0.5, 1.0]), 4)
    assert above[2] == below[0] == 0.0
    np.testing.assert_allclose([above[0], below[2]], 0.2)  # at 0 the upper end is 1/(n + 1), at one standard error
    np.testing.assert_allclose([above[1], below[1]], 0.5 / np.sqrt(5))
    trained = fit(family(), steps=2)
    found = trained.models.map(lambda model: bool(model.flat.size))
    curve = found.plot(ax=Figure().subplots())["curve"]
    assert curve.lines[0].get_ydata().tolist() == [1.0, 1.0]


def test_pictures_of_learning_and_of_the_axes():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    trained = fit(family(), validation=[TASK.batch(5, seed=1)], validate_every=4)
    found = trained.plot(ax=ax)
    assert [line.get_label().split(";")[0] for line in found["curves"]] == ["gain = 0.5", "gain = 1.5"]
    np.testing.assert_array_equal(found["curves"][1].get_ydata(), np.median(trained.history["loss"][1], axis=0))
    assert trained.plot("best_loss", ax=Figure().subplots())["curve"]
    assert trained.history.plot(ax=Figure().subplots(), name="validation", over="seed")["curves"]
    assert len(trained.plot("norm", over="seed", ax=Figure().subplots())["curves"]) == 3
