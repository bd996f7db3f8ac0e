"""How far back does a byte of real text reach?

Networks read the source of Python's own module `inspect`, one byte per step (one of 256 inputs is 1); the loss acts on
the last output, in a random direction. Drawn: ‖dL/dx_{t−k}‖ of the byte k steps back, relative to that of the last.

    reach = the lag at which this is a thousandth; predicted: ln 1000 / |λ_1|, λ_1 the Lyapunov exponent on the text
    tanh: λ_1 = ½ ln g² E sech⁴(√(g²q + σ²) z), mean field, where σ² is the variance of the input, white or not

Untrained networks: W_hh of every gate ~ N(0, g²/N), g = 1 unless said; W_ih such that a byte drives each unit with
standard deviation σ = ½. The text depends on the version of Python, the statements that are checked do not.
Source: Engelken, Wolf & Abbott, Phys. Rev. Res. 5, 043044, 2023; Pascanu, Mikolov & Bengio, ICML 2013.
"""

import inspect

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 256, "lag": 150, "sequences": 16, "steps": 3000}
FULL = {"units": 512, "lag": 150, "sequences": 64, "steps": 20000}
SMALL = {"units": 64, "lag": 80, "sequences": 4, "steps": 800}
DRIVE = 0.5
SEED = 4
SHOWN = 64  # bytes of text in the picture
FALL = 1e-3


def networks(units):
    """name -> network; the scale of W_ih makes up for the one of 256 inputs that is not 0."""
    base = {g: tt.init.gaussian(gain=g, input_gain=16 * DRIVE) for g in (1.0, 1.5)}
    found = {f"tanh, g={g:g}": tt.Network("tanh", 256, units, init=base[g], seed=SEED) for g in base}
    found["GRU"] = tt.Network("gru", 256, units, init=base[1.0], seed=SEED)
    for bias in (0.0, 1.0, 3.0):
        init = tt.init.forget_bias(bias, base[1.0])
        found[f"LSTM, bias {bias:g}"] = tt.Network("lstm", 256, units, init=init, seed=SEED)
    return found


def one_hot(text):
    """(T,) or (T, B) bytes as (T, ..., 256)."""
    return np.eye(256)[text]


def text_bytes(count):
    """The first `count` bytes of the source of `inspect`, again from its start if it is too short."""
    source = np.frombuffer(inspect.getsource(inspect).encode(), dtype=np.uint8)
    return np.resize(source, count)


def reach(log_norm):
    """Lag at which each column has fallen for good below FALL; the last lag if it never does."""
    above = log_norm > np.log(FALL)
    last = len(log_norm) - 1 - np.argmax(above[::-1], axis=0)
    return np.minimum(last + 1, len(log_norm) - 1)


def follow(net, pieces, lag):
    """ln‖dL/dx_{t−k}‖ and ln‖dL/ds_{t−k}‖ for k = 0 … lag, relative to k = 0: (lag+1, B) each."""
    run = net.unroll(one_hot(pieces))
    last = np.zeros_like(run.output)
    last[-1] = np.random.default_rng(SEED).standard_normal(last[-1].shape)
    norms = np.linalg.norm(run.backprop(last).input, axis=2)[::-1][: lag + 1]
    states = tt.analysis.gradient_norms(run, last).log_norm[::-1][: lag + 1]
    return np.log(norms) - np.log(norms[0]), states - states[0]


def measure(units=256, lag=150, sequences=16, steps=3000, warmup=100):
    text = text_bytes(max(steps, sequences * (warmup + lag)))
    pieces = text[: sequences * (warmup + lag)].reshape(sequences, warmup + lag).T
    shown = np.argmax([len(set(piece)) for piece in pieces[-SHOWN:].T])  # the piece with the most different bytes
    checks, data = [], {"lag": np.arange(lag + 1), "text": bytes(pieces[-SHOWN:, shown]).decode("latin-1")}
    for name, net in study.progress(networks(units).items(), "text_gradients"):
        spectrum = tt.analysis.lyapunov_spectrum(net, one_hot(text[:steps]), k=1, seed=SEED)
        exponent, error = spectrum.exponents[0], spectrum.standard_error[0]
        log_norm, states = follow(net, pieces, lag)
        half = lag // 2
        slopes = (states[-1] - states[half]) / (lag - half)
        reached = reach(log_norm)
        data[name] = {
            "log_norm": np.median(log_norm, axis=1),
            "quartiles": np.quantile(log_norm, (0.25, 0.75), axis=1),
            "shown": log_norm[:SHOWN, shown],
            "exponent": exponent,
            "standard_error": error,
            "reach": np.median(reached),
            "predicted_reach": np.log(FALL) / exponent if exponent < np.log(FALL) / lag else None,
        }
        spread = np.hypot(slopes.std(ddof=1) / np.sqrt(sequences), error)
        why = "Lyapunov exponent on the text; 4 SE + 1.5/lag for the alignment"
        what = f"{name}: slope of the gradient over lags {half} to {lag}"
        checks.append(study.check(what, slopes.mean(), exponent, 4 * spread + 1.5 / lag, why=why))
        if name.startswith("tanh"):
            gain = float(name.split("=")[1])
            law = tt.analysis.mean_field.tanh(gain, noise=DRIVE).finite_size(units)
            why = "mean field with input of variance σ²; 4 SE + 6/N: one W is drawn"
            checks.append(study.check(f"{name}: λ_1 on the text", exponent, law, 4 * error + 6 / units, why=why))
    return {"checks": checks, "seeds": {"weights, frame, loss": SEED}, "data": data}


