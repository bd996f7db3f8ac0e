"""fit: batches, a loss and an optimiser make a model learn."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ..progress import progress_bar
from ..refuse import arguments
from ..refuse.called import told
from ..refuse.expected import checking
from . import checkpoint as checkpoints
from .evaluate import evaluate
from .families import of_families, trained
from .given import loss_of, model_for
from .in_progress import Trained, Training
from .loop import Loop
from .monitor import Monitor
from .optimiser import Optimiser
from .penalties import named
from .steps_on_device import may_step
from .update_pieces import Pieces


def fit(
    model: Any,
    batches: Any,
    loss: Any,
    optimiser: Any,
    *,
    steps: int,
    truncate: Any = None,
    clip_state: float | None = None,
    penalties: Any = (),
    state: Any = None,
    validation: Any = None,
    validate_every: int = 100,
    patience: int | None = None,
    monitor: Any = None,
    callbacks: Any = (),
    checkpoint: Any = None,
    checkpoint_every: int = 1000,
    generators: Any = None,
    progress: bool = False,
) -> Trained:
    """Train a model, or a family of them: for each batch the gradient of the loss, and a step of the optimiser.

    model: a `tt.models.Chain` or another model; its parameters change in place.
    batches: one after another, `tt.tasks` or tuples (x, targets, lengths, mask, continues), of which the last three may
        be missing. One that `continues` starts from the final state of the one before, others from zeros.
    loss: a function (output, targets, lengths, weights) -> (value, gradient), such as `task.loss`, or the
        name of one.
    optimiser: `tt.training.Adam(…)` or another. steps: updates in all.
    truncate: None for the whole of every batch; k, or (k1, k2), for truncated BPTT: an update every k1 steps, from the
        losses of these k1 steps, whose gradient flows back over at most k2 ≥ k1 steps, and not beyond the batch
        (Williams & Peng 1990, doi 10.1162/neco.1990.2.4.490). A piece without a target that counts only carries the
        state. With k1 = k2 = T it is the whole gradient.
    clip_state: the norm to which the gradient of every state is clipped on its way back, for each sequence and step by
        itself, as `clip_state` of a run's backprop does; None: not at all.
    penalties: a list of `tt.training.Omega(…)`, `tt.training.Flossing(…)`, or functions (model, run, gradients, step)
        -> (value, gradient): what is added to the loss. Each is a column of the history by its name; "loss" is without
        them, "norm" that of the whole gradient.
    state: that of the first batch, as `model.unroll` takes it; the last is `.state` of what is returned.
    validation: batches that are held out, a list of them or one, or a function of the model that gives a loss. After
        every `validate_every` steps it is a column of the history; at the end the model has the best parameters.
    patience: how many validations in a row may be no better before training ends; None: any number.
    monitor: a `tt.training.Monitor`, to measure on the way and to record into. callbacks: functions of a `Training`,
        called after every step; "stop" ends the training. progress: a bar with loss and norm.
    checkpoint: a file, written after every `checkpoint_every` steps and at the end: parameters, optimiser, state, place
        in the batches, history, and the generators of the model and of `generators`, a dict by name. Where it is there
        already, training goes on from it, to the same bits as if it had never stopped.

    Of a model on the GPU, `model.to("cuda")`, each batch is uploaded once, updates are queued there, and their losses
    and norms fetched every hundred steps, before a validation, a measurement or a checkpoint, and at each step where
    there are callbacks; "seconds" are those of the fetching. penalties and clip_state are for the CPU.

    Of an `Ensemble` of models each is trained as it would be alone, to the same bits, one in each thread: seeds × gains
    × rates in one call. Any argument may then be a function of the axes, called with those values that it names:
    batches `lambda seed: task.batches(32, seed=seed)`, optimiser `lambda rate: Adam(rate)`. An optimiser or monitor is
    copied for each; an iterator is refused, since they would take each other's batches. checkpoint: a folder with a
    file for each, by default that of the Ensemble's `save`. Returns `TrainedFamily`: .history["loss"] (*axes, steps),
    .models, .diverged, .plot(). A model that diverges does not end the others. Threads share the time in Python, which
    is 86 % of an update of 16 tanh units, 43 % of one of 32 LSTM units: with `tt.Ensemble(…, backend="joblib")` each
    model is trained in a process, callbacks too, which pays where that takes longer than processes take to start.

    Returns `Trained`: .history, a row for each step, .state, .best_loss, .reason. `Diverged`, an ArithmeticError, when
    a loss or gradient is not finite: it has the history, and the model its last good parameters. Whatever error ends
    the training has the history too, `error.history`. TypeError or ValueError for what does not fit.

    >>> import throughtime as tt
    >>> task = tt.tasks.Adding(length=5)
    >>> net = tt.Network("lstm", task.inputs, 16, seed=0)
    >>> model = tt.models.Chain([net, tt.models.last, tt.models.Readout(16, task.outputs, seed=1)])
    >>> optimiser = tt.training.Adam(0.02, transforms=(tt.training.ClipNorm(1.0),))
    >>> trained = tt.training.fit(model, task.batches(32, seed=0), task.loss, optimiser, steps=300)
    >>> bool(trained.history["loss"][-50:].mean() < task.baseline / 10)
    True
    """
    model_for("fit", model)
    if not isinstance(optimiser, Optimiser):
        raise TypeError(f"`optimiser` is {told(optimiser)}; expected one of tt.training, such as `Adam(0.001)`.")
    function, pieces = loss_of(loss), Pieces(batches, truncate)
    steps, validate_every = arguments.size("steps", steps), arguments.size("validate_every", validate_every)
    checkpoint_every = arguments.size("checkpoint_every", checkpoint_every)
    asked = _validation(validation, function)
    if patience is not None:
        arguments.size("patience", patience)
        if asked is None:
            raise ValueError(
                "`patience` counts validations, and there are none: pass `validation=…`, held-out batches."
            )
    if clip_state is not None and not arguments.real("clip_state", clip_state) > 0.0:
        raise ValueError(f"`clip_state` is {clip_state:g}; it is a norm of a gradient, above 0.")
    monitor = Monitor() if monitor is None else monitor
    if not isinstance(monitor, Monitor):
        raise TypeError(f"`monitor` is {told(monitor)}; expected a tt.training.Monitor.")
    if model.device != "cpu":
        _goes_there(optimiser, clip_state, penalties)
    training = Training(model, optimiser, monitor.history, state=state)
    save = None
    if checkpoint is not None:
        held = checkpoints.generators_of(model, {} if generators is None else generators)
        if not pieces.resumable:
            raise ValueError(
                "A checkpoint holds the place in the batches, and `batches` do not say theirs; those of tt.tasks do: "
                "`task.batches(size, seed=0)`."
            )
        checkpoints.resume(checkpoint, training, pieces, held)
        save = functools.partial(checkpoints.save, checkpoint, training, pieces, held)
    monitor.begin()
    try:
        with progress_bar(progress, steps - training.step, "fit") as bar:
            loop = Loop(
                training, pieces, function, steps, monitor, bar, asked, validate_every, patience,
                _functions(callbacks), save, checkpoint_every, clip_state, named(penalties),
            )  # fmt: skip
            reason = loop.run()
    except BaseException as error:
        error.history = monitor.history  # type: ignore[attr-defined]
        raise
    if training.best is None:
        return Trained(monitor.history, training.step, reason, training.state)
    model.write(training.best)
    return Trained(monitor.history, training.step, reason, training.state, training.best_step, training.best_loss)


fit = of_families(trained)(checking(fit, {}))


def _goes_there(optimiser: Optimiser, clip_state: Any, penalties: Any) -> None:
    """ValueError for what is asked of a model on the GPU and works on the CPU only."""
    may_step(optimiser)
    for name, value in {"clip_state": clip_state, "penalties": penalties or None}.items():
        if value is not None:
            raise ValueError(
                f"`{name}` is given and works on the CPU only, and the model is on the GPU: leave it out, or train "
                '`model.to("cpu")`.'
            )


def _validation(validation: Any, loss: Callable) -> Callable[[Any], float] | None:
    """A function of the model that gives a number."""
    if validation is None or (callable(validation) and not isinstance(validation, type)):
        return validation
    if not isinstance(validation, (list, tuple)) or not validation:
        raise TypeError(
            f"`validation` is {told(validation)}; expected a batch, a list of batches, or a function of the model. Of "
            "an iterator pass `list(…)`: it is gone through many times."
        )
    return lambda model: evaluate(model, validation, loss)


def _functions(callbacks: Any) -> Sequence[Callable]:
    found = (callbacks,) if callable(callbacks) else callbacks
    if not isinstance(found, (list, tuple)) or not all(map(callable, found)):
        raise TypeError(f"`callbacks` is {told(callbacks)}; expected functions of the training in progress.")
    return found
