"""Where can a network rest? All fixed points under constant input, stable or not, and ghosts of those that are gone.

A bistable unit h' = tanh(w h + b), w = 2: every fixed point lies on b = atanh(h) − w h, with eigenvalue w (1 − h²). Two
of the three meet where the eigenvalue is 1, w h + b = ±arccosh √w, and leave a ghost there: the slow point, where
passing trajectories linger for about π/√(speed · √(w² − w)) steps.
A random tanh network without input is odd: 0 is fixed, with the eigenvalues of W, and all others come in pairs ±h.
Points with many unstable directions are not seen by running the network; they are between the regions it wanders
through.
Source: Sussillo & Barak, Neural Computation 25, 2013.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"biases": 61, "units": 16, "gain": 3.0, "starts": 1000, "trajectories": 6}
FULL = {"biases": 241, "units": 20, "gain": 3.0, "starts": 8000, "trajectories": 6}
SMALL = {"biases": 9, "units": 16, "starts": 600, "trajectories": 2}
WEIGHT = 2.0
SEED = 0
EDGE = np.arccosh(np.sqrt(WEIGHT))  # w h + b where the slope of tanh(w h + b) is 1
FOLD = abs(EDGE - WEIGHT * np.tanh(EDGE))  # |b| where two fixed points meet: tanh(EDGE) = √(1 − 1/w)


def unit():
    net = tt.Network("tanh", 1, 1, bias=False)
    net.parameters["weight_hh_l0"][...] = WEIGHT
    net.parameters["weight_ih_l0"][...] = 1.0
    return net


def bistable(biases):
    """All that is found for each constant input b: points (b, h, eigenvalue), slow points (b, h, speed), counts."""
    net, points, slow, counts = unit(), [], [], []
    for b in study.progress(biases, "fixed_points"):
        found = tt.analysis.fixed_points(net, [b], starts=48, seed=SEED)
        points += [(b, h, value) for h, value in zip(found.points[:, 0], found.eigenvalues[:, 0].real, strict=True)]
        slow += [(b, h, speed) for h, speed in zip(found.slow_points[:, 0], found.slow_speed, strict=True)]
        counts.append(len(found.points))
    return np.array(points), np.array(slow), np.array(counts)


def passage(b, steps=4000):
    """Steps that a trajectory from h = −1 takes past the ghost, to h = 0, and the asymptote of that at the fold."""
    run = unit().unroll(np.full((steps, 1), b), state=np.full((1, 1), -1.0))
    past = np.flatnonzero(run.states[:, 0, 0] > 0.0)
    found = tt.analysis.fixed_points(unit(), [b], starts=32)
    speed = found.slow_speed[0]
    # near it h moves by speed + ½ F'' (h − h*)², F'' = −2 w² t (1 − t²) with t = tanh(w h* + b) and w (1 − t²) = 1
    curvature = WEIGHT * np.sqrt(1.0 - 1.0 / WEIGHT)
    return int(past[0]), float(np.pi / np.sqrt(speed * curvature))


def random_network(units, gain):
    net = tt.Network("tanh", 1, units, bias=False, init=tt.init.gaussian(gain), seed=SEED)
    return net, net.parameters["weight_hh_l0"]


def measure(biases=61, units=16, gain=3.0, starts=1000, trajectories=6):
    b = np.linspace(-1.0, 1.0, biases)
    points, slow, counts = bistable(b)
    exact = np.arctanh(points[:, 1]) - WEIGHT * points[:, 1]
    inside = np.where(np.abs(b) < FOLD, 3, 1)
    ghosts = (-np.sign(slow[:, 0]) * EDGE - slow[:, 0]) / WEIGHT
    steps, asymptote = passage(FOLD + 1e-4)
    net, w = random_network(units, gain)
    found = tt.analysis.fixed_points(net, starts=starts, seed=SEED)
    zero = int(np.abs(found.points).max(axis=1).argmin())
    pairs = max(np.abs(found.points + p).max(axis=1).min() for p in found.points)
    unstable = int((np.abs(np.linalg.eigvals(w)) > 1).sum())
    slope = WEIGHT * (1 - points[:, 1] ** 2)

    def check(name, measured, expected, tolerance, why):
        return study.check(name, measured, expected, tolerance, why=why)

    checks = [
        check(
            "bistable unit: largest |b − (atanh h − w h)|",
            np.abs(points[:, 0] - exact).max(),
            0,
            1e-12,
            "every fixed point lies on the curve; rounding of atanh near |h| = 1",
        ),
        check(
            "bistable unit: largest error of the eigenvalue", np.abs(points[:, 2] - slope).max(), 0, 1e-13, "w (1 − h²)"
        ),
        check(
            "bistable unit: inputs with a wrong number of points",
            (counts != inside).sum(),
            0,
            0,
            "3 between the folds, 1 outside",
        ),
        check(
            "bistable unit: largest error of a slow point",
            np.abs(slow[:, 1] - ghosts).max(),
            0,
            1e-6,
            "w h + b = ∓arccosh √w; the search stops at a relative gradient of 1e-6",
        ),
        check(
            "beyond the fold by 1e-4: steps to pass", steps, asymptote, 0.1 * asymptote, "π/√(speed·curvature), 10 %"
        ),
        check("random network: largest residual", found.residual.max(), 0, 1e-13, "rounding"),
        check("random network: 0 is found", np.abs(found.points[zero]).max(), 0, 1e-12, "h' = tanh(W h) is odd"),
        check(
            "random network: unstable directions of 0", found.unstable_directions[zero], unstable, 0, "eigenvalues of W"
        ),
        check("random network: largest distance of −h from the set", pairs, 0, 1e-10, "the map is odd"),
    ]
    start = 0.1 * np.random.default_rng(SEED).standard_normal((1, trajectories, units))
    run = net.unroll(np.zeros((400, trajectories, 1)), state=start)
    late = run.states[200:]
    axes = np.linalg.svd(late.reshape(-1, units) - late.mean(axis=(0, 1)), full_matrices=False)[2][:2]
    data = {
        "b": b,
        "points": points,
        "slow": slow,
        "passage": {"steps": steps, "asymptote": asymptote, "beyond": 1e-4},
        "network": {
            "points": found.points @ axes.T,
            "unstable_directions": found.unstable_directions,
            "spectral_radius": found.spectral_radius,
            "hits": found.hits,
            "eigenvalues_of_zero": [found.eigenvalues[zero].real, found.eigenvalues[zero].imag],
            "eigenvalues_of_the_calmest": [found.eigenvalues[0].real, found.eigenvalues[0].imag],
            "slow_points": len(found.slow_points),
            "lost": found.lost,
            "trajectory": late[:120, 0] @ axes.T,
        },
    }
    return {"checks": checks, "seeds": {"weights": SEED, "starts": SEED}, "data": data}


def draw(result):
    data = result["data"]
    fig, axes = study.figure(1, 3, height=2.7)
    diagram(axes[0], data)
    portrait(fig, axes[1], data["network"])
    spectra(axes[2], data["network"])
    study.letters(axes)
    return fig


def diagram(ax, data):
    """Fixed points of the unit against its input, the curve they lie on, and the ghosts beyond the folds."""
    colours = tt.plots.COLOURS
    h = np.linspace(-0.99, 0.99, 400)
    ax.plot(np.arctanh(h) - WEIGHT * h, h, color="0.75", linewidth=3.0, label="closed form")
    b, height, slope = np.asarray(data["points"], dtype=float).T
    stable = np.abs(slope) < 1
    ax.plot(b[stable], height[stable], "o", color=colours[1], markersize=2.6, label="stable")
    ax.plot(b[~stable], height[~stable], "s", color=colours[3], markersize=2.8, fillstyle="none", label="unstable")
    b, height, _ = np.asarray(data["slow"], dtype=float).T
    ax.plot(b, height, "^", color=colours[2], markersize=3, fillstyle="none", label="slow")
    ax.set_xlim(-1.05, 1.05)
    ax.set_xlabel("constant input $b$")
    ax.set_ylabel("fixed point $h$")
    ax.set_title("one bistable unit, $w=2$")
    ax.legend(loc="center right", bbox_to_anchor=(1.06, 0.66), handlelength=0.8)


def portrait(fig, ax, data):
    """Fixed points in the plane in which the trajectory moves most, by the number of unstable directions."""
    track = np.asarray(data["trajectory"], dtype=float)
    ax.plot(track[:, 0], track[:, 1], ".-", color="0.75", linewidth=0.6, markersize=3, zorder=1)
    points, count = np.asarray(data["points"], dtype=float), np.asarray(data["unstable_directions"])
    look = {"c": count, "cmap": "cividis", "s": 22, "edgecolors": "black", "linewidths": 0.4, "zorder": 3}
    shown = ax.scatter(points[:, 0], points[:, 1], **look)
    ax.set_xlabel("first axis of the trajectory")
    ax.set_ylabel("second axis")
    ax.set_title(f"a random network: {len(points)} points")
    bar = fig.colorbar(shown, ax=ax, shrink=0.85, ticks=np.unique(count)[:: max(1, np.unique(count).size // 6)])
    bar.set_label("unstable directions", fontsize=7)


def spectra(ax, data):
    """Eigenvalues at 0 and at the point with the fewest unstable directions."""
    colours = tt.plots.COLOURS
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), "--", color=colours[0], linewidth=1.0)
    fewest = min(data["unstable_directions"])
    for key, marker, colour, name in (
        ("eigenvalues_of_zero", "s", colours[3], "at 0"),
        ("eigenvalues_of_the_calmest", "o", colours[1], f"at a point with {fewest} unstable"),
    ):
        ax.plot(*np.asarray(data[key], dtype=float), marker, color=colour, markersize=3.5, fillstyle="none", label=name)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel(r"Re $\lambda$ (factor per step)")
    ax.set_ylabel(r"Im $\lambda$ (factor per step)")
    ax.set_title("eigenvalues of $J$")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, -0.02), handlelength=1.0)


if __name__ == "__main__":
    study.run(globals())
