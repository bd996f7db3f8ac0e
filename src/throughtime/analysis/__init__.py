"""Measure how gradients vanish and explode: one file per question, every result an object that prints, plots and
converts itself."""

from . import mean_field
from .exponents import LyapunovSpectrum, kaplan_yorke_dimension
from .gradients import GradientNorms, gradient_norms
from .lags import GradientByLag, gradient_by_lag
from .lyapunov import lyapunov_from_jacobians, lyapunov_spectrum
from .spectra import JacobianSpectrum, jacobian_spectrum
from .truncation import TruncationBias, truncation_bias

__all__ = [
    "GradientByLag",
    "GradientNorms",
    "JacobianSpectrum",
    "LyapunovSpectrum",
    "TruncationBias",
    "gradient_by_lag",
    "gradient_norms",
    "jacobian_spectrum",
    "kaplan_yorke_dimension",
    "lyapunov_from_jacobians",
    "lyapunov_spectrum",
    "mean_field",
    "truncation_bias",
]
