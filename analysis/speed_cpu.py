"""How fast is it on a CPU beside PyTorch, JAX and a NumPy loop, and how near to what the machine can do?

Forward: `net.unroll(x)`; forward + backward: all gradients, of the input too. Peers: PyTorch's module (under no_grad
for forward), one step of it compiled by torch.compile in a loop, JAX's lax.scan under jit, a plain NumPy loop; peers
that are not installed are left out. The same weights, input and threads (THROUGHTIME_THREADS, by default one per
processor; nothing else is set). All sides take turns in one process, the NumPy loop after all others, as its threads
spin on; several processes one after another. The loop and torch.compile in the first process only, at T = 50 (of the
latter compiling takes half a minute a point), and so are points of more than 10¹⁰ operations.
Ratio = time of a peer / time of throughtime: above 1 throughtime is faster; with its spread, from the lowest quartile
of a process's turns to the highest. N units, B sequences, T steps, I = 32 inputs (64 for N ≥ 128).

Share = bound / time; the bound is the sum of the products at the matrix peak, where it takes longer the recurrent
weights read once a step from the caches, the pointwise functions, each at the best rate measured in the same process,
and a call that has nothing to do. `--full`: the whole grid, hours.
"""

import os

# Before NumPy is imported: what OpenBLAS takes by itself, where the other studies hold it to one thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("THROUGHTIME_THREADS", str(len(os.sched_getaffinity(0)))))

import sys
from pathlib import Path

import _bench as bench
import _bench_peers as peers
import _heat as heat
import _kept
import _machine
import _study as study
import _workers
import numpy as np
from matplotlib import colors

CELLS = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}
PRECISIONS = ("float32", "float64")
PASSES = ("forward", "forward+backward")
GRID = {"units": [16, 48, 100, 128, 200, 256, 384, 512, 1024], "batches": [1, 3, 8, 20, 32, 64], "steps": [50, 200]}
SIZES = {
    "units": [16, 100, 384], "batches": [1, 8, 32], "steps": [50], "processes": 2, "seconds": 60.0,
    "compiled": [[100, 8]],
}  # fmt: skip
FULL = GRID | {"processes": 3, "seconds": 3600.0, "compiled": [[16, 1], [16, 32], [128, 1], [128, 32], [512, 32]]}
SMALL = {
    "units": [8, 9], "batches": [1, 2], "steps": [5], "processes": 1, "seconds": 0.01, "settle": 0.0,
    "cells": ["tanh", "lstm"], "asked": ["torch", "numpy"],
}  # fmt: skip
RESUMES = "kept"
PATIENCE = 900.0  # seconds for a point
HEAVY = 1e10  # multiplications and additions: from here on, a tenth of a second or more, the first process only
GOALS = {"share at N ≥ 256, B ≥ 32": 0.85, "share at B = 1": 0.80, "share elsewhere above 100 µs": 0.60}
COLUMNS = ["cell", "dtype", "N", "B", "T", "what", "seconds", "between", "bound", "share", "limit"]


def points(units, batches, steps, cells=tuple(CELLS), dtypes=PRECISIONS):
    """Short sequences first."""
    every = bench.grid(cell=cells, dtype=dtypes, T=steps, N=units, B=batches)
    return sorted(every, key=lambda point: point["T"])


def inputs(units):
    return 64 if units >= 128 else 32


def products(point):
    """Multiplications and additions of the forward pass."""
    return 2 * bench.GATES[point["cell"]] * point["N"] * (point["N"] + inputs(point["N"])) * point["B"] * point["T"]


def compiles(point, compiled):
    """torch.compile takes its turn here."""
    return [point["N"], point["B"]] in [list(size) for size in compiled] and point["dtype"] == "float32"


def sides(point, process, asked, compiled):
    """The peers that take part."""
    rare = {"numpy": point["T"] <= 50, "compiled": point["T"] <= 50 and compiles(point, compiled)}
    return [name for name in asked if name not in rare or (process == 0 and rare[name])]


