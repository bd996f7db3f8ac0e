"""Does the measured Lyapunov spectrum follow the closed form, and what goes wrong with an LSTM's h alone?

tanh network  h' = tanh(W h), W_ij ~ N(0, g²/N), autonomous and chaotic: the exponent λ at the fraction x from the top
solves

    1 = E[g²d² / (e^(2λ) + x g²d²)],   d = sech²(√(g²q) z),   λ_1 = ½ ln χ − (3κ−1)/(4N),   Σλ = ⟨ln |det J|⟩ exactly

LSTM  The state is (h, c). With the block ∂h'/∂h of its Jacobian alone, c is held fixed in every step: the exponents
come out smooth, with small errors, and wrong by two nats per step. The growth of a perturbed twin says which are right.
Source: Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 043044, 2023; Benettin et al., Meccanica 15, 1980.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {
    "units": 200,
    "networks": 3,
    "steps": 400,
    "large_units": 500,
    "large_steps": 4000,
    "onset_units": 2000,
    "lstm_units": 64,
    "lstm_steps": 900,
}
FULL = SIZES | {"units": 500, "steps": 1000, "large_units": 1000, "large_steps": 10000, "lstm_units": 128}
SMALL = {
    "units": 60,
    "networks": 2,
    "steps": 300,
    "large_units": 150,
    "large_steps": 1000,
    "onset_units": 600,
    "lstm_units": 12,
    "lstm_steps": 400,
}
GAINS = (1.5, 2.0, 3.0)
SEED = 1


def tanh_network(units, g, seed):
    return tt.Network("tanh", 1, units, bias=False, init=tt.init.gaussian(gain=g), seed=seed)


def spectra(units, networks, steps):
    """Full spectra of several networks at each gain against the closed form."""
    checks, data = [], {}
    rank = (np.arange(units) + 0.5) / units
    cases = [(g, seed) for g in GAINS for seed in range(SEED, SEED + networks)]
    found = {g: [] for g in GAINS}
    for g, seed in study.progress(cases, "lyapunov_spectrum"):
        found[g].append(tt.analysis.lyapunov_spectrum(tanh_network(units, g, seed), steps=steps, seed=seed))
    for g, several in found.items():
        theory = tt.analysis.mean_field.tanh(g)
        exponents = np.array([spectrum.exponents for spectrum in several])
        mean, law = exponents.mean(axis=0), theory.spectrum(rank)
        data[f"tanh g={g:g}"] = {
            "fraction": rank,
            "exponents": mean,
            "scatter": exponents.std(axis=0, ddof=1),
            "standard_error_in_time": np.mean([spectrum.standard_error for spectrum in several], axis=0),
            "closed_form": law,
        }
        for x in (0.25, 0.5, 0.75):
            measured = np.interp(x, rank, mean)
            slack = (12.0 if x < 0.6 else 20.0) * (2.0 if g < 2.0 else 1.0)  # N is felt most near the onset of chaos
            why = f"closed form of N → ∞; {slack:g}/N for the finite N and for W, of which {networks} are drawn"
            checks.append(study.check(f"g={g:g}: λ({x:g})", measured, theory.spectrum(x), slack / units, why=why))
        residual = max(spectrum.sum_rule_residual for spectrum in several) / units
        bound = 1e-10 if g <= 2 else 1e-8
        checks.append(
            study.check(f"g={g:g}: |Σλ − ⟨ln |det J|⟩| / N", residual, 0, bound, why="exact; what rounding leaves")
        )
    return checks, data


def largest(units, onset_units, steps):
    """λ_1 of one large network at each gain; near the onset of chaos it takes a larger one."""
    checks, data = [], {"units": [], "gain": [], "exponent": [], "standard_error": [], "finite_size": []}
    for g, n, counted in ((1.5, onset_units, steps // 2), *((g, units, steps) for g in (2.0, 3.0, 5.0))):
        found = tt.analysis.lyapunov_spectrum(tanh_network(n, g, SEED), steps=counted, k=1, seed=SEED)
        law = tt.analysis.mean_field.tanh(g).finite_size(n)
        row = (n, g, found.exponents[0], found.standard_error[0], law)
        for key, value in zip(data, row, strict=True):
            data[key].append(value)
        tolerance = 4 * found.standard_error[0] + 1.5 / n
        why = "½ ln χ − (3κ−1)/(4N); 4 SE + 1.5/N (.003 at N = 500) for the one W that is drawn"
        checks.append(study.check(f"g={g:g}, N={n}: λ_1", found.exponents[0], law, tolerance, why=why))
    return checks, data


def twin_growth(net, x, warmup, every=20, size=1e-7):
    """Growth of a small difference between two trajectories, nats per step, and its error: no Jacobian is used."""
    rng = np.random.default_rng(SEED)
    run = net.unroll(x)
    direction = rng.standard_normal(net.state_size)
    logs = []
    for start in range(warmup, len(x) - every + 1, every):
        direction *= size / np.linalg.norm(direction)
        h, c = np.split(run.states[start, 0] + direction, 2)
        twin = net.unroll(x[start : start + every], state=(h[None], c[None]))
        direction = twin.states[-1, 0] - run.states[start + every, 0]
        logs.append(np.log(np.linalg.norm(direction) / size) / every)
    counted = np.array(logs[len(logs) // 10 :])
    return counted.mean(), counted.std(ddof=1) / np.sqrt(counted.size)


def lstm(units, steps, warmup=100):
    """The exponents of an LSTM with (h, c), with h alone, and the growth of a twin."""
    net = tt.Network("lstm", 8, units, init=tt.init.forget_bias(3.0), seed=SEED)
    x = np.random.default_rng(SEED).standard_normal((warmup + steps, 8))
    full = tt.analysis.lyapunov_spectrum(net, x, warmup=warmup, seed=SEED)
    run = net.unroll(x)
    blocks = (run.jacobian(t)[0, :units, :units] for t in range(warmup + 1, warmup + steps + 1))
    alone = tt.analysis.lyapunov_from_jacobians(blocks, discard=steps // 10, seed=SEED)
    twin, error = twin_growth(net, x, warmup)
    tolerance = 4 * np.hypot(full.standard_error[0], error) + 1.0 / steps
    residual = full.sum_rule_residual / net.state_size
    checks = [
        study.check(
            "LSTM: λ_1 with (h, c)", full.exponents[0], twin, tolerance, why="growth of a twin trajectory; 4 SE + 1/T"
        ),
        study.check("LSTM: |Σλ − ⟨ln |det J|⟩| / S", residual, 0, 1e-10, why="exact; what rounding leaves"),
        study.check(
            "LSTM: λ_1 with h alone",
            alone.exponents[0],
            -2.0,
            0.3,
            why="wrong by two nats per step: the warning stays true",
        ),
    ]
    data = {
        "exponents": full.exponents,
        "standard_error": full.standard_error,
        "h_alone": alone.exponents,
        "h_alone_standard_error": alone.standard_error,
        "twin": twin,
        "twin_standard_error": error,
    }
    return checks, data


def measure(
    units=200, networks=3, steps=400, large_units=500, large_steps=4000, onset_units=2000, lstm_units=64, lstm_steps=900
):
    checks, data = spectra(units, networks, steps)
    for name, (more, series) in (
        ("largest", largest(large_units, onset_units, large_steps)),
        ("lstm", lstm(lstm_units, lstm_steps)),
    ):
        checks += more
        data[name] = series
    seeds = {"weights": list(range(SEED, SEED + networks)), "large network, LSTM, input, frame": SEED}
    return {"checks": checks, "seeds": seeds, "data": data}


def draw(result):
    data, plots = result["data"], tt.plots
    fig, (left, right) = study.figure(1, 2, height=3.0)
    for ax in (left, right):
        ax.axhline(0, color="0.7", linewidth=0.8, zorder=0)
        ax.set_ylabel(r"Lyapunov exponent $\lambda_i$ (nats per step)")
    for i, g in enumerate(GAINS):
        item = data[f"tanh g={g:g}"]
        fraction, exponents, scatter = (np.array(item[key]) for key in ("fraction", "exponents", "scatter"))
        left.plot(
            fraction,
            item["closed_form"],
            color="0.1",
            linewidth=1.1,
            label=r"closed form, $N\to\infty$" if i == 0 else None,
        )
        every = slice(0, None, max(len(fraction) // 28, 1))
        look = {
            "fmt": plots.MARKERS[i],
            "color": plots.COLOURS[i + 1],
            "markersize": 3.4,
            "elinewidth": 0.9,
            "capsize": 1.5,
        }
        left.errorbar(fraction[every], exponents[every], yerr=scatter[every], label=f"$g={g:g}$", **look)
    left.set(xlim=(-0.02, 1.02), ylim=(-5.2, 0.6), xlabel="fraction of exponents, from the top")
    left.legend(loc="lower left")
    left.set_title(f"tanh networks, $N={len(fraction)}$; bars: their scatter")
    item = data["lstm"]
    size = len(item["exponents"])
    look = {"linestyle": "none", "markersize": 2.6}
    right.plot(
        np.arange(1, size + 1), item["exponents"], "o", color=plots.COLOURS[1], label="state $(h, c)$: right", **look
    )
    right.plot(
        np.arange(1, size // 2 + 1), item["h_alone"], "x", color=plots.COLOURS[3], label="$h$ alone: wrong", **look
    )
    right.plot([1, size], [item["twin"]] * 2, "--", color="0.1", linewidth=1.0, label="growth of a twin: $\\lambda_1$")
    right.set(xlabel="index $i$", ylim=(-6.8, 0.8), xlim=(-2, size + 2))
    right.legend(loc="lower left")
    right.set_title(f"LSTM, $N={size // 2}$, forget bias 3")
    study.letters([left, right])
    return fig


if __name__ == "__main__":
    study.run(globals())
