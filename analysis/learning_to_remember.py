"""What happens to the gradient on its way back while a network learns to remember?

An LSTM learns the adding problem: two numbers of a row are marked, and their sum is asked for at its end. Every few
updates the network is looked at twice: the gradient of the last output at every earlier state, and the largest Lyapunov
exponent along rows of the task, which comes from perturbations on their way forward, without any gradient.

    ln ‖∂y_T/∂s_{T−k}‖ = λ₁ k + const                      before training, when k is longer than the memory
    |λ₁| T < 1                                             when the first of T numbers counts at the end

The loss stays at 1/6, the variance of the sum, as long as nothing is remembered.

Source: the task of Hochreiter & Schmidhuber, Neural Comput. 9, 1997, as in Le, Jaitly & Hinton 2015, arXiv:1504.00941.
Deviations: Adam and batches of 32 sequences, not plain descent on one or 16; short rows.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"length": 50, "units": 32, "updates": 1500, "networks": 3, "every": 50}
FULL = {"length": 150, "units": 64, "updates": 4000, "networks": 3, "every": 100}
SMALL = {"length": 20, "units": 16, "updates": 600, "networks": 1, "every": 100}
RATE, BATCH, LIMIT, ROWS = 0.01, 32, 1.0, 40
SEED = 0


def norms(run):
    """ln of the norm of the last output's gradient at lags 0 ... T, the median over sequences, and its slope."""
    last = np.zeros_like(run.output)
    last[-1] = 1.0
    found = tt.analysis.gradient_norms(run, last)
    return np.median(found.log_norm[::-1], axis=1)


def learn(task, units, updates, every, seed):
    """History of one network, with the exponent and the norms by lag, the first of them before training."""
    model = tt.models.many_to_one("lstm", task.inputs, task.outputs, hidden_size=units, seed=seed)
    rows = task.batch(ROWS, seed=SEED)
    stream = np.concatenate(rows.x.transpose(1, 0, 2))  # one row after another

    def exponent(run):
        found = tt.analysis.lyapunov_spectrum(run.network, stream, k=1, seed=SEED)
        return found.exponents[0], found.standard_error[0]

    monitor = tt.training.Monitor(every, probe=rows, measure=[exponent, norms])
    first = model.unroll(rows.x).networks["0"]
    before = {"exponent": exponent(first), "norms": norms(first)}
    optimiser = tt.training.Adam(RATE, transforms=(tt.training.ClipNorm(LIMIT),))
    tt.training.fit(model, task.batches(BATCH, seed=seed), task.loss, optimiser, steps=updates, monitor=monitor)
    loss = tt.training.evaluate(model, [task.batch(1000, seed=SEED + 1)], task.loss)
    return monitor.history, before, loss


def measure(length=50, units=32, updates=1500, networks=3, every=50):
    task = tt.tasks.Adding(length=length)
    checks, curves = [], []
    for seed in study.progress(range(networks), "learning_to_remember"):
        history, before, loss = learn(task, units, updates, every, seed)
        name = f"network {seed}"
        lags = np.arange(length // 5, length + 1)  # the first lags turn the gradient into its own direction
        slope = np.polyfit(lags, before["norms"][lags], 1)[0]
        exponent, error = before["exponent"]
        why = "the gradient falls at the Lyapunov exponent; 4 SE, and 2/T for a direction not yet aligned"
        checks.append(study.check(f"{name}: slope before", slope, exponent, 4 * error + 2 / length, why=why))
        why = "below a tenth of the loss of a network without memory: solved"
        checks.append(study.check(f"{name}: loss after", loss / task.baseline, 0, 0.1, why=why))
        after, error = history["exponent"][-1]
        why = "what is remembered over a row changes by less than a factor e on the way; 4 SE"
        checks.append(study.check(f"{name}: exponent after", after, 0, 1 / length + 4 * error, why=why))
        curves.append(
            {
                "loss": history["loss"],
                "at": [0, *(history.at("exponent") + 1)],
                "exponent": [before["exponent"], *history["exponent"]],
                "norms": [before["norms"], *history["norms"]],
            }
        )
    shown = curves[0]
    return {
        "checks": checks,
        "seeds": {"rows": SEED, "networks": list(range(networks))},
        "data": {"baseline": task.baseline, "curves": curves, "length": length, "updates": len(shown["loss"])},
    }


def running(loss, over=25):
    """The median of `over` losses in a row."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(loss, float), min(over, len(loss)))
    return np.arange(len(windows)) + min(over, len(loss)) // 2, np.median(windows, axis=1)


def draw(result):
    data = result["data"]
    fig, (losses, exponents, lags) = study.figure(1, 3, height=2.5)
    for number, own in enumerate(data["curves"]):
        look = tt.plots.style(number)
        losses.semilogy(*running(own["loss"]), label=f"network {number + 1}", **look)
        value, error = np.array(own["exponent"], float).T
        exponents.plot(own["at"], value, label=f"network {number + 1}", **look)
        exponents.fill_between(own["at"], value - error, value + error, color=look["color"], alpha=0.25, linewidth=0)
    losses.axhline(data["baseline"], color="0.5", linewidth=0.8, zorder=0)
    losses.text(
        data["updates"], data["baseline"] * 1.1, "nothing remembered", ha="right", va="bottom", color="0.3", fontsize=7
    )
    losses.set_xlabel("update")
    losses.set_ylabel("loss (mean squared error)")
    losses.set_title("learning to add")
    losses.legend(loc="lower left")
    exponents.axhline(0, color="0.5", linewidth=0.8, zorder=0)
    exponents.axhline(-1 / data["length"], color="0.5", linewidth=0.8, linestyle=":", zorder=0)
    exponents.text(data["updates"], -1 / data["length"] - 0.01, "$-1/T$", ha="right", va="top", color="0.3", fontsize=7)
    exponents.set_xlabel("update")
    exponents.set_ylabel(r"largest exponent $\lambda_1$ (nats per step)")
    exponents.set_title("exponent, forward")
    own = data["curves"][0]
    solved = np.argmax(np.array(own["exponent"], float)[:, 0] > -1 / data["length"])
    chosen = sorted({0, solved // 2, solved, len(own["at"]) - 1})
    colours = [tt.plots.style(number)["color"] for number in range(4)]
    for place, colour in zip(chosen, colours, strict=False):
        curve = np.array(own["norms"][place], float)
        lag = np.arange(len(curve))
        lags.plot(lag, curve - curve[0], color=colour, label=f"after {own['at'][place]} updates" if place else "before")
        line = curve[-1] - curve[0] + own["exponent"][place][0] * (lag - lag[-1])
        lags.plot(lag, line, color=colour, linewidth=0.8, linestyle=":", zorder=0)
    lags.set_xlabel("lag $k$ (steps back)")
    lags.set_ylabel(r"$\ln\Vert\partial y_T/\partial s_{T-k}\Vert$ (nats), 0 at $k=0$")
    lags.plot([], [], color="0.3", linewidth=0.8, linestyle=":", label=r"slope $\lambda_1$")
    lags.set_ylim(1.6 * lags.get_ylim()[0], 1)  # room for the legend
    lags.set_title("gradient, back (network 1)")
    lags.legend(loc="lower left")
    study.letters((losses, exponents, lags))
    return fig


if __name__ == "__main__":
    study.run(globals())
