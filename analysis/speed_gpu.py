"""Is it right and how fast is it on a GPU? Checks first, then times; needs a CUDA device, and says so without one.

First (`_gpu_first.py`): what there is, every cut beside references of the CPU, microseconds per step of the kernels
alone, what the host and an allocation take. Only if those numbers are right it goes on to the table, and then to
compute-sanitizer.

Right: every cell and precision at several sizes against the CPU engine on new random input, with freed memory full of
NaN before; the same bits in a second run; jvp and vjp adjoint. Fast: N units, B sequences, T = 1024, I = N inputs,
input already on the device; medians of times between events on the device, the sides in turns, after a tenth of a
second of the same work, while nothing else runs on device and host. Forward: `net.unroll(x)` against torch.nn in eval
mode under no_grad; forward + backward: all gradients, of the input too. TF32 is off; on, it is timed for information.
Floor: what it takes at least, the larger of the weights read once and of all multiply-adds at the measured rates of a
copy and of a large product. Spectra of many networks against torch's batched product and QR at each step, and a
Cholesky QR, twice, in torch; and against the CPU engine (a few networks, scaled to all).

Every result is printed as it comes, and kept in speed_gpu-DEVICE.jsonl in the folder of `--out`: after an interruption,
or where the time was up, the same command goes on where it stopped. Without that file, or with other code, it begins
anew. `--first` stops before the table. Nothing has to be installed: `PYTHONPATH=src python3 analysis/speed_gpu.py`, 560
seconds at most, where there are numba, numba-cuda, scipy, matplotlib, tqdm and threadpoolctl; PyTorch is the peer.
"""

import os
import re
import secrets
import sys
import time

import _gpu_device
import _gpu_first
import _gpu_pieces
import _study as study
import _workers
import numpy as np

import throughtime as tt
from throughtime.cells import CELLS

WORKERS = len(os.sched_getaffinity(0))  # compilers; while something is timed they wait
PRECISIONS = ("float32", "float64")
# (T, B, N): the least; one block; one block for each of many sequences; a grid that keeps its weights; that streams
# them; long.
CORRECT = [(1, 1, 1), (6, 3, 17), (9, 200, 64), (7, 5, 300), (5, 40, 700), (400, 2, 96)]
SIZES = {
    "units": [32, 64, 128, 256, 512, 1024], "batches": [1, 16, 64], "steps": 1024, "correct": CORRECT,
    "families": [(1024, 64, 48, 64), (64, 256, 48, 16)], "jacobians": [(64, 64), (256, 16)],
    "product": 8192, "megabytes": 1024, "runs": (3, 15), "workers": WORKERS, "seconds": 360.0, "first": 150.0,
}  # fmt: skip
FULL = SIZES
# A rehearsal with the CPU engine in the GPU's place.
SMALL = {
    "device": "cpu",
    "units": [4],
    "batches": [2],
    "steps": 5,
    "correct": [(2, 2, 3)],
    "families": [(2, 4, 4, 1)],
    "jacobians": [(3, 2)],
    "product": 16,
    "megabytes": 1,
    "runs": (1, 1),
    "workers": 1,
    "seconds": 600.0,
    "first": 600.0,
    "cuts": [],
    "cells": ["tanh"],
}
RESUMES = True
PATIENCE = 60.0  # seconds for a piece
EFFORT = ("runs", "seconds")  # what does not change what is measured
LYAPUNOV_GOAL = 20.0
TABLES = ("lyapunov", "host", "jacobians", "cudnn", "machine", "right", "pace", "queueing", "allocation", "sanitized")


def goal(dtype, units, batch):
    """The least ratio cuDNN / throughtime aimed at."""
    ahead = units <= 512 and batch <= 16 if dtype == "float32" else units <= 256
    return 1.0 if ahead else 1 / 1.3


