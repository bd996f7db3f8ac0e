"""Triangular frames by LU: what analyses take of this room."""

from .frame import Frame, Jacobians, Workspace, padded, unit_lower
from .frame_product import DENSE, OWN, SLOPE

__all__ = ["DENSE", "OWN", "SLOPE", "Frame", "Jacobians", "Workspace", "padded", "unit_lower"]
