"""How fast are the analyses beside the usual scripts, and how does their cost grow? Without torch, less is compared.

* Full Lyapunov spectrum of a tanh network against J = diag(1−h²)W; Q = JQ; np.linalg.qr at each step: per step, the
  median difference of a long and a short call made one after the other, so that what is done once does not count.
* Jacobians of one LSTM step for a batch against torch.func.jacrev under vmap: in turns of ten calls each, as in a loop
  over steps, and in turns of one call each, where the other side has emptied the caches; before each turn a rest, in
  which the threads of the other side, which spin for some milliseconds after their work, go to sleep.
* `gradient_by_lag` against one torch backward per loss time (a sample of the times, scaled to all).
* Cost against the units N, the steps T, the leading exponents k and the networks of an ensemble, with one thread and
  with two.

All in one process, taking turns, the best of the runs; several processes, one after another, of which the median
counts, and the least and the most are kept. Threads: THROUGHTIME_THREADS, by default one per processor, for both sides:
what a user has who sets nothing. Exponents p are slopes of ln(time) against ln(size). Floor of a spectrum's step, which
keeps a triangular frame: its products at NumPy's rate and LAPACK's LU, both measured in the same process.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("THROUGHTIME_THREADS", str(len(os.sched_getaffinity(0)))))

import importlib.util
import time

import _bench as bench
import _machine
import _study as study
import numpy as np
from matplotlib import pyplot

import throughtime as tt

SIZES = {
    "units": [100, 200, 1000], "steps": 48, "lstm_units": 64, "loss_steps": 200, "loss_units": 128, "runs": 3,
    "growth_units": 100, "times": [100, 200, 400, 800], "loss_times": [50, 100, 200, 400],
    "columns": [1, 2, 4, 8, 16, 32, 64], "networks": [1, 2, 4, 8, 16], "processes": 2,
}  # fmt: skip
FULL = SIZES | {"units": [50, 100, 200, 400, 1000], "runs": 5, "growth_units": 200, "processes": 5}
SMALL = {
    "units": [20],
    "steps": 30,
    "lstm_units": 6,
    "loss_steps": 12,
    "loss_units": 8,
    "runs": 1,
    "growth_units": 12,
    "times": [20, 40],
    "loss_times": [6, 12],
    "columns": [1, 3],
    "networks": [1, 2],
    "processes": 0,
}
THREADS = _machine.threads()
SEED, GAIN, REST = 1, 1.5, 0.03
TARGETS = {"N=100": 5.0, "N=200": 5.0, "N=1000": 5.0, "jacobian": 30.0, "lag": 30.0}


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


def in_turns(calls, runs, times=1, rest=0.0):
    """Seconds of each call, (runs, calls): all of them in turns, each `times` times in a row after so many seconds."""
    found = np.empty((runs, len(calls)))
    for turn in found:
        for i, call in enumerate(calls):
            end = time.perf_counter() + rest
            while time.perf_counter() < end:
                pass  # awake: a processor that has slept is slow for a while
            began = time.perf_counter()
            for _ in range(times):
                call()
            turn[i] = (time.perf_counter() - began) / times
    return found


def best(calls, runs, times=1, rest=0.0):
    """Seconds of each call, the best of the runs, after one call of each that does not count."""
    in_turns(calls, 1)
    return in_turns(calls, runs, times, rest).min(axis=0)


def per_step(call, short, long, runs):
    """Seconds of a step: the median of `runs` differences between a call of `long` steps and one of `short`.

    On a machine so busy that the longer call seems the shorter one, it measures again, with all differences kept.
    """
    differences = []
    call(short)  # does not count: it may compile
    for _ in range(20):
        pairs = in_turns([lambda: call(short), lambda: call(long)], runs)
        differences.extend(pairs[:, 1] - pairs[:, 0])
        if np.median(differences) > 0.0:
            return float(np.median(differences)) / (long - short)
    raise RuntimeError(
        f"{long} steps took no longer than {short} in {len(differences)} tries: the machine is too busy."
    )


def exponent(sizes, seconds):
    """p in seconds ~ sizes^p."""
    return np.polyfit(np.log(sizes), np.log(seconds), 1)[0] if len(sizes) > 1 else np.nan


def chaotic(n, seed=SEED):
    return tt.Network("tanh", 1, n, bias=False, init=tt.init.gaussian(gain=GAIN), seed=seed)


def spectrum(net, steps, **options):
    """Without warm-up, from a given input of zeros: left to itself the library unrolls 2048 steps ahead."""
    x = np.zeros((steps, 1))
    return tt.analysis.lyapunov_spectrum(net, x, warmup=0, discard=0, seed=SEED, **options)


def spectra(units, steps, runs):
    checks, floors = [], []
    data = {"N": [], "seconds": [], "usual": [], "float32": [], "ratio": [], "ratio_float32": []}
    for n in study.progress(units, "spectra"):
        net, state = chaotic(n), np.random.default_rng(SEED).uniform(-1, 1, n)
        weights = net.parameters["weight_hh_l0"]

        def ours(length, precision=None, interval="auto", net=net, state=state):
            return spectrum(net, length, state=state[None], precision=precision, interval=interval)

        # Both lengths in blocks of 16 steps (4 * 48 = 12 * 16) or 32: shorter calls have shorter blocks, and the
        # difference of calls with equally many blocks would not show what the ends of the blocks cost.
        short = 4 * steps if n >= 100 else 2000
        every = {precision: ours(40, precision).interval for precision in (None, "float32")}
        few, many = max(min(short // 4, 8 * 1000**2 // n**2), 2), runs if n < 500 else max(runs - 1, 1)
        times = [per_step(lambda k, o=o, f=ours: f(k, *o), short, 3 * short // 2, many) for o in every.items()]
        times.append(per_step(lambda k, w=weights, s=state: usual(w, s, k, 0), few, 2 * few, many))
        row = (n, times[0], times[2], times[1], times[2] / times[0], times[2] / times[1])
        for key, value in zip(data, row, strict=True):
            data[key].append(value)
        if n < 500:
            length = min(short, steps)  # rounding grows with the steps
            found, expected = np.sort(ours(length).exponents)[::-1], np.sort(usual(weights, state, length, 0))[::-1]
            why = "the usual script from the same state over the same steps and frame"
            worst = np.abs(found - expected).max()
            checks.append(study.check(f"N={n}: largest difference of an exponent", worst, 0, 1e-6, why=why))
        # N³ for J times a triangle, 2N³ times what has not been decomposed since, and one LU in so many steps
        peak, lu, k = bench.peak("float64", 0.05, n), bench.triangular(n, "float64"), int(every[None])
        floors.append((2 - 1 / k) * n**3 / peak + lu / k)
    data |= {"floor": floors, "over_floor": list(np.divide(data["seconds"], floors))}
    data["exponents_in_N"] = {key: exponent(units, data[key]) for key in ("usual", "seconds", "float32")}
    return checks, data


def growth(units, times, loss_times, columns, networks, runs):
    """Cost against the steps, the leading exponents and the networks of an ensemble."""
    net = chaotic(units)
    seconds = best([lambda t=t: spectrum(net, t) for t in times], runs)
    data = {"steps": {"T": times, "seconds": seconds, "exponent": exponent(times, seconds), "N": units}}

    rng = np.random.default_rng(SEED)
    g = rng.standard_normal((max(loss_times), units))
    lagged = [tt.Network("tanh", 1, units, seed=SEED).unroll(rng.standard_normal((t, 1))) for t in loss_times]
    seconds = best([lambda r=r: tt.analysis.gradient_by_lag(r, g[: r.steps]) for r in lagged], runs)
    data["lags"] = {"T": loss_times, "seconds": seconds, "exponent": exponent(loss_times, seconds), "N": units}

    wide = chaotic(2 * units)
    ks, seconds = [k for k in columns if k < units], []  # below half of them a frame takes its steps as it is
    for k in study.progress(ks, "leading exponents"):
        length = max(4000 // (k + 10), 50)
        seconds.append(per_step(lambda t, k=k: spectrum(wide, t, k=k, interval=5), length, 3 * length, runs))
    full = per_step(lambda t: spectrum(wide, t), 50, 150, runs)
    data["leading"] = {"k": ks, "seconds": seconds, "exponent": exponent(ks, seconds), "full": full, "N": 2 * units}

    families = [tt.Ensemble([chaotic(units, seed) for seed in range(count)]) for count in networks]
    # side by side: others may come and go
    calls = [lambda f=f, n=n: over(n, f, times[-2]) for f in families for n in (1, 2)]
    one, two = best(calls, 2 * runs).reshape(-1, 2).T
    exponents = {"one thread": exponent(networks, one), "two threads": exponent(networks, two)}
    data["networks"] = {"networks": networks, "one thread": one, "two threads": two, "exponents": exponents}
    data["networks"] |= {"speed_up": one / two, "N": units, "processors": len(os.sched_getaffinity(0))}
    return data


def over(threads, family, steps):
    """The spectra of a family, its networks side by side in so many threads."""
    before = tt.get_num_threads()
    tt.set_num_threads(threads)
    try:
        return spectrum(family, steps)
    finally:
        tt.set_num_threads(before)


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
    both = [lambda: run.jacobian(2), lambda: theirs(s, x)]
    t, cold = best(both, runs, 10, REST), best(both, 10 * runs, 1, REST)
    data["jacobian"] = {"seconds": t[0], "torch_seconds": t[1], "ratio": t[1] / t[0], "N": units, "B": batch}
    data["jacobian"] |= {"single_calls": cold, "ratio_of_single_calls": cold[1] / cold[0]}

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

    t = best([lambda: tt.analysis.gradient_by_lag(run, g), backwards], runs, 1, REST)
    scaled = t[1] * steps / max(len(sample), 1)
    data["lag"] = {"seconds": t[0], "torch_seconds": scaled, "ratio": scaled / t[0], "N": loss_units, "T": steps}
    return checks, data


def once(
    units=(100, 200, 1000), steps=48, lstm_units=64, loss_steps=200, loss_units=128, runs=3, growth_units=100,
    times=(100, 200, 400, 800), loss_times=(50, 100, 200, 400), columns=(1, 4, 16, 64), networks=(1, 2, 4, 8, 16),
):  # fmt: skip
    """(checks, data) of this process."""
    before = tt.get_num_threads()
    tt.set_num_threads(THREADS)
    try:
        checks, data = spectra(units, steps, runs)
        data = {"threads": THREADS, "targets": TARGETS, "spectra": data}
        data |= growth(growth_units, times, loss_times, columns, networks, runs)
        if importlib.util.find_spec("torch") is not None:
            more, found = against_torch(lstm_units, loss_steps, loss_units, runs)
            checks, data = checks + more, data | found
    finally:
        tt.set_num_threads(before)
    return checks, data


def in_process(number, **sizes):
    """What one process finds; of number 0 this one."""
    return bench.elsewhere(once, **sizes) if number else once(**sizes)


def quick(n, turns=5, steps=96):
    """[low, ratio, high] of the usual script's time and ours, for a full spectrum, with nothing set."""
    net, state = chaotic(n), np.random.default_rng(SEED).uniform(-1, 1, n)
    weights, few = net.parameters["weight_hh_l0"], max(steps // 4, 2)
    calls = [lambda: spectrum(net, steps, state=state[None]), lambda: usual(weights, state, few, 0)]
    for call in calls:
        call()
    found = bench.in_turns(calls, 0.0, least=turns) / [steps, few]
    return bench.compared(found)["ratios"][0]


def measure(processes=0, **sizes):
    numbers = range(1, processes + 1) if processes else [0]
    each = [in_process(number, **sizes) for number in study.progress(numbers, "processes")]
    checks, data = bench.worst([checks for checks, _ in each]), bench.over_processes([data for _, data in each])
    data["environment"] = _machine.machine() | {"threads": THREADS}
    for key, choose in (("least", min), ("most", max)):  # of the processes
        extreme = bench.over_processes([found for _, found in each], choose)
        data[key] = {"spectra": extreme["spectra"]["ratio"]}
        data[key] |= {name: extreme[name]["ratio"] for name in ("jacobian", "lag") if name in extreme}
    return {"checks": checks, "seeds": {"weights, input, frame": SEED}, "data": data}


def shortened(value):
    """Two digits behind the point."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    return [shortened(item) for item in value] if isinstance(value, list) else round(value, 2)


def table(result):
    """The ratios as text, each beside what is aimed at."""
    data, lines = result["data"], []
    item = data["spectra"]
    for n, ratio, single in zip(item["N"], item["ratio"], item["ratio_float32"], strict=True):
        aim = TARGETS.get(f"N={n}")
        lines.append(f"spectrum N={n}: {ratio:.2f} (float32 {single:.2f}) times as fast; aim {aim if aim else '-'}")
    for n, over in zip(item["N"], item["over_floor"], strict=True):
        lines.append(f"spectrum N={n}: {over:.2f} times its floor")
    for key in ("least", "most"):
        lines.append(f"{key} of the processes: " + ", ".join(f"{k} {v}" for k, v in shortened(data[key]).items()))
    for key, what in (("jacobian", "LSTM Jacobians"), ("lag", "gradient by lag")):
        if key in data:
            lines.append(f"{what}: {data[key]['ratio']:.1f} times as fast as torch; aim {TARGETS[key]:g}")
    if "jacobian" in data:
        lines.append(f"LSTM Jacobians, single calls in turns: {data['jacobian']['ratio_of_single_calls']:.1f} times")
    powers = " ".join(f"{key} {value:.2f}" for key, value in item["exponents_in_N"].items())
    lines.append(f"cost of a step ~ N^p: {powers}")
    for key, what in (("steps", "spectrum ~ T^p"), ("lags", "gradient by lag ~ T^p"), ("leading", "step ~ k^p")):
        lines.append(f"cost of the {what}: {data[key]['exponent']:.2f}")
    family = data["networks"]
    speed = ", ".join(f"{n}: {value:.2f}" for n, value in zip(family["networks"], family["speed_up"], strict=True))
    lines.append(f"an ensemble's two threads, times as fast as one, by networks: {speed}")
    if "lag" not in data:
        lines.append("against torch: skipped, because torch is not installed")
    return "\n".join(lines)


def draw(result):
    data, plots = result["data"], tt.plots
    fig, axes = study.figure(mosaic=[["N", "T", "k"], ["networks", "speed", "speed"]], height=4.6)

    def curve(ax, i, x, seconds, label, power):
        label = f"{label}: $p$ = {power:.1f}"
        axes[ax].plot(x, 1e3 * np.array(seconds), marker=plots.MARKERS[i], label=label, markersize=4, **plots.style(i))

    def panel(ax, title, x, y):
        axes[ax].set(xscale="log", yscale="log", xlabel=x, ylabel=y, title=title)
        low, high = axes[ax].get_ylim()
        axes[ax].set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
        axes[ax].legend(loc="upper left", handlelength=2.2)
        sizes = sorted({size for line in axes[ax].lines for size in line.get_xdata()})
        axes[ax].set_xticks(sizes, [str(size) for size in sizes])
        axes[ax].xaxis.set_minor_locator(pyplot.NullLocator())

    item = data["spectra"]
    for i, (key, label) in enumerate((("usual", "usual script"), ("seconds", "here"), ("float32", "here, float32"))):
        curve("N", i, item["N"], item[key], label, item["exponents_in_N"][key])
    panel("N", f"full spectrum, {data['threads']} thread(s)", "units $N$", "milliseconds per step")
    for i, (key, label) in enumerate((("steps", "spectrum"), ("lags", "gradient by lag"))):
        curve("T", i, data[key]["T"], data[key]["seconds"], label, data[key]["exponent"])
    panel("T", f"$N$ = {data['steps']['N']}", "time steps $T$", "milliseconds")
    item = data["leading"]
    curve("k", 0, item["k"], item["seconds"], "leading $k$", item["exponent"])
    axes["k"].plot([item["N"]], [1e3 * item["full"]], color=plots.COLOURS[3], marker="*", linestyle="", label="full")
    panel("k", f"$N$ = {item['N']}", "exponents $k$", "milliseconds per step")
    item = data["networks"]
    for i, key in enumerate(("one thread", "two threads")):
        curve("networks", i, item["networks"], item[key], key, item["exponents"][key])
    panel("networks", f"ensemble, $N$ = {item['N']}", "networks", "milliseconds")

    ax, item = axes["speed"], data["spectra"]
    bars = [(f"spectrum, $N={n}$", r, TARGETS.get(f"N={n}")) for n, r in zip(item["N"], item["ratio"], strict=True)]
    names = (("jacobian", "LSTM Jacobians"), ("lag", "gradient by lag"))
    bars += [(label, data[key]["ratio"], TARGETS[key]) for key, label in names if key in data]
    item = data["networks"]
    bars.append((f"{item['networks'][-1]} networks, two threads", item["speed_up"][-1], None))
    ax.barh(range(len(bars)), [value for _, value, _ in bars], color=plots.COLOURS[4])
    for i, (_, _, aim) in enumerate(bars):
        if aim:
            ax.plot([aim, aim], [i - 0.4, i + 0.4], color="0.1", linewidth=1.5)
    ax.set_yticks([])
    for i, (label, _, _) in enumerate(bars):
        ax.annotate(label, (1.05, i), va="center", fontsize=7)
    ax.set(xscale="log", xlabel="times as fast as the usual way, or as one thread; line: the aim", title="speed")
    ax.axvline(1.0, color="0.5", linewidth=0.8)
    study.letters(list(axes.values()))
    fig.suptitle("time $\\sim$ size$^p$, $p$ fitted to all points of a curve", fontsize=8)
    return fig


if __name__ == "__main__":
    study.run(globals(), epilogue=table)
