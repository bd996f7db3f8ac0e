"""Jacobians and their products."""
