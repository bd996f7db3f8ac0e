"""What do gates, depth, a second direction and skips buy in time, loss, and how far back the gradient reaches?

All learn the adding problem, T = 20 (two marked numbers, their sum at the end), with as many units as a budget of
parameters allows, the same batches, optimiser and number of updates. How far the gradient reaches is asked of the
inputs, which every model has: g_t is the median over sequences of ‖∂y/∂x_t‖, y the output, and (Σ_t g_t)²/Σ_t g_t² the
number of steps that have a say, T if all count alike. Knowing the mean costs 1/6, one of the numbers 1/12. A causal
Transformer of the same budget, in PyTorch, stands outside as a mark; where PyTorch is missing, so is it, and the
numbers say "torch": null.

Times are medians of updates made in turn, one of each model after the other, in float64: they are for information.
Deviations: no paper has this comparison. Learning rates are not tuned for each, and first values are PyTorch's.
Source: Le, Jaitly & Hinton 2015, arXiv:1504.00941 (task); Vaswani et al. 2017, arXiv:1706.03762 (Transformer).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # PyTorch's idle threads would take the cores from the next model

import time

import _study as study
import _transformer
import numpy as np
from matplotlib.ticker import MaxNLocator

import throughtime as tt
from throughtime.models import Chain, Readout, Residual, last

SIZES = {"length": 20, "budget": 4600, "updates": 700, "seeds": 2}
FULL = {"length": 50, "budget": 20000, "updates": 5000, "seeds": 3}
SMALL = {"length": 10, "budget": 1000, "updates": 400, "seeds": 1, "models": ("tanh", "GRU", "2 LSTMs, skips")}
BATCH, RATE, ROUNDS = 32, 0.01, 15
LEARN = ("GRU", "LSTM", "2 LSTMs", "two directions", "2 LSTMs, skips")  # to know both numbers is expected of these


def plain(cell, inputs, units, outputs, rng, **network):
    net = tt.Network(cell, inputs, units, seed=rng, **network)
    return Chain([net, last, Readout(units * net.num_directions, outputs, seed=rng)])


def skips(inputs, units, outputs, rng):
    blocks = [Residual([tt.Network("lstm", units, units, seed=rng)]) for _ in range(2)]
    return Chain([Readout(inputs, units, seed=rng), *blocks, last, Readout(units, outputs, seed=rng)])


MODELS = {
    "tanh": lambda *sizes: plain("tanh", *sizes),
    "GRU": lambda *sizes: plain("gru", *sizes),
    "LSTM": lambda *sizes: plain("lstm", *sizes),
    "2 LSTMs": lambda *sizes: plain("lstm", *sizes, num_layers=2),
    "two directions": lambda *sizes: plain("lstm", *sizes, bidirectional=True),
    "2 LSTMs, skips": skips,
}
PARAMETERS = {  # (inputs I, units N, outputs O) -> how many, counted by hand
    "tanh": lambda i, n, o: n * (i + n + 2) + o * (n + 1),
    "GRU": lambda i, n, o: 3 * n * (i + n + 2) + o * (n + 1),
    "LSTM": lambda i, n, o: 4 * n * (i + n + 2) + o * (n + 1),
    "2 LSTMs": lambda i, n, o: 4 * n * (i + n + 2) + 4 * n * (2 * n + 2) + o * (n + 1),
    "two directions": lambda i, n, o: 8 * n * (i + n + 2) + o * (2 * n + 1),
    "2 LSTMs, skips": lambda i, n, o: n * (i + 1) + 8 * n * (2 * n + 2) + o * (n + 1),
}


def optimiser(updates):
    rate = tt.training.Cosine(RATE, steps=updates)
    return tt.training.Adam(rate, transforms=(tt.training.ClipNorm(1.0),))


def most_units(name, task, budget):
    """Units with which the parameters stay within the budget."""
    sizes = [PARAMETERS[name](task.inputs, n, task.outputs) for n in range(1, budget)]
    return int(np.searchsorted(sizes, budget, side="right"))


def profile(norms):
    """(T,) ln g_t, g_t = ‖∂y/∂x_t‖, the median over sequences."""
    return np.log(np.median(norms, axis=1))


def horizon(norms):
    """(Σ g_t)²/Σ g_t²: how many steps have a say."""
    g = np.exp(profile(norms))
    return float(g.sum() ** 2 / (g**2).sum())


def input_gradient(model, x):
    """(T, B, I) of the sum of all outputs."""
    run = model.unroll(x)
    return run.backprop(np.ones_like(run.output)).input


def central_difference(model, x):
    """The gradient of the inputs along a random direction, beside the quotient of differences: the relative error."""
    along, step = np.random.default_rng(5).standard_normal(x.shape), 1e-5
    exact = (input_gradient(model, x) * along).sum()
    ahead, behind = (model.unroll(x + sign * step * along).output.sum() for sign in (1, -1))
    return abs((ahead - behind) / (2 * step) - exact) / abs(exact)


def input_norms(model, x):
    """(T, B) ‖∂y/∂x_t‖."""
    return np.linalg.norm(input_gradient(model, x), axis=2)


def trained(name, task, units, updates, seeds, probe, test):
    """What all seeds of one kind of model have learned, and the first of these models."""

    def make(seed):
        return MODELS[name](task.inputs, units, task.outputs, np.random.default_rng(seed))

    family = tt.Ensemble(make, {"seed": range(seeds)})
    before = [input_norms(model, probe) for model in family]
    found = tt.training.fit(
        family, lambda seed: task.batches(BATCH, seed=100 + seed), task.loss, optimiser(updates), steps=updates
    )
    models = list(found.models)
    return {
        "units": units,
        "parameters": models[0].flat.size,
        "history": found.history["loss"],
        "loss": [tt.training.evaluate(model, test, task.loss) for model in models],
        "before": before,
        "after": [input_norms(model, probe) for model in models],
        "difference": max(central_difference(model, probe) for model in models),
    }, models[0]


def updates_of(model, task):
    """A function that makes one update of the model."""
    batches, adam = task.batches(BATCH, seed=0), optimiser(10**6)

    def update():
        batch = next(batches)
        adam.step(model.flat, model.value_and_gradient(batch.x, batch.targets, task.loss)[1])

    return update


def times(updates):
    """Median milliseconds of an update by name, made in turn."""
    taken = {name: [] for name in updates}
    for _ in range(ROUNDS):
        for name, update in updates.items():
            update()  # caches hold this model's numbers again, and the threads of the one before are asleep
            began = time.perf_counter()
            for _ in range(4):
                update()
            taken[name].append((time.perf_counter() - began) / 4 * 1e3)
    return {name: float(np.median(found)) for name, found in taken.items()}


def measure(length=30, budget=4600, updates=1000, seeds=2, models=(*MODELS, "Transformer")):
    task = tt.tasks.Adding(length=length)
    probe, test = task.batch(64, seed=1).x, task.batch(1000, seed=2)
    found, timed = {}, {}
    for name in study.progress(models, "variants"):
        if name in MODELS:
            units = most_units(name, task, budget)
            found[name], first = trained(name, task, units, updates, seeds, probe, test)
            timed[name] = updates_of(first, task)
        elif _transformer.version():
            found[name], timed[name] = _transformer.trained(task, budget, updates, seeds, probe, test, BATCH, RATE)
    milliseconds = times(timed)
    checks, data = [], {"length": length, "baseline": task.baseline, "torch": _transformer.version()}
    for name, one in found.items():
        checks += of_model(name, task, one)
        data[name] = {key: one[key] for key in ("units", "parameters", "loss")} | {
            "milliseconds": milliseconds[name],
            "curve": smoothed(one["history"]),
            **{when: [profile(norms) for norms in one[when]] for when in ("before", "after")},
            **{f"horizon_{when}": [horizon(norms) for norms in one[when]] for when in ("before", "after")},
        }
    seeds = {"weights": list(range(seeds)), "batches": "100 +", "probe": 1, "test": 2, "direction": 5}
    return {"checks": checks, "seeds": seeds, "data": data}


def smoothed(history, points=50):
    """(points,) the loss, a geometric mean over seeds and neighbouring updates."""
    parts = np.array_split(np.log(history).mean(axis=0), points)
    return np.exp([part.mean() for part in parts])


def of_model(name, task, one):
    """The checks of one kind of model."""
    if name not in MODELS:
        return []
    expected = PARAMETERS[name](task.inputs, one["units"], task.outputs)
    found = [
        study.check(f"{name}: parameters", one["parameters"], expected, 0, why="counted by hand"),
        study.check(f"{name}: ∂y/∂x along a direction against differences, relative", one["difference"], 0, 1e-7,
                    why="step 1e-5: error step² and rounding/step, 1e-10 each, times curvature and cancellation"),
    ]  # fmt: skip
    if name in LEARN:
        why = "both numbers are remembered: knowing one alone leaves 1/12"
        found.append(study.check(f"{name}: largest loss in the test", max(one["loss"]), 0, 1 / 12, why=why))
    return found


def draw(result):
    data = result["data"]
    names = [name for name in (*MODELS, "Transformer") if name in data]
    mosaic = [["curves"] * 2 + ["reach"] * 2, ["parameters", "milliseconds", "loss", "horizon"]]
    fig, axes = study.figure(mosaic=mosaic, height=4.9)
    looks = {name: tt.plots.style(number) for number, name in enumerate(names)}
    if "Transformer" in looks:
        looks["Transformer"] = {"color": "0.55", "linestyle": "--"}
    curves(axes["curves"], data, looks)
    profiles(axes["reach"], data, looks)
    for key in mosaic[1]:
        dots(axes[key], key, data, looks)
    axes["parameters"].set_yticks(range(len(names)), names)
    study.letters(list(axes.values()))
    handles, labels = axes["reach"].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=len(names), columnspacing=1.0, handlelength=1.8)
    return fig


def curves(ax, data, looks):
    for name, look in looks.items():
        ax.semilogy(np.linspace(0, 1, len(data[name]["curve"])), data[name]["curve"], **look)
    for height, text in ((1 / 6, "the mean alone: 1/6"), (1 / 12, "one of the numbers: 1/12")):
        ax.axhline(height, color="0.6", linewidth=0.7, linestyle=":")
        ax.text(0.99, height * 1.05, text, ha="right", va="bottom", fontsize=6, color="0.4")
    ax.set_xlabel("share of the updates")
    ax.set_ylabel("squared error")
    ax.set_title("learning")


def profiles(ax, data, looks):
    for name, look in looks.items():
        profile = np.mean(np.array(data[name]["after"], dtype=float), axis=0)
        lag = np.arange(len(profile))[::-1]
        ax.plot(lag, (profile - profile.max()) / np.log(10), label=name, **look)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("steps before the end")
    ax.set_ylabel(r"$\log_{10}\,\Vert\partial y/\partial x_t\Vert$ − largest")
    ax.set_title("what the inputs do, trained")


WORDS = {
    "parameters": "parameters",
    "milliseconds": "ms per update",
    "loss": "squared error, test",
    "horizon": "effective steps",
}


def dots(ax, key, data, looks):
    """One column of the table: a dot for each seed; of the horizon open ones before training."""
    for row, (name, look) in enumerate(looks.items()):
        one, colour = data[name], look["color"]
        if key == "horizon":
            ax.plot(
                one["horizon_before"], np.full(len(one["horizon_before"]), row), "o", color=colour, fillstyle="none"
            )
        values = np.atleast_1d(one["horizon_after" if key == "horizon" else key])
        ax.plot(values, np.full(len(values), row), "o", color=colour, markersize=4)
        if key in ("parameters", "milliseconds"):
            text = f"{values[0]:.0f}" if key == "parameters" else f"{values[0]:.1f}"
            ax.annotate(text, (values[0], row), xytext=(5, 0), textcoords="offset points", va="center", fontsize=6)
    ax.set_ylim(len(looks) - 0.5, -0.5)
    ax.set_yticks(range(len(looks)), [""] * len(looks))
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_xlabel(WORDS[key])
    ax.set_title({"horizon": "reach (○: at start)"}.get(key, WORDS[key]))
    if key == "loss":
        ax.set_xscale("log")
    elif key != "horizon":
        ax.set_xlim(0, 1.35 * max(data[name][key] for name in looks))


if __name__ == "__main__":
    study.run(globals())
