"""Triangular frames by LU."""
