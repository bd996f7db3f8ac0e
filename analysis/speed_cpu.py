"""How fast is it beside PyTorch's CPU kernels? Needs torch; without it, this says so and ends.

Forward: `net.unroll(x)` against torch under no_grad. Forward + backward: all gradients, of the input too. The same
weights, input and number of threads; warm; both in one process, taking turns, so that a busy machine hurts both; median
of the runs. Ratio = time of torch / time of throughtime: above 1 throughtime is faster. N units, B sequences, T = 200
steps (100 for N ≥ 512), I = 32 inputs (64 for N ≥ 128). Threads: THROUGHTIME_THREADS, by default one per processor. The
large products of the weight gradients are NumPy's, whose OpenBLAS takes OPENBLAS_NUM_THREADS: here the same number.
"""

import os

# Before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("THROUGHTIME_THREADS", str(len(os.sched_getaffinity(0)))))

import statistics
import time

import _study as study
import numpy as np

import throughtime as tt

THREADS = int(os.environ.get("THROUGHTIME_THREADS", len(os.sched_getaffinity(0))))
CELLS = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}
SIZES = {"units": [32, 128, 512], "batches": [1, 32], "runs": 7, "seconds": 20.0}
FULL = {"units": [32, 128, 512, 1024], "batches": [1, 8, 32, 128], "runs": 15, "seconds": 1200.0}
SMALL = {"units": [8], "batches": [1], "runs": 1, "seconds": 0.01, "steps": 5, "cells": ["tanh"]}
SEED = 1


def pair(cell, dtype, units, batch, steps=None):
    """Calls of the same network here and in PyTorch: {"forward": (ours, torch), "forward+backward": ...}."""
    import torch

    inputs, steps = (64 if units >= 128 else 32), steps or (100 if units >= 512 else 200)
    net = tt.Network(cell, inputs, units, dtype=dtype, seed=SEED)
    other = getattr(torch.nn, CELLS[cell])(inputs, units, dtype=getattr(torch, dtype))
    other.load_state_dict({name: torch.from_numpy(value) for name, value in net.state_dict().items()})
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal((steps, batch, inputs)).astype(dtype)
    cotangent = rng.standard_normal((steps, batch, units)).astype(dtype)
    there, back = torch.from_numpy(x.copy()), torch.from_numpy(cotangent.copy())

    def forward():
        return net.unroll(x).output

    def torch_forward():
        with torch.no_grad():
            return other(there)[0]

    def both():
        return net.unroll(x).backprop(cotangent)

    def torch_both():
        other.zero_grad(set_to_none=True)
        leaf = there.detach().requires_grad_()
        other(leaf)[0].backward(back)
        return leaf.grad

    return {"forward": (forward, torch_forward), "forward+backward": (both, torch_both)}


def alternate(ours, others, runs):
    """Seconds of `runs` calls of each, in turns.

    A turn begins with a call that is not counted: the other's threads still wait actively for work after its call, and
    the caches are full of its numbers.
    """
    times = [], []
    for _ in range(runs):
        for call, found in zip((ours, others), times, strict=True):
            call()
            began = time.perf_counter()
            call()
            found.append(time.perf_counter() - began)
    return times


