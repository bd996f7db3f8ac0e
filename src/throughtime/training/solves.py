"""Whether a model solves its task, by the task's own measure."""

from __future__ import annotations

from typing import Any

from ..models.machines import engine_of
from ..refuse.called import told
from ..refuse.expected import checking
from .families import evaluated, of_families
from .given import model_for


def solves(model: Any, task: Any, size: int = 1000, seed: Any = 0) -> bool:
    """Whether a model solves a task: of `size` fresh sequences at most the share `task.allowed` is wrong.

    model: a `tt.models.Chain` or another model, whose output `task.solved` takes. task: one of tt.tasks; of a family it
    may be a function of the axes, `lambda length: tt.tasks.Adding(length)`. seed: of the sequences. Of an `Ensemble` of
    models, an `EnsembleResult`, whose `.plot()` is the share of the seeds against an axis. TypeError for what is no
    model or no task; ValueError where the model's output is not that of the task.

    >>> import throughtime as tt
    >>> task = tt.tasks.CopyMemory(delay=1, count=1, symbols=2)
    >>> def make(cell, seed):
    ...     pieces = [tt.models.Embedding(4, 8, seed=seed), tt.Network(cell, 8, 8, seed=seed)]
    ...     return tt.models.Chain([*pieces, tt.models.Readout(8, 3, seed=seed)])
    >>> family = tt.Ensemble(make, {"cell": ["tanh", "gru"], "seed": [0, 1]})
    >>> batches = lambda seed: task.batches(16, seed=seed)
    >>> trained = tt.training.fit(family, batches, task.loss, tt.training.Adam(0.02), steps=300)
    >>> tt.training.solves(trained.models, task)[()]
    array([[ True,  True],
           [ True,  True]])
    """
    model_for("solves", model)
    if not all(hasattr(task, name) for name in ("solved", "allowed", "batch")):
        raise TypeError(f"`task` is {told(task)}; expected one of tt.tasks, such as `tt.tasks.Adding(length=50)`.")
    batch = task.batch(size, seed=seed)
    output = model.unroll(batch.x, lengths=batch.lengths).output
    return task.solved(engine_of(output).arrays.to_host(output), batch)


solves = of_families(evaluated)(checking(solves))