def plan(sizes, device, seed):
    """Pieces (key, function, arguments): what is checked, what is timed after, and what needs a quiet host."""
    cells, first, then, last = sizes.get("cells", tuple(CELLS)), [], [], []

    def piece(stage, function, **arguments):
        key = " ".join([function, *(f"{name}={value}" for name, value in arguments.items() if name not in EFFORT)])
        if function != "peak":
            arguments["seed"] = seed
        stage.append((key, function, {"device": device, **arguments}))

    timed = [cell for cell in cells if cell in _gpu_pieces.CUDNN]
    for steps, batch, units in sizes["correct"]:
        for cell in timed:  # the others are tests/gpu's
            for dtype in PRECISIONS:
                piece(first, "correct", cell=cell, dtype=dtype, steps=steps, batch=batch, units=units)
    piece(then, "peak", size=sizes["product"], megabytes=sizes["megabytes"])
    runs = sizes["runs"]
    points = [
        {"cell": cell, "dtype": dtype, "units": units, "batch": batch, "steps": sizes["steps"]}
        for units in sizes["units"]
        for batch in sizes["batches"]
        for cell in timed
        for dtype in PRECISIONS
    ]
    # LSTM in float32 before all else, and spectra before sequences in float64, in case the time is up before the end.
    points.sort(key=lambda point: (point["dtype"] != "float32", point["cell"] != "lstm"))
    for point in points:
        piece(first, "kernels", **{name: value for name, value in point.items() if name != "steps"})
    for place, point in enumerate(points):
        if place == len(points) // 2:
            for networks, units, steps, few in sizes["families"]:
                for dtype in PRECISIONS:
                    size = {"networks": networks, "units": units, "dtype": dtype, "steps": steps, "few": few}
                    piece(then, "lyapunov", runs=runs, **size)
                    piece(last, "host", runs=(1, 3), **size)
            for units, batch in sizes["jacobians"]:
                piece(then, "jacobians", units=units, batch=batch, runs=runs)
        # Their share of a third of the time: the rest goes to compilers.
        piece(then, "cudnn", runs=runs, seconds=round(0.3 * sizes["seconds"] / len(points), 2), **point)
    return first, then, last


def measure(device="cuda", folder=None, **sizes):
    """What of the plan fits into the time, and what was measured before; `folder` keeps it."""
    (_, head), *_ = _workers.run([("about", "about", {"device": device})], "_gpu_device", workers=1)
    if "error" in head:
        raise RuntimeError(f"the device does not answer: {head['error']}")
    head |= {"versions": study.versions(), "seed": secrets.randbits(32), "date": time.strftime("%Y-%m-%d")}
    name = re.sub(r"\W+", "-", head["device"]).strip("-")
    path = None if folder is None else folder / f"speed_gpu-{name}.jsonl"
    record = _workers.Record(path, head, unlike=("seed", "date"))
    first = _gpu_first.plan(device, sizes["runs"], sizes.get("cuts", tuple(_gpu_first.CUTS)))
    right = [key for key, function, _ in first[0] if function == "right"]
    stages = plan(sizes, device, record.head["seed"])
    keys = [key for stage in [*first, *stages] for key, _, _ in stage]
    workers = sizes["workers"]
    with study.progress(None, "pieces", total=len(keys)) as bar:
        bar.update(sum(key in record.results for key in keys))

        def done(stage, module, until, **options):
            pieces = [piece for piece in stage if piece[0] not in record.results]
            for key, result in _workers.run(pieces, module, until=until, patience=PATIENCE, **options):
                record.add(key, result)
                bar.write(said(key, result))
                bar.update()

        allowed = sizes["first"] - PATIENCE  # seconds in which a piece of the first stage may be begun
        began = time.monotonic()
        done(first[0], "_gpu_first", began + allowed, workers=workers, fresh=True)
        allowed -= time.monotonic() - began
        until = time.monotonic() + sizes["seconds"] - PATIENCE
        if not all(key in record.results and not _workers.failed(record.results[key]) for key in right):
            bar.write("the first numbers are wrong: the table is not measured")
            stages = ()
        for stage in stages[:-1]:
            done(stage, "_gpu_pieces", until, workers=workers)
        done(first[1], "_gpu_first", time.monotonic() + allowed, workers=workers, fresh=True)
        for stage in stages[-1:]:  # on a host that does nothing else
            done(stage, "_gpu_pieces", until, workers=1)
    return result_of(record.head, keys, record.results, sizes["steps"])


