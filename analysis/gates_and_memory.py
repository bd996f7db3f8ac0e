"""How far back does a gradient reach through gates, and how much of that is the bias of the forget gate?

LSTM and GRU with recurrent gain g and a fresh random input; b the bias of the forget (LSTM) or update gate (GRU).

    no recurrent weights:   ‖∂c_t/∂c_0‖ = σ(b)^t, memory −1/ln σ(b) = 1.443, 3.192, 7.879, 148.9 at b = 0, 1, 2, 5
    mean field:             a self-consistent population gives χ, E‖δs(t)‖² ~ χ^t, memory of the norm −2/ln χ

Measured: the slope of ln ‖dL/ds_{t−k}‖ against k, of a loss at the last step, in a network; memory = −1/slope.
Source: Gers, Schmidhuber & Cummins 2000; Tallec & Ollivier, ICLR 2018; Can, Krishnamurthy & Schwab, MSML 2020.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 128, "networks": 2, "lag": 160, "biases": [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0], "samples": 1000}
FULL = SIZES | {"units": 512, "networks": 4, "lag": 600, "biases": list(np.arange(-2.0, 6.5, 0.5)), "samples": 4000}
SMALL = {"units": 64, "networks": 2, "lag": 80, "biases": [0.0, 2.0], "samples": 400}
GAIN, DRIVE, INPUTS = 0.25, 0.5, 64
BARE = {0.0: 1.443, 1.0: 3.192, 2.0: 7.879, 5.0: 148.9}
SEED = 1


def lstm(units, gain, bias, seed):
    base = tt.init.gaussian(gain, input_gain=DRIVE if gain else 0.0)
    return tt.Network("lstm", INPUTS, units, init=tt.init.forget_bias(bias, base), seed=seed)


def gru(units, gain, bias, seed):
    init = tt.init.gaussian(gain, input_gain=DRIVE if gain else 0.0)
    net = tt.Network("gru", INPUTS, units, init=init, seed=seed)
    net.parameters["bias_ih_l0"][units : 2 * units] = bias
    return net


def memory(make, units, gain, biases, seeds, lag):
    """−1/slope of the gradient's norm for every bias and seed, and the horizon of a fall to 1/e."""
    family = tt.Ensemble(lambda bias, seed: make(units, gain, bias, seed), {"bias": biases, "seed": seeds})
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((100 + lag, INPUTS))
    end = rng.standard_normal((1, units))
    loss = (0.0 * end, end) if make is lstm else end  # of an LSTM: a loss of the cell state
    decay = tt.analysis.gradient_norms(family.unroll(x), grad_final_state=loss)
    logs = decay["log_norm"][..., ::-1, 0][..., 5 : lag + 1]  # the first steps turn the gradient into its own direction
    steps = np.arange(logs.shape[-1])
    rates = np.array([[np.polyfit(steps, row, 1)[0] for row in rows] for rows in logs])
    return -1.0 / rates, decay["horizon"][..., 0]


def measure(units=128, networks=2, lag=160, biases=(-1.0, 0.0, 1.0, 2.0, 3.0, 4.0), samples=1000):
    biases = [float(b) for b in biases]
    seeds = list(range(SEED, SEED + networks))
    checks, data = [], {"bias": biases, "bare": [-1.0 / np.log(1.0 / (1.0 + np.exp(-b))) for b in biases]}
    known = list(BARE)
    found, _ = memory(lstm, 8, 0.0, known, [SEED], lag)
    for bias, measured in zip(known, found[:, 0], strict=True):
        why = "−1/ln σ(b), exact without recurrent weights; printed digits"
        checks.append(
            study.check(f"LSTM without weights, b={bias:g}: memory", measured, BARE[bias], 6e-4 * BARE[bias], why=why)
        )
    for name, make, theory in (("lstm", lstm, tt.analysis.mean_field.lstm), ("gru", gru, tt.analysis.mean_field.gru)):
        measured, horizon = memory(make, units, GAIN, biases, seeds, lag)
        key = "forget_bias" if make is lstm else "update_bias"
        law = [
            2.0 * theory(GAIN, noise=DRIVE, units=samples, steps=100, warmup=60, seed=SEED, **{key: b}).timescale
            for b in study.progress(biases, f"mean field, {name}")
        ]
        data[name] = {
            "measured": measured.mean(axis=1),
            "scatter": measured.std(axis=1),
            "mean_field": law,
            "horizon": np.median(horizon, axis=1),
        }
        for i, bias in enumerate(biases):
            rate, expected = (1.0 / measured[i]).mean(), 1.0 / law[i]
            why = f"population of {samples} units; 6 % and .02 for {networks} networks of {units} units, {lag} steps"
            checks.append(study.check(f"{name}, b={bias:g}: 1/memory", rate, expected, 0.06 * expected + 0.02, why=why))
    return {"checks": checks, "seeds": {"networks": seeds, "input, loss, population": SEED}, "data": data}


def draw(result):
    data, plots = result["data"], tt.plots
    fig, axes = study.figure(1, 2, height=2.7, sharey=True)
    for ax, name, gate in zip(axes, ("lstm", "gru"), ("forget", "update"), strict=True):
        item = data[name]
        ax.plot(data["bias"], data["bare"], color="0.6", linestyle="--", label=r"gate alone, $-1/\ln\sigma(b)$")
        ax.plot(data["bias"], item["mean_field"], color=plots.COLOURS[1], label=r"mean field, $-2/\ln\chi$")
        ax.errorbar(
            data["bias"],
            item["measured"],
            yerr=item["scatter"],
            fmt="o",
            color=plots.COLOURS[3],
            markersize=3.6,
            label="measured, −1/slope",
        )
        ax.plot(data["bias"], item["horizon"], "x", color=plots.COLOURS[0], markersize=4, label="steps to 1/e")
        ax.set_yscale("log")
        endless = [bias for bias, law in zip(data["bias"], item["mean_field"], strict=True) if not np.isfinite(law)]
        if endless:
            ax.annotate(
                rf"mean field, $b \geq {min(endless):g}$: $\infty$",
                (0.98, 0.05),
                xycoords="axes fraction",
                ha="right",
                color=plots.COLOURS[1],
                fontsize=7,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )
        ax.set(xlabel=f"bias $b$ of the {gate} gate", ylabel="memory of the gradient (steps)")
        ax.set_title(f"{name.upper()}, gain {GAIN:g}")
    axes[0].legend(loc="upper left")
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
