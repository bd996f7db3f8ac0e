"""How far back does a gradient reach in each cell as it was published, before it has learnt anything?

Every cell of the library hears the same white noise; a loss acts on its last output. With its published initialisation
(PyTorch's U(−1/√N, 1/√N), where neither paper nor code is known to give one) each has a largest Lyapunov exponent λ₁,
and the norm of dL/ds falls with the lag. In the long run it falls as e^(λ₁·lag), so that a thousandth is left after
−ln(1000)/λ₁ steps; where that is wrong, it is because units do not fall at one rate, or matrices are not normal.

    units that do not hear each other    λ₁ = the largest time mean of ln|ds'/ds|; of ind_rnn −∞: its rectifiers shut
    the LSTM of 1997                     dc'/dc = 1, and its gates are nearly shut: λ₁ = 0, nothing is lost

Source: the cells' own files name their papers.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed

import _study as study
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

import throughtime as tt
from throughtime.cells import spec

SIZES = {"units": 32, "networks": 3, "lag": 1000, "steps": 4000, "processes": 2}
FULL = SIZES | {"units": 128, "networks": 10, "lag": 5000, "steps": 40000}
SMALL = {"units": 12, "networks": 2, "lag": 60, "steps": 400, "processes": 1, "cells": ("tanh", "leaky_tanh", "slstm")}
INPUTS, SEQUENCES, SETTLE, SEED = 8, 4, 200, 1
LEFT = 1e-3  # of the gradient, at its horizon
PIECES = ("relu", "linear", "sigmoid", "euler_tanh")  # not published as networks of their own
ROWS = {name: (name, {}) for name in tt.CELLS if name not in PIECES}  # name -> cell, options of its network
ROWS["antisymmetric"] = ("euler_tanh", {"parametrise": {"weight_hh": tt.parametrise.antisymmetric(0.01)}})


def network(row, units, seed):
    cell, options = ROWS[row]
    init = "published" if hasattr(tt.CELLS[cell], "published") else "uniform"
    return tt.Network(cell, INPUTS, units, init=init, seed=seed, **options)


def log_sigmoid(u):
    return -np.logaddexp(0.0, -u)


# ln|ds'/ds| of each unit at each step, from the parameters by kinds and u = W_ih input + b_ih (+ b_hh), gate by gate
ALONE = {
    "slstm": lambda w, i, f, z, o: log_sigmoid(f),
    "min_gru": lambda w, z, n: log_sigmoid(-z),
    "min_lstm": lambda w, f, i, n: log_sigmoid(f) - np.logaddexp(log_sigmoid(f), log_sigmoid(i)),
    "lru": lambda w, re, im: -np.exp(w["nu_log"])[None],
}


def alone(net, cell, x, discard):
    """λ₁ of a cell whose units do not hear each other, from steps `discard` … T of x (T, I); None for others.

    From here the growth of a direction that began with all units alike, not the largest time mean itself: which unit
    is ahead when the count begins is the chance of the steps before.
    """
    if cell not in ALONE:
        return None
    w = {key.removesuffix("_l0"): value for key, value in net.parameters.items()}
    u = x @ w["weight_ih"].T + w["bias_ih"] + w.get("bias_hh", 0.0)
    each = ALONE[cell](w, *np.split(u, spec(net.cell).gates, axis=1))
    grown = np.cumsum(np.broadcast_to(each, (len(x), net.hidden_size)), axis=0)
    first, last = (0.5 * np.logaddexp.reduce(2 * grown[t - 1]) for t in (discard, len(x)))
    return float((last - first) / (len(x) - discard))


def lags(most):
    """Of which the picture is made: all at first, then closer together than it can show."""
    return np.unique(np.geomspace(1, most, 160).round().astype(int))


def row(name, units, networks, lag, steps):
    """One cell: the decay, its horizon, and the exponents of all its networks."""
    tt.set_num_threads(1)  # as many processes as there are cores
    rng = np.random.default_rng(SEED)
    short = rng.standard_normal((SETTLE + lag, SEQUENCES, INPUTS))
    long = rng.standard_normal((SETTLE + steps, INPUTS))
    logs, horizons, exponents, errors, exact = [], [], [], [], []
    for seed in range(networks):
        net = network(name, units, seed)
        run = net.unroll(short)
        last = np.zeros_like(run.output)
        last[-1] = np.random.default_rng([SEED, seed]).standard_normal(last[-1].shape)
        decay = tt.analysis.gradient_norms(run, last)
        logs += list((decay.log_norm[::-1] - decay.log_norm[-1])[lags(lag)].T)
        reach = decay.horizon_for(LEFT)
        horizons += list(np.where(reach <= lag, reach, np.inf))
        spectrum = tt.analysis.lyapunov_spectrum(net, long, k=1, warmup=SETTLE, seed=seed)
        exponents.append(spectrum.exponents[0])
        errors.append(spectrum.standard_error[0])
        exact.append(alone(net, ROWS[name][0], long[SETTLE:], steps // 10))
    return {
        "log_norm": np.median(logs, axis=0),
        "horizon": np.median(horizons),
        "exponent": exponents,
        "standard_error": errors,
        "alone": None if exact[0] is None else exact,
    }


def shape(name):
    """Cells of one shape share compiled loops."""
    record = spec(tt.CELLS[ROWS[name][0]])
    return (record.gates, record.states, record.saved, record.emits, record.sends, record.stage, len(record.parameters))


def rows(names, sizes):
    """Cells of one shape, in one process."""
    return {name: row(name, **sizes) for name in names}


def measure(units=32, networks=3, lag=1000, steps=4000, processes=2, cells=None):
    sizes = {"units": units, "networks": networks, "lag": lag, "steps": steps}
    groups = {}
    for name in ROWS if cells is None else cells:
        groups.setdefault(shape(name), []).append(name)
    found, bar = {}, study.progress(None, "cell_zoo", total=sum(map(len, groups.values())))
    for done in in_processes(groups.values(), sizes, processes):
        found |= done
        bar.update(len(done))
    bar.close()
    found = {name: found[name] for name in ROWS if name in found}
    seeds = {"networks, losses": list(range(networks)), "input": SEED}
    data = {"lags": lags(lag), "left": LEFT, "cells": in_order(found)}
    return {"checks": checks(found, lags(lag), steps), "seeds": seeds, "data": data}


def in_processes(groups, sizes, processes):
    if processes == 1:
        yield from (rows(names, sizes) for names in groups)
        return
    with ThreadPoolExecutor(processes) as pool:
        for future in as_completed([pool.submit(elsewhere, names, sizes) for names in groups]):
            yield future.result()


def elsewhere(names, sizes):
    """In a process that ends with it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(rows, names, sizes).result()


