"""Does it pay to take pieces of time side by side, where a step is linear in the state? Needs jax, or says so and ends.

minGRU, s' = A(x) s + b(x), three ways: step by step, net.unroll(x, method="loop"); by pieces of time in vector lanes
and threads, method="scan"; and by jax.lax.associative_scan under jit on the CPU. Forward, and forward with all
gradients, of the input too. The same numbers in float32; warm; in one process, taking turns; median of the runs. I = 2
inputs, N units, B sequences, T steps. Threads: THROUGHTIME_THREADS, by default one per processor; JAX takes its own.

    the loop fills its lanes with units: its time does not depend on N up to 32 units
    the scan fills them with time: it is proportional to N, and pays where few numbers stand side by side
"""

import importlib.util
import os
import statistics
import time

import _machine
import _study as study
import numpy as np

import throughtime as tt

THREADS = _machine.threads()
SIZES = {"steps": [1000, 10_000, 100_000, 1_000_000], "units": [1, 2, 4, 8, 16], "batches": [1, 8], "seconds": 5.0}
FULL = SIZES | {"units": [1, 2, 4, 8, 16, 32, 64, 256], "batches": [1, 8, 32], "seconds": 200.0}
SMALL = {"steps": [300], "units": [2], "batches": [1], "seconds": 0.01}
INPUTS, SEED, MIDDLE = 2, 1, 10_000  # MIDDLE: the steps at which N and B change
WAYS = ("loop", "scan", "jax")
WHAT = ("forward", "forward+backward")


def calls(steps, units, batch):
    """{"forward": {way: call}, "forward+backward": {way: call}}; the calls of the second give dL/dx."""
    net = tt.Network("min_gru", INPUTS, units, dtype="float32", seed=SEED)
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((steps, batch, INPUTS)).astype("float32")
    cotangent = rng.standard_normal((steps, batch, units)).astype("float32")

    def ours(method):
        return (
            lambda: net.unroll(x, method=method).output,
            lambda: net.unroll(x, method=method).backprop(cotangent).input,
        )

    found = {method: ours(method) for method in ("loop", "scan")}
    if units == batch == 1 and importlib.util.find_spec("jax"):  # every shape costs it seconds of compilation
        found["jax"] = in_jax(net, x, cotangent)
    return {what: {way: pair[k] for way, pair in found.items()} for k, what in enumerate(WHAT)}


def in_jax(net, x, cotangent):
    """The same network by jax.lax.associative_scan, compiled; the gradients by jax.vjp."""
    import jax

    w, b = (jax.numpy.asarray(net.parameters[name]) for name in ("weight_ih_l0", "bias_ih_l0"))
    there, back = jax.numpy.asarray(x), jax.numpy.asarray(cotangent)

    def after(first, second):
        return second[0] * first[0], second[0] * first[1] + second[1]

    def output(w, b, x):
        update, new = jax.numpy.split(x @ w.T + b, 2, axis=-1)
        pairs = jax.nn.sigmoid(-update), jax.nn.sigmoid(update) * new
        return jax.lax.associative_scan(after, pairs)[1]

    forward = jax.jit(output)
    both = jax.jit(lambda w, b, x, g: jax.vjp(output, w, b, x)[1](g))
    return (
        lambda: forward(w, b, there).block_until_ready(),
        lambda: jax.block_until_ready(both(w, b, there, back))[2],
    )


def alternate(ways, share):
    """Seconds of each way, in turns, 3 times at least and as often as fit `share` seconds; a turn begins with a call
    that is not counted, for the caches are full of the other's numbers."""
    began = time.perf_counter()
    for call in ways.values():
        call()
    runs = int(np.clip(share / (2 * (time.perf_counter() - began)), 3, 100))
    times = {way: [] for way in ways}
    for _ in range(runs):
        for way, call in ways.items():
            call()
            began = time.perf_counter()
            call()
            times[way].append(time.perf_counter() - began)
    return {way: statistics.median(found) for way, found in times.items()}, runs


