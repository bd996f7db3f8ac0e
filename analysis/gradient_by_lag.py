"""How much of the gradient comes from how far back, and what does truncation lose?

An LSTM reads text, one byte per step, and predicts the next; another adds up the marked ones of a sequence of random
numbers and reports the sum at every step (the adding problem with a loss at each time). Only the readout is fitted, by
least squares, and that of the text is random; the losses are cross-entropy and squared error.

    ‖∂L_t/∂s_{t−k}‖ for every loss time t and lag k, all in one sweep
    share of lag k in dL/dW_hh: ‖G_k‖/‖G‖, Σ_k G_k = G
    truncated to a window of w steps: Σ_{k<w} G_k, by lags and by run.backprop(window=w), which must agree;
    cut into pieces of w steps with the state handed on: worse, as the losses next to a cut see little

Source: Bengio, Simard & Frasconi, IEEE Trans. Neural Netw. 5, 1994; Hochreiter & Schmidhuber, Neural Comput. 9, 1997
(adding problem); Williams & Peng, Neural Comput. 2, 1990 (truncation).
"""

import functools
import inspect

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 64, "steps": 200, "sequences": 4}
FULL = {"units": 256, "steps": 500, "sequences": 8}
SMALL = {"units": 16, "steps": 80, "sequences": 2}
FORGET = {"text": 1.0, "adding": 3.0}
DRIVE = 0.5
SEED = 6


def text(units, steps, sequences):
    """(run, dL/doutput): cross-entropy of the next byte under a random readout."""
    rng = np.random.default_rng(SEED)
    init = tt.init.forget_bias(FORGET["text"], tt.init.gaussian(gain=1.0, input_gain=16 * DRIVE))
    net = tt.Network("lstm", 256, units, init=init, seed=SEED)
    source = np.frombuffer(inspect.getsource(inspect).encode(), dtype=np.uint8)
    pieces = np.resize(source, sequences * (steps + 1)).reshape(sequences, steps + 1).T
    run = net.unroll(np.eye(256)[pieces[:-1]])
    readout = rng.standard_normal((units, 256)) / np.sqrt(units)
    p = np.exp(run.output @ readout)
    p /= p.sum(axis=2, keepdims=True)
    return run, (p - np.eye(256)[pieces[1:]]) @ readout.T / p[..., 0].size