def in_order(found):
    """By horizon, the shortest first; those that reach further than was looked, by what is left there."""
    return dict(sorted(found.items(), key=lambda item: (item[1]["horizon"], item[1]["log_norm"][-1])))


def checks(found, lags, steps):
    result = []
    for name, item in found.items():
        if item["alone"] is not None:
            off = np.abs(np.subtract(item["exponent"], item["alone"])).max()
            why = "the same steps of the same input; 4 nats: the frame begins at random, and c is measured by e^m"
            bound = 4.0 / (0.9 * steps)
            result.append(study.check(f"{name}: largest |λ₁ − growth by ln|ds'/ds| alone|", off, 0.0, bound, why=why))
        low, high = slope(lags, item["log_norm"])
        if np.isfinite([low, *item["exponent"]]).all():
            error = 3 * max(item["standard_error"]) + np.ptp(item["exponent"]) + high
            why = "the adjoint product falls as the tangent product grows; 3 SE, spread of networks and of the slope"
            result.append(
                study.check(f"{name}: slope of ln‖dL/ds‖ by lag", low, np.mean(item["exponent"]), error, why=why)
            )
    return result


def slope(lags, logs):
    """Of the second half of the lags, and how far the third and the fourth quarter are from each other."""
    each = []
    for low in (0.5, 0.75):
        part = (lags > low * lags[-1]) & (lags <= (low + 0.25) * lags[-1])
        if not np.isfinite(logs[part]).all():
            return np.nan, np.nan
        each.append(np.polyfit(lags[part], logs[part], 1)[0])
    return np.mean(each), abs(each[0] - each[1])