def measure(units=(32, 128, 512), batches=(1, 32), runs=7, seconds=20.0, steps=None, cells=tuple(CELLS)):
    """`runs` at least; small points get more, as many as fit their share of `seconds`."""
    import torch

    torch.set_num_threads(THREADS)
    tt.set_num_threads(THREADS)
    points = [(c, d, n, b) for d in ("float32", "float64") for c in cells for n in units for b in batches]
    checks, rows = [], []
    for cell, dtype, n, batch in study.progress(points, "speed_cpu"):
        calls = pair(cell, dtype, n, batch, steps)
        ours, theirs = calls["forward+backward"][0]().input, calls["forward+backward"][1]().numpy()
        worst = np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))
        tolerance = 1e-12 if dtype == "float64" else 2e-5
        what = f"{cell} {dtype} N={n} B={batch}: gradient of the input, relative difference"
        checks.append(study.check(what, worst, 0, tolerance, why="the same function: PyTorch's answer"))
        for what, (mine, other) in calls.items():
            began = time.perf_counter()
            mine()
            other()
            share = seconds / (4 * len(points)) / (time.perf_counter() - began)
            found, compared = alternate(mine, other, int(np.clip(share, runs, 10 * runs)))
            row = {"cell": cell, "dtype": dtype, "N": n, "B": batch, "what": what, "runs": len(found)}
            row |= {"seconds": statistics.median(found), "torch_seconds": statistics.median(compared)}
            rows.append(row | {"ratio": row["torch_seconds"] / row["seconds"]})
    environment = {"torch": torch.__version__, "threads": THREADS, "processors": os.cpu_count()}
    environment |= {"OPENBLAS_NUM_THREADS": os.environ["OPENBLAS_NUM_THREADS"], "processor": processor()}
    slowest = min(rows, key=lambda row: row["ratio"])
    data = {
        "environment": environment,
        "points": len(rows),
        "faster": sum(row["ratio"] >= 1 for row in rows),
        "slowest": slowest,
    }
    return {
        "checks": checks,
        "seeds": {"weights, input": SEED},
        "data": data | {f"row {i}": row for i, row in enumerate(rows)},
    }


def processor():
    """The name of the processor, where Linux says it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    except OSError:
        return "unknown"


def rows_of(result):
    return [value for key, value in result["data"].items() if key.startswith("row ")]


def select(rows, dtype, what, cell):
    return [row for row in rows if (row["dtype"], row["what"], row["cell"]) == (dtype, what, cell)]


def table(result):
    """Ratios torch / throughtime as text: a line per cell, precision and task, a column per size."""
    rows = rows_of(result)
    sizes = sorted({(row["N"], row["B"]) for row in rows})
    lines = [f"{'torch / throughtime':36}" + "".join(f"{f'{n},{b}':>9}" for n, b in sizes) + "   (N,B)"]
    for dtype in ("float32", "float64"):
        for what in ("forward", "forward+backward"):
            for cell in CELLS:
                found = {
                    (r["N"], r["B"]): r["ratio"]
                    for r in rows
                    if (r["dtype"], r["what"], r["cell"]) == (dtype, what, cell)
                }
                if found:
                    lines.append(f"{cell:6}{dtype:10}{what:20}" + "".join(f"{found[size]:9.2f}" for size in sizes))
    faster, slowest = result["data"]["faster"], result["data"]["slowest"]["ratio"]
    lines.append(f"at least as fast as torch at {faster} of {len(rows)} points; smallest ratio {slowest:.2f}")
    return "\n".join(lines)


def draw(result):
    rows, plots = rows_of(result), tt.plots
    sizes = sorted({(row["N"], row["B"]) for row in rows})
    fig, axes = study.figure(1, 2, height=3.2, sharey=True)
    for ax, dtype in zip(axes, ("float32", "float64"), strict=True):
        ax.axhline(1.0, color="0.3", linewidth=1.0)
        for i, cell in enumerate(CELLS):
            for what, fill, shift in (("forward", "none", -0.1), ("forward+backward", plots.COLOURS[i + 1], 0.1)):
                found = select(rows, dtype, what, cell)
                x = [sizes.index((row["N"], row["B"])) + 0.26 * (i - 1) + shift * 0.6 for row in found]
                ax.plot(
                    x,
                    [row["ratio"] for row in found],
                    plots.MARKERS[i],
                    color=plots.COLOURS[i + 1],
                    markerfacecolor=fill,
                    markersize=4.2,
                    label=f"{CELLS[cell]}, {what}",
                )
        ax.set_yscale("log")
        ax.set_xticks(range(len(sizes)), [f"{n}\n{b}" for n, b in sizes])
        ax.set_xlabel("units $N$ (above), sequences $B$ (below)")
        ax.set_title(dtype)
    ticks = [t for t in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if axes[0].get_ylim()[0] <= t <= axes[0].get_ylim()[1]]
    axes[0].set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes[0].minorticks_off()
    axes[0].set_ylabel("time of PyTorch / time of throughtime")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.needs("torch")
    study.run(globals(), epilogue=table)
