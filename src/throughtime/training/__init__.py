"""Training: losses, optimisers on one flat vector, what is done to a gradient on its way, schedules of the rate.

    value, gradient = tt.training.cross_entropy(run.output, targets, lengths)     a loss, and its gradient by the output
    norm = optimiser.step(flat, gradient)                                         in place; the norm before any clip

    cross_entropy, binary_cross_entropy, mean_squared_error
                          losses; one of your own is any function loss(output, targets, lengths, weights) -> the same
    SGD, RMSprop, Adam, AdamW
                          optimisers as PyTorch defines them; `.state` are arrays; Optimiser: base for one of your own
    ClipNorm, ClipValue, WeightDecay, Frozen
                          transforms=(…) of an optimiser, done in their order; any function (gradient, flat) -> gradient
    Constant, StepDecay, Exponential, Cosine, Cyclical, OneCycle, WarmUp, Then
                          rates as functions of the step; any function of a step will do
    fit                   the loop: full or truncated BPTT, validation, callbacks, checkpoints; gives a Trained, shows a
                          Training to callbacks, raises Diverged
                          of an Ensemble of models it trains all of them, and gives a TrainedFamily with a FamilyHistory
    Omega, Flossing       penalties=(…) of `fit` on gradients that vanish or explode, and on Lyapunov exponents
    Curriculum            batches whose length grows with their number
    ridge                 a readout in closed form, with a penalty that may be chosen by validation; gives a RidgeFit
    evaluate              the loss over held-out batches
    solves                whether it solves a task, by the task's own measure
    History, Monitor      what was recorded; a recorder, with measures of the network, for a loop of one's own
    load_checkpoint       parameters and optimiser out of a file that fit wrote

>>> import throughtime as tt
>>> task = tt.tasks.Adding(length=5)
>>> net = tt.Network("lstm", task.inputs, 16, seed=0)
>>> model = tt.models.Chain([net, tt.models.last, tt.models.Readout(16, task.outputs, seed=1)])
>>> optimiser = tt.training.Adam(tt.training.Cosine(0.02, steps=200), transforms=(tt.training.ClipNorm(1.0),))
>>> trained = tt.training.fit(model, task.batches(32, seed=0), task.loss, optimiser, steps=200)
>>> bool(trained.history["loss"][-50:].mean() < task.baseline / 2), len(trained.history)
(True, 200)

The same by hand, where every piece works without `fit`:

>>> monitor = tt.training.Monitor(every=50, probe=task.batch(8, seed=1), measure=["horizon"])
>>> for batch, _ in zip(task.batches(32, seed=2), range(100)):
...     value, gradient = model.value_and_gradient(batch.x, batch.targets, tt.training.mean_squared_error)
...     monitor(model, loss=value, norm=optimiser.step(model.flat, gradient))
>>> monitor.history["horizon"].shape
(2,)
"""

from .adam import Adam, AdamW
from .checkpoint import load_checkpoint
from .curriculum import Curriculum
from .cyclical_rates import Cyclical, OneCycle
from .evaluate import evaluate
from .family_history import FamilyHistory
from .fit import fit
from .history import History
from .in_progress import Diverged, Trained, Training
from .joined_schedules import Then, WarmUp
from .losses import binary_cross_entropy, cross_entropy, mean_squared_error
from .monitor import Monitor
from .optimiser import Optimiser
from .penalties import Flossing, Omega
from .ridge import RidgeFit, ridge
from .rmsprop import RMSprop
from .schedules import Constant, Cosine, Exponential, StepDecay
from .sgd import SGD
from .solves import solves
from .trained_family import TrainedFamily
from .transforms import ClipNorm, ClipValue, Frozen, WeightDecay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ClipNorm",
    "ClipValue",
    "Constant",
    "Cosine",
    "Curriculum",
    "Cyclical",
    "Diverged",
    "Exponential",
    "FamilyHistory",
    "Flossing",
    "Frozen",
    "History",
    "Monitor",
    "Omega",
    "OneCycle",
    "Optimiser",
    "RMSprop",
    "RidgeFit",
    "StepDecay",
    "Then",
    "Trained",
    "TrainedFamily",
    "Training",
    "WarmUp",
    "WeightDecay",
    "binary_cross_entropy",
    "cross_entropy",
    "evaluate",
    "fit",
    "load_checkpoint",
    "mean_squared_error",
    "ridge",
    "solves",
]