def said(key, result):
    """One result as it comes, in a line or few."""
    if "error" in result:
        return f"{key}: {result['error']}"
    wrong = [item for item in result.get("checks", []) if not item["pass"]]
    lines = [f"{key}: {len(result['checks'])} checks, {len(wrong)} failed"] if result.get("checks") else []
    lines += [f"  FAILED {item['name']}: {item['measured']:.3g}" for item in wrong]
    numbers = {name: value for name, value in result.items() if name not in ("checks", "rows")}
    for row in [*result.get("rows", []), *([numbers] if numbers else [])]:
        texts = (
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
        )
        lines.append(f"{key}: {', '.join(texts)}")
    return "\n".join(lines) or f"{key}: done"


def result_of(head, keys, results, steps):
    """One result of all the pieces: what failed are checks that fail, what is left is counted."""
    checks, tables = [], {}
    for key in keys:
        found = results.get(key, {})
        checks += found.get("checks", [])
        if "error" in found:
            checks.append(study.check(f"{key}: {found['error']}", np.nan, 0, 0, why="a piece that ended in an error"))
        tables.setdefault(key.split()[0], []).extend(found.get("rows", []))
    left = sum(key not in results for key in keys)
    rates = next((results[key] for key in keys if key.split()[0] == "peak" and key in results), {})
    for row in tables.get("cudnn", []):
        row["floor"] = floor(row, rates, steps)
        row["goal"] = goal(row["dtype"], row["N"], row["B"])
        row["ratio"] = row["cudnn"] / row["seconds"] if "cudnn" in row else None
        row["ratio_tf32"] = row["cudnn_tf32"] / row["seconds"] if "cudnn_tf32" in row else None
    for row in [*tables.get("lyapunov", []), *tables.get("jacobians", [])]:
        row["ratio"] = row["torch"] / row["seconds"] if "torch" in row else None
        if "torch_cholesky" in row:
            row["ratio_cholesky"] = row["torch_cholesky"] / row["seconds"]
    for row in tables.get("lyapunov", []):
        same = [r for r in tables.get("host", []) if all(r[name] == row[name] for name in ("networks", "dtype", "N"))]
        row |= {"goal": LYAPUNOV_GOAL, "ratio_cpu": same[0]["cpu"] / row["seconds"] if same else None}
    rates = {name: rate for name, rate in rates.items() if name.endswith("second")}
    data = {"environment": head, "rates": rates, "left": left}
    for name in TABLES:
        data |= {f"{name} {i}": row for i, row in enumerate(tables.get(name, []))}
    return {"checks": checks, "seeds": {"weights, input": head["seed"]}, "data": data}


def floor(row, rates, steps):
    """Seconds that it takes at least, or None: backward needs every product twice more, and the weights once more."""
    products = rates.get(f"{row['dtype']}_per_second")
    if products is None:
        return None
    weights = 2 * _gpu_pieces.GATES[row["cell"]] * row["N"] ** 2
    passes, reads = (3, 2) if row["what"] == "forward+backward" else (1, 1)
    read = reads * weights * np.dtype(row["dtype"]).itemsize / rates["bytes_per_second"]
    return max(read, passes * weights * row["B"] * steps / products)


def rows_of(result, name):
    return [row for key, row in result["data"].items() if key.rpartition(" ")[0] == name]


def times(value):
    return "     -" if value is None else f"{value:6.2f}" if value < 100 else f"{value:6.0f}"