def draw(result):
    data, plots = result["data"], tt.plots
    names = [name for name in data if name not in ("lag", "text")]
    lag = np.array(data["lag"])
    fig, axes = study.figure(
        height=4.6, mosaic=[["curves", "reach"], ["text", "text"]], height_ratios=[2.3, 1.5], width_ratios=[1.5, 1]
    )
    curves = axes["curves"]
    curves.set_xlim(0, lag[-1])
    for i, name in enumerate(names):
        item, look = data[name], plots.style(i)
        late = slice(lag.size // 2, None)
        level = np.mean(np.array(item["log_norm"])[late]) - item["exponent"] * lag[late].mean()
        curves.semilogy(lag, np.exp(level + item["exponent"] * lag), color="0.8", linewidth=3.2, zorder=1)
        curves.fill_between(lag, *np.exp(item["quartiles"]), color=look["color"], alpha=0.25, linewidth=0)
        curves.semilogy(lag, np.exp(item["log_norm"]), linewidth=1.2, label=name, **look)
    curves.axhline(FALL, color="0.4", linewidth=0.7)
    curves.set_ylim(1e-11, 1e2)
    curves.set_xlabel("lag $k$ (bytes back)")
    curves.set_ylabel(r"$\Vert dL/dx_{t-k}\Vert\;/\;\Vert dL/dx_t\Vert$")
    curves.legend(loc="lower right", handlelength=2.6, labelspacing=0.15, fontsize=6.5, borderaxespad=0)
    curves.set_title(r"gradient of a byte (grey: slope $\lambda_1$)")
    reach_panel(axes["reach"], data, names, lag[-1])
    text_panel(axes["text"], data, names)
    study.letters([axes["curves"], axes["reach"], axes["text"]])
    return fig


def reach_panel(ax, data, names, longest):
    """Measured reach and ln 1000 / |λ_1|, one row per network."""
    for i, name in enumerate(names):
        item = data[name]
        beyond = item["reach"] >= longest
        ax.plot(item["reach"], i, ">" if beyond else tt.plots.MARKERS[i], color=tt.plots.COLOURS[i], markersize=5)
        if item["predicted_reach"]:
            ax.plot(item["predicted_reach"], i, "|", color="0.1", markersize=11, markeredgewidth=1.4)
        if beyond:
            ax.text(item["reach"] * 0.85, i, f"more than {longest}", ha="right", va="center", fontsize=7)
    ax.set_xscale("log")
    ax.set_xlim(5, longest * 1.3)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xlabel(r"reach (bytes); bar: $\ln 1000\,/\,|\lambda_1|$")
    ax.set_title("bytes until a thousandth is left")


def text_panel(ax, data, names):
    """The end of a piece of text, each byte shaded by its gradient: dark reaches, white does not."""
    text = data["text"].replace("\n", "¶")
    shade = np.array([data[name]["shown"][::-1] for name in names]) / np.log(10)
    image = ax.imshow(shade, aspect="auto", cmap="Blues", vmin=-6, vmax=0)
    for row, values in enumerate(shade):
        for column, letter in enumerate(text[-len(values) :]):
            colour = "white" if values[column] > -2 else "black"
            ax.text(
                column,
                row,
                letter,
                ha="center",
                va="center",
                color=colour,
                fontsize=7,
                family="monospace",
                parse_math=False,
            )
    ax.set_yticks(range(len(names)), names)
    ax.set_xticks(SHOWN - 1 - np.arange(0, SHOWN, 10), np.arange(0, SHOWN, 10))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("lag $k$ (bytes back)")
    ax.figure.colorbar(image, ax=ax, pad=0.01, label=r"$\log_{10}$ of the gradient", extend="min")
    ax.set_title("what the last output still feels of the text before it")


if __name__ == "__main__":
    study.run(globals())
