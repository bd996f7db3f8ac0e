"""How long a memory can be learnt, by which network, and does the gradient reach back that far?

Adding: two marked numbers of a sequence, to be added at its end. Copying: symbols, to be given again after a delay.
Each for a tanh network, the IRNN (ReLU, W_hh = 1) and an LSTM with forget biases 1, or chrono: b_f = ln U(1, T_max − 1)
= −b_i. A task counts as learnt when the mean loss of 50 updates, on fresh sequences, is below a tenth of the loss of a
network that remembers nothing: 1/6 for adding, K ln S/(T + 2K) for copying.

    horizon: the steps back until ‖dL/ds_t‖ has changed by a factor e; L a function of the last state, of an LSTM its c
    of gates alone:  Σ_j σ(b_j)^{2k} = N/e²,  4 steps at b = 1

Source: Le, Jaitly & Hinton 2015, arXiv:1504.00941 (IRNN, adding); Arjovsky, Shah & Bengio 2016, arXiv:1511.06464
(copying); Tallec & Ollivier 2018, arXiv:1804.11188 (chrono).

Deviations from the papers: 24 units in place of 100 and 128; sequences of 10 to 80 steps in place of 150 to 750; 2 of 4
symbols to copy in place of 10 of 8; batches of 16; Adam with the gradient's norm clipped to 1 in place of SGD and
RMSprop (Tallec & Ollivier do not clip); one rate for each task (.01 adding, .03 copying, a third of it for the IRNN) in
place of grids; trained until learnt and not for a fixed number of updates; one seed by default, so that a difference at
one length is that of two trainings.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 24, "seeds": [0], "lengths": [10, 20, 40, 80], "delays": [3, 6, 12, 24], "most": [2000, 1200]}
FULL = SIZES | {
    "units": 100,
    "seeds": [0, 1],
    "lengths": [25, 50, 100, 200],
    "delays": [10, 20, 50, 100],
    "most": [6000, 6000],
}
SMALL = {"units": 16, "seeds": [0], "lengths": [5, 60], "delays": [2, 30], "most": [600, 40]}
MODELS = {"tanh": "tanh", "irnn": "IRNN", "lstm": "LSTM, $b_f$ = 1", "chrono": "LSTM, chrono"}
RATES = {"adding": 0.01, "copying": 0.03}
BATCH, LATEST, PART, PROBE = 16, 50, 0.1, 8  # sequences of an update, updates of a mean, its part, sequences of a probe
SEED = 100


def task_of(name, length):
    return tt.tasks.Adding(length=length) if name == "adding" else tt.tasks.CopyMemory(delay=length, count=2, symbols=4)


def longest(name, length):
    """T_max of chrono: the length for adding, 3/2 of the gap for copying."""
    return length if name == "adding" else max(3.0, 1.5 * length)


def network(model, inputs, units, longest, seed, dtype="float32"):
    cell = {"tanh": "tanh", "irnn": "relu"}.get(model, "lstm")
    chrono = tt.init.chrono(longest)
    init = {"tanh": "uniform", "irnn": tt.init.irnn(), "lstm": tt.init.forget_bias(1.0), "chrono": chrono}[model]
    return tt.Network(cell, inputs, units, init=init, seed=seed, dtype=dtype)


def make(name, units):
    """A function of the axes that makes one model of a task."""

    def model(model, length, seed):
        task = task_of(name, length)
        net = network(model, task.inputs, units, longest(name, length), seed)
        readout = tt.models.Readout(units, task.outputs, seed=seed + 1000, dtype="float32")
        if not task.tokens:
            return tt.models.Chain([net, tt.models.last, readout])
        symbols = tt.models.Embedding(task.inputs, task.inputs, dtype="float32")
        symbols.parameters["weight"][...] = np.eye(task.inputs)  # each a number of its own, to begin with
        return tt.models.Chain([symbols, net, readout])

    return model


def horizons(family, name, lengths, steps):
    """(model, length, seed), in steps; infinite beyond the probe. The input is that of the task, longer than all."""
    x = task_of(name, steps).batch(PROBE, seed=SEED).x
    piece = "0" if name == "adding" else "1"
    net = family[0].unroll(x[:1]).networks[piece].network
    end = np.random.default_rng(SEED).standard_normal((1, PROBE, net.hidden_size)).astype("float32")

    def one(model):
        run = model.unroll(x).networks[piece]
        loss = (0.0 * end, end) if isinstance(run.final_state, tuple) else end
        return float(np.median(tt.analysis.gradient_norms(run, grad_final_state=loss).horizon))

    return family.map(one)[()]


def learn(name, units, seeds, lengths, most):
    """Every model trained until it has learnt the task, and its horizons before and after."""
    family = tt.Ensemble(make(name, units), {"model": list(MODELS), "length": lengths, "seed": seeds})

    def learnt(training):
        rows = training.history.rows["loss"]
        limit = PART * task_of(name, training.point["length"]).baseline
        return "stop" if len(rows) >= LATEST and np.mean(rows[-LATEST:]) < limit else None

    def optimiser(model):
        rate = RATES[name] / (3.0 if model == "irnn" else 1.0)
        return tt.training.Adam(rate, transforms=(tt.training.ClipNorm(1.0),))

    trained = tt.training.fit(
        family,
        lambda length, seed: task_of(name, length).batches(BATCH, seed=seed),
        task_of(name, lengths[0]).loss,
        optimiser,
        steps=most,
        callbacks=learnt,
        checkpoint=study.folder(),
        progress=True,
    )
    reached = np.array([result.reason == "callback" for result in trained.results]).reshape(trained.shape)
    loss = tt.training.evaluate(
        trained.models, lambda length: task_of(name, length).batch(300, seed=SEED), task_of(name, lengths[0]).loss
    )
    baselines = np.array([task_of(name, length).baseline for length in lengths])
    steps = 4 * max(lengths)
    return {
        "length": lengths,
        "updates": trained["steps"],
        "learnt": reached,
        "held_out": loss[()] / baselines[:, None],
        "start": horizons(family, name, lengths, steps),
        "trained": horizons(trained.models, name, lengths, steps),
        "gates": [of_gates(name, units, length, seeds[0]) for length in lengths],
        "most": most,
        "probe": steps,
    }


def of_gates(name, units, length, seed):
    """The horizon of the chrono LSTM from its forget gates alone: the first k with Σ_j σ(b_j)^2k ≤ N/e²."""
    net = network("chrono", 1, units, longest(name, length), seed)
    bias = net.parameters["bias_ih_l0"][units : 2 * units].astype(float)
    return first_below(1.0 / (1.0 + np.exp(-bias)))


def first_below(kept):
    k = np.arange(100_000)[:, None]
    return int(np.argmax((kept ** (2 * k)).mean(axis=1) <= np.exp(-2.0)))


def measured_without_weights(model, units, longest):
    """The same horizon measured: an LSTM whose weights are 0 and a loss with 1 for every cell."""
    net = network(model, 1, units, longest, SEED, dtype="float64")
    for weight in ("weight_ih_l0", "weight_hh_l0"):
        net.parameters[weight][...] = 0.0
    bias = net.parameters["bias_ih_l0"] + net.parameters["bias_hh_l0"]
    one = np.ones((1, units))
    found = tt.analysis.gradient_norms(net.unroll(np.zeros((600, 1))), grad_final_state=(0.0 * one, one))
    return found.horizon[0], first_below(1.0 / (1.0 + np.exp(-bias[units : 2 * units])))


def measure(units=24, seeds=(0,), lengths=(10, 20, 40, 80), delays=(3, 6, 12, 24), most=(2000, 1200)):
    seeds, data, checks = list(seeds), {}, []
    for model, longest_ in (("lstm", 10.0), ("chrono", 100.0)):
        found, expected = measured_without_weights(model, units, longest_)
        why = "first k with Σ_j σ(b_j)^2k ≤ N/e², exact; b = 1: the first whole number above −1/ln σ(1) = 3.19"
        checks.append(study.check(f"{model} without weights: horizon", found, expected, 0, why=why))
    for name, along, updates in (("adding", lengths, most[0]), ("copying", delays, most[1])):
        data[name] = learn(name, units, seeds, list(along), updates)
    adding, models = data["adding"], list(MODELS)
    share = {name: data[name]["learnt"].mean(axis=2) for name in data}
    tanh, chrono, lstm = models.index("tanh"), models.index("chrono"), models.index("lstm")
    far = f"{lengths[-1]} steps"
    why = "tanh networks do not learn it: Le, Jaitly & Hinton 2015, of longer sequences; here first seen in pilots"
    checks.append(study.check(f"adding over {far}, tanh: share learnt", share["adding"][tanh, -1], 0, 0, why=why))
    why = "tanh networks do not learn it: Arjovsky, Shah & Bengio 2016, of longer delays; here first seen in pilots"
    checks.append(study.check("copying, longest delay, tanh: share", share["copying"][tanh, -1], 0, 0, why=why))
    if most[0] >= SIZES["most"][0]:
        why = "the LSTM with chrono learns adding in Tallec & Ollivier 2018, T = 200, 750; here first seen in pilots"
        checks.append(study.check("adding, chrono: share learnt", share["adding"][chrono].mean(), 1, 0, why=why))
        ratio = adding["updates"][chrono, -1].mean() / adding["updates"][lstm, -1].mean()
        why = "they find chrono faster: any ratio below 1; b = 1 counts with all its updates where it has not learnt"
        checks.append(study.check(f"adding over {far}: updates, chrono / b = 1", ratio, 0.5, 0.5, why=why))
        why = "the shortest sequences are learnt by both LSTMs in all of these papers"
        both = np.mean([share[name][k, 0] for name in share for k in (lstm, chrono)])
        checks.append(study.check("shortest, both LSTMs: share learnt", both, 1, 0, why=why))
    return {"checks": checks, "seeds": {"models and batches": seeds, "probes": SEED}, "data": data}


def draw(result):
    fig, axes = study.figure(2, 2, height=5.2)
    for column, (name, item) in enumerate(result["data"].items()):
        above, below = axes[:, column]
        length, most, probe = np.array(item["length"], float), item["most"], item["probe"]
        for k, label in enumerate(MODELS.values()):
            look = {"color": tt.plots.COLOURS[(0, 2, 1, 3)[k]], "marker": tt.plots.MARKERS[k], "markersize": 4}
            updates, learnt = np.array(item["updates"][k], float), np.array(item["learnt"][k])
            rows = zip(updates, learnt, strict=True)
            median = np.array([np.median(u[ok]) if ok.mean() > 0.5 else np.nan for u, ok in rows])
            above.plot(length, median, linestyle=tt.plots.STYLES[k], label=label, **look)
            never = np.isnan(median)
            beside = length[never] * 1.1 ** (k - 1.5)
            above.plot(beside, np.full(beside.size, 1.4 * most), linestyle="none", markerfacecolor="none", **look)
            for when, style in (("start", ":"), ("trained", "-")):
                steps = np.median(np.array(item[when][k], float), axis=1)
                shown = np.where(np.isfinite(steps), steps, 1.4 * probe)
                filled = {"markerfacecolor": "none"} if when == "start" else {}
                below.plot(length * 1.04 ** (k - 1.5), shown, style, linewidth=1.1, **look, **filled)
        for ax, edge, words in ((above, most, "not learnt"), (below, probe, "beyond the probe")):
            ax.axhline(edge, color="0.7", linewidth=0.8)
            place = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "xytext": (0, 5)}
            ax.annotate(words, (0.01, 1.4 * edge), ha="left", va="bottom", fontsize=7, color="0.35", **place)
            ax.set(xscale="log", yscale="log")
            ax.set_xlabel("steps of a sequence" if name == "adding" else "delay (steps)")
            ax.set_xticks(length, [f"{step:g}" for step in length])
            ax.minorticks_off()
        below.plot(length, length, color="0.6", linewidth=0.8)
        below.plot(length, item["gates"], "x", color="0.25", markersize=5)
        above.set_ylim(None, 2.4 * most)
        low, _ = above.get_ylim()
        ticks = [m * 10.0**p for p in range(7) for m in (1, 2, 5) if low <= m * 10.0**p <= most]
        above.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        below.set_ylim(0.8, 20.0 * probe if column else 3.0 * probe)
        above.set_ylabel("updates until learnt (number)")
        below.set_ylabel("horizon of the gradient (steps)")
        above.set_title(f"{name.capitalize()}: when it is learnt")
        below.set_title(f"{name.capitalize()}: how far its gradient reaches")
    fig.legend(*axes[0, 1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    grey = {"color": "0.4", "markersize": 4, "linewidth": 1.1}
    key = [
        axes[1, 1].plot([], [], ":o", markerfacecolor="none", label="at the start", **grey)[0],
        axes[1, 1].plot([], [], "-o", label="trained", **grey)[0],
        axes[1, 1].plot([], [], "x", color="0.25", markersize=5, label="chrono, gates alone")[0],
        axes[1, 1].plot([], [], color="0.6", linewidth=0.8, label="horizon = length, delay")[0],
    ]
    axes[1, 1].legend(handles=key, loc="upper left", ncols=2)
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
