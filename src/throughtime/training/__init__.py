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

A network of this library is trained by them through one vector of which its parameters are views:

>>> import numpy as np, throughtime as tt
>>> net = tt.Network("tanh", 1, 16, seed=0)
>>> flat = np.concatenate([value.ravel() for value in net.parameters.values()])
>>> start = 0
>>> for name, value in net.parameters.items():
...     net.parameters[name] = flat[start : start + value.size].reshape(value.shape)
...     start += value.size
>>> optimiser = tt.training.Adam(tt.training.Cosine(0.01, steps=100), transforms=(tt.training.ClipNorm(1.0),))
>>> x = np.random.default_rng(0).normal(size=(20, 8, 1))
>>> for _ in range(100):
...     run = net.unroll(x)
...     value, dy = tt.training.mean_squared_error(run.output[..., :1], np.roll(x, 1, axis=0))
...     gradient = run.backprop(np.concatenate([dy, np.zeros((20, 8, 15))], axis=2)).parameters
...     norm = optimiser.step(flat, np.concatenate([gradient[name].ravel() for name in net.parameters]))
>>> value < 0.7
True
"""

from .adam import Adam, AdamW
from .cyclical_rates import Cyclical, OneCycle
from .joined_schedules import Then, WarmUp
from .losses import binary_cross_entropy, cross_entropy, mean_squared_error
from .optimiser import Optimiser
from .rmsprop import RMSprop
from .schedules import Constant, Cosine, Exponential, StepDecay
from .sgd import SGD
from .transforms import ClipNorm, ClipValue, Frozen, WeightDecay

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ClipNorm",
    "ClipValue",
    "Constant",
    "Cosine",
    "Cyclical",
    "Exponential",
    "Frozen",
    "OneCycle",
    "Optimiser",
    "RMSprop",
    "StepDecay",
    "Then",
    "WarmUp",
    "WeightDecay",
    "binary_cross_entropy",
    "cross_entropy",
    "mean_squared_error",
]
