"""From a cell, a size and a plan (rules.py) to compiled kernels; and packed weights."""

import types
from functools import cache
from typing import Any

import numpy as np

from ...cells.base import spec
from . import device, loops
from .rules import Plan

REALS = {np.dtype(np.float32): np.float32, np.dtype(np.float64): np.float64}
