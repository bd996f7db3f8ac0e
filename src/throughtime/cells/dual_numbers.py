"""Dual numbers: arrays that carry a slope beside each value, so that a cell's own code gives its derivative exactly.

    (a + a' ε)(b + b' ε) = ab + (a' b + a b') ε,   f(a + a' ε) = f(a) + f'(a) a' ε

A cell is written for numbers, and its functions run on NumPy arrays as they stand; here they run on arrays of a class
of their own. What NumPy function it has no rule for it refuses with TypeError, and nobody gets a slope that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

Array = np.ndarray

# name of NumPy's function -> the derivatives by its arguments, from the arguments and the result
RULES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "add": lambda y, a, b: (1.0, 1.0),
    "subtract": lambda y, a, b: (1.0, -1.0),
    "multiply": lambda y, a, b: (b, a),
    "divide": lambda y, a, b: (1.0 / b, -y / b),
    "power": lambda y, a, b: (b * a ** (b - 1.0), y * np.log(np.where(a > 0.0, a, 1.0))),
    "maximum": lambda y, a, b: (a > b, ~(a > b)),
    "minimum": lambda y, a, b: (a < b, ~(a < b)),
    "negative": lambda y, a: (-1.0,),
    "positive": lambda y, a: (1.0,),
    "absolute": lambda y, a: (np.sign(a),),
    "heaviside": lambda y, a, b: (0.0, 0.0),
    "sign": lambda y, a: (0.0,),
    "square": lambda y, a: (2.0 * a,),
    "reciprocal": lambda y, a: (-y * y,),
    "sqrt": lambda y, a: (0.5 / y,),
    "exp": lambda y, a: (y,),
    "expm1": lambda y, a: (y + 1.0,),
    "log": lambda y, a: (1.0 / a,),
    "log1p": lambda y, a: (1.0 / (1.0 + a),),
    "sin": lambda y, a: (np.cos(a),),
    "cos": lambda y, a: (-np.sin(a),),
    "tanh": lambda y, a: (1.0 / np.cosh(np.clip(a, -350.0, 350.0)) ** 2,),
    "sinh": lambda y, a: (np.cosh(a),),
    "cosh": lambda y, a: (np.sinh(a),),
    "arctan": lambda y, a: (1.0 / (1.0 + a * a),),
}
PLAIN = (
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "equal",
    "not_equal",
    "isnan",
    "isfinite",
    "isinf",
    "signbit",
)


class Dual(np.ndarray):
    """Values, float64, and `.slope`, an array of their shape; made by `dual`."""

    slope: Any

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        values = tuple(map(value_of, inputs))
        name = ufunc.__name__
        if method != "__call__" or options or (name not in RULES and name not in PLAIN):
            raise TypeError(f"there is no rule for the slope of np.{name}")
        with np.errstate(all="ignore"):
            result = ufunc(*values)
            if name in PLAIN:
                return result
            slope = sum(
                factor * given.slope
                for factor, given in zip(RULES[name](result, *values), inputs, strict=True)
                if isinstance(given, Dual)
            )
        return dual(result, slope)

    def __array_function__(self, function: Any, kinds: Any, args: Any, options: Any) -> Any:
        if function in (np.shape, np.ndim, np.all, np.any) and not options:
            return function(*map(value_of, args))
        if function is np.where and len(args) == 3 and not options:
            condition, *both = args
            chosen = (np.where(value_of(condition), part(both[0]), part(both[1])) for part in (value_of, slope_of))
            return dual(*chosen)
        raise TypeError(f"there is no rule for the slope of np.{function.__name__}")

    def _no(self, *args: Any, **options: Any) -> NoReturn:
        raise TypeError("the slope would be lost")

    __float__ = __int__ = __index__ = __complex__ = __bool__ = __getitem__ = __setitem__ = __iter__ = _no
    view = astype = copy = reshape = ravel = clip = sum = mean = max = min = prod = dot = item = _no


for _operator in ("add", "sub", "mul", "truediv", "pow"):  # `e *= 2.0` makes another e, as it does of a number
    setattr(Dual, f"__i{_operator}__", getattr(np.ndarray, f"__{_operator}__"))


def dual(value: Any, slope: Any) -> Dual:
    """Values with their slopes."""
    made = np.array(value, np.float64).view(Dual)
    made.slope = np.broadcast_to(np.asarray(slope, np.float64), made.shape)
    return made


def value_of(x: Any) -> Any:
    """The values of dual numbers; anything else as it is."""
    return np.ndarray.view(x, np.ndarray) if isinstance(x, Dual) else x


def slope_of(x: Any) -> Any:
    """The slopes of dual numbers; 0 of what has none."""
    return x.slope if isinstance(x, Dual) else 0.0
