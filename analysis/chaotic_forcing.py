"""How often must a network be told the true state, to learn a chaotic system?

A tanh network without input is to be the Lorenz system: its readout y = W h + b follows the trajectory by itself. While
it is trained, its state is put back onto the data every τ steps, h ← W⁺(x − b), and the gradient flows back over these
τ steps alone (sparsely forced BPTT). Along a chaotic orbit gradients grow as e^{λ₁ t}, so with long intervals they are
of no use; with short ones the network never sees what becomes of its own errors. An error doubles in ln 2/λ₁ steps.

    left alone: histogram of its states against that of the system (Kullback–Leibler), and its Lyapunov exponents
    beside them a reservoir, whose readout is fitted in closed form and which then hears itself (closed loop)

Source: Mikhaeil, Monfared & Durstewitz, arXiv:2110.07238 (NeurIPS 2022). The exponents of the trained networks, with
their standard errors, are not in the paper.

Deviations from the paper:
* tanh networks of 50 units alone, 2 of each; samples .03 apart and not .01, so ln 2/λ₁ is 25.5 steps and not 76.5
* all intervals of a seed begin with the same network, which was trained with τ = 10: 1500 and 1200 updates of Adam with
  rates of .01 and .002 that fall along a cosine, where the paper has 30 000 from random weights
* the gradient does not go through the pseudo-inverse W⁺ of the readout
* histograms of 20 bins for each variable within ±3 standard deviations; an empty bin counts as 10⁻⁶
"""

import copy

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 50, "intervals": [1, 5, 12, 25, 50, 100], "seeds": 2, "updates": [1500, 1200]}
FULL = {"units": 50, "intervals": [1, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100], "seeds": 3, "updates": [2500, 2000]}
SMALL = {"units": 16, "intervals": [2, 8, 25], "seeds": 1, "updates": [30, 20], "learnt": False}
DT, BEGIN, STEPS_OF_UPDATE = 0.03, 10, 800
RATES = (0.01, 0.002)
BINS = np.linspace(-3, 3, 21)
SHOWN = 700  # steps of the orbits that are drawn, to the dot