BEAM = LinearSegmentedColormap.from_list("beam", ["#0b0f1e", "#2b2350", "#7b2f6b", "#d9573f", "#f6a93b", "#fff6c9"])
DARKEST = -6  # powers of ten


def draw(result):
    data = result["data"]
    cells, lags = data["cells"], np.asarray(data["lags"])
    fig, axes = study.figure(
        1, 2, height=0.6 + 0.19 * len(cells), sharey=True, gridspec_kw={"width_ratios": [3.2, 1.0], "wspace": 0.02}
    )
    beams(fig, axes[0], cells, lags)
    exponents(axes[1], cells)
    axes[0].set_yticks(range(len(cells)), list(cells))
    axes[0].set_ylim(len(cells) - 0.5, -0.5)
    axes[0].tick_params(axis="y", length=0)
    axes[0].set_title("how far back the gradient of the last output reaches")
    axes[1].set_title(r"exponent $\lambda_1$")
    study.letters(axes)
    return fig


def beams(fig, ax, cells, lags):
    """Each cell's gradient as light that fades with the lag; a mark where a thousandth is left."""
    most = lags[-1]
    edges = np.concatenate([[0.5], (lags[1:] + lags[:-1]) / 2, [most + 0.5]])
    for k, item in enumerate(cells.values()):
        logs = np.array([-np.inf if value is None else value for value in item["log_norm"]], float)
        strip = np.clip(logs[None] / np.log(10), DARKEST, 0)
        mesh = ax.pcolormesh(edges, [k - 0.36, k + 0.36], strip, cmap=BEAM, vmin=DARKEST, vmax=0, rasterized=True)
        mean = np.mean(item["exponent"])
        law = np.log(LEFT) / mean if mean < 0 else np.inf
        if 1 <= law < most:
            ax.plot(law, k, "d", markersize=3.6, markerfacecolor="none", markeredgecolor="white", markeredgewidth=0.8)
        horizon = item["horizon"]
        if horizon is not None and horizon <= most:
            ax.plot([horizon, horizon], [k - 0.36, k + 0.36], color="white", linewidth=1.2)
    ax.set_facecolor("white")
    ax.set_xscale("log")
    ax.set_xlim(0.5, most + 0.5)
    ax.set_xlabel("lag (steps)")
    bar = fig.colorbar(mesh, ax=ax, location="bottom", aspect=60, pad=0.02)
    bar.set_label(
        r"$\|dL/ds\|$ by that at lag 0;   |  a thousandth is left,   $\diamond$  where $\lambda_1$ alone would put that"
    )
    bar.set_ticks(range(DARKEST, 1, 2), labels=[f"$10^{{{p}}}$" for p in range(DARKEST, 1, 2)])


def exponents(ax, cells):
    for k, item in enumerate(cells.values()):
        if not np.isfinite(item["exponent"]).all():
            ax.annotate(
                "−∞",
                (0.0, k),
                xycoords=("axes fraction", "data"),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
            )
        for value, error in zip(item["exponent"], item["standard_error"], strict=True):
            ax.errorbar(value, k, xerr=error, fmt="o", color=tt.plots.COLOURS[0], markersize=2.6, elinewidth=0.8)
    ax.axvline(0.0, color="0.6", linewidth=0.7, zorder=0)
    ax.set_xscale("symlog", linthresh=1e-3, linscale=0.3)
    ax.set_xticks([-1, -0.1, -0.01, 0, 0.01], labels=["−1", "−.1", "−.01", "0", ".01"])
    ax.set_xlim(-2.5, 0.02)
    ax.grid(axis="x", color="0.9", linewidth=0.6, zorder=-1)
    ax.set_xlabel("nats per step")


if __name__ == "__main__":
    study.run(globals())
