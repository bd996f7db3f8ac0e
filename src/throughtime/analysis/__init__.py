"""Measure how gradients vanish and explode: one file per question, every result an object that prints, plots and
converts itself. A new analysis is one import here."""

from inspect import ismodule as _ismodule

from ..results.of_ensemble import EnsembleResult
from . import mean_field
from .gradients.bounds import GradientBound, GradientProducts, gradient_products, pascanu_bound
from .gradients.by_lag import GradientByLag, gradient_by_lag
from .gradients.clipping import ClippingEffect, clip_by_norm, clip_by_value, clip_per_step, clipping_effect
from .gradients.decay import GradientNorms, gradient_norms
from .gradients.omega import PascanuOmega, pascanu_omega
from .gradients.slopes import SlopeBounds
from .gradients.truncation import TruncationBias, truncation_bias
from .jacobians.long_products import ProductSingularValues, product_from_jacobians, product_singular_values
from .jacobians.non_normality import (
    NonNormality,
    henrici_departure,
    kreiss_constant,
    non_normality,
    spectral_radius,
    transient_growth,
)
from .jacobians.pseudospectra import Pseudospectrum, pseudospectrum
from .jacobians.singular_values import JacobianSpectrum, jacobian_spectrum
from .landscape.fixed_points import FixedPoints, fixed_points
from .landscape.loss_surface import LossSurface, loss_surface
from .lyapunov.covariant import CovariantVectors, covariant_from_jacobians, covariant_vectors
from .lyapunov.exponents import LyapunovSpectrum, kaplan_yorke_dimension
from .lyapunov.exponents_gradient import LyapunovGradient, lyapunov_gradient
from .lyapunov.spectrum import lyapunov_from_jacobians, lyapunov_spectrum
from .lyapunov.twin import TwinGrowth, perturbed_twin

# Of what is imported here, all but the folders it comes from.
__all__ = sorted(
    {name for name, thing in globals().items() if name[0] != "_" and not _ismodule(thing)} | {"mean_field"}
)