def train(model, x, interval, updates, rate, seed):
    """Sparsely forced BPTT: segments of `interval` steps, each from the state that the data puts the network in."""
    rng, (T, S, _) = np.random.default_rng(seed), x.shape
    optimiser = tt.training.Adam(tt.training.Cosine(rate, steps=updates))
    count, steps = max(1, STEPS_OF_UPDATE // interval), np.arange(interval + 1)[:, None]
    silence = np.zeros((interval, count, 1))
    for _ in range(updates):
        piece = x[rng.integers(0, T - interval, count) + steps, rng.integers(0, S, count)]
        state = forced(model, piece[0])
        loss = tt.training.mean_squared_error
        _, gradient = model.value_and_gradient(silence, piece[1:], loss, state=state)
        if not np.isfinite(gradient).all():
            break
        optimiser.step(model.flat, gradient)
    return model


def forced(model, x):
    """The state of smallest norm of which the readout says x."""
    weight, bias = model.parameters["1.weight"], model.parameters["1.bias"]
    return (x - bias) @ np.linalg.pinv(weight).T


def divergence(states, true):
    """Kullback–Leibler divergence of the histogram of `states` (…, 3) from that of the true ones, nats."""
    p, q = (
        np.histogramdd(np.clip(s.reshape(-1, 3), BINS[0] + 1e-9, BINS[-1] - 1e-9), [BINS] * 3)[0].ravel()
        for s in (true, states)
    )
    p, q = p / p.sum(), q / q.sum() + 1e-6
    return float((p * np.log(np.where(p > 0, p, 1) / (q / q.sum()))).sum())


def judge(model, x, steps):
    """What a network does that is left alone, from the first states of eight trajectories."""
    net, silence = model.pieces[0], np.zeros((len(x), 8, 1))
    run = model.unroll(silence, forced(model, x[0, :8]))
    begun = len(x) // 5
    spectrum = tt.analysis.lyapunov_spectrum(net, k=2, steps=steps, warmup=0, state=run.final_state[:, :1], seed=0)
    return {
        "divergence": divergence(run.output[begun:], x), "exponents": spectrum.exponents / DT,
        "errors": spectrum.standard_error / DT, "orbit": run.output[:SHOWN, 0],
        "model": model, "state": run.final_state[:, :1],
    }  # fmt: skip


def reservoir(x, steps):
    """The exponents of a reservoir in closed loop, fitted to the same trajectories."""
    model = tt.models.reservoir(3, 300, 3, radius=0.4, input_scaling=0.5, bias_scaling=0.2, seed=0)
    tt.training.ridge(model, x[:-1], x[1:], 1e-6, warmup=100)
    loop = model.closed_loop()
    start = loop.unroll(0, x=x[:, :1]).final_state
    found = tt.analysis.lyapunov_spectrum(loop, k=2, steps=steps, state=start, seed=0)
    return found.exponents / DT, found.standard_error / DT


def measure(units=50, intervals=(12,), seeds=1, updates=(1500, 1200), learnt=True):
    task = tt.tasks.Lorenz(dt=DT, length=1500)
    x, steps = task.batch(64, seed=0).x, 20000 if learnt else 500
    doubling, true = task.doubling_steps, task.exponents[0]
    found = {tau: [] for tau in intervals}
    for seed in study.progress(range(seeds), "chaotic_forcing"):
        init = tt.init.gaussian(1.0, input_gain=0.0, bias_std=0.1)
        net = tt.Network("tanh", 1, units, init=init, seed=seed)
        begun = tt.models.Chain([net, tt.models.Readout(units, 3, seed=seed + 1)])
        train(begun, x, BEGIN, updates[0], RATES[0], seed)
        for tau in intervals:
            model = train(copy.deepcopy(begun), x, tau, updates[1], RATES[1], seed + 7)
            found[tau].append(judge(model, x, steps))
    data = {
        "intervals": list(intervals), "doubling": doubling, "true_exponent": true,
        **{name: [[run[name] for run in found[tau]] for tau in intervals]
           for name in ("divergence", "exponents", "errors")},
    }  # fmt: skip
    best = intervals[int(np.argmin(np.median(data["divergence"], axis=1)))]
    data["best"] = best
    data["orbits"] = {"true": x[:SHOWN, 0, ::2].T.round(3)}
    middle = best if min(intervals) < best < max(intervals) else sorted(intervals)[len(intervals) // 2]
    shown = (min(intervals), middle, max(intervals))
    data["orbits"] |= {f"{tau}": found[tau][0]["orbit"][:, ::2].T.round(3) for tau in shown}
    gap = max(
        np.abs(run["model"].pieces[1].unroll(forced(run["model"], x[:, 0])).output - x[:, 0]).max()
        for runs in found.values() for run in runs
    )  # fmt: skip
    why = "the state that the data puts a network in says the data: W W⁺ = 1; rounding"
    checks = [study.check("largest |W h + b − x| where it is forced", gap, 0, 1e-10, why=why)]
    if learnt:
        checks += checked(data)
        for seed, run in enumerate(found[best]):
            checks.append(gradient_check(seed, **run))
        exponents, errors = reservoir(x, steps)
        data |= {"reservoir_exponents": exponents, "reservoir_errors": errors}
        why = "a ridge reservoir in closed loop has learnt the flow; 5 SE of its own exponent"
        checks.append(study.check("λ₁ of the reservoir, nats per time", exponents[0], true, 5 * errors[0], why=why))
    return {"checks": checks, "seeds": {"data": 0, "networks": list(range(seeds)), "frame": 0}, "data": data}


def gradient_check(seed, model, state, **others):
    """Gradients grow backwards as perturbations do forwards, on one stretch of the orbit."""
    net, steps, warmup = model.pieces[0], 2000, 200
    run = net.unroll(np.zeros((steps + warmup, 1, 1)), state=state)
    back = run.vjp(np.random.default_rng(seed).standard_normal((1, net.state_size)), warmup, warmup + steps)
    ahead = tt.analysis.lyapunov_spectrum(net, k=1, steps=steps, discard=0, warmup=warmup, state=state, seed=0)
    why = "both are ln σ₁ of one product of 2000 Jacobians, less what each first direction lacks of it, some nats"
    name = f"best interval, network {seed}: growth of gradients against that of perturbations, nats per time"
    measured = np.log(np.linalg.norm(back)) / steps / DT
    return study.check(name, measured, ahead.exponents[0] / DT, 10 / steps / DT, why=why)


def checked(data):
    checks = []
    i = data["intervals"].index(data["best"])
    why = "the paper shows 5 steps too short and 200 too long, at ln 2/λ₁ = 76.5: the middle, and half of it, in log₂"
    low, high = np.log2(5 / 76.5), np.log2(200 / 76.5)
    measured = np.log2(data["best"] / data["doubling"])
    name = "log₂ of the best interval over ln 2/λ₁"
    checks.append(study.check(name, measured, (low + high) / 2, (high - low) / 2, why=why))
    for seed, (exponents, errors) in enumerate(zip(data["exponents"][i], data["errors"][i], strict=True)):
        why = "a network that has learnt the system is chaotic as it is: λ₁ is five standard errors above 0, or more"
        name = f"best interval, network {seed}: λ₁ in standard errors, at most 5"
        checks.append(study.check(name, min(exponents[0] / errors[0], 5), 5, 1e-9, why=why))
        why = "a flow neither grows nor shrinks along itself; 5 SE, and a hundredth for steps that are no flow"
        name = f"best interval, network {seed}: λ₂, nats per time"
        checks.append(study.check(name, exponents[1], 0, 5 * errors[1] + 0.01, why=why))
    return checks


def draw(result):
    data = result["data"]
    tau, orbits = np.array(data["intervals"], float), data["orbits"]
    names = ["true", *sorted((name for name in orbits if name != "true"), key=float)]
    mosaic = [["kl"] * 6 + ["lambda"] * 6, [name for name in names for _ in range(3)]]
    fig, axes = study.figure(mosaic=mosaic, height=4.4)
    look = tt.plots.style(1)
    kl = np.array(data["divergence"], float)
    axes["kl"].plot(
        np.repeat(tau[:, None], kl.shape[1], axis=1), kl, "o", color=look["color"], markersize=4, fillstyle="none"
    )
    axes["kl"].plot(tau, np.median(kl, axis=1), color=look["color"], label="median")
    axes["kl"].set_ylabel("KL divergence of states (nats)")
    axes["kl"].set_title("left alone: states against the system's")
    low, high = -2.0, 1.5
    exponents, errors = (np.array(data[name], float)[:, :, 0] for name in ("exponents", "errors"))
    for k in range(exponents.shape[1]):
        here = exponents[:, k] > low
        shifted = tau * 1.04 ** (k - (exponents.shape[1] - 1) / 2)
        label = "network, ±2 SE" if k == 0 else None
        axes["lambda"].errorbar(
            shifted[here], exponents[here, k], 2 * errors[here, k], fmt="o", color=look["color"], markersize=4,
            capsize=2, fillstyle="none", label=label,
        )  # fmt: skip
        below = f"below −{-low:g}" if k == 0 and not here.all() else None
        axes["lambda"].plot(
            shifted[~here], np.full((~here).sum(), low + 0.08), "v", color=look["color"], markersize=4, label=below
        )
    axes["lambda"].axhline(
        data["true_exponent"], color="black", linewidth=0.8, label=f"Lorenz, {data['true_exponent']:.4f}"
    )
    axes["lambda"].axhline(0, color="0.75", linewidth=0.6, zorder=0)
    if "reservoir_exponents" in data:
        other = tt.plots.style(3)
        axes["lambda"].errorbar(
            [tau[-1] * 1.7], data["reservoir_exponents"][0], 2 * data["reservoir_errors"][0], fmt="s",
            color=other["color"], markersize=4, capsize=2, label=r"reservoir, closed loop (no $\tau$)",
        )  # fmt: skip
    axes["lambda"].set_ylim(low, high + 1.6)  # room for the legend
    axes["lambda"].set_yticks(np.arange(low, high + 0.1))
    axes["lambda"].set_ylabel(r"$\lambda_1$ (nats per unit of time)")
    axes["lambda"].set_title("largest exponent, left alone")
    for ax, top in ((axes["kl"], 1.0), (axes["lambda"], 0.65)):
        ax.axvline(data["doubling"], ymax=top, color="0.5", linestyle=":", linewidth=1, label=r"$\ln 2/\lambda_1$")
        ax.set_xscale("log")
        ax.set_xticks(tau, [f"{t:g}" for t in tau])
        ax.minorticks_off()
        ax.set_xlabel(r"forcing interval $\tau$ (steps of .03)")
    axes["kl"].legend(loc="center left", bbox_to_anchor=(0.42, 0.6))
    axes["lambda"].legend(loc="upper left", ncol=2, columnspacing=1.0, handletextpad=0.5)
    for name in names:
        ax, (x, z) = axes[name], np.array(orbits[name], float)
        colour = "black" if name == "true" else look["color"]
        ax.plot(x, z, linewidth=0.5, color=colour)
        ax.plot(x[-1], z[-1], "o", markersize=3, color=colour)
        ax.set_xlim(-2.6, 2.6)
        ax.set_ylim(-2.6, 3.0)
        ax.set_xlabel("$x$ (standard deviations)")
        ax.set_title("Lorenz" if name == "true" else rf"network, $\tau = {name}$")
    axes["true"].set_ylabel("$z$ (standard deviations)")
    study.letters([axes[name] for name in ("kl", "lambda", *names)])
    return fig


if __name__ == "__main__":
    study.run(globals())
