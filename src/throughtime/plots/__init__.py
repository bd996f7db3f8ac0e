"""Pictures of the results: each function takes `ax=` (a new one if None) and returns its artists in a dictionary.

    ax      Matplotlib axes to draw on; None: a new figure of pyplot, one column (3.4 inches) wide
    legend  whether to name everything on the axes in a legend (True), which hides no data where that is possible
    errors  TypeError for another result than the one it draws, for axes that are none and for an option that it does
            not have; ValueError for numbers out of range

On axes that are given nothing else is touched, and pyplot is not used: letters keep their size there, unless a label is
longer than its axis. Every axis and colour bar has its quantity and unit, every line a name in the legend or at its
end, which also says what a bar or a band is. What has no place on an axis, as −inf, or 0 on a logarithmic one, is a
triangle at its edge; NaN is counted in the legend.

Nothing else imports Matplotlib. Colours are Okabe & Ito's: told apart by colour-blind readers, and ordered so
that neighbours differ in lightness too, with line styles and markers that differ: a greyscale print tells them apart
as well. Maps rise or fall in lightness all the way.
"""

from .ensembles import ensemble
from .family_learning import learning_curves
from .gradient_flow import gradient_bound, gradient_by_lag, gradient_norms, gradient_products, lag_shares
from .learning import training_loss, training_measured, training_norm
from .looks import attention
from .lyapunov import covariant_angles, lyapunov_history, lyapunov_spectrum, perturbed_twin, theory_curve
from .matrices import eigenvalues, product_singular_values, pseudospectrum, singular_values, transient_growth
from .style import COLOURS, MARKERS, STYLES, style
from .systems import autocorrelation, critical_curve, fixed_points
from .truncation_and_clipping import clipping_effect, loss_surface, truncation_bias

__all__ = [
    "COLOURS",
    "MARKERS",
    "STYLES",
    "attention",
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
    "learning_curves",
    "loss_surface",
    "lyapunov_history",
    "lyapunov_spectrum",
    "perturbed_twin",
    "product_singular_values",
    "pseudospectrum",
    "singular_values",
    "style",
    "theory_curve",
    "training_loss",
    "training_measured",
    "training_norm",
    "transient_growth",
    "truncation_bias",
]
