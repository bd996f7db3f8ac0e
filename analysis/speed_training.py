"""How many updates a second does training make beside PyTorch, everything included? Needs torch; without it, this says
so and ends.

An update: forward, loss, backward, norm of the gradient, a step of Adam, float32, from a batch that is there. "bytes":
embedding of 64, network, readout and softmax of 256, T = 100 steps of B = 32 sequences. "small bytes": the same with an
embedding of 16, T = 50, B = 16. "small": 8 numbers in, 8 classes at every step, T = 50, B = 16, where the fixed costs
of a call rule. PyTorch: nn.Embedding, nn.LSTM (GRU, RNN), nn.Linear, cross_entropy, torch.optim.Adam, zero_grad with
set_to_none, the loss read as a number; its default settings, as ours are: no thread is set anywhere.

Both in one process, taking turns, so that a busy machine hurts both; a turn begins with updates that are not counted,
for the other's threads still wait actively for work, and the caches are full of its numbers. Several processes, one
after another. Ratio = time of torch / time of throughtime, the median of the processes, with its spread, from the
lowest quartile of any process's turns to the highest: above 1 throughtime is faster. The goals
are 1, and 2 for "small". Share outside kernels: of an update's time, what is not spent in compiled loops.

Deviations: none; there is no paper.
"""

import statistics
import time

import _bench as bench
import _heat as heat
import _machine
import _study as study
import numpy as np
from matplotlib import colors

import throughtime as tt
from throughtime.engine.cpu import descent, threads

CELLS = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}
KINDS = {  # kind -> steps, sequences, embedding (0: numbers come in), tokens or numbers, classes
    "bytes": (100, 32, 64, 256, 256),
    "small": (50, 16, 0, 8, 8),
    "small bytes": (50, 16, 16, 256, 256),
}
GOALS = {"bytes": 1.0, "small": 2.0, "small bytes": 1.0}
POINTS = [
    *((cell, "bytes", n) for cell in ("lstm", "gru") for n in (128, 512)),
    *((cell, "small", n) for cell in ("lstm", "gru", "tanh") for n in (16, 32, 64)),
    *((cell, "small bytes", n) for cell in ("lstm", "gru") for n in (16, 64)),
]
SIZES = {"processes": 3, "seconds": 7.0, "points": POINTS}
FULL = {"processes": 10, "seconds": 60.0, "points": POINTS}
SMALL = {"processes": 0, "seconds": 0.01, "settle": 0.0, "points": [("tanh", "small", 8)]}
SEED = 1


def pair(cell, kind, units):
    """(update of ours, update of torch, (loss and gradient of both)) of the same model."""
    import torch

    steps, batch, size, inputs, classes = KINDS[kind]
    rng = np.random.default_rng(SEED)
    network = tt.Network(cell, size or inputs, units, dtype="float32", seed=rng)
    first = [tt.models.Embedding(inputs, size, dtype="float32", seed=rng)] if size else []
    model = tt.models.Chain([*first, network, tt.models.Readout(units, classes, dtype="float32", seed=rng)])
    recurrent = getattr(torch.nn, CELLS[cell])(size or inputs, units)
    theirs = torch.nn.Sequential(
        *([torch.nn.Embedding(inputs, size)] if size else []), recurrent, torch.nn.Linear(units, classes)
    )
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in model.state_dict().items()})
    rows = (steps, batch) if size else (steps, batch, inputs)
    x = rng.integers(0, inputs, rows) if size else rng.standard_normal(rows).astype("float32")
    targets = rng.integers(0, classes, (steps, batch))
    there, wanted = torch.from_numpy(x), torch.from_numpy(targets).reshape(-1)
    adam, other = tt.training.Adam(1e-3), torch.optim.Adam(theirs.parameters(), 1e-3)

    def update():
        value, gradient = model.value_and_gradient(x, targets, tt.training.cross_entropy)
        adam.step(model.flat, gradient)
        return value

    def torch_loss():
        other.zero_grad()
        h = there if not size else theirs[0](there)
        loss = torch.nn.functional.cross_entropy(theirs[-1](recurrent(h)[0]).reshape(-1, classes), wanted)
        loss.backward()
        return loss.item()

    def torch_update():
        value = torch_loss()
        other.step()
        return value

    value, gradient = model.value_and_gradient(x, targets, tt.training.cross_entropy)
    expected = torch_loss(), torch.cat([p.grad.reshape(-1) for p in theirs.parameters()]).numpy()
    off = abs(value / expected[0] - 1), np.linalg.norm(gradient - expected[1]) / np.linalg.norm(expected[1])
    return update, torch_update, off


def in_kernels(update, runs):
    """The share of an update's time that is not in compiled loops."""
    run, loops, spent = threads.run, descent.loops(), [0.0]

    def timed(function):
        def call(*given):
            began = time.perf_counter()
            try:
                return function(*given)
            finally:
                spent[0] += time.perf_counter() - began

        return call

    kept = dict(loops)
    threads.run = timed(run)
    loops.update({name: timed(function) for name, function in kept.items()})
    try:
        shares = []
        for _ in range(runs):
            spent[0], began = 0.0, time.perf_counter()
            update()
            shares.append(1 - spent[0] / (time.perf_counter() - began))
    finally:
        threads.run = run
        loops.update(kept)
    return statistics.median(shares)


