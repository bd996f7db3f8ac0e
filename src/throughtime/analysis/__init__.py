"""Measure how gradients vanish and explode: one file per question, every result an object that prints, plots and
converts itself."""

from inspect import isfunction as _isfunction

from ..ensemble import takes_ensembles as _takes_ensembles
from . import mean_field
from .ensembles import EnsembleResult
from .exponents import LyapunovSpectrum, kaplan_yorke_dimension
from .gradients import GradientNorms, gradient_norms
from .lags import GradientByLag, gradient_by_lag
from .lyapunov import lyapunov_from_jacobians, lyapunov_spectrum
from .spectra import JacobianSpectrum, jacobian_spectrum
from .truncation import TruncationBias, truncation_bias

__all__ = [
    "EnsembleResult",
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

# Every analysis takes an ensemble, or the run of one, in place of its network or run; a new one needs no registration.
for _name in __all__:
    if _isfunction(globals()[_name]):
        globals()[_name] = _takes_ensembles(globals()[_name], __name__)
