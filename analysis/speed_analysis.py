"""How fast are the analyses beside the usual scripts? The parts against PyTorch are skipped without torch.

* Full Lyapunov spectrum of a tanh network against J = diag(1−h²)W; Q = JQ; np.linalg.qr at each step: per step, from
  two lengths of each, so that what is done once does not count.
* Jacobians of one LSTM step for a batch against torch.func.jacrev under vmap.
* `gradient_by_lag` against one torch backward per loss time (a sample of the times, scaled to all).

All in one process, taking turns, the best of the runs; threads: THROUGHTIME_THREADS, by default one, for both sides.
Slopes are of ln(time) against ln(size).
"""

import os

# Before NumPy is imported.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ.get("THROUGHTIME_THREADS", "1")

import importlib.util
import time

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": [100, 200, 1000], "steps": 48, "lstm_units": 64, "loss_steps": 200, "loss_units": 128, "runs": 3}
FULL = SIZES | {"units": [50, 100, 200, 400, 1000], "steps": 192, "runs": 7}
THREADS = int(os.environ["OPENBLAS_NUM_THREADS"])
SEED, GAIN = 1, 1.5
TARGETS = {"N=200": 5.0, "N=1000": 4.0, "jacobian": 20.0, "lag": 25.0}


def usual(weights, state, steps, warmup):
    """The script that everybody writes."""
    h, n = state.copy(), len(weights)
    for _ in range(warmup):
        h = np.tanh(weights @ h)
    q, total = np.linalg.qr(np.random.default_rng(SEED).standard_normal((n, n)).T)[0], np.zeros(n)
    for _ in range(steps):
        h = np.tanh(weights @ h)
        q, r = np.linalg.qr(((1 - h**2)[:, None] * weights) @ q)
        total += np.log(np.abs(np.diagonal(r)))
    return total / steps


def best(calls, runs):
    """Seconds of each call, the best of `runs`, in turns."""
    found = np.full(len(calls), np.inf)
    for _ in range(runs):
        for i, call in enumerate(calls):
            began = time.perf_counter()
            call()
            found[i] = min(found[i], time.perf_counter() - began)
    return found


