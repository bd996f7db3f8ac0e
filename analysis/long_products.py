"""How do the singular values of J_t … J_1 spread with depth, and how much less for orthogonal weights?

With J = D W, κ = E d⁴/(E d²)², and W free of D, the variance of the squared singular values over their squared mean is

    Gaussian W: κ L        orthogonal W: (κ − 1) L        after L steps (linear units: κ = 1)

so a linear orthogonal network is isometric at any depth. Logarithms of the singular values go on beyond the range of
numbers: after many steps they are those of the Lyapunov exponents, ln σ_i ≈ λ_i L.
Source: Pennington, Schoenholz & Ganguli, NeurIPS 2017 and AISTATS 2018; Newman, Commun. Math. Phys. 103, 1986.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 150, "depths": [1, 2, 5, 10], "windows": 5, "long": 60, "long_steps": 1500}
FULL = SIZES | {"units": 600, "windows": 20, "long": 100, "long_steps": 10000}
SEED, GAIN = 1, 1.5


def network(cell, weights, units, seed):
    g = 1.0 if cell == "linear" else GAIN
    start = tt.init.gaussian(gain=g) if weights == "Gaussian" else tt.init.orthogonal(gain=g)
    return tt.Network(cell, 1, units, bias=False, init=start, seed=seed)


def spread(cell, weights, units, depth, windows):
    """Variance of σ² over its squared mean, averaged over windows of several networks."""
    found = []
    for seed in range(SEED, SEED + windows):
        rng = np.random.default_rng(seed)
        net = network(cell, weights, units, seed)
        run = net.unroll(np.zeros((60 + depth, 1)), state=rng.uniform(-1, 1, (1, units)))
        logs = tt.analysis.product_singular_values(run, 60, 60 + depth).log_singular_values[0]
        square = np.exp(2 * logs)
        found.append(np.mean(square**2) / np.mean(square) ** 2 - 1)
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(windows)


def measure(units=150, depths=(1, 2, 5, 10), windows=5, long=60, long_steps=1500):
    checks, data = [], {"depths": list(depths)}
    kappa = tt.analysis.mean_field.tanh(GAIN).kappa
    cases = [(cell, weights) for cell in ("linear", "tanh") for weights in ("Gaussian", "orthogonal")]
    for cell, weights in study.progress(cases, "products"):
        slope = (1.0 if cell == "linear" else kappa) - (weights == "orthogonal")
        found = [spread(cell, weights, units, depth, windows) for depth in depths]
        data[f"{cell}, {weights}"] = {"variance": [v for v, _ in found], "error": [e for _, e in found], "slope": slope}
        for depth, (value, error) in zip(depths, found, strict=True):
            if cell == "tanh" and depth > 2:
                continue  # one finite network repeats its W and its slopes: the law is that of independent factors
            tolerance = 4 * error + slope * depth * (0.06 if cell == "linear" else 0.25) * max(depth, 1) ** 0.5 + 1e-12
            why = "independent factors of N → ∞; 4 SE and 6 % √L (tanh 25 %: q differs from net to net) for finite N"
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
