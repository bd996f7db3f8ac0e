"""The contract of a cell: a few lines of scalar mathematics for ONE unit, from which everything else follows.

    forward(cell, x, r, s)                  -> s_next, saved
    backward(cell, ds, s, s_next, saved)    -> dx, dr, ds_prev

    x       G numbers, the input part  W_ih input + b_ih of each gate
    r       G numbers, the recurrent part  W_hh e + b_hh of each gate
    s       S numbers, the unit's state; s[0] is h
    saved   what `backward` wants to find again, at best the pre-activations
    ds      S numbers, the gradient with respect to s_next
    dx, dr  G numbers each, the gradients with respect to x and r
    ds_prev S numbers, the gradient with respect to s without the part that flows through r: the engine adds that

A unit sends e = s[0] to the recurrent weights, to the next layer and to the output. A cell that sends something else
says so:

    emit(cell, s)        -> e
    emit_slope(cell, s)  -> S numbers, de/ds

and one whose fields have a meaning only in some range refuses others when a network is made of it:

    valid(cell)          -> nothing, or raises ValueError with a sentence

One whose slopes are bounded may say how steep it can be, for the bounds on gradients that follow from it:

    slope_bounds(cell, ranges, state_bound)  -> gamma, carried, sent

    ranges       x, r = ranges(e): G `Range`s each, where x and r of all units can be if nobody sends more than |e|
    state_bound  the largest |s| of any initial state
    gamma        S tuples of G numbers, or arrays (N,) over units: no |ds'_i/dr_g| is larger; inf: no bound
    carried      S tuples of S numbers, no |ds'_i/ds_j| at fixed r is larger
    sent         S numbers, no |de/ds_j| is larger

of a cell with parameters of its units slope_bounds(cell, ranges, state_bound, p), p their arrays (N,).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from ..refuse.called import told
from . import array_fields
from .examined import Spec, examined
from .wiring import wiring

_registered: dict[str, Spec] = {}


def cell(
    gates: int | Sequence[str] = 1,
    states: int = 1,
    *,
    sends: Mapping[str, Any] | None = None,
    stage: Mapping[str, Any] | None = None,
    parameters: Sequence[str] = (),
    forgets: Any = None,
) -> Callable[[type], type]:
    """Register a NamedTuple class with `forward` and `backward` as a cell; its fields are its hyper-parameters.

    Both are scalar mathematics for ONE unit; the loops, BPTT, Jacobians and kernels are made from them:

        forward(cell, x, r, s)                 -> s_next, saved
        backward(cell, ds, s, s_next, saved)   -> dx, dr, ds_prev

        cell    the instance: cell.leak is its field
        x       tuple of G numbers, the input part of each gate: W_ih input + b_ih
        r       tuple of G numbers, the recurrent part of each gate: W_hh e + b_hh
        s       tuple of S numbers, the unit's state; s[0] is h, what it sends to the others
        s_next  tuple of S numbers, its next state
        saved   tuple of any length: what `backward` wants to find again, at best the pre-activations
        ds      tuple of S numbers, dL/ds_next
        dx, dr  tuples of G numbers, dL/dx and dL/dr; (u,) is a tuple of one
        ds_prev tuple of S numbers, dL/ds without the part that flows through r, which the engine adds

    A unit that sends something else than s[0] has emit(cell, s) -> e, and emit_slope(cell, s) -> S numbers, de/ds. One
    whose fields have a range has valid(cell), which raises ValueError with a sentence.

    A cell that needs more says so, and is then asked for more:

        parameters=("tau",)    trainable numbers of each unit: forward, backward, stage and stage_backward take their
                               tuple p as last argument, backward and stage_backward return dp as last tuple;
                               initial(cell, units, rng) -> P arrays (N,) or numbers, how they start
        sends={"y": ("u",), "z": ("u",)}    the signals that a unit sends, each with the parts of r that it feeds, by a
                               name or a gate's number; r has the sum for each part. `emit` gives a tuple of them, and
                               `emit_slope` one of S slopes for each; without, signal k is s[k]. The next layer and the
                               output hear the first. sends={}: nothing, so that r is () and there is no W_hh
        stage={"reset": ("n",)}    signals that the first stage of a step sends on, multiplied with weights of their own
                               before the step ends: stage(cell, x, r, s) -> these numbers, with the parts of r that the
                               state feeds; forward then has those that the stage feeds after them;
                               stage_backward(cell, da, s, saved) -> dx, dr, ds, added to what backward gives

        forgets="f"            the gate whose bias says how long a unit remembers, for tt.init.forget_bias and chrono:
                               a large bias keeps the state; {"f": -1} if it lets go of it; {"f": 1, "i": -1} names
                               also the gate that lets in what is new

    A field may be an array (N,), one value for each unit: the functions see the unit's own number.

    Write literals with a point, 1.0 and not 1: beside a whole number compiled code takes float32 to float64 and rounds
    only the result. `tt.check_cell` finds them.

    The code may change while it is used: a global, array or helper that the functions refer to, or the functions
    themselves (autoreload in a notebook). A run keeps the version that was in force when it was unrolled, in all that
    is asked of it; every new `unroll`, `kernels.of` or analysis of a network takes the version now in force.

    Args:
        gates: G, the blocks of rows of W_ih (1 for a vanilla network, 3 for a GRU, 4 for an LSTM), or their names.
        states: S, the numbers that a unit carries to the next step (2 for an LSTM: h and c).
        sends: the signals of the state, by default {"h": every gate}.
        stage: the signals of a first stage, by default none.
        parameters: the names of a unit's trainable numbers, by default none.
        forgets: the gate that forgets, by name or number, or a dict of such gates with their signs; by default none.

    Raises:
        TypeError: if the class is no NamedTuple, or its functions do not return what the contract asks for.
        ValueError: if a signal, a part or a parameter is named twice or in vain.

    Example:
        >>> from typing import NamedTuple
        >>> import throughtime as tt
        >>> from throughtime.scalar import tanh, tanh_slope
        >>> @tt.cell()
        ... class Residual(NamedTuple):
        ...     step: float = 0.1
        ...     def forward(cell, x, r, s):
        ...         u = x[0] + r[0]
        ...         return (s[0] + cell.step * tanh(u),), (u,)
        ...     def backward(cell, ds, s, s_next, saved):
        ...         du = (cell.step * tanh_slope(saved[0]) * ds[0],)
        ...         return du, du, ds
        >>> tt.Network(Residual(step=0.2), 3, 16, seed=0).state_size
        16
    """
    given: Any = gates
    if isinstance(given, type):
        raise TypeError(
            f"`@tt.cell` was put on {given.__name__} without parentheses: write `@tt.cell()` or `@tt.cell(gates=2)`."
        )
    wired = wiring(gates, states, sends, stage, parameters, forgets)

    def register(cls: Any) -> type:
        _registered[cls.__name__] = examined(cls, wired)
        cls.__throughtime__ = _registered[cls.__name__]
        cls.__eq__ = _same  # as tuples, GRU() and Tanh() would be equal: both are empty
        cls.__ne__ = lambda self, other: not _same(self, other)
        cls.__hash__ = lambda self: hash((cls, *array_fields.comparable(self)))
        cls.__repr__ = _shown(cls.__repr__)
        cls.__new__ = _made(cls.__new__)
        return cls

    return register


def _made(new: Any) -> Any:
    """The constructor of a cell, which says of sizes, as PyTorch's layers of these names take them, where they go."""

    @wraps(new)
    def make(cls: Any, *values: Any, **fields: Any) -> Any:
        try:
            return new(cls, *values, **fields)
        except TypeError:
            takes = ", ".join(cls._fields) or "nothing: it has no fields"
            raise TypeError(
                f"{cls.__name__} is a cell and takes {takes}; sizes belong to the network, "
                f"`tt.Network(tt.{cls.__name__}(…), input_size, hidden_size)`."
                if cls.__module__.startswith(f"{__name__.partition('.')[0]}.")
                else f"{cls.__name__} is a cell and takes {takes}; sizes belong to the network."
            ) from None

    return make


def spec(instance: Any) -> Spec:
    """The record of a registered cell, from an instance or the class."""
    found = getattr(instance, "__throughtime__", None)
    if not isinstance(found, Spec):
        raise TypeError(
            f"{told(instance)} is not a cell: register its class with "
            "`@tt.cell(gates=…, states=…)` and pass an instance of it."
        )
    return found


def registered() -> dict[str, type]:
    """Every cell class of this process by its name; a class registered under the same name replaces the earlier one."""
    return {name: record.cls for name, record in _registered.items()}


def _same(self: Any, other: Any) -> bool:
    return type(self) is type(other) and array_fields.comparable(self) == array_fields.comparable(other)


def _shown(usual: Any) -> Any:
    """A cell's repr, on one line of arrays too."""

    @wraps(usual)
    def show(self: Any) -> str:
        return array_fields.shown(self) if array_fields.has_arrays(self) else usual(self)

    return show