def table(result):
    """All times and ratios as text; what misses its goal is marked with !, and a failed check marks the head."""
    data, lines = result["data"], []
    about = data["environment"]
    wrong = [item["name"] for item in result["checks"] if not item["pass"]]
    versions = ", ".join(f"{name} {about[name]}" for name in ("numba-cuda", "torch", "cudnn") if about.get(name))
    lines.append(f"{about['device']}, driver {about['driver']}, {about['date']}; {versions}")
    if wrong:
        lines.append(f"NOT TO BE TRUSTED: {len(wrong)} of {len(result['checks'])} checks failed, first: {wrong[0]}")
    if data["left"]:
        lines.append(f"UNFINISHED: {data['left']} pieces left; the same command goes on")
    rows = rows_of(result, "cudnn")
    batches = sorted({row["B"] for row in rows})
    head = "  ms    ratio  TF32   floor "
    lines.append("I = N inputs; ratio: cuDNN / throughtime; TF32: the same, cuDNN's TF32 on; floor: time / floor")
    lines.append(" " * 39 + " | ".join(f"{f'B={batch}':^{len(head)}}" for batch in batches))
    lines.append(f"{'':39}" + " | ".join(head for _ in batches))
    for dtype, what, cell, units in dict.fromkeys(
        (dtype, what, row["cell"], row["N"])
        for dtype in PRECISIONS
        for what in ("forward", "forward+backward")
        for row in sorted(rows, key=lambda row: (list(_gpu_pieces.CUDNN).index(row["cell"]), row["N"]))
        if (row["dtype"], row["what"]) == (dtype, what)
    ):
        cells = []
        for batch in batches:
            found = [r for r in rows if (r["dtype"], r["what"], r["cell"], r["N"]) == (dtype, what, cell, units)]
            row = next((r for r in found if r["B"] == batch), None)
            if row is None:
                cells.append(" " * len(head))
                continue
            over = None if row["floor"] is None else row["seconds"] / row["floor"]
            mark = "!" if row["ratio"] is not None and row["ratio"] < row["goal"] else " "
            texts = (times(1e3 * row["seconds"]), times(row["ratio"]) + mark, times(row["ratio_tf32"]), times(over))
            cells.append(f"{' '.join(texts):{len(head)}}")
        lines.append(f"{cell:6}{dtype:9}{what:17}{f'N={units}':7}" + " | ".join(cells))
    compared = [row for row in rows if row["ratio"] is not None]
    for what, wanted in (("ahead of cuDNN", 1.0), ("within 1.3 of cuDNN", 1 / 1.3)):
        there = [row for row in compared if row["goal"] == wanted]
        if there:
            met, least = sum(row["ratio"] >= wanted for row in there), min(row["ratio"] for row in there)
            lines.append(f"goal {what}: met at {met} of {len(there)} points; smallest ratio {least:.2f}")
    for row in rows_of(result, "lyapunov"):
        mark = "!" if row["ratio"] is not None and row["ratio"] < row["goal"] else " "
        what = f"spectra of {row['networks']} networks N={row['N']} {row['dtype']}"
        lines.append(
            f"{what}: {1e3 * row['seconds']:.3g} ms a step, QR every {row['interval']};"
            f" torch {times(row['ratio'])}{mark} times as long (goal {row['goal']:g}), with Cholesky"
            f"{times(row.get('ratio_cholesky'))}, CPU{times(row['ratio_cpu'])}"
        )
    for row in rows_of(result, "jacobians"):
        what = f"Jacobians of an LSTM step N={row['N']} B={row['B']}"
        lines.append(f"{what}: {1e3 * row['seconds']:.3g} ms; torch.func.jacrev {times(row['ratio'])} times as long")
    if not compared:
        lines.append("against torch: skipped, because torch with CUDA is not installed")
    return "\n".join(lines)


