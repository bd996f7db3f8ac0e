"""Mean-field theory: what N → ∞ predicts, beside which every measured spectrum can be put.

    tanh, relu            closed forms: fixed point, χ, λ_1, the whole spectrum, the critical line
    critical_gain         of the tanh network, with noise (or a fresh input) and biases
    minimal_rnn           the gated network of Chen, Pennington & Schoenholz, by quadrature
    population, gru, lstm any cell, yours included: a self-consistent population of units with Gaussian fields

A fresh Gaussian input of variance σ² per component, through W_ih ~ N(0, input_gain²/I), is noise of standard deviation
σ · input_gain; a constant input is a bias. Exponents are in nats per time step.
"""

from .minimal import MinimalRnnMeanField, minimal_rnn, minimal_rnn_critical_gain
from .population import PopulationMeanField, gru, lstm, population
from .relu_network import ReluMeanField, relu
from .tanh_network import TanhMeanField, critical_gain, tanh

__all__ = [
    "MinimalRnnMeanField",
    "PopulationMeanField",
    "ReluMeanField",
    "TanhMeanField",
    "critical_gain",
    "gru",
    "lstm",
    "minimal_rnn",
    "minimal_rnn_critical_gain",
    "population",
    "relu",
    "tanh",
]
