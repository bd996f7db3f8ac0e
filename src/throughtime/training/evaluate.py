"""The loss of a model over batches that it is not trained on."""

from __future__ import annotations

import math
from typing import Any

from ..models.loss_answer import answer
from ..refuse.expected import checking
from .families import evaluated, of_families
from .given import loss_of, model_for
from .update_pieces import Pieces, counted, is_one_batch


def evaluate(model: Any, batches: Any, loss: Any, state: Any = None) -> float:
    """The loss of a model over batches, a mean over all steps that count in them.

    model: a `tt.models.Chain` or another model. batches: one batch, or several that end: a list, or
    `stream.held_out_batches()`. loss: as of `fit`. state: of the first batch; one that `continues` goes on from the
    final state of the one before. Returns a number; NaN where nothing counts. Of an `Ensemble` of models, an
    `EnsembleResult` of such numbers; the other arguments may then be functions of its axes, as those of `fit`.
    TypeError for what is no model, no batches, no loss.

    >>> import throughtime as tt
    >>> task = tt.tasks.Adding(length=20)
    >>> net = tt.Network("tanh", task.inputs, 8, seed=0)
    >>> model = tt.models.Chain([net, tt.models.last, tt.models.Readout(8, task.outputs, seed=1)])
    >>> bool(tt.training.evaluate(model, task.batch(100, seed=0), tt.training.mean_squared_error) > task.baseline)
    True
    """
    model_for("evaluate", model)
    function = loss_of(loss)
    if getattr(batches, "endless", False):
        raise ValueError(
            "`batches` have no end; pass some of them: `task.batch(1000, seed=1)`, or `itertools.islice(batches, 10)`."
        )
    total, weight = 0.0, 0.0
    for n, piece in enumerate(Pieces([batches] if is_one_batch(batches) else batches)):
        run = model.unroll(piece.x, state if piece.continues or not n else None, piece.lengths)
        state, count = run.final_state, counted(piece)
        if count:
            total += count * answer(function, run, piece.targets, piece.weights)[0]
            weight += count
    return total / weight if weight else math.nan


evaluate = of_families(evaluated)(checking(evaluate, {}))