def plan(processes, seconds, asked, compiled, cells=tuple(CELLS), dtypes=PRECISIONS, settle=bench.SETTLE, **grid):
    """Pieces (key, function, arguments) of each process."""
    every = points(cells=cells, dtypes=dtypes, **grid)
    share = seconds / (processes * len(every) * len(PASSES))
    for process in range(processes):
        pieces = [(f"{process} rates", "rates", {"cells": list(cells), "dtypes": list(dtypes)})]
        for point in every if process == 0 else [point for point in every if products(point) < HEAVY]:
            more = {"I": inputs(point["N"]), "peers_asked": sides(point, process, asked, compiled), "seconds": share}
            more |= {"settle": settle}
            pieces.append((f"{process} {' '.join(map(str, point.values()))}", "point", point | more))
        yield pieces


def about(processes=1, seconds=60.0, compiled=(), asked=None, **grid):
    """Seconds: the turns, compiling, and the large points, whose few turns take more than their share."""
    asked = [name for name in asked or peers.PEERS if peers.there_is(name)]
    speed = bench.peak("float32", 0.05) / 2  # what the sides reach, by and large
    work = 0.0
    for process, pieces in enumerate(plan(processes, seconds, asked, compiled, **grid)):
        for _, function, a in pieces:
            if function == "point":
                turn = 2 * (1 + len(a["peers_asked"])) * 4 * products(a) * np.dtype(a["dtype"]).itemsize / 4 / speed
                settling = 1.25 * bench.SETTLE * (1 + len(a["peers_asked"]))
                work += 2 * max(a["seconds"], 3 * settling, turn if turn > 2 else 1.5 * turn) + 0.1
                work += 1.0 * ("jax" in a["peers_asked"]) + 25.0 * ("compiled" in a["peers_asked"]) * (process == 0)
    return work + 8.0 * processes


def measure(
    units=(16,), batches=(1,), steps=(50,), processes=1, seconds=1.0, cells=tuple(CELLS), dtypes=PRECISIONS,
    compiled=(), asked=tuple(peers.PEERS), settle=bench.SETTLE, folder=None,
):  # fmt: skip
    """`folder` keeps what was measured; each process has its share of the seconds, each point three turns or two."""
    asked = [name for name in asked if peers.there_is(name)]
    grid = {"units": units, "batches": batches, "steps": steps, "cells": cells, "dtypes": dtypes, "settle": settle}
    pieces = list(plan(processes, seconds, asked, compiled, **grid))
    head = {"machine": _machine.name(), "threads": bench.threads(), "versions": versions(), "asked": asked}
    head |= {"code": _kept.code(Path(__file__)), "grid": grid, "seconds": seconds}
    record = _workers.Record(None if folder is None else Path(folder) / "points.jsonl", head)
    with study.progress(None, "points", total=sum(map(len, pieces))) as bar:
        for own in pieces:
            # A process that goes on measures its rates again: they are its own.
            left = [piece for piece in own if piece[0] not in record.results]
            bar.update(len(own) - len(left))
            if left and left[0][1] != "rates":
                left.insert(0, own[0])
            for key, result in workers(left):
                record.add(key, result)
                bar.update()
    return result_of(record.results, pieces)


def workers(pieces):
    """(key, result) of pieces, one after another in a process of their own."""
    return _workers.run(pieces, "_bench_pieces", workers=1, patience=PATIENCE)


