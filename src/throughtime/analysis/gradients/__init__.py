"""Gradients on their way back."""
