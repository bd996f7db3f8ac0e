"""Is chaos extensive: do spectra of networks of different size fall on one curve, and what are dimension and entropy?

tanh network  h' = tanh(W h), W_ij ~ N(0, g²/N): λ against i/N does not depend on N, so D_KY and the entropy rate grow
like N. The closed form of N → ∞ gives both per unit; at N = 200 and 1000 steps D_KY/N is 2–10 % and the entropy 3–16 %
lower. Source: Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 043044, 2023.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": [50, 100, 200], "networks": 4, "sweep_units": 200, "steps": 400, "gains": [1.5, 2.0, 3.0, 5.0]}
FULL = SIZES | {"units": [200, 500, 1000], "networks": 3, "sweep_units": 500, "steps": 2000}
GAIN, SEED = 2.0, 1


def spectrum(units, g, steps, seed=SEED):
    net = tt.Network("tanh", 1, units, bias=False, init=tt.init.gaussian(gain=g), seed=seed)
    return tt.analysis.lyapunov_spectrum(net, steps=steps, seed=seed)


def measure(units=(50, 100, 200), networks=4, sweep_units=200, steps=400, gains=(1.5, 2.0, 3.0, 5.0)):
    checks, data = [], {}
    law = tt.analysis.mean_field.tanh(GAIN)
    for n in units:
        seeds = range(SEED, SEED + networks)
        found = np.mean([spectrum(n, GAIN, steps, seed).exponents for seed in seeds], axis=0)
        fraction = (np.arange(n) + 0.5) / n
        data[f"N={n}"] = {"fraction": fraction, "exponents": found}
        for x in (0.25, 0.5):
            why = "closed form of N → ∞; 20/N for the finite N and the few W drawn"
            value = np.interp(x, fraction, found)
            checks.append(study.check(f"N={n}, g={GAIN:g}: λ({x:g})", value, law.spectrum(x), 20 / n, why=why))
    sweep = {"gain": [], "dimension": [], "entropy": [], "dimension_law": [], "entropy_law": []}
    for g in gains:
        theory = tt.analysis.mean_field.tanh(g)
        found = spectrum(sweep_units, g, steps)
        row = (
            g, found.kaplan_yorke_dimension / sweep_units, found.entropy_rate / sweep_units,
            theory.kaplan_yorke_dimension, theory.entropy_rate,
        )  # fmt: skip
        for key, value in zip(sweep, row, strict=True):
            sweep[key].append(value)
        slack = 1 + 60 / sweep_units * (3 if g < 2 else 1)
        why = "closed form of N → ∞ less 6 %; finite N takes 2–10 %, one W the rest"
        checks.append(study.check(f"g={g:g}: D_KY/N over theory", row[1] / row[3], 0.94, 0.12 * slack, why=why))
        why = "closed form of N → ∞ less 10 %; finite N takes 3–16 %, one W the rest"
        checks.append(study.check(f"g={g:g}: entropy over theory", row[2] / row[4], 0.9, 0.2 * slack, why=why))
    x = np.linspace(0.005, 0.98, 150)
    data |= {"sweep": sweep, "law": {"fraction": x, "exponents": law.spectrum(x)}}
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
    left.set(xlabel="fraction of exponents, from the top", ylabel=r"$\lambda$ (nats per step)", ylim=(-5, 0.5))
    left.set_title(f"spectra at $g={GAIN:g}$")
    left.legend(loc="lower left")
    for ax, key, label, title in (
        (middle, "dimension", r"$D_{KY}/N$", "dimension"),
        (right, "entropy", "entropy rate$/N$ (nats per step)", "entropy"),
    ):  # fmt: skip
        ax.plot(data["laws"]["gain"], data["laws"][key], color="0.1", label=r"closed form, $N\to\infty$")
        ax.plot(data["sweep"]["gain"], data["sweep"][key], "o", color=plots.COLOURS[1], markersize=4, label="measured")
        ax.set(xlabel="gain $g$", ylabel=label)
        ax.set_title(f"{title} per unit")
        ax.set_ylim(0, None)
        ax.legend(loc="lower right")
    study.letters([left, middle, right])
    return fig


if __name__ == "__main__":
    study.run(globals())