def once(points, seconds, settle=bench.SETTLE):
    """All points in this process: a row for each."""
    rows = []
    for cell, kind, units in points:
        ours, theirs, off = pair(cell, kind, units)
        ours()  # compiles, or loads what is compiled
        theirs()
        found = bench.in_turns((ours, theirs), seconds / len(points), settle=settle)
        one = bench.compared(found)
        (mine, other), ((low, ratio, high),) = one["seconds"], one["ratios"]
        row = {"cell": cell, "kind": kind, "N": units, "runs": one["turns"], "seconds": mine, "torch_seconds": other}
        row |= {"ratio": ratio, "low": low, "high": high}
        rows.append(row | {"outside": in_kernels(ours, min(2 * one["turns"], 20)), "off": off})
    return rows


def in_process(number, points, seconds, settle):
    """The rows of one process; of number 0 this one."""
    return bench.elsewhere(once, points, seconds, settle) if number else once(points, seconds, settle)


def about(processes, seconds, points, settle=bench.SETTLE):
    """Seconds: three turns of each point at least, and ten to load and compile."""
    return max(processes, 1) * (10.0 + max(seconds, len(points) * 3 * 2.5 * settle))


def measure(processes=3, seconds=7.0, points=POINTS, settle=bench.SETTLE):
    import torch

    numbers = range(1, processes + 1) if processes else [0]
    found = [in_process(number, points, seconds, settle) for number in study.progress(numbers, "processes")]
    checks, rows = [], []
    for place, point in enumerate(points):
        each = [one[place] for one in found]
        what, why = " ".join(map(str, point)), "the same function: PyTorch's answer; as in speed_cpu, float32"
        value, gradient = (max(one["off"][k] for one in each) for k in range(2))
        checks.append(study.check(f"{what}: loss, relative difference", value, 0, 2e-5, why=why))
        checks.append(study.check(f"{what}: norm of the gradients' difference, relative", gradient, 0, 2e-5, why=why))
        row = {key: each[0][key] for key in ("cell", "kind", "N")} | {"goal": GOALS[point[1]]}
        row |= {key: statistics.median(one[key] for one in each) for key in ("seconds", "torch_seconds", "outside")}
        steps, batch = KINDS[point[1]][:2]
        row |= {"updates_per_second": 1 / row["seconds"], "steps_per_second": steps * batch / row["seconds"]}
        ratio, low, high = bench.together([(one["low"], one["ratio"], one["high"]) for one in each])
        rows.append(row | {"ratio": ratio, "low": low, "high": high, "ratios": [one["ratio"] for one in each]})
    environment = _machine.machine() | {"torch": torch.__version__, "threads": tt.get_num_threads()}
    environment["torch_threads"] = torch.get_num_threads()
    data = {"environment": environment, "reached": sum(row["ratio"] >= row["goal"] for row in rows), "of": len(rows)}
    return {
        "checks": checks,
        "seeds": {"weights, input": SEED},
        "data": data | {f"row {i}": row for i, row in enumerate(rows)},
    }


def rows_of(result):
    return [value for key, value in result["data"].items() if key.startswith("row ")]


def table(result):
    """A line per point."""
    lines = [
        f"{'':22}{'ratio':>7}{'in each process':>24}{'goal':>6}{'ms':>9}{'torch':>9}{'outside':>9}{'updates/s':>11}"
    ]
    for row in rows_of(result):
        each = " ".join(f"{ratio:.2f}" for ratio in row["ratios"][:4])
        name, times = f"{row['cell']} {row['kind']} {row['N']}", (1e3 * row["seconds"], 1e3 * row["torch_seconds"])
        lines.append(
            f"{name:22}{row['ratio']:7.2f}{each:>24}{row['goal']:6.0f}{times[0]:9.2f}{times[1]:9.2f}"
            f"{row['outside']:9.0%}{row['updates_per_second']:11.0f}"
        )
    lines.append(f"{result['data']['reached']} of {result['data']['of']} points reach their goal")
    return "\n".join(lines)


def draw(result):
    """Models in lines, cells in columns: the ratio, and what of an update is spent outside of compiled loops."""
    rows = rows_of(result)
    lines = list(dict.fromkeys((row["kind"], row["N"]) for row in rows))
    cells = [cell for cell in ("lstm", "gru", "tanh") if any(row["cell"] == cell for row in rows)]
    values = {key: np.full((len(lines), len(cells)), np.nan) for key in ("ratio", "outside", "goal")}
    for row in rows:
        for key, found in values.items():
            found[lines.index((row["kind"], row["N"])), cells.index(row["cell"])] = row[key]
    fig, axes = study.figure(1, 2, width=heat.WIDTH, height=1.35 + 0.15 * len(lines), sharey=True)
    names = [f"{kind}, $N$ = {n}" for kind, n in lines], [CELLS[cell] for cell in cells]
    image = heat.matrix(axes[0], values["ratio"], *names, least=values["goal"])
    look = {"norm": colors.Normalize(0, 1.2), "cmap": heat.SHARE_MAP, "text": heat.percent, "least": 0.0}
    heat.matrix(axes[1], values["outside"], *names, **look)
    axes[0].set_title("ratio", fontsize=7)
    axes[1].set_title("% outside", fontsize=7)
    for ax in axes:
        ax.set_xlabel("cell; bold: below its goal" if ax is axes[0] else "cell", fontsize=6)
    fig.suptitle(
        "an update: time of PyTorch / time of throughtime,\nand what of ours is outside compiled loops", fontsize=7
    )
    heat.ratio_bar(fig, image, list(axes))
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.needs("torch")
    study.run(globals(), epilogue=table)
