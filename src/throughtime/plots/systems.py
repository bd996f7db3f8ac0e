"""Pictures of whole systems: fixed points, mean-field theory, ensembles."""

from typing import Any

import numpy as np

from .style import COLOURS, MARKERS, axes_, places_on_axis, style


def fixed_points(result: Any, ax: Any = None, *, axes: Any = None) -> dict[str, Any]:
    """Fixed points or cycles in two coordinates of state space, from a `FixedPoints`: filled if stable.

    axes : (2, S), rows to project on; by default the principal axes of the points, or of one state alone it and 0.
    Returns {"stable", "unstable", "slow": artists, "axes": (2, S)}.
    """
    ax = axes_(ax)
    every = np.concatenate([result.orbits.reshape(-1, result.points.shape[1]), result.slow_points])
    if axes is None:
        axes = np.eye(2, every.shape[1])
        if len(every) > 1 and every.shape[1] > 2:
            axes = np.linalg.svd(every - every.mean(axis=0), full_matrices=False)[2][:2]
    axes = np.asarray(axes)
    found: dict[str, Any] = {"axes": axes}
    stable = np.repeat(result.stable, result.period)
    orbits = result.orbits.reshape(-1, result.points.shape[1]) @ axes.T
    for name, points, colour, marker, face in (
        ("stable", orbits[stable], COLOURS[1], "o", COLOURS[1]),
        ("unstable", orbits[~stable], COLOURS[3], "s", "none"),
        ("slow", result.slow_points @ axes.T, COLOURS[2], "^", "none"),
    ):
        look = {"s": 22, "marker": marker, "facecolors": face, "edgecolors": colour, "label": name}
        found[name] = ax.scatter(points[:, 0], points[:, -1], **look)
    ax.set_xlabel("first axis of state space")
    ax.set_ylabel("second axis of state space")
    return found


def critical_curve(
    theory: Any, ax: Any = None, *, gains: Any, chi: Any, label: str | None = "mean field", index: int = 0
) -> dict[str, Any]:
    """χ against the gain, with the line χ = 1 where gradients neither vanish nor explode, and the point of `theory`.

    theory : a mean-field result with .gain and .chi. gains, chi : the curve. Returns {"curve", "edge", "point"}.
    """
    ax = axes_(ax)
    edge = ax.axhline(1.0, color="0.6", linewidth=0.8, zorder=0)
    (curve,) = ax.plot(gains, chi, label=label, **style(index))
    (point,) = ax.plot(theory.gain, theory.chi, MARKERS[index % len(MARKERS)], color=COLOURS[3])
    ax.set_xlabel("gain of the recurrent weights")
    ax.set_ylabel(r"$\chi$ (factor per time step)")
    return {"curve": curve, "edge": edge, "point": point}


def autocorrelation(theory: Any, ax: Any = None, *, label: str | None = None, index: int = 0) -> dict[str, Any]:
    """The autocorrelation E e(t) e(t+lag) of what the units send (`PopulationMeanField`). Returns {"curve": line}."""
    ax = axes_(ax)
    (curve,) = ax.plot(np.arange(len(theory.autocorrelation)), theory.autocorrelation, label=label, **style(index))
    ax.set_xlabel("lag (time steps)")
    ax.set_ylabel("autocorrelation E e(t) e(t + lag)")
    return {"curve": curve}


def ensemble(
    result: Any,
    ax: Any = None,
    *,
    name: Any = (),
    entry: Any = 0,
    over: Any = None,
    label: str | None = None,
    index: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """One field of an `EnsembleResult` over one axis (a curve, with the scatter over the others) or two (a phase
    diagram).

    name : the field, () for results that are numbers. entry : which number of a field with axes of its own: an index or
    a tuple, by default the first. over : the axes to draw, one or two names; by default the first two that have several
    values and are not called "seed"; the rest is averaged. options : of pcolormesh or errorbar. Returns {"curve"} or
    {"map", "bar"}.
    """
    ax = axes_(ax)
    values = np.asarray(result[name], dtype=np.float64)
    names = list(result.axes)
    for _ in range(values.ndim - len(names)):
        values = values[(..., *entry)] if isinstance(entry, tuple) else values[..., entry]
        if values.ndim == len(names):
            break
    if over is None:
        over = [axis for axis in names if axis != "seed" and len(result.axes[axis]) > 1][:2] or names[:1]
    over = [over] if isinstance(over, str) else list(over)
    rest = tuple(i for i, axis in enumerate(names) if axis not in over)
    with np.errstate(invalid="ignore"):
        mean, scatter = (values.mean(axis=rest), values.std(axis=rest)) if rest else (values, None)
    places = [places_on_axis(result.axes[axis]) for axis in sorted(over, key=names.index)]
    text = str(name) if name != () else "result"
    if len(over) == 1:
        look = {
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 3.5,
            "capsize": 1.5,
            **style(index),
            "label": label,
        }
        curve = ax.errorbar(places[0][0], mean, yerr=scatter, **(look | options))
        ax.set_ylabel(text)
        found = {"curve": curve}
    else:
        if names.index(over[0]) > names.index(over[1]):
            mean, places = mean.T, places[::-1]
        mesh = ax.pcolormesh(places[0][0], places[1][0], mean.T, **({"shading": "nearest", "cmap": "RdBu_r"} | options))
        found = {"map": mesh, "bar": ax.figure.colorbar(mesh, ax=ax, label=text)}
        ax.set_ylabel(over[1])
        if places[1][1] is not None:
            ax.set_yticks(places[1][0], places[1][1])
    ax.set_xlabel(over[0])
    if places[0][1] is not None:
        ax.set_xticks(places[0][0], places[0][1])
    return found
