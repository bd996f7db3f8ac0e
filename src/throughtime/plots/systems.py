"""Pictures of whole systems: fixed points and mean-field theory."""

from typing import Any

import numpy as np

from ..analysis import FixedPoints
from ..analysis.mean_field import MinimalRnnMeanField, PopulationMeanField, ReluMeanField, TanhMeanField
from .drawable import numbers
from .marks import border, curve, whole
from .page import picture
from .style import COLOURS, MARKERS, nothing


@picture(FixedPoints, made_by="tt.analysis.fixed_points(net, x)")
def fixed_points(result: Any, ax: Any = None, *, axes: Any = None) -> dict[str, Any]:
    """Fixed points or cycles in two coordinates of state space, from a `FixedPoints`: filled if stable.

    axes : (2, S), rows to project on; by default the principal axes of the points, or of one state alone it and 0.
    All points of a cycle are drawn. The legend counts the points of each kind. Returns {"stable", "unstable", "slow":
    artists, "axes": (2, S), "legend"}, and "note", a text, where none was found. ax, legend, errors (TypeError,
    ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> result = tt.analysis.fixed_points(tt.Network("tanh", 1, 3, seed=0), starts=8)
    >>> fixed_points(result, ax=Figure().subplots())["axes"].shape
    (2, 3)
    """
    size = result.points.shape[1]
    every = np.concatenate([result.orbits.reshape(-1, size), result.slow_points])
    kind = "axis" if axes is not None else "coordinate"
    if axes is None:
        axes = np.eye(2, size)
        if len(every) > 1 and size > 2:
            axes, kind = np.linalg.svd(every - every.mean(axis=0), full_matrices=False)[2][:2], "principal axis"
            axes = np.concatenate([axes, np.zeros((2 - len(axes), size))])
    axes = numbers("axes", axes)
    if axes.shape != (2, size):
        raise ValueError(f"`axes` has shape {axes.shape}; expected two rows to project on, (2, S) = (2, {size}).")
    found: dict[str, Any] = {"axes": axes}
    stable = np.repeat(result.stable, result.period)
    orbits = result.orbits.reshape(-1, size) @ axes.T
    for name, points, colour, marker, face in (
        ("stable", orbits[stable], COLOURS[1], "o", COLOURS[1]),
        ("unstable", orbits[~stable], COLOURS[3], "s", "none"),
        ("slow", result.slow_points @ axes.T, COLOURS[2], "^", "none"),
    ):
        look = {"s": 22, "marker": marker, "facecolors": face, "edgecolors": colour, "clip_on": False}
        many = f"{name} points, not fixed" if name == "slow" else f"{name}, of period {result.period}"
        shown = f"{name if result.period == 1 and name != 'slow' else many} ({len(points)})" if len(points) else None
        found[name] = ax.scatter(points[:, 0], points[:, 1], label=shown, **look)
    ax.set_xlabel(f"first {kind} of state space (no unit)")
    ax.set_ylabel(f"second {kind} of state space (no unit)" if size > 1 else "nothing: one state alone (no unit)")
    return found if len(every) else found | {"note": nothing(ax, "no fixed point and no slow point found")}


@picture(
    TanhMeanField, ReluMeanField, MinimalRnnMeanField, PopulationMeanField,
    made_by="tt.analysis.mean_field.minimal_rnn(gain)",
)  # fmt: skip
def critical_curve(
    theory: Any, ax: Any = None, *, gains: Any, chi: Any, label: str | None = "mean field", index: int = 0
) -> dict[str, Any]:
    """χ against the gain, with the line χ = 1 where gradients neither vanish nor explode, and the point of `theory`.

    theory : a mean-field result with .gain and .chi. gains, chi : the curve. label, index : name, colour and line style
    when several results share the axes. Returns {"curve", "edge", "point", "edges": triangles, "legend"}. ax, legend,
    errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> theory, gains = tt.analysis.mean_field.relu(1.2), np.linspace(0.0, 2.0, 9)
    >>> critical_curve(theory, ax=Figure().subplots(), gains=gains, chi=gains**2 / 2)["point"].get_xdata()
    array([1.2])
    """
    gains, chi = numbers("gains", gains), numbers("chi", chi)
    if gains.ndim != 1 or gains.shape != chi.shape:
        raise ValueError(f"`gains` has shape {gains.shape} and `chi` {chi.shape}; expected one χ for each gain, (n,).")
    here = float(np.mean(theory.gain))
    edge = border(ax, 1.0, r"$\chi=1$")
    line, marks = curve(ax, gains, chi, label or "mean field", index)
    look = {"linestyle": "none", "marker": MARKERS[index % len(MARKERS)], "color": COLOURS[3], "markersize": 5}
    name = rf"this network: gain {here:.4g}, $\chi={{}}${theory.chi:.4g}"
    (point,) = ax.plot([here], [theory.chi], label=name, **look)
    ax.set_xlabel("gain of the recurrent weights (no unit)")
    ax.set_ylabel(r"$\chi$ (factor per time step)")
    return {"curve": line, "edge": edge, "point": point, "edges": marks}


@picture(PopulationMeanField, made_by='tt.analysis.mean_field.population("gru", gain)')
def autocorrelation(theory: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """The autocorrelation E e(t) e(t+lag) of what the units send (`PopulationMeanField`).

    label, index : name, colour and line style when several results share the axes. Returns {"curve": line, "edges":
    triangles, "legend"}. ax, legend, errors (TypeError, ValueError) : as in `throughtime.plots`.

    >>> import throughtime as tt
    >>> from matplotlib.figure import Figure
    >>> theory = tt.analysis.mean_field.population("tanh", 2.0, units=50, steps=40)
    >>> len(autocorrelation(theory, ax=Figure().subplots())["curve"].get_xdata())
    21
    """
    values = numbers("autocorrelation", theory.autocorrelation)
    name = label or f"population of {theory.units} units, {theory.steps} steps"
    line, marks = curve(ax, np.arange(len(values)), values, name, index)
    border(ax, 0.0, "0")
    ax.set_xlabel("lag (time steps)")
    ax.set_ylabel("autocorrelation E e(t) e(t + lag) (no unit)")
    whole(ax.xaxis)
    return {"curve": line, "edges": marks}
