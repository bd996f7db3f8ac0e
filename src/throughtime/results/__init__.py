"""What analyses give: records that print, draw and convert themselves, of one network or of an ensemble."""

from .record import Array, Result, short

__all__ = ["Array", "Result", "short"]