def adding(units, steps, sequences):
    """(run, dL/doutput): squared error of the sum of the marked numbers so far, the readout fitted."""
    rng = np.random.default_rng(SEED)
    net = tt.Network("lstm", 2, units, init=tt.init.forget_bias(FORGET["adding"], "uniform"), seed=SEED)
    numbers, marks = rng.uniform(size=(steps, sequences)), rng.uniform(size=(steps, sequences)) < 2 / steps
    marks[steps // 10] = True
    run = net.unroll(np.stack([numbers, marks], axis=2))
    target = np.cumsum(numbers * marks, axis=0)
    states = run.output.reshape(-1, units)
    ridge = states.T @ states + 1e-3 * len(states) * np.eye(units)
    readout = np.linalg.solve(ridge, states.T @ target.ravel())
    return run, 2 * (run.output @ readout - target)[..., None] * readout / target.size


def late_slope(profile):
    """Nats per lag over the second quarter of the lags, where most loss times still count."""
    part = np.arange(len(profile) // 4, len(profile) // 2)
    return np.polyfit(part, profile[part], 1)[0]


@functools.cache
def task(name, units, steps, sequences):
    return {"text": text, "adding": adding}[name](units, steps, sequences)


def by_lag(name, **sizes):
    return tt.analysis.gradient_by_lag(*task(name, **sizes))


def truncated(name, window, every=1, **sizes):
    """Relative errors of a window or of several: each loss by itself, or pieces of `every` steps."""
    return tt.analysis.truncation_bias(*task(name, **sizes), window, every=every).relative_error


def direct(name, window=None, **sizes):
    """dL/dW_hh by backprop, through a window."""
    run, g = task(name, **sizes)
    return run.backprop(g, window=window).parameters["weight_hh_l0"]


def measure(units=64, steps=200, sequences=4):
    checks, data, thin = [], {}, -(-steps // 100)  # the picture has no room for more
    windows = np.unique(np.geomspace(1, steps // 4, 8).round().astype(int))
    sizes = {"units": units, "steps": steps, "sequences": sequences}
    for name in study.progress(("text", "adding"), "networks"):
        lags, errors = by_lag(name, **sizes), truncated(name, np.arange(1, steps + 1), **sizes)
        pieces = [truncated(name, int(w), every=int(w), **sizes)[0] for w in study.progress(windows, "pieces")]
        cut, full = [direct(name, int(w), **sizes) for w in study.progress(windows, "windows")], direct(name, **sizes)
        off = np.array([np.linalg.norm(c - full) for c in cut]) / np.linalg.norm(full)
        why = "the double sum over loss times and lags is the full gradient; rounding"
        checks.append(study.check(f"{name}: what all lags leave of dL/dW_hh", lags.remainder, 0, 1e-13, why=why))
        whole = np.nansum(lags.share * lags.cosine)
        checks.append(study.check(f"{name}: Σ share · cosine", whole, 1, 1e-12, why="⟨Σ G_k, G⟩/‖G‖²; rounding"))
        gap = np.abs(errors[windows - 1] - off).max()
        why = "partial sums over lags against truncated BPTT, largest difference of the relative error; rounding"
        checks.append(study.check(f"{name}: error of {windows.size} windows", gap, 0, 1e-12, why=why))
        run = task(name, **sizes)[0]
        spectrum = tt.analysis.lyapunov_spectrum(run.network, run.input[:, 0], k=1, seed=SEED)
        exponent, error = spectrum.exponents[0], spectrum.standard_error[0]
        why = "the Lyapunov exponent on one of the sequences; 4 SE, and 4/T for the direction, not yet aligned"
        slope = late_slope(lags.profile)
        checks.append(study.check(f"{name}: decay per lag", slope, exponent, 4 * error + 4 / steps, why=why))
        data[name] = {
            "log_norm": (lags.log_norm[:, :, 0] - lags.log_norm[:, :1, 0])[::thin, ::thin].round(1),
            "profile": lags.profile, "share": lags.share, "cosine": lags.cosine, "exponent": exponent,
            "error": errors, "windows": windows, "direct_error": off, "pieces_error": pieces,
        }  # fmt: skip
    return {"checks": checks, "seeds": {"weights, readout, numbers, frame": SEED}, "data": data}


def draw(result):
    data = result["data"]
    fig, axes = study.figure(2, 2, height=4.6)
    titles = {"text": "text, forget bias 1", "adding": "adding problem, forget bias 3"}
    longest = len(data["text"]["share"])
    for ax, name in zip(axes[0], titles, strict=True):
        image = ax.imshow(
            np.array(data[name]["log_norm"], dtype=float).T / np.log(10), origin="lower", aspect="auto", cmap="Blues",
            interpolation="nearest", vmin=-6, vmax=0, extent=(-0.5, longest - 0.5, -0.5, longest - 0.5),
        )  # fmt: skip
        ax.set_xlabel("loss time $t$ (steps)")
        ax.set_ylabel("lag $k$ (steps back)")
        ax.set_title(titles[name])
        bar = fig.colorbar(image, ax=ax, extend="min")
        bar.set_label(r"$\log_{10}\,\Vert\partial L_t/\partial s_{t-k}\Vert\,/\,\Vert\partial L_t/\partial s_t\Vert$")
    shares, errors = axes[1]
    for number, name in enumerate(titles, start=1):
        item, look = data[name], tt.plots.style(2 * number - 1)
        lag = np.arange(len(item["share"]))
        shares.semilogy(lag[:-1], np.array(item["share"])[:-1], label=f"{name}: share", **look)
        shares.plot(lag, np.exp(item["profile"]), color=look["color"], linewidth=0.8, alpha=0.5, label=f"{name}: norm")
        errors.loglog(lag[:-1] + 1, item["error"][:-1], label=f"{name}: each loss", **look)
        here = np.array(item["windows"]) < len(lag)
        at, marker = np.array(item["windows"])[here], {"markersize": 4, "color": look["color"], "linestyle": "none"}
        errors.plot(at, np.array(item["direct_error"])[here], marker="o", fillstyle="none", **marker)
        errors.plot(at, np.array(item["pieces_error"])[here], marker="^", label=f"{name}: pieces", **marker)
    shares.set_ylim(1e-8, 30)
    shares.set_xlabel("lag $k$ (steps back)")
    shares.set_ylabel(r"$\Vert G_k\Vert/\Vert G\Vert$ (thin: median norm)")
    shares.set_title("share of each lag in $dL/dW_{hh}$")
    shares.legend(loc="best")
    errors.set_ylim(1e-8, 3)
    errors.set_xlabel("window $w$ (steps)")
    errors.set_ylabel(r"$\Vert G(w)-G\Vert/\Vert G\Vert$")
    errors.set_title("truncation (circles: backprop with a window)")
    errors.legend(loc="lower left")
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
