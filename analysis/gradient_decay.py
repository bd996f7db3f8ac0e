"""How does the gradient depend on the lag, and does the Lyapunov exponent predict it?

The loss acts on the last output only, in a random direction. Drawn: ‖dL/ds_{t−k}‖ / ‖dL/ds_t‖ against the lag k.

    tanh networks   h' = tanh(W h + σ ξ), W_ij ~ N(0, g²/N), ξ white noise: λ_1 = ½ ln g² E sech⁴(√(g²q + σ²) z),
                    negative below the edge of chaos (g_c = 1.549674 at σ = ½), 0 at it, positive above
    LSTM, GRU       PyTorch's initial weights, white Gaussian input, the LSTM's forget bias 0, 1, 3

The straight lines have the slope of the largest Lyapunov exponent, measured forwards in time on another input and
without any gradient. Early lags are steeper where other directions than the slowest still count (LSTM).
Source: Molgedey, Schuchhardt & Schuster, PRL 69, 1992 (noise); Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 2023.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 300, "gated_units": 128, "lag": 150, "sequences": 8, "steps": 4000}
FULL = {"units": 1000, "gated_units": 512, "lag": 300, "sequences": 16, "steps": 20000}
SMALL = {"units": 60, "gated_units": 32, "lag": 60, "sequences": 4, "steps": 600}
NOISE = 0.5
GAINS = {"ordered": 0.8, "edge of chaos": 1.549674, "chaotic": 3.0}
SEED = 1


def networks(units, gated_units):
    """name -> (network, prediction of mean field at this size or None)."""
    found = {}
    for where, g in GAINS.items():
        net = tt.Network("tanh", units, units, bias=False, init=tt.init.gaussian(gain=g), seed=SEED)
        net.parameters["weight_ih_l0"][...] = NOISE * np.eye(units)
        found[f"tanh, {where}, g={g:.3g}"] = net, tt.analysis.mean_field.tanh(g, noise=NOISE).finite_size(units)
    for bias in (0.0, 1.0, 3.0):
        net = tt.Network("lstm", 8, gated_units, init=tt.init.forget_bias(bias), seed=SEED)
        found[f"LSTM, forget bias {bias:g}"] = net, None
    found["GRU"] = tt.Network("gru", 8, gated_units, seed=SEED), None
    return found


def decay(net, rng, lag, sequences, warmup=100):
    """ln of the gradient's norm against lag, relative to lag 0: (lag+1, sequences)."""
    run = net.unroll(rng.standard_normal((warmup + lag, sequences, net.input_size)))
    last = np.zeros_like(run.output)
    last[-1] = rng.standard_normal(last[-1].shape)
    norms = tt.analysis.gradient_norms(run, last, factor=1e3)
    backwards = norms.log_norm[::-1][: lag + 1]
    return backwards - backwards[0], norms.horizon


def late_slope(log_norm):
    """Nats per step over the second half of the lags, one per sequence."""
    half = len(log_norm) // 2
    return (log_norm[-1] - log_norm[half]) / (len(log_norm) - 1 - half)


def measure(units=300, gated_units=128, lag=150, sequences=8, steps=4000):
    checks, data = [], {"lag": np.arange(lag + 1)}
    for name, (net, theory) in study.progress(networks(units, gated_units).items(), "gradient_decay"):
        rng = np.random.default_rng(SEED)
        spectrum = tt.analysis.lyapunov_spectrum(net, rng.standard_normal((steps, net.input_size)), k=1, seed=SEED)
        exponent, error = spectrum.exponents[0], spectrum.standard_error[0]
        curves, horizon = decay(net, rng, lag, sequences)
        slopes = late_slope(curves)
        data[name] = {
            "log_norm": curves.mean(axis=1),
            "lowest": curves.min(axis=1),
            "highest": curves.max(axis=1),
            "exponent": exponent,
            "standard_error": error,
            "late_slope": slopes.mean(),
            "mean_field": theory,
            "steps_to_a_factor_of_thousand": horizon,
        }
        spread = np.hypot(slopes.std(ddof=1) / np.sqrt(sequences), error)
        checks.append(
            study.check(
                f"{name}: slope of the gradient over lags {lag // 2} to {lag}, nats per step",
                slopes.mean(),
                exponent,
                4.0 * spread + 1.0 / lag,
                why="Lyapunov exponent of the same network on another input; 4 SE + 1/lag for the alignment",
            )
        )
        if theory is not None:
            checks.append(
                study.check(
                    f"{name}: largest Lyapunov exponent, nats per step",
                    exponent,
                    theory,
                    4.0 * error + 3.0 / units,
                    why="½ ln χ − (3κ−1)/(4N), mean field; 4 SE + 3/N, as one matrix W is drawn",
                )
            )
    return {"checks": checks, "seeds": {"weights": SEED, "inputs": SEED, "frame": SEED}, "data": data}


def draw(result):
    data = {name: item for name, item in result["data"].items() if name != "lag"}
    lag = np.asarray(result["data"]["lag"])
    fig, axes = study.figure(1, 2, height=3.0)
    tanh = [name for name in data if name.startswith("tanh")]
    for ax, names in zip(axes, (tanh, [name for name in data if name not in tanh]), strict=True):
        ax.set_xlim(0, lag[-1])
        ends = []
        for name, colour, line in zip(names, (1, 2, 3, 5), ("-", "--", "-.", (0, (4, 1, 1, 1, 1, 1))), strict=False):
            item, colour = data[name], tt.plots.COLOURS[colour]
            curve(ax, lag, item, colour, line)
            short = name.removeprefix("tanh, ").replace(", g=", "\n$g=$").replace("forget bias", "bias")
            text = f"{short}\n$\\lambda_1={item['exponent']:+.3f}$"
            ends.append((np.exp(item["log_norm"][-1]), text, colour))
        study.end_labels(ax, ends, gap=0.12 * np.diff(np.log10(ax.get_ylim()))[0])
        ax.set_xlabel("lag $k$ (time steps back)")
    axes[0].set_ylabel(r"$\Vert dL/ds_{t-k}\Vert\;/\;\Vert dL/ds_t\Vert$")
    axes[0].set_title("tanh networks driven by noise")
    axes[1].set_title("LSTMs with three forget biases, GRU")
    slope = axes[0].plot([], [], color="0.75", linewidth=3.5)[0]
    axes[0].legend([slope], [r"slope $\lambda_1$ (nats per step)"], loc="upper left")
    study.letters(axes)
    return fig


def curve(ax, lag, item, colour, line):
    """One network: the mean over sequences, their range, and the Lyapunov slope through the late half."""
    late = slice(lag.size // 2, None)
    level = np.mean(item["log_norm"][late]) - item["exponent"] * lag[late].mean()
    ax.semilogy(lag, np.exp(level + item["exponent"] * lag), color="0.75", linewidth=3.5, zorder=1)
    ax.fill_between(lag, np.exp(item["lowest"]), np.exp(item["highest"]), color=colour, alpha=0.25, linewidth=0)
    ax.semilogy(lag, np.exp(item["log_norm"]), color=colour, linestyle=line, linewidth=1.3)


if __name__ == "__main__":
    study.run(globals())