def spectra(units, steps, runs):
    checks, data = [], {"N": [], "seconds": [], "usual": [], "float32": [], "ratio": [], "ratio_float32": []}
    for n in study.progress(units, "spectra"):
        net = tt.Network("tanh", 1, n, bias=False, init=tt.init.gaussian(gain=GAIN), seed=SEED)
        weights = net.parameters["weight_hh_l0"]
        state = np.random.default_rng(SEED).uniform(-1, 1, n)

        def ours(length, precision=None, net=net, state=state):
            options = {"warmup": 50, "discard": 0, "seed": SEED, "state": state[None], "precision": precision}
            return tt.analysis.lyapunov_spectrum(net, steps=length, **options).exponents

        short = steps if n < 500 else max(steps // 4, 2)
        long, few = 3 * short, max(2, short * 100 // max(n, 100) // 2)
        calls = [lambda f=ours, k=k: f(k) for k in (short, long)]
        calls += [lambda f=ours, k=k: f(k, "float32") for k in (short, long)]
        calls += [lambda w=weights, s=state, k=few * j: usual(w, s, k, 0) for j in (1, 2)]
        t = best(calls, runs)
        times = ((t[1] - t[0]) / (long - short), (t[3] - t[2]) / (long - short), (t[5] - t[4]) / few)
        row = (n, times[0], times[2], times[1], times[2] / times[0], times[2] / times[1])
        for key, value in zip(data, row, strict=True):
            data[key].append(value)
        if n < 500:
            found, expected = np.sort(ours(short))[::-1], np.sort(usual(weights, state, short, 50))[::-1]
            why = "the usual script from the same state over the same steps and frame"
            worst = np.abs(found - expected).max()
            checks.append(study.check(f"N={n}: largest difference of an exponent", worst, 0, 1e-6, why=why))
    if len(units) > 1:
        data["exponent_in_N"] = np.polyfit(np.log(units), np.log(data["seconds"]), 1)[0]
    return checks, data


def against_torch(units, steps, loss_units, runs):
    """Jacobians of an LSTM step, and the gradients of every loss time."""
    import torch

    torch.set_num_threads(THREADS)
    rng, checks, data = np.random.default_rng(SEED), [], {}
    batch = 16
    net, other = tt.Network("lstm", 8, units, seed=SEED), torch.nn.LSTMCell(8, units, dtype=torch.float64)
    other.load_state_dict({k.removesuffix("_l0"): torch.from_numpy(v) for k, v in net.state_dict().items()})
    run = net.unroll(rng.standard_normal((2, batch, 8)))
    x, s = torch.from_numpy(run.input[1].copy()), torch.from_numpy(run.states[1].copy())

    def step(state, value):
        return torch.cat(other(value[None], (state[None, :units], state[None, units:])), dim=1)[0]

    theirs = torch.func.vmap(torch.func.jacrev(step))
    parameters = list(other.parameters())
    for p in parameters:
        p.requires_grad_(False)
    difference = np.abs(run.jacobian(2) - theirs(s, x).numpy()).max()
    checks.append(study.check("LSTM Jacobians: difference", difference, 0, 1e-12, why="torch.func.jacrev"))
    t = best([lambda: run.jacobian(2), lambda: theirs(s, x)], runs)
    data["jacobian"] = {"seconds": t[0], "torch_seconds": t[1], "ratio": t[1] / t[0], "N": units, "B": batch}

    net = tt.Network("tanh", 8, loss_units, seed=SEED)
    rnn = torch.nn.RNN(8, loss_units, dtype=torch.float64)
    rnn.load_state_dict({k: torch.from_numpy(v) for k, v in net.state_dict().items()})
    x, g = rng.standard_normal((steps, 1, 8)), rng.standard_normal((steps, 1, loss_units))
    run, sample = net.unroll(x), list(range(9, steps, max(steps // 10, 1)))
    there, cotangent = torch.from_numpy(x), torch.from_numpy(g)

    def backwards():
        out = rnn(there)[0]
        for t in sample:
            rnn.zero_grad(set_to_none=True)
            (out[t] * cotangent[t]).sum().backward(retain_graph=True)

    t = best([lambda: tt.analysis.gradient_by_lag(run, g), backwards], runs)
    scaled = t[1] * steps / max(len(sample), 1)
    data["lag"] = {"seconds": t[0], "torch_seconds": scaled, "ratio": scaled / t[0], "N": loss_units, "T": steps}
    return checks, data


def measure(units=(100, 200, 1000), steps=48, lstm_units=64, loss_steps=200, loss_units=128, runs=3):
    before = tt.get_num_threads()
    tt.set_num_threads(THREADS)
    try:
        checks, data = spectra(units, steps, runs)
        data = {"threads": THREADS, "targets": TARGETS, "spectra": data}
        if importlib.util.find_spec("torch") is not None:
            more, found = against_torch(lstm_units, loss_steps, loss_units, runs)
            checks, data = checks + more, data | found
    finally:
        tt.set_num_threads(before)
    return {"checks": checks, "seeds": {"weights, input, frame": SEED}, "data": data}


def table(result):
    """The ratios as text, each beside what is aimed at."""
    data, lines = result["data"], []
    item = data["spectra"]
    for n, ratio, single in zip(item["N"], item["ratio"], item["ratio_float32"], strict=True):
        aim = TARGETS.get(f"N={n}")
        lines.append(f"spectrum N={n}: {ratio:.2f} (float32 {single:.2f}) times as fast; aim {aim if aim else '-'}")
    for key, what in (("jacobian", "LSTM Jacobians"), ("lag", "gradient by lag")):
        if key in data:
            lines.append(f"{what}: {data[key]['ratio']:.1f} times as fast as torch; aim {TARGETS[key]:g}")
    if "lag" not in data:
        lines.append("against torch: skipped, because torch is not installed")
    return "\n".join(lines)


def draw(result):
    data, plots = result["data"], tt.plots
    fig, (left, right) = study.figure(1, 2, height=2.6)
    item = data["spectra"]
    curves = (("usual", "usual script"), ("seconds", "here"), ("float32", "here, float32"))
    for i, (key, label) in enumerate(curves):
        left.plot(item["N"], 1e3 * np.array(item[key]), marker=plots.MARKERS[i], label=label, **plots.style(i))
    left.set(xscale="log", yscale="log", xlabel="units $N$", ylabel="milliseconds per step")
    left.set_title(f"full spectrum, {data['threads']} thread(s)")
    left.legend()
    bars = [(f"spectrum, $N={n}$", r, TARGETS.get(f"N={n}")) for n, r in zip(item["N"], item["ratio"], strict=True)]
    names = (("jacobian", "LSTM Jacobians"), ("lag", "gradient by lag"))
    bars += [(label, data[key]["ratio"], TARGETS[key]) for key, label in names if key in data]
    right.barh(range(len(bars)), [value for _, value, _ in bars], color=plots.COLOURS[4])
    for i, (_, _, aim) in enumerate(bars):
        if aim:
            right.plot([aim, aim], [i - 0.4, i + 0.4], color="0.1", linewidth=1.5)
    right.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    right.set(xscale="log", xlabel="times as fast as the usual way; line: the aim")
    right.axvline(1.0, color="0.5", linewidth=0.8)
    right.set_title("speed")
    study.letters([left, right])
    return fig


if __name__ == "__main__":
    study.run(globals(), epilogue=table)