def versions():
    """Of the peers."""
    import importlib.metadata

    found = {}
    for package in ("torch", "jax", "numpy", "numba"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def result_of(results, pieces):
    rows, worst, missing, checks = [], {}, {}, []
    keys = {}  # point -> its key in each process
    for process, own in enumerate(pieces):
        for key, function, a in own:
            if "error" in results.get(key, {}):
                why = "a point that ended in an error"
                checks.append(study.check(f"{key}: {results[key]['error']}", np.nan, 0, 0, why=why))
            elif function == "point" and key in results:
                keys.setdefault(tuple(a[name] for name in COLUMNS[:5]), []).append((process, key, a["I"]))
    for point, each in keys.items():
        about_it = dict(zip(COLUMNS, point, strict=False))
        for _, key, _ in each:
            missing |= results[key]["missing"]
            for name, off in results[key]["off"].items():
                place = (about_it["cell"], about_it["dtype"], name)
                worst[place] = max(worst.get(place, 0.0), off)
        rows += [
            row_of(about_it, what, [(results[key], results[f"{p} rates"], i) for p, key, i in each]) for what in PASSES
        ]
    for (cell, dtype, name), off in worst.items():
        what = (
            f"{cell} {dtype}: gradient of the input at all points, largest relative difference from {peers.PEERS[name]}"
        )
        tolerance = 1e-12 if dtype == "float64" else 2e-5
        checks.append(study.check(what, off, 0, tolerance, why="the same function: the peer's answer"))
    rates = {name: results.get(f"{p} rates", {}).get("rates") for p, name in enumerate(["first", "second", "third"])}
    environment = _machine.machine() | versions() | {"threads": bench.threads(), "missing": missing}
    environment |= {"OPENBLAS_NUM_THREADS": os.environ["OPENBLAS_NUM_THREADS"]}
    data = {"environment": environment, "rates": {k: v for k, v in rates.items() if v}} | summary(rows)
    named = [name for name in peers.PEERS if any(name in row for row in rows)]
    data["columns"] = COLUMNS + [f"{name}{part}" for name in named for part in ("", " low", " high")]
    for i, row in enumerate(rows):
        data[f"row {i}"] = study.plain([row.get(name) for name in data["columns"]], 4)
    return {"checks": checks, "seeds": {"weights, input": peers.SEED}, "data": data}


def row_of(point, what, each):
    """One line of the results of all processes: [(result, rates, inputs), ...]."""
    found = [result["passes"][what]["seconds"][0] for result, _, _ in each]
    bounds = []
    for result, rates, i in each:
        call = rates["calls"][f"{point['cell']} {point['dtype']}"][what]
        limit, parts = bench.bound(point | {"I": i}, what, rates["rates"][point["dtype"]], call)
        bounds.append((limit, limit / result["passes"][what]["seconds"][0], parts | {"call": call}))
    row = point | {"what": what, "seconds": bench.median(found), "between": max(found) / min(found)}
    row |= {"bound": bench.median([b[0] for b in bounds]), "share": bench.median([b[1] for b in bounds])}
    row["limit"] = max(bounds[0][2], key=bounds[0][2].get)
    for name in peers.PEERS:
        ratios = [
            result["passes"][what]["ratios"][result["sides"].index(name) - 1]
            for result, _, _ in each
            if name in result["sides"]
        ]
        if ratios:
            row[name], row[f"{name} low"], row[f"{name} high"] = bench.together(ratios)
    if others := [row[name] for name in peers.PEERS if name in row]:
        row["fastest"] = min(others)
    return row


def summary(rows):
    """points, faster and slowest are beside PyTorch."""
    beside = [row | {"ratio": row["torch"]} for row in rows if "torch" in row]
    slowest = min(beside, key=lambda row: row["ratio"], default=None)
    data = {"points": len(beside), "faster": sum(row["ratio"] >= 1 for row in beside), "slowest": slowest}
    data["peers"] = {}
    for name in peers.PEERS:
        own = [row for row in rows if name in row]
        if own:
            means = {c: bench.mean_ratio([r[name] for r in own if r["cell"] == c]) for c in CELLS}
            data["peers"][name] = {"points": len(own), "ahead": sum(row[name] >= 1 for row in own), "mean": means}
    data["one_speed"] = sum(row["between"] <= 1.1 for row in rows)  # of all processes
    data["ahead_of_all"] = sum(row.get("fastest", 0) >= 1 for row in rows)
    data["goals"] = {}
    for (name, least), own in zip(GOALS.items(), judged(rows), strict=True):
        shares = [row["share"] for row in own]
        data["goals"][name] = {"aim": least, "points": len(own), "reached": sum(share >= least for share in shares)}
        data["goals"][name]["median"] = bench.median(shares)
    return data


def judged(rows):
    """Rows of each goal of GOALS."""
    large = [row for row in rows if row["N"] >= 256 and row["B"] >= 32]
    single = [row for row in rows if row["B"] == 1]
    others = [row for row in rows if row not in large and row not in single and row["seconds"] > 1e-4]
    return large, single, others


def rows_of(result):
    """The rows as dicts."""
    names = result["data"]["columns"]
    rows = [dict(zip(names, value, strict=True)) for key, value in result["data"].items() if key.startswith("row ")]
    for row in rows:
        there = [row[name] for name in peers.PEERS if row.get(name) is not None]
        row["fastest"] = min(there) if there else None
    return rows


def table(result):
    """Ratios and shares as text: a line per cell, precision, pass and steps, a column per size; then the goals."""
    rows, data, lines = rows_of(result), result["data"], []
    sizes = sorted({(row["N"], row["B"]) for row in rows})
    keys = list(dict.fromkeys((row["cell"], row["dtype"], row["T"], row["what"]) for row in rows))
    for name, title in [*peers.PEERS.items(), ("share", "share of the bound reached, %")]:
        if all(row.get(name) is None for row in rows):
            continue
        lines.append(title if name == "share" else f"{title} / throughtime")
        for start in range(0, len(sizes), 18):
            part = sizes[start : start + 18]
            lines.append(f"{'(N,B)':38}" + "".join(f"{f'{n},{b}':>8}" for n, b in part))
            for key in keys:
                own = {(r["N"], r["B"]): r for r in rows if (r["cell"], r["dtype"], r["T"], r["what"]) == key}
                texts = [cell_of(own.get(size, {}).get(name), name) for size in part]
                if any(texts):
                    head = f"{key[0]:6}{key[1]:9}T={key[2]:<5}{key[3]:17}"
                    lines.append(f"{head:38}" + "".join(f"{text:>8}" for text in texts))
    for name, found in data["peers"].items():
        means = ", ".join(f"{CELLS[cell]} {mean:.2f}" for cell, mean in found["mean"].items() if mean)
        lines.append(f"ahead of {peers.PEERS[name]} at {found['ahead']} of {found['points']} points; mean {means}")
    lines.append(f"ahead of every peer at {data['ahead_of_all']} of {len(rows)} points")
    lines.append(f"processes within 10 % of each other at {data['one_speed']} of {len(rows)} points")
    for name, found in data["goals"].items():
        if found["points"]:
            lines.append(
                f"{name}: at least {found['aim']:.0%} at {found['reached']} of {found['points']}"
                f" points; median {found['median']:.0%}"
            )
    lines += [f"{peers.PEERS[name]} left out: {why}" for name, why in data["environment"]["missing"].items()]
    return "\n".join(lines)


def cell_of(value, name):
    if value is None:
        return ""
    return heat.percent(value) if name == "share" else f"{value:.2f}"


def panels(rows):
    """A panel per cell, pass and precision, precisions side by side; of several T the smaller value."""
    for cell, name in CELLS.items():
        for what in PASSES:
            for dtype in PRECISIONS:
                own = [row for row in rows if (row["cell"], row["what"], row["dtype"]) == (cell, what, dtype)]
                yield f"{name} {dtype}, {'forward' if what == 'forward' else 'both passes'}", own


def draw(result):
    """Against the fastest peer."""
    there = ", ".join(peers.PEERS[name] for name in result["data"]["peers"])
    title = f"time of the fastest peer / time of throughtime;\npeers: {there}\n{steps_of(result)}"
    return heat.maps(panels(rows_of(result)), "fastest", title)


def steps_of(result):
    steps = sorted({row["T"] for row in rows_of(result)})
    least = "the smaller of " if len(steps) > 1 else ""
    return f"{least}$T$ = {' and '.join(map(str, steps))}; bold: below 1"


def pictures(result):
    """Against each peer, and the share of the bound."""
    rows, found = rows_of(result), {}
    for name in result["data"]["peers"]:
        own = [row for row in rows if row.get(name) is not None]
        title = f"time of {peers.PEERS[name]} / time of throughtime\n{steps_of(result)}"
        found[f"_{name}"] = heat.maps(panels(own), name, title)
    title = f"share of the bound reached, %\n{steps_of(result).replace('below 1', 'below 60')}"
    look = {"norm": colors.Normalize(0, 1.2), "cmap": heat.SHARE_MAP, "text": heat.percent, "least": 0.6}
    return found | {"_share": heat.maps(panels(rows), "share", title, **look)}


if __name__ == "__main__":
    if not peers.there_is("torch"):
        print("speed_cpu: PyTorch is not installed, and left out", file=sys.stderr)
    study.run(globals(), epilogue=table)
