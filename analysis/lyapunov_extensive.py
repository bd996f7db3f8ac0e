"""Is chaos extensive: do spectra of networks of different size fall on one curve, and what are dimension and entropy?

tanh network  h' = tanh(W h), W_ij ~ N(0, g²/N): λ against i/N does not depend on N, so D_KY and the entropy rate grow
like N. The closed form of N → ∞ gives both per unit; at N = 200 and 1000 steps D_KY/N is 2–10 % and the entropy 3–16 %
lower. Near the onset of chaos (g = 1.5) networks of a few hundred units are often not chaotic: they are drawn, each
for itself, and nothing is claimed of them. Source: Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 043044, 2023.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {
    "units": [100, 200, 400], "networks": 5, "steps": 600, "sweep_units": 200, "sweep_steps": 1000,
    "gains": [1.5, 2.0, 3.0, 5.0],
}  # fmt: skip
FULL = SIZES | {"units": [200, 500, 1000], "steps": 2000}
SMALL = {"units": [60, 120], "networks": 4, "steps": 300, "sweep_units": 120, "sweep_steps": 500, "gains": [3.0]}
GAIN, SEED = 3.0, 1
LOW = {"D_KY": (0.02, 0.10), "entropy": (0.03, 0.16)}  # how far below the closed form, at N = 200 and 1000 steps


def spectra(units, g, steps, networks):
    """The spectra of several networks, side by side."""
    family = tt.Ensemble(
        lambda seed: tt.Network("tanh", 1, units, bias=False, init=tt.init.gaussian(gain=g), seed=seed),
        {"seed": range(SEED, SEED + networks)},
    )
    return tt.analysis.lyapunov_spectrum(family, steps=steps, seed=SEED)


def mean_and_error(values):
    return np.mean(values, axis=0), np.std(values, axis=0, ddof=1) / np.sqrt(len(values))


def collapse(units, networks, steps):
    """λ at two ranks for each size, and how D_KY grows with it."""
    law = tt.analysis.mean_field.tanh(GAIN)
    checks, data, dimension = [], {}, []
    for n in study.progress(units, "sizes"):
        found = spectra(n, GAIN, steps, networks)
        fraction = (np.arange(n) + 0.5) / n
        data[f"N={n}"] = {"fraction": fraction, "exponents": found["exponents"].mean(axis=0)}
        dimension.append(found["kaplan_yorke_dimension"])
        for x in (0.25, 0.5, 0.75):
            value, error = mean_and_error([np.interp(x, fraction, row) for row in found["exponents"]])
            why = f"closed form of N → ∞; 4 SE over {networks} networks, and 8/N for the finite N"
            checks.append(study.check(f"N={n}: λ({x:g})", value, law.spectrum(x), 4 * error + 8 / n, why=why))
    (small, small_error), (large, large_error) = (mean_and_error(dimension[i]) for i in (0, -1))
    grown = (large - small) / (units[-1] - units[0]) / law.kaplan_yorke_dimension
    error = np.hypot(small_error, large_error) / (units[-1] - units[0]) / law.kaplan_yorke_dimension
    why = f"D_KY grows by the closed form for each unit more; 4 SE over {networks} networks"
    checks.append(study.check(f"dD_KY/dN, N={units[0]}–{units[-1]}, over theory", grown, 1.0, 4 * error, why=why))
    return checks, data


def measure(
    units=(100, 200, 400), networks=5, steps=600, sweep_units=200, sweep_steps=1000, gains=(1.5, 2.0, 3.0, 5.0)
):
    checks, data = collapse(units, networks, steps)
    law = tt.analysis.mean_field.tanh(GAIN)
    sweep = {"gain": gains, "dimension": [], "entropy": []}
    for g in study.progress(gains, "gains"):
        theory = tt.analysis.mean_field.tanh(g)
        found = spectra(sweep_units, g, sweep_steps, networks)
        for key, name, field, exact in (
            ("dimension", "D_KY", "kaplan_yorke_dimension", theory.kaplan_yorke_dimension),
            ("entropy", "entropy", "entropy_rate", theory.entropy_rate),
        ):  # fmt: skip
            each = found[field] / sweep_units
            sweep[key].append(each)
            if g < 2.0:
                continue
            value, error = mean_and_error(each / exact)
            least, most = LOW[name]
            why = f"{100 * least:g}–{100 * most:g} % below the closed form at N = 200, T = 1000; 4 SE over the networks"
            middle, half = 1 - (least + most) / 2, (most - least) / 2
            checks.append(study.check(f"g={g:g}: {name}/N over theory", value, middle, half + 4 * error, why=why))
    x = np.linspace(0.005, 0.98, 150)
    data |= {"sweep": sweep, "sweep_units": sweep_units, "law": {"fraction": x, "exponents": law.spectrum(x)}}
    fine = np.linspace(1.2, 5.2, 30)
    laws = [tt.analysis.mean_field.tanh(g) for g in fine]
    data["laws"] = {
        "gain": fine,
        "dimension": [item.kaplan_yorke_dimension for item in laws],
        "entropy": [item.entropy_rate for item in laws],
    }
    seeds = {"weights, state, frame": list(range(SEED, SEED + networks))}
    return {"checks": checks, "seeds": seeds, "data": data}


def draw(result):
    data, plots = result["data"], tt.plots
    fig, (left, middle, right) = study.figure(1, 3, height=2.5)
    left.plot(data["law"]["fraction"], data["law"]["exponents"], color="0.1", label=r"closed form, $N\to\infty$")
    for i, (name, item) in enumerate((key, value) for key, value in data.items() if key.startswith("N=")):
        n = len(item["fraction"])
        every = slice(i, None, max(n // 25, 1))
        look = {"marker": plots.MARKERS[i], "color": plots.COLOURS[i + 1], "linestyle": "none", "markersize": 3}
        left.plot(np.array(item["fraction"])[every], np.array(item["exponents"])[every], label=f"${name}$", **look)
    left.set(xlabel="fraction of exponents, from the top", ylabel=r"$\lambda$ (nats per step)", ylim=(-7, 0.5))
    left.set_title(f"spectra at $g={GAIN:g}$")
    left.legend(loc="lower left")
    for ax, key, label, title in (
        (middle, "dimension", r"$D_{KY}/N$", "dimension"),
        (right, "entropy", "entropy rate$/N$ (nats per step)", "entropy"),
    ):  # fmt: skip
        ax.plot(data["laws"]["gain"], data["laws"][key], color="0.1", label=r"closed form, $N\to\infty$")
        each = np.array(data["sweep"][key])
        gain = np.repeat(data["sweep"]["gain"], each.shape[1])
        name = f"measured, $N={data['sweep_units']}$"
        ax.plot(gain, each.ravel(), "o", color=plots.COLOURS[1], markersize=3, alpha=0.7, label=name)
        ax.set(xlabel="gain $g$", ylabel=label)
        ax.set_title(f"{title} per unit")
        ax.set_ylim(0, None)
        ax.legend(loc="lower right")
    study.letters([left, middle, right])
    return fig


if __name__ == "__main__":
    study.run(globals())