def draw(result):
    """Ratio against N, a panel per cell and precision, at the width of a column; below, spectra and Jacobians."""
    plots, rows = tt.plots, rows_of(result, "cudnn")
    names = [f"{dtype} {cell}" for cell in _gpu_pieces.CUDNN for dtype in PRECISIONS]
    mosaic = [names[i : i + 2] for i in (0, 2, 4)] + [["others"] * 2]
    fig, axes = study.figure(mosaic=mosaic, width=3.5, height=7.0, height_ratios=[1, 1, 1, 1.4])
    batches, sizes = sorted({row["B"] for row in rows}), sorted({row["N"] for row in rows})
    top = axes[names[0]]
    for i, name in enumerate(names):
        ax, (dtype, cell) = axes[name], name.split()
        if ax is not top:
            ax.sharex(top)
            ax.sharey(top)
        ax.axhline(1.0, color="0.3", linewidth=0.8)
        for j, batch in enumerate(batches):
            for what, dashes in (("forward", ":"), ("forward+backward", "-")):
                found = [
                    r for r in rows
                    if (r["dtype"], r["cell"], r["B"], r["what"]) == (dtype, cell, batch, what) and r["ratio"]
                ]  # fmt: skip
                look = plots.style(j) | {"linestyle": dashes}
                label = f"$B={batch}$" if dashes == "-" else None
                ax.plot([r["N"] for r in found], [r["ratio"] for r in found], "o", markersize=2.5, label=label, **look)
        if not any(r["ratio"] for r in rows if (r["dtype"], r["cell"]) == (dtype, cell)):
            ax.text(0.5, 0.5, "not measured yet", transform=ax.transAxes, ha="center", va="center", color="0.4")
        ax.text(0.04, 0.97, f"({'abcdef'[i]})  {_gpu_pieces.CUDNN[cell]}, {dtype}", transform=ax.transAxes, va="top")
        ax.tick_params(labelbottom=i > 3, labelleft=i % 2 == 0)
        if i > 3:
            ax.set_xlabel("units $N$")
    top.set(xscale="log", yscale="log")
    low, high = top.get_ylim()
    top.set_ylim(low, high * (high / low) ** 0.2)  # room for the text
    top.set_xticks(sizes[::2], [f"{n}" for n in sizes[::2]])
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low <= t <= high]
    top.set_yticks(ticks, [f"{t:g}" for t in ticks])
    top.minorticks_off()
    axes[names[2]].set_ylabel("time of cuDNN / time of throughtime")
    if batches:
        labels = axes[names[1]].get_legend_handles_labels()
        fig.legend(*labels, loc="outside upper center", ncols=3, title="dotted: forward; line: with backward")
    bars, ax = [], axes["others"]
    for row in rows_of(result, "lyapunov"):
        label = f"{row['networks']} spectra\n$N={row['N']}$, {row['dtype']}"
        bars.append((label, row["ratio"], row["ratio_cpu"], row["goal"]))
    for row in rows_of(result, "jacobians"):
        bars.append((f"Jacobians\n$N={row['N']}$, {row['dtype']}", row["ratio"], None, None))
    kinds = [(1, 4, "torch on the GPU"), (2, 1, "CPU engine")]
    kinds = [kind for kind in kinds if any(bar[kind[0]] for bar in bars)]
    for k, (column, colour, label) in enumerate(kinds):
        shift, height = (0.0, 0.6) if len(kinds) == 1 else (0.4 * k - 0.2, 0.38)
        drawn = [(i + shift, bar[column]) for i, bar in enumerate(bars) if bar[column]]
        ax.barh([i for i, _ in drawn], [v for _, v in drawn], height=height, color=plots.COLOURS[colour], label=label)
        for i, bar in enumerate(bars):
            if bar[3] and column == 1:
                ends = [i + shift - height / 2, i + shift + height / 2]
                ax.plot([bar[3]] * 2, ends, color="0.1", linewidth=1.3)
    ax.set_yticks(range(len(bars)), [bar[0] for bar in bars], fontsize=6, linespacing=0.9)
    ax.set(xscale="log", xlabel="times as long; black line: goal")
    ax.invert_yaxis()
    ax.axvline(1.0, color="0.3", linewidth=0.8)
    if bars:
        fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    state = f", {result['data']['left']} pieces left" if result["data"]["left"] else ""
    ax.set_title(f"(g)  {result['data']['environment']['device']}{state}")
    return fig


if __name__ == "__main__":
    if reason := _gpu_device.missing():
        print(f"speed_gpu: skipped, because {reason}")
        sys.exit(0)
    if "--first" in sys.argv:
        sys.argv.remove("--first")
        SIZES["seconds"] = 0.0  # no piece of the table is begun
    study.run(globals(), epilogue=table)
