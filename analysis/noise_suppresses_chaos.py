"""Can a noisy input make a chaotic network predictable, and at which gain does chaos win?

tanh network  h' = tanh(W h + ξ), W_ij ~ N(0, g²/N), ξ_i(t) ~ N(0, σ²) drawn anew: noise drives the units to where
the slope of tanh is small,

    q = E tanh²(√(g²q + σ²) z),   λ_1 = ½ ln g² E sech⁴(√(g²q + σ²) z) − (3κ−1)/(4N)

so that chaos begins at g = 1.549674 for σ = .5 instead of g = 1. Two copies under one noise meet below, not above.
Source: Molgedey, Schuchhardt & Schuster, PRL 69, 1992.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 300, "networks": 3, "steps": 500, "gains": 7, "large_units": 1000, "large_steps": 1500}
FULL = SIZES | {"units": 1000, "steps": 1500, "gains": 13}
SMALL = {"units": 150, "networks": 2, "steps": 200, "gains": 3, "large_units": 200, "large_steps": 300}
NOISES = (0.25, 0.5, 1.0)
CRITICAL = 1.549674
SEED = 1


def network(units, gain, noise, seed=SEED):
    """Every unit has its own noise: W_ih is σ times the identity."""
    net = tt.Network("tanh", units, units, bias=False, init=tt.init.gaussian(gain), seed=seed)
    net.parameters["weight_ih_l0"][...] = noise * np.eye(units)
    return net


def exponents(units, networks, steps, gains, noises):
    """λ_1 over gains × noises, one call."""
    family = tt.Ensemble(
        lambda gain, noise, seed: network(units, gain, noise, seed),
        {"gain": gains, "noise": noises, "seed": range(SEED, SEED + networks)},
    )
    x = np.random.default_rng(SEED).standard_normal((100 + steps, units))
    found = tt.analysis.lyapunov_spectrum(family, x, k=1, warmup=100, seed=SEED)
    error = np.sqrt((found["standard_error"][..., 0] ** 2).sum(axis=2)) / networks
    return found["exponents"][..., 0].mean(axis=2), error


def distance(units, gain, noise, steps=60):
    """ln of the distance of two copies with different beginnings under the same noise."""
    net = network(units, gain, noise)
    rng = np.random.default_rng(SEED)
    x = np.repeat(rng.standard_normal((steps, 1, units)), 2, axis=1)
    states = net.unroll(x, state=rng.uniform(-1.0, 1.0, (1, 2, units))).states
    return np.log(np.linalg.norm(states[:, 0] - states[:, 1], axis=1) / np.sqrt(units))


def measure(units=300, networks=3, steps=500, gains=7, large_units=1000, large_steps=1500):
    theory = tt.analysis.mean_field
    g = np.linspace(0.8, 3.0, gains)
    checks, data = [], {"gain": g, "noise": NOISES, "units": units}
    measured, error = exponents(units, networks, steps, g, NOISES)
    law = np.array([[theory.tanh(gain, noise=noise).finite_size(units) for noise in NOISES] for gain in g])
    # Where nearly all slopes are 1 the product is W^t, and its rate the largest |eigenvalue|, beyond √χ at finite N.
    counted = np.array(NOISES) ** 2 + (g[:, None] - 0.8) ** 2 > 0.1
    worst = np.max((np.abs(measured - law) - 4 * error)[counted])
    why = "largest excess of |λ_1 − law| over 4 SE, law with its 1/N; 4/N for the few W that are drawn"
    checks.append(study.check("all gains and noises but g=.8, σ=.25", max(worst, 0.0), 0.0, 4 / units, why=why))
    data |= {"exponent": measured, "standard_error": error, "law": law}
    fine = np.linspace(0.8, 3.0, 45)
    curves = [[theory.tanh(gain, noise=noise).finite_size(units) for gain in fine] for noise in NOISES]
    no_noise = fine[fine > 1.0]
    data["curves"] = {
        "gain": fine,
        "exponent": curves,
        "gain_without": no_noise,
        "without": [theory.tanh(gain).lyapunov for gain in no_noise],
    }
    data["thresholds"] = {"noise": np.linspace(0.0, 1.5, 61)}
    data["thresholds"]["gain"] = [theory.critical_gain(noise=s) for s in data["thresholds"]["noise"]]
    checks.append(study.check("g_c at σ = .5", theory.critical_gain(noise=0.5), CRITICAL, 1e-6, why="χ = 1"))

    for gain in (0.8, CRITICAL):
        found, error = exponents(large_units, 1, large_steps, [gain], [0.5])
        law = theory.tanh(gain, noise=0.5).finite_size(large_units)
        why = "½ ln χ − (3κ−1)/(4N); 4 SE + 3/N for the one W that is drawn"
        name = f"g={gain:.6g}, σ=.5, N={large_units}: λ_1"
        checks.append(study.check(name, found[0, 0], law, 4 * error[0, 0] + 3 / large_units, why=why))
    data["distance"] = {f"{gain:g}": distance(units, gain, 0.5) for gain in (1.2, 2.2)}
    meet, part = (np.array(values) for values in data["distance"].values())
    overlap = theory.tanh(2.2, noise=0.5)
    apart = 0.5 * np.log(2 * overlap.q * (1 - _correlation(overlap)))
    checks.append(
        study.check(
            "g=2.2: ln of the distance at the end", part[-20:].mean(), apart, 0.1, why="the overlap c* of mean field"
        )
    )
    rate = (meet[40] - meet[10]) / 30
    law = theory.tanh(1.2, noise=0.5).finite_size(units)
    checks.append(
        study.check("g=1.2: rate at which two copies meet", rate, law, 0.06, why="λ_1; 30 steps, one network")
    )
    data["copies"] = {"rate": law, "apart": apart}
    return {
        "checks": checks,
        "seeds": {"weights": list(range(SEED, SEED + networks)), "noise, frame": SEED},
        "data": data,
    }


def _correlation(theory):
    """Of h, from the correlation c* of the pre-activations: c* v = g² q c_h + σ²."""
    variance = theory.gain**2 * theory.q + theory.noise**2
    return (theory.overlap * variance - theory.noise**2) / (theory.gain**2 * theory.q)


def draw(result):
    data, plots = result["data"], tt.plots
    fig, (left, middle, right) = study.figure(1, 3, height=2.6)
    g = np.array(data["gain"])
    left.axhline(0, color="0.7", linewidth=0.8, zorder=0)
    curves = data["curves"]
    left.plot(curves["gain_without"], curves["without"], color="0.6", label="no noise")
    for j, noise in enumerate(data["noise"]):
        look = plots.style(j + 1)
        left.plot(curves["gain"], curves["exponent"][j], **look)
        left.errorbar(
            g,
            np.array(data["exponent"])[:, j],
            yerr=np.array(data["standard_error"])[:, j],
            fmt=plots.MARKERS[j],
            color=look["color"],
            markersize=3.4,
            label=rf"$\sigma={noise:g}$",
        )
    left.set(xlabel="gain $g$", ylabel=r"$\lambda_1$ (nats per step)")
    left.set_title(f"lines: mean field, $N={data['units']}$")
    left.legend()
    noise, gain = (np.array(data["thresholds"][key]) for key in ("noise", "gain"))
    middle.plot(noise, gain, color=plots.COLOURS[0])
    middle.fill_between(noise, gain, 4.0, color=plots.COLOURS[3], alpha=0.25, linewidth=0)
    middle.fill_between(noise, 0.0, gain, color=plots.COLOURS[1], alpha=0.25, linewidth=0)
    middle.plot([0.5], [CRITICAL], "o", color=plots.COLOURS[0], markersize=4)
    middle.annotate("1.5497", (0.5, CRITICAL), xytext=(6, -9), textcoords="offset points", fontsize=7)
    middle.text(0.3, 2.7, "chaos", color=plots.COLOURS[3])
    middle.text(0.9, 0.6, "copies meet", color=plots.COLOURS[1])
    middle.set(xlabel=r"noise $\sigma$", ylabel="gain $g$", xlim=(0, 1.5), ylim=(0, 3.2))
    middle.set_title("edge of chaos")
    for j, (gain, values) in enumerate(data["distance"].items()):
        right.plot(values, label=f"$g={gain}$", **plots.style(j + 1))
    steps = np.arange(len(meet := data["distance"]["1.2"]))
    right.plot(steps, meet[10] + data["copies"]["rate"] * (steps - 10), color="0.1", linewidth=0.8, label="mean field")
    right.plot(steps, np.full(steps.size, data["copies"]["apart"]), color="0.1", linewidth=0.8)
    right.set(xlabel="time (steps)", ylabel="ln distance per unit")
    right.set_title(r"two copies, $\sigma=0.5$")
    right.legend()
    study.letters((left, middle, right))
    return fig


if __name__ == "__main__":
    study.run(globals())
