"""Where over gain and bias do gradients vanish, where do they explode, and how far back do they reach?

tanh network  h' = tanh(W h + b), W_ij ~ N(0, g²/N), b_i ~ N(0, β²), autonomous. Mean field puts the edge of chaos where

    χ = g² E sech⁴(√(g²q + β²) z) = 1,   λ_1 = ½ ln χ,   horizon ≈ ln(factor) / |λ_1|

The whole diagram is one `tt.Ensemble`: gains × biases × seeds, analysed in two calls.
Source: Poole et al., NeurIPS 2016; Schoenholz et al., ICLR 2017.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 150, "gains": 11, "biases": 7, "networks": 2, "steps": 200, "lag": 150}
FULL = SIZES | {"units": 500, "gains": 31, "biases": 16, "networks": 4, "steps": 1000, "lag": 400}
SMALL = {"units": 80, "gains": 7, "biases": 4, "networks": 2, "steps": 150, "lag": 80}
FACTOR = 100.0
SEED = 1


def measure(units=150, gains=11, biases=7, networks=2, steps=200, lag=150):
    g, beta = np.linspace(0.6, 3.0, gains), np.linspace(0.0, 1.2, biases)

    def network(gain, bias, seed):
        init = tt.init.gaussian(gain, bias_std=bias)
        return tt.Network("tanh", 1, units, init=init, seed=seed)

    seeds = list(range(SEED, SEED + networks))
    family = tt.Ensemble(network, {"gain": g, "bias": beta, "seed": seeds}, save=study.folder(), progress=True)
    found = tt.analysis.lyapunov_spectrum(family, steps=steps, k=1, seed=SEED)
    exponent = found["exponents"][..., 0].mean(axis=2)

    rng = np.random.default_rng(SEED)
    run = family.unroll(np.zeros((100 + lag, 1, 1)), state=rng.uniform(-1.0, 1.0, (1, 1, units)))
    direction = rng.standard_normal((1, 1, units))
    decay = tt.analysis.gradient_norms(run, grad_final_state=direction, factor=FACTOR)
    horizon = np.median(np.minimum(decay["horizon"][..., 0], lag), axis=2)

    law = np.array([[tt.analysis.mean_field.tanh(gain, bias=bias).lyapunov for bias in beta] for gain in g])
    fine = np.linspace(beta[0], beta[-1], 49)
    line = np.array([tt.analysis.mean_field.critical_gain(bias=bias) for bias in fine])
    weights = [network(1.0, 0.0, seed).parameters["weight_hh_l0"] for seed in seeds]
    beyond = np.mean([np.log(np.abs(np.linalg.eigvals(w)).max()) for w in weights])  # the circle of radius g
    return {
        "checks": checks(units, g, beta, exponent, law, horizon, beyond),
        "seeds": {"networks": seeds, "state, loss": SEED},
        "data": {
            "gain": g,
            "bias": beta,
            "exponent": exponent,
            "mean_field": law,
            "edge": {"bias": fine, "gain": line},
            "horizon": horizon,
            "longest": lag,
            "units": units,
        },
    }


def checks(units, g, beta, exponent, law, horizon, beyond):
    clear = np.abs(law) > 0.06
    right = np.mean(np.sign(exponent[clear]) == np.sign(law[clear]))
    why = "the sign of mean field; not counted nearer to the edge than 0.06 nats per step"
    found = [study.check("share of networks on the side of the edge that is predicted", right, 1.0, 0.04, why=why)]
    chaotic = law > 0.08
    why = f"½ ln χ; finite N lowers λ_1 by (3κ−1)/(4N), up to {4 / units:.2g}, and each W by its own"
    error = np.mean(exponent[chaotic] - law[chaotic])
    found.append(study.check("chaotic phase: mean λ_1 − ½ ln χ", error, 0.0, 0.015 + 3 / units, why=why))
    quiet = law < -0.1
    error = np.mean(exponent[quiet] - law[quiet])
    why = "at rest λ_1 is ln of the largest |eigenvalue|: of these W, how far beyond g it lies in the mean"
    found.append(study.check("quiet phase: mean λ_1 − ½ ln χ", error, beyond, 0.02 + 3 / units, why=why))
    clear &= horizon < 0.9 * horizon.max()
    why = "ln of the factor: the gradient follows λ_1; 1 for its first steps and the two networks"
    product = np.median(horizon[clear] * np.abs(exponent[clear]))
    found.append(study.check("median of horizon · |λ_1|", product, np.log(FACTOR), 1.0, why=why))
    for j in range(2, len(beta), 2):  # without biases a small network has limit cycles up to g = 1.3
        above = np.flatnonzero(exponent[:, j] > 0.0)
        i = int(above[0])
        share = -exponent[i - 1, j] / (exponent[i, j] - exponent[i - 1, j])
        measured = g[i - 1] + share * (g[i] - g[i - 1])
        edge = tt.analysis.mean_field.critical_gain(bias=beta[j])
        why = "critical gain, χ = 1; a finite network becomes chaotic later"
        found.append(
            study.check(f"bias {beta[j]:.2g}: gain at which λ_1 = 0", measured, edge, 0.15 + 20 / units, why=why)
        )
    return found


def draw(result):
    data, plots = result["data"], tt.plots
    g, beta = np.array(data["gain"]), np.array(data["bias"])
    fig, (left, right) = study.figure(1, 2, height=2.9)
    exponent = np.array(data["exponent"])
    top = 1.5 * exponent.max()
    mesh = left.pcolormesh(beta, g, exponent, cmap="RdBu_r", vmin=-top, vmax=top, shading="nearest")
    fig.colorbar(mesh, ax=left, label=r"$\lambda_1$ (nats per step)", extend="min")
    left.contour(beta, g, exponent, [0.0], colors="0.3", linestyles=":")
    horizon = np.maximum(data["horizon"], 1.0)
    mesh = right.pcolormesh(beta, g, np.log10(horizon), cmap="Blues", shading="nearest", vmax=np.log10(data["longest"]))
    bar = fig.colorbar(mesh, ax=right, label=f"horizon (steps; the runs have {data['longest']})")
    shown = [n for n in (5, 10, 20, 50, 100, 200, 500) if horizon.min() <= n <= data["longest"]]
    bar.set_ticks(np.log10(shown), labels=[str(n) for n in shown])
    edge = data["edge"]
    for ax in (left, right):
        ax.plot(edge["bias"], edge["gain"], color="white", linewidth=2.6)  # so that the line stands out from any colour
        ax.plot(edge["bias"], edge["gain"], color=plots.COLOURS[0], label=r"mean field, $\chi=1$")
        ax.set(xlabel=r"bias $\beta$", ylabel="gain $g$", ylim=(g[0], g[-1]), xlim=(beta[0], beta[-1]))
        ax.legend(loc="upper right")
    left.plot([], [], color="0.3", linestyle=":", label=r"measured, $\lambda_1=0$")
    left.legend(loc="upper right")
    left.set_title(f"largest exponent, $N={data['units']}$")
    right.set_title(f"steps back until ‖gradient‖ changes {FACTOR:g}-fold")
    study.letters((left, right))
    return fig


if __name__ == "__main__":
    study.run(globals())
