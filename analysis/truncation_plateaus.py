"""What does truncated backpropagation find of two lags: what its window reaches, or also what the state still holds?

The add task: y_t is a coin whose bias is set by the input bits 6 and 10 steps ago. The least loss is known exactly for
a model that knows no lag, the shorter one, or both: .66156, .51917 and .45445 nats. A tanh network is trained in two
ways:

    alone     every loss sees w inputs, from a state of zeros: lags 0 … w − 1 and no others. An exact staircase
    carried   a stream in pieces of w steps, the state handed on, the gradient stopped at each cut: fit(…, truncate=w)

A carried state can hold inputs from before the cut, and the gradient sees them there: the delay line that was learnt
for the shorter lag makes the longer one visible, though no gradient ever flows back that far. So the middle plateau is
a passage and no end, unless the longer lag lies far behind what window and state reach together (last panel). Even
windows shorter than both lags begin to leave the first plateau.

Deviations from the paper: it compares online algorithms at a fixed horizon and does not vary the window; Adam with a
falling rate in place of plain descent, 32 streams side by side in place of one.

Source: Marschall, Cho & Savin, J. Mach. Learn. Res. 21, 2020 (task); Williams & Peng, Neural Comput. 2, 1990.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"windows": (4, 6, 7, 10, 11), "seconds": (8, 10, 12, 16, 20, 24), "seeds": 3, "updates": 800}
FULL = {"windows": tuple(range(1, 15)), "seconds": tuple(range(8, 34, 2)), "seeds": 3, "updates": 5_000}
SMALL = {"windows": (4, 7, 11), "seconds": (10, 24), "seeds": 1, "updates": 700}
FIRST, SECOND = 6, 10
UNITS, STREAMS, ALONE, LENGTH, RATE = 32, 32, 64, 1000, 0.01
SHOWN = (4, 7, 11)  # windows whose curves are drawn: below, between, above
HELD_OUT = 12345


def optimiser(updates):
    return tt.training.Adam(tt.training.Cosine(RATE, updates))


def carried(window, second, seed, updates):
    """(loss of every update, held-out loss, its standard error) of truncated BPTT along streams of 1000 steps."""
    task = tt.tasks.BernoulliAdd(FIRST, second, length=LENGTH)
    model = tt.models.many_to_many("tanh", task.inputs, task.outputs, hidden_size=UNITS, classes=True, seed=seed)
    batches = task.batches(STREAMS, seed=seed)
    trained = tt.training.fit(model, batches, task.loss, optimiser(updates), steps=updates, truncate=window)
    batch = task.batch(64, seed=HELD_OUT)
    each = losses(model.unroll(batch.x).output, batch.targets)[batch.mask[:, 0]].mean(axis=0)  # of a sequence
    return trained.history["loss"], each.mean(), each.std(ddof=1) / np.sqrt(each.size)


def alone(window, seed, updates):
    """The same of a network that starts from zeros `window` steps before each loss."""
    task = tt.tasks.BernoulliAdd(FIRST, SECOND, length=max(window, SECOND + 1))
    model = tt.models.many_to_one("tanh", task.inputs, task.outputs, hidden_size=UNITS, classes=True, seed=seed)

    def last(batch):
        return batch.x[-window:], batch.targets[-1]

    batches = (last(batch) for batch in task.batches(ALONE, seed=seed))
    trained = tt.training.fit(model, batches, task.loss, optimiser(updates), steps=updates)
    x, targets = last(task.batch(20_000, seed=HELD_OUT))
    each = losses(model.unroll(x).output, targets)
    return trained.history["loss"], each.mean(), each.std(ddof=1) / np.sqrt(each.size)


def losses(output, targets):
    """Cross-entropies, one for each target, nats."""
    shifted = output - output.max(axis=-1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return -np.take_along_axis(logs, targets[..., None], axis=-1)[..., 0]


def measure(windows=(4, 6, 7, 10, 11), seconds=(8, 10, 12, 16, 20, 24), seeds=3, updates=800):
    task = tt.tasks.BernoulliAdd(FIRST, SECOND)
    nothing, shorter, both = task.baseline, task.entropy(first=True), task.optimum
    ways = {
        "carried": lambda w, seed: carried(w, SECOND, seed, updates),
        "alone": lambda w, seed: alone(w, seed, updates),
    }
    jobs = [(way, w, seed) for way in ways for w in windows for seed in range(seeds)]
    found = {job: ways[job[0]](*job[1:]) for job in study.progress(jobs, "truncation_plateaus")}
    loss = {way: np.array([[found[way, w, seed][1] for seed in range(seeds)] for w in windows]) for way in ways}
    error = {way: np.array([[found[way, w, seed][2] for seed in range(seeds)] for w in windows]) for way in ways}
    far = {second: carried(FIRST + 1, second, 0, updates) for second in study.progress(seconds, "second lag")}
    bounds = np.array([both if w > SECOND else shorter if w > FIRST else nothing for w in windows])

    checks = []
    step = shorter - both
    for w, bound, mean in zip(windows, bounds, loss["alone"].mean(axis=1), strict=True):
        why = "exact entropy of what the window holds; a quarter of the way to the nearest other plateau"
        checks.append(study.check(f"alone, window {w}: held-out loss", mean, bound, step / 4, why=why))
    under = ((bounds[:, None] - loss["alone"]) / error["alone"]).max()
    why = "no model is better than the entropy; 4 standard errors of the held-out losses"
    checks.append(study.check("alone: largest (entropy − loss)/SE", max(under, 0), 0, 4, why=why))
    under = ((both - loss["carried"]) / error["carried"]).max()
    checks.append(study.check("carried: largest (entropy of both − loss)/SE", max(under, 0), 0, 4, why=why))
    for w, mean in zip(windows, loss["carried"].mean(axis=1), strict=True):
        if FIRST < w <= SECOND:
            share, why = (shorter - mean) / step, "the delay line shows lag 10 inside the window: more than half of it"
            checks.append(study.check(f"carried, window {w}: share of lag 10 that is found", share, 1, 0.5, why=why))
    share = (shorter - far[max(seconds)][1]) / step
    why = "17 steps behind the window, more than twice what the shorter lag asks to hold: less than half of it"
    checks.append(study.check(f"carried, window 7: share of lag {max(seconds)}", share, 0, 0.5, why=why))

    width = max(1, updates // 40)
    data = {
        "entropies": {"nothing": nothing, "lag 6": shorter, "both": both},
        "windows": list(windows), "bounds": bounds,
        "loss": loss, "standard_error": error,
        "seconds": list(seconds),
        "far_loss": [far[second][1] for second in seconds], "far_error": [far[second][2] for second in seconds],
        "curve_at": (np.arange(updates // width) + 0.5) * width,
        "curves": {
            w: [found["carried", w, seed][0][: updates // width * width].reshape(-1, width).mean(axis=1)
                for seed in range(seeds)] for w in SHOWN if w in windows
        },
    }  # fmt: skip
    seeds = {"weights, streams": list(range(seeds)), "held out": HELD_OUT}
    return {"checks": checks, "seeds": seeds, "data": data}


def plateaus(ax, data, *, named):
    """The exact entropies as grey lines."""
    for name, value in data["entropies"].items():
        ax.axhline(value, color="0.6", linewidth=0.8, zorder=0)
        if named:
            text = f"{name} known: " + f"{value:.5f}".removeprefix("0")
            shift = -15 if name == "lag 6" else 3  # below the line, where the curve is not
            ax.annotate(text, (1.0, value), xycoords=("axes fraction", "data"), xytext=(-2, shift), fontsize=6.5,
                        textcoords="offset points", ha="right", color="0.35")  # fmt: skip


def draw(result):
    data = result["data"]
    fig, axes = study.figure(1, 3, height=2.7, sharey=True)
    curves, stairs, far = axes
    for number, (w, seeds) in enumerate(data["curves"].items(), start=1):
        for n, curve in enumerate(seeds):
            curves.plot(data["curve_at"], curve, label=f"window {w}" if n == 0 else None, **tt.plots.style(number))
    plateaus(curves, data, named=False)
    curves.set_xlabel("updates")
    curves.set_ylabel("cross-entropy (nats per step)")
    curves.set_title("state carried: training loss")
    curves.legend(loc="center right", bbox_to_anchor=(1.0, 0.6), title="one curve a seed", title_fontsize=7)

    colours, windows = tt.plots.COLOURS, np.asarray(data["windows"])
    stairs.step([0.5, FIRST + 0.5, SECOND + 0.5, max(windows.max(), SECOND) + 1.5],
                [*(data["entropies"][k] for k in ("nothing", "lag 6", "both")), data["entropies"]["both"]],
                where="post", color="0.6", linewidth=3, label="entropy")  # fmt: skip
    for way, marker, colour, label in (
        ("alone", "s", colours[2], "from zeros"), ("carried", "o", colours[1], "carried"),
    ):  # fmt: skip
        loss = np.asarray(data["loss"][way], dtype=float)
        at = np.repeat(windows, loss.shape[1])
        stairs.plot(at, loss.ravel(), marker, color=colour, markersize=3.6, fillstyle="none", label=label)
    plateaus(stairs, data, named=False)
    stairs.set_xlabel("window $w$ (steps)")
    stairs.set_title("held-out loss, a mark a seed")
    stairs.set_xticks(windows if len(windows) < 10 else windows[::2])
    stairs.set_xlim(windows.min() - 1.5, windows.max() + 1.0)
    stairs.legend(loc="lower left", bbox_to_anchor=(0.0, 0.3), handlelength=1.2)

    seconds = np.asarray(data["seconds"])
    far.errorbar(seconds, data["far_loss"], yerr=4 * np.asarray(data["far_error"]), fmt="o-", color=colours[1],
                 markersize=3.6, fillstyle="none", capsize=2, label="carried, $w=7$; bars: 4 SE")  # fmt: skip
    far.axvline(FIRST + 1, color="0.6", linestyle=":", linewidth=1.0)
    far.annotate("end of the window", (FIRST + 1, 0.635), xytext=(3, 0), textcoords="offset points", fontsize=7)
    plateaus(far, data, named=True)
    far.set_xlim(4.5, seconds.max() + 1.5)
    far.set_xlabel("longer lag (steps); shorter: 6")
    far.set_title("held-out loss")
    far.set_ylim(0.44, 0.69)
    far.legend(loc="upper right", bbox_to_anchor=(1.0, 0.72))
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
