"""How do the singular values of J_t … J_1 spread with depth, and how much less for orthogonal weights?

With J = D W, κ = E d⁴/(E d²)², and W free of D, the variance of the squared singular values over their squared mean is

    Gaussian W: κ L        orthogonal W: (κ − 1) L        after L steps (linear units: κ = 1)

so a linear orthogonal network is isometric at any depth, and the largest σ² of Gaussian factors is (L+1)^(L+1)/L^L. For
independent Gaussian factors of size N the two moments are known exactly (see `independent_law`); a network repeats its
W, which adds about 3 L/N of the variance. Logarithms of the singular values go on beyond the range of numbers: after
many steps they are those of the Lyapunov exponents, ln σ_i ≈ λ_i L.
Source: Pennington, Schoenholz & Ganguli, NeurIPS 2017 and AISTATS 2018; Newman, Commun. Math. Phys. 103, 1986.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 300, "depths": [1, 2, 5, 10], "windows": 6, "long": 60, "long_steps": 1500}
FULL = SIZES | {"units": 600, "windows": 20, "long": 100, "long_steps": 10000}
SMALL = {"units": 60, "depths": [1, 2, 5], "windows": 6, "long": 12, "long_steps": 300}
SEED, GAIN = 1, 1.5


def network(cell, weights, units, seed):
    g = 1.0 if cell == "linear" else GAIN
    start = tt.init.gaussian(gain=g) if weights == "Gaussian" else tt.init.orthogonal(gain=g)
    return tt.Network(cell, 1, units, bias=False, init=start, seed=seed)


def squares(cell, weights, units, depths, seed):
    """σ² of the products over the first `depths` steps on the attractor of one network."""
    net = network(cell, weights, units, seed)
    start = np.random.default_rng(seed).uniform(-1, 1, (1, units))
    run = net.unroll(np.zeros((60 + max(depths), 1)), state=start)
    logs = [tt.analysis.product_singular_values(run, 60, 60 + depth).log_singular_values[0] for depth in depths]
    return np.exp(2 * np.array(logs))


def spread(cell, weights, units, depths, windows):
    """Variance of σ² over its squared mean, (n, 2): the mean over networks, and its error."""
    found = np.array([squares(cell, weights, units, depths, seed) for seed in range(SEED, SEED + windows)])
    variance = (found**2).mean(axis=2) / found.mean(axis=2) ** 2 - 1
    return np.stack([variance.mean(axis=0), variance.std(axis=0, ddof=1) / np.sqrt(windows)], axis=1)


def independent(units, depths, windows):
    """⟨σ²⟩, ⟨σ⁴⟩ and the largest σ² of products of independent Gaussian factors: means and errors, (n, 3) each."""
    found = []
    for seed in range(SEED, SEED + windows):
        factors = np.random.default_rng(seed).standard_normal((max(depths), units, units)) / np.sqrt(units)
        logs = [tt.analysis.product_from_jacobians(factors[:depth]).log_singular_values for depth in depths]
        found.append([(np.exp(2 * x).mean(), np.exp(4 * x).mean(), np.exp(2 * x[0])) for x in logs])
    return np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(windows)


def independent_law(units, depth):
    """E⟨σ⁴⟩ for L independent Gaussian factors: with M = P Pᵀ, a = E tr M²/N and b = E (tr M/N)² one more factor gives
    b + a (1 + 1/N) and b + 2a/N². For N → ∞ it is L + 1."""
    a = b = 1.0
    for _ in range(depth):
        a, b = b + a * (1 + 1 / units), b + 2 * a / units**2
    return a


def measure(units=300, depths=(1, 2, 5, 10), windows=6, long=60, long_steps=1500):
    checks, data = [], {"depths": list(depths)}
    kappa = tt.analysis.mean_field.tanh(GAIN).kappa
    (mean, error), scatter = independent(units, depths, 4 * windows), units ** (-2 / 3)
    data["independent, Gaussian"] = {"variance": mean[:, 1] / mean[:, 0] ** 2 - 1, "largest": mean[:, 2], "slope": 1.0}
    for i, depth in enumerate(depths):
        label = f"independent factors, L={depth}"
        why = "1; 4 SE of the mean over windows"
        checks.append(study.check(f"{label}: mean σ²", mean[i, 0], 1, 4 * error[i, 0], why=why))
        law, why = independent_law(units, depth), "exact for finite N, L + 1 for N → ∞; 4 SE"
        checks.append(study.check(f"{label}: mean σ⁴", mean[i, 1], law, 4 * error[i, 1], why=why))
        edge, why = (depth + 1) ** (depth + 1) / depth**depth, "(L+1)^(L+1)/L^L; 4 N^(−2/3) for the edge, 4 SE"
        tolerance = edge * 4 * scatter + 4 * error[i, 2]
        checks.append(study.check(f"{label}: largest σ²", mean[i, 2], edge, tolerance, why=why))
    cases = [(cell, weights) for cell in ("linear", "tanh") for weights in ("Gaussian", "orthogonal")]
    for cell, weights in study.progress(cases, "products"):
        slope = (1.0 if cell == "linear" else kappa) - (weights == "orthogonal")
        found = spread(cell, weights, units, depths, windows)
        data[f"{cell}, {weights}"] = {"variance": found[:, 0], "error": found[:, 1], "slope": slope}
        for depth, (value, error) in zip(depths, found, strict=True):
            tolerance = 4 * error + slope * depth * 3 * depth / units + 1e-12
            why = "independent factors of N → ∞; 4 SE, and 3 L/N of it for the W that is repeated"
            checks.append(study.check(f"{cell}, {weights}: L={depth}", value, slope * depth, tolerance, why=why))
    net = network("tanh", "Gaussian", long, SEED)
    start = np.random.default_rng(SEED).uniform(-1, 1, (1, long))
    run = net.unroll(np.zeros((200 + long_steps, 1)), state=start)
    product = tt.analysis.product_singular_values(run, 200, 200 + long_steps)
    state = run.states[200].reshape(1, 1, long)
    options = {"steps": long_steps, "warmup": 0, "discard": 0, "state": state, "seed": SEED}
    exponents = tt.analysis.lyapunov_spectrum(net, **options).exponents
    data["long"] = {"steps": long_steps, "rates": product.rates[0], "exponents": exponents}
    worst = np.abs(product.rates[0] - exponents).max()
    why = "ln σ_i / L → λ_i; the difference shrinks like 1/L (30/L)"
    checks.append(study.check(f"tanh, L={long_steps}: largest |ln σ/L − λ|", worst, 0, 30 / long_steps, why=why))
    why = "both are the mean of ln |det J|"
    checks.append(study.check("the same: sums", product.rates[0].sum(), exponents.sum(), 1e-9 * long, why=why))
    return {"checks": checks, "seeds": {"networks": list(range(SEED, SEED + windows))}, "data": data}


def draw(result):
    data, plots = result["data"], tt.plots
    fig, (left, right) = study.figure(1, 2, height=2.8)
    depths = np.array(data["depths"])
    for i, name in enumerate(("linear, Gaussian", "tanh, Gaussian", "tanh, orthogonal")):
        item, colour = data[name], plots.COLOURS[i + 1]
        look = {"fmt": plots.MARKERS[i], "color": colour, "markersize": 4}
        left.errorbar(depths, item["variance"], yerr=item["error"], label=name, **look)
        left.plot(depths, item["slope"] * depths, color=colour, linewidth=1)
    left.set(xscale="log", yscale="log", xlabel="steps $L$", ylabel=r"variance of $\sigma^2$ / mean$^2$")
    left.set_xticks(depths, [str(d) for d in depths])
    left.minorticks_off()
    left.set_title("lines: theory (linear, orthogonal: 0)")
    left.legend(loc="upper left")
    item = data["long"]
    index = np.arange(1, len(item["rates"]) + 1)
    right.plot(index, item["exponents"], color="0.1", linewidth=1, label=r"Lyapunov exponents $\lambda_i$")
    right.plot(index, item["rates"], "o", markersize=2.5, color=plots.COLOURS[1], label=r"$\ln\,\sigma_i / L$")
    right.set(xlabel="index $i$", ylabel="nats per step")
    right.set_title(f"tanh, $N={len(index)}$, $L={item['steps']}$")
    right.legend(loc="lower left")
    study.letters([left, right])
    return fig


if __name__ == "__main__":
    study.run(globals())
