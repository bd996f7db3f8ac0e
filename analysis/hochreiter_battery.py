"""How many sequences until two far marks are remembered, by the LSTM of 1997, by that of today, and by a tanh network?

The settings of the paper's experiments 4 and 6a at T = 100: real numbers of which two are marked, to be added up, and
two symbols X or Y among others, of which the order is asked. The cell of 1997, without a forget gate:

    c' = c + i·g,  h' = o·tanh(c'/2),  i, o = σ(u),  g = 2 tanh(u/2)

A run ends when 2000 sequences in a row were right: off by less than .04 (adding), the softmax of the right class above
.7 (order), where each of the outputs is within .3 of what it should be. The paper needed 74 000 and 31 390 sequences.

The LSTM of today starts with the gates that Tallec & Ollivier give it for such a length (chrono).

Deviations from the paper: batches of 8 in place of 1, Adam at .01 with the norm clipped to 1 in place of plain steps,
the gradient not truncated at the gates, softmax with cross-entropy in place of 4 sigmoids with squared error, 4 cells
with gates of their own in place of 2 blocks of 2, biases everywhere, gates of the input start at −2, no mean training
error in the stopping rule. The rule and the 74 000 are from memory, 31 390 is from the notes of others.
Source: Hochreiter & Schmidhuber, Neural Computation 9, 1997; Gers, Schmidhuber & Cummins, ibid. 12, 2000 (forget gate);
Tallec & Ollivier 2018, arXiv:1804.11188.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import _study as study
import numpy as np
from matplotlib.ticker import NullFormatter

import throughtime as tt

SIZES = {"length": 100, "seeds": 3, "controls": 1, "batch": 8}
FULL = {"length": 100, "seeds": 10, "controls": 3, "batch": 8, "tasks": ("adding", "order", "order of 3")}
SMALL = {"length": 30, "seeds": 1, "controls": 1, "batch": 8, "tasks": ("order",)}
PAPER = {"adding": 74000, "order": 31390, "order of 3": 571100}  # sequences until solved
IN_A_ROW = 2000
TEST = 2560


MODELS = {"LSTM 1997": ("lstm1997", 4), "LSTM": ("lstm", 8), "tanh": ("tanh", 16)}  # cell, units


def task_of(name, length):
    if name == "adding":
        return tt.tasks.Adding(length=length, variant="hochreiter")
    return tt.tasks.TemporalOrder(length=length, marks=3 if name == "order of 3" else 2)


def model_of(name, task, seed):
    """A network and its readout; memory is what its first values give it, where they can."""
    cell, units = MODELS[name]
    init = tt.init.chrono(task.steps) if cell == "lstm" else "uniform"
    net = tt.Network(cell, task.inputs, units, init=init, seed=seed)
    if name == "LSTM 1997":
        net.parameters["bias_ih_l0"][:units] -= 2.0  # gates of the input are nearly shut
    return tt.models.Chain([net, tt.models.last, tt.models.Readout(units, task.outputs, seed=seed)])


def wrong(task, output, batch):
    """(B,) of True where the paper counts a sequence as wrong."""
    if not task.tokens:
        return task.wrong(output, batch)
    p = np.exp(output - output.max(axis=1, keepdims=True))
    return p[np.arange(len(p)), batch.targets] < 0.7 * p.sum(axis=1)


def seen(task, batch):
    """Its inputs as numbers."""
    return batch.one_hot(task.inputs).x if task.tokens else batch.x


def until_solved(name, task, seed, size, most):
    """One run: sequences until solved or None, the share wrong along it, and what the test says."""
    model, loss = model_of(name, task, seed), task.loss
    optimiser = tt.training.Adam(0.01, transforms=(tt.training.ClipNorm(1.0),))
    in_a_row, number, shares, began = 0, 0, [], time.perf_counter()
    for batch in task.batches(size, seed=1000 + seed):
        step = model.forward_backward(seen(task, batch), batch.targets, loss, batch.lengths)
        missed = np.flatnonzero(wrong(task, step.run.output, batch))  # before it learns from them
        optimiser.step(model.flat, step.gradient)
        in_a_row, number = in_a_row + size if not missed.size else size - 1 - missed[-1], number + size
        shares.append(missed.size / size)
        if in_a_row >= IN_A_ROW or number >= most:
            break
    test = task.batch(TEST, seed=2000 + seed)
    output = model.unroll(seen(task, test), lengths=test.lengths).output
    return {
        "solved": number if in_a_row >= IN_A_ROW else None,
        "sequences": number,
        "weights": model.flat.size,
        "test_wrong": int(wrong(task, output, test).sum()),
        "test_loss": loss(output, test.targets)[0],
        "curve": [float(np.mean(part)) for part in np.array_split(shares, min(len(shares), 60))],
        "seconds": time.perf_counter() - began,
    }


def measure(length=100, seeds=3, controls=1, batch=8, tasks=("adding", "order")):
    number = {name: controls if name == "tanh" else seeds for name in MODELS}
    runs = [(name, task, seed) for task in tasks for name in MODELS for seed in range(number[name])]
    bar, threads = study.progress(None, "hochreiter_battery", total=len(runs)), tt.get_num_threads()

    def one(name, task, seed):
        most = PAPER[task] * (2 if name == "LSTM 1997" else 1)
        found = until_solved(name, task_of(task, length), seed, batch, most)
        bar.update()
        return found

    tt.set_num_threads(1)  # these networks are too small to share
    try:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(one, *zip(*runs, strict=True)))
    finally:
        tt.set_num_threads(threads)
        bar.close()
    checks, data = [], {"length": length, "tasks": list(tasks), "paper": {task: PAPER[task] for task in tasks}}
    for task in tasks:
        by_model = {name: [f for f, run in zip(found, runs, strict=True) if run[:2] == (name, task)] for name in MODELS}
        data[task] = {name: {key: [one[key] for one in rows] for key in rows[0]} for name, rows in by_model.items()}
        checks += of_task(task, task_of(task, length), data[task])
    return {
        "checks": checks,
        "seeds": {"weights": list(range(seeds)), "sequences": "1000 +", "test": "2000 +"},
        "data": data,
    }


def of_task(name, task, found):
    """The checks of one task."""
    old, without = found["LSTM 1997"], found["tanh"]
    solved = [wrong for wrong, number in zip(old["test_wrong"], old["solved"], strict=True) if number is not None]
    often = TEST * 3 / IN_A_ROW  # wrong ones in the test, if 2000 right in a row have a chance of e^−3
    better = np.maximum(task.baseline - np.array(without["test_loss"]), 0.0).max()
    return [
        study.check(f"{name}, LSTM 1997: runs that are not solved", len(old["solved"]) - len(solved), 0, 0,
                    why=f"the paper's were all solved, after {PAPER[name]} sequences in the mean; asked is twice that"),
        study.check(f"{name}, LSTM 1997: mean number wrong of {TEST} in the test", np.mean(solved), 0,
                    often + 2 * np.sqrt(often / max(len(solved), 1)),
                    why="2000 right in a row: at most 3/2000 of all are wrong, with 95 %; 2 SE of the count"),
        study.check(f"{name}, tanh: by how much it is better than a constant answer", better, 0,
                    4 * task.baseline / np.sqrt(TEST), why="4 SE of a mean of losses that spread by their mean"),
    ]  # fmt: skip


def draw(result):
    data = result["data"]
    tasks = data["tasks"]
    rows = 1 if len(tasks) < 3 else 2
    columns = -(-(len(tasks) + 1) // rows)
    fig, axes = study.figure(rows, columns, height=2.7 if rows == 1 else 4.6, squeeze=False)
    for ax, task in zip(axes.flat, tasks, strict=False):
        curves(ax, data[task], data["paper"][task])
        ax.set_title(f"{task}, $T$ = {data['length']} to {data['length'] * 11 // 10}")
    numbers(axes[-1, -1], data)
    study.letters(axes)
    axes[0, 0].legend(loc="lower left", handlelength=1.6)
    return fig


def curves(ax, found, paper):
    """The share of wrong sequences on the way, of every run."""
    for number, (name, rows) in enumerate(found.items()):
        look = tt.plots.style(number)
        for k, (curve, sequences) in enumerate(zip(rows["curve"], rows["sequences"], strict=True)):
            at = (np.arange(len(curve)) + 0.5) / len(curve) * sequences
            ax.plot(
                at,
                curve,
                linewidth=1.0,
                label=name if k == 0 else None,
                color=look["color"],
                linestyle=look["linestyle"],
            )
    ax.axvline(paper, color="0.5", linewidth=0.8, linestyle=":", label="the paper")
    ax.set_xscale("log")
    ax.set_xlim(10, 2 * paper)
    ax.set_ylim(-0.03, 1.05)
    ax.set_xlabel("sequences seen")
    ax.set_ylabel("share wrong")


def numbers(ax, data):
    """Sequences until solved, run by run; arrows for those that were not by then."""
    places, names = [], []
    for row, task in enumerate(data["tasks"]):
        for number, name in enumerate(MODELS):
            y = 5 * row + number
            places, names = [*places, y], [*names, f"{name}, {task}"]
            rows, colour = data[task][name], tt.plots.style(number)["color"]
            for solved, seen_ in zip(rows["solved"], rows["sequences"], strict=True):
                marker = ">" if solved is None else "o"
                ax.plot(seen_, y, marker, color=colour, fillstyle="none" if solved is None else "full", markersize=4)
        places, names = [*places, 5 * row + 3], [*names, f"paper, {task}"]
        ax.plot(data["paper"][task], 5 * row + 3, "*", color="0.3", markersize=7)
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(1e3, 2e5 if max(data["paper"].values()) < 1e5 else 2e6)
    ax.set_xlabel("sequences (▷: not by then)")
    ax.set_title("until solved")


if __name__ == "__main__":
    study.run(globals())
