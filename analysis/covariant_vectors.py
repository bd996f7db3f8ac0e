"""Which way do perturbations really go: how far apart are unstable and stable directions, and how many units take part?

Hénon's map has tangencies: angles down to 0. In a chaotic tanh network the same histogram is drawn, and the
participation ratio (Σv²)²/Σv⁴ of every covariant vector.
Source: Ginelli et al., Phys. Rev. Lett. 99, 130601, 2007.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 40, "steps": 1500, "henon": 6000}
FULL = {"units": 200, "steps": 3000, "henon": 100_000}
SMALL = {"units": 12, "steps": 600, "henon": 2000}
SEED, GAIN = 1, 2.5


def henon_map(steps):
    x, y, jacobians = 0.1, 0.1, []
    for step in range(steps + 100):
        if step >= 100:
            jacobians.append([[-2.8 * x, 1.0], [0.3, 0.0]])
        x, y = 1 - 1.4 * x * x + y, 0.3 * x
    return np.array(jacobians)


def density(angles):
    """Histogram of the angles with integral 1; zeros where a network is too small to be chaotic and has none."""
    count = np.histogram(angles, 40, (0, np.pi / 2))[0]
    return count / max(count.sum(), 1) * 80 / np.pi


def measure(units=40, steps=1500, henon=6000):
    map_ = tt.analysis.covariant_from_jacobians(henon_map(henon), transient=100, seed=SEED)
    net = tt.Network("tanh", 1, units, bias=False, init=tt.init.gaussian(gain=GAIN), seed=SEED)
    found = tt.analysis.covariant_vectors(net, steps=steps, times=[0, 1], seed=SEED)
    exact = tt.analysis.lyapunov_spectrum(
        net, steps=steps - 2 * found.transient, warmup=200 + found.transient, discard=0, seed=SEED
    )
    error = 4 * map_.standard_error[0] + 1e-3
    checks = [
        study.check("Hénon: λ_1", map_.exponents[0], 0.41922, error, why="references; 4 SE + .001"),
        study.check("Hénon: λ_2", map_.exponents[1], -1.62319, error + 20 / henon, why="references; as λ_1, + 20/T"),
    ]
    worst = np.abs(found.exponents - exact.exponents).max()
    why = "the exponents of the QR method over the same steps; ends of the window count 40/T"
    tolerance = 40 / (steps - 2 * found.transient)
    checks.append(study.check("tanh: largest difference from the QR method", worst, 0, tolerance, why=why))
    data = {
        "henon": {"angles": density(map_.angles)},
        "tanh": {
            "angles": density(found.angles),
            "exponents": found.exponents,
            "participation": found.participation,
            "unstable": found.split,
            "units": units,
        },
    }
    return {"checks": checks, "seeds": {"weights, state, frame": SEED}, "data": data}


def draw(result):
    data, plots = result["data"], tt.plots
    fig, axes = study.figure(1, 2, height=2.6)
    edges = np.linspace(0, np.pi / 2, 41)
    for i, (key, label) in enumerate((("henon", "Hénon"), ("tanh", f"tanh, $N={data['tanh']['units']}$"))):
        axes[0].stairs(data[key]["angles"], edges, label=label, **plots.style(i + 1))
    axes[0].set(xlabel="smallest angle, unstable to stable (radians)", ylabel="probability density", yscale="log")
    axes[0].set_title("angles")
    axes[0].legend()
    item = data["tanh"]
    n = item["units"]
    look = {"marker": "o", "linestyle": "none", "markersize": 3, "color": plots.COLOURS[1]}
    axes[1].plot((np.arange(n) + 0.5) / n, np.array(item["participation"]) / n, **look)
    axes[1].axvline(item["unstable"] / n, color="0.6", linewidth=0.8)
    axes[1].axhline(1 / 3, color="0.1", linewidth=0.8, linestyle="--", label="random direction: 1/3")
    axes[1].legend(loc="lower right")
    axes[1].set(xlabel="fraction of vectors, from the top", ylabel="participation ratio $/N$", ylim=(0, None))
    axes[1].set_title("units that take part; line: $\\lambda = 0$")
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
