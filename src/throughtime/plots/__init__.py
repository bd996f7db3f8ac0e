"""Pictures of the results: each function takes `ax=` (a new one if None) and returns its artists in a dictionary.

Nothing else imports Matplotlib. Colours are Okabe & Ito's: told apart by colour-blind readers, and ordered so
that neighbours differ in lightness too, with line styles and markers that differ: a greyscale print tells them apart
as well.
"""

from inspect import isfunction as _isfunction

from ..expected import checked as _checked
from .checked import drawing as _drawing
from .gradients import (
    clipping_effect,
    gradient_bound,
    gradient_by_lag,
    gradient_norms,
    gradient_products,
    lag_shares,
    loss_surface,
    truncation_bias,
)
from .lyapunov import covariant_angles, lyapunov_history, lyapunov_spectrum, perturbed_twin, theory_curve
from .matrices import eigenvalues, product_singular_values, pseudospectrum, singular_values, transient_growth
from .style import COLOURS, MARKERS, STYLES, style
from .systems import autocorrelation, critical_curve, ensemble, fixed_points

__all__ = [
    "COLOURS",
    "MARKERS",
    "STYLES",
    "autocorrelation",
    "clipping_effect",
    "covariant_angles",
    "critical_curve",
    "eigenvalues",
    "ensemble",
    "fixed_points",
    "gradient_bound",
    "gradient_by_lag",
    "gradient_norms",
    "gradient_products",
    "lag_shares",
    "loss_surface",
    "lyapunov_history",
    "lyapunov_spectrum",
    "perturbed_twin",
    "product_singular_values",
    "pseudospectrum",
    "singular_values",
    "style",
    "theory_curve",
    "transient_growth",
    "truncation_bias",
]

for _name in __all__:
    if _isfunction(globals()[_name]):
        globals()[_name] = (_checked if _name == "style" else _drawing)(globals()[_name])