def measure(steps=(1000,), units=(1,), batches=(1,), seconds=1.0):
    tt.set_num_threads(THREADS)
    load = os.getloadavg()[0]  # of others, before there is any of this
    middle = min(MIDDLE, max(steps))
    points = [(T, 1, 1) for T in steps] + [(middle, n, b) for b in batches for n in units]
    points = list(dict.fromkeys(points))
    checks, rows = [], []
    for T, n, batch in study.progress(points, "scan_or_loop"):
        for what, ways in calls(T, n, batch).items():
            answers = {way: np.asarray(call()) for way, call in ways.items()}
            for way in answers.keys() - {"loop"}:
                worst = np.max(np.abs(answers[way] - answers["loop"])) / np.max(np.abs(answers["loop"]))
                name = f"{what}, T={T} N={n} B={batch}: {way} and loop, relative difference"
                checks.append(study.check(name, worst, 0.0, 2e-5, why="the same function in float32"))
            found, runs = alternate(ways, seconds / len(points) / len(WHAT))
            rows.append({"what": what, "T": T, "N": n, "B": batch, "runs": runs} | found)
    environment = {"threads": THREADS, "processors": os.cpu_count(), "load_before": load}
    if load > 0.5:
        environment["note"] = (
            "others computed at the same time: ratios of neighbours in a row, no times of a quiet machine"
        )
    if importlib.util.find_spec("jax"):
        import jax

        environment["jax"] = jax.__version__
    data = {"environment": environment} | {f"row {k}": row for k, row in enumerate(rows)}
    return {"checks": sorted(checks, key=lambda check: check["name"]), "seeds": {"weights, input": SEED}, "data": data}


def rows_of(result):
    return [value for key, value in result["data"].items() if key.startswith("row ")]


LOOKS = {"loop": ("o", "step by step"), "scan": ("s", "by pieces of time"), "jax": ("^", "JAX, associative_scan")}


def draw(result):
    rows, plots = rows_of(result), tt.plots
    fig, axes = study.figure(1, 3, height=2.7)
    for ax, what in zip(axes, WHAT, strict=False):
        own = sorted(
            (row for row in rows if row["what"] == what and row["N"] == row["B"] == 1), key=lambda row: row["T"]
        )
        for k, way in enumerate(WAYS):
            marker, label = LOOKS[way]
            found = [(row["T"], row[way] / row["T"] * 1e9) for row in own if way in row]
            if found:
                ax.loglog(
                    *zip(*found, strict=True), f"{marker}-", color=plots.COLOURS[k + 1], markersize=4, label=label
                )
        ax.set_xlabel("time steps $T$")
        ax.set_ylabel("time of a step (ns)")
        ax.set_title(f"{what.replace('+', ' + ')}, $N = B = 1$")
    low = min(ax.get_ylim()[0] for ax in axes[:2])
    high = max(ax.get_ylim()[1] for ax in axes[:2])
    for ax in axes[:2]:
        ax.set_ylim(low, high)
    axes[0].legend(loc="best")
    ax = axes[2]
    ax.axhline(1.0, color="0.35", linewidth=0.8)
    middle = min(MIDDLE, max(row["T"] for row in rows))
    batches = sorted({row["B"] for row in rows})
    for b in batches:
        for what, style, fill in zip(WHAT, (":", "-"), ("none", None), strict=True):
            own = [row for row in rows if (row["what"], row["B"], row["T"]) == (what, b, middle)]
            own.sort(key=lambda row: row["N"])
            colour = plots.COLOURS[(batches.index(b) + 4) % len(plots.COLOURS)]
            ax.loglog(
                [row["N"] for row in own],
                [row["loop"] / row["scan"] for row in own],
                f"o{style}",
                color=colour,
                markersize=4,
                markerfacecolor=fill or colour,
                label=f"$B = {b}$, {what.replace('+', ' + ')}",
            )
    ticks = sorted({row["N"] for row in rows})
    ax.set_xticks(ticks, [str(n) for n in ticks])
    ax.minorticks_off()
    ax.set_xlabel("units $N$")
    ax.set_ylabel("time of the loop / time of the scan")
    ax.set_title(f"where it pays, $T = {middle}$")
    ax.set_yticks(shown := [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10) if ax.get_ylim()[0] <= t <= ax.get_ylim()[1]])
    ax.set_yticklabels([f"{tick:g}" for tick in shown])
    ax.legend(loc="best", fontsize=6)
    study.letters(axes)
    return fig


def table(result):
    lines = [f"{'microseconds':18}{'T':>9}{'N':>5}{'B':>4}" + "".join(f"{way:>12}" for way in WAYS)]
    for row in rows_of(result):
        times = "".join(f"{row[way] * 1e6:12.1f}" if way in row else f"{'-':>12}" for way in WAYS)
        lines.append(f"{row['what']:18}{row['T']:9d}{row['N']:5d}{row['B']:4d}{times}")
    return "\n".join(lines)


if __name__ == "__main__":
    study.needs("jax")
    study.run(globals(), epilogue=table)
