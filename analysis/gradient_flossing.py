"""What does gradient flossing do to Lyapunov exponents, and to what a network can learn?

A network of rate units x' = W tanh(x) + w u + b hears bits and says the XOR of those 10 and 20 steps back. Flossing is
descent on mean λ_i², the squares of its largest exponents along 55 steps, differentiated through the QR and through the
trajectory: exponents go to 0, so that gradients in as many directions neither vanish nor explode.

    none               the task alone
    before             flossing first
    before and during  and again, half as long, after a fifth and after two fifths of training

The condition number is that of J_20 … J_1, of its largest singular values, as many as exponents are flossed. Flossing
before makes the difference; flossing during training adds nothing at this size, and for some updates costs.

Deviations from the paper: 40 units and 30 exponents in place of 80 and 75, sequences of 120 steps in place of 300, 60
updates of flossing in place of 500, rate .003 in place of .001; with --full these are the paper's, and training is half
as long. (With .003 there, flossing again spoilt for good what one network of three had learned.) The initial state is
not trained, and every parameter of the network is flossed. Gaussian weights of gain 1, batches of 16, Adam with the
norm clipped to .03, fresh sequences for every update, and a first part of the frame that does not count are the
paper's.

Source: Engelken, NeurIPS 2023, arXiv:2312.17306.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 40, "k": 30, "delay": 10, "length": 120, "epochs": 500, "flossing": 60, "seeds": 3, "rate": 3e-3}
FULL = {"units": 80, "k": 75, "delay": 10, "length": 300, "epochs": 1501, "flossing": 500, "seeds": 3, "rate": 1e-3}
SMALL = {"units": 16, "k": 12, "delay": 2, "length": 30, "epochs": 300, "flossing": 150, "seeds": 1, "rate": 3e-3}
WAYS = ("none", "before", "before and during")
LIMIT, BATCH, STEPS, DISCARD = 0.03, 16, 55, 16
BACK = 20  # steps of the product of Jacobians
TIMES = ("first", "flossed", "last")
LOOKS = 25  # times that a training is looked at


def model_of(units, seed):
    net = tt.Network(tt.Rate(leak=1.0), 1, units, init=tt.init.gaussian(gain=1.0, input_gain=1.0), seed=seed)
    return tt.models.Chain([net, tt.models.Readout(units, 1, seed=seed)])


def bits(rng):
    return rng.integers(0, 2, (STEPS, 1, 1)).astype(float)


def condition(run, k):
    """ln σ_1/σ_k of the product of the Jacobians of 20 steps, after the first that do not count."""
    found = tt.analysis.product_singular_values(run, DISCARD, DISCARD + BACK)
    logs = np.asarray(found.log_singular_values)[..., :k].reshape(-1, k)[0]
    return float(logs[0] - logs[-1])


def state_of(model, k, seed):
    """Exponents and ln of the condition number, along bits of their own."""
    run = model.unroll(bits(np.random.default_rng(1000 + seed))).networks["0"]
    exponents = tt.analysis.lyapunov_gradient(run, k=k, discard=DISCARD).exponents
    return np.sort(exponents)[::-1], condition(run, k)


def floss(model, k, updates, rate, rng, seed):
    """Flossing alone; the loss of each update, and the condition number after some."""
    penalty, optimiser = tt.training.Flossing(k, steps=STEPS, discard=DISCARD), tt.training.Adam(rate)
    losses, conditions = [], []
    for update in range(updates):
        if update % max(1, updates // 10) == 0:
            conditions.append((update, state_of(model, k, seed)[1]))
        value, gradient = penalty(model, model.unroll(bits(rng)))
        optimiser.step(model.flat, gradient)
        losses.append(value)
    return losses, [*conditions, (updates, state_of(model, k, seed)[1])]


def trained(way, seed, task, units, k, epochs, flossing, rate):
    """One network on one of the ways."""
    model, rng = model_of(units, seed), np.random.default_rng(seed)
    found = {"first": state_of(model, k, seed)}
    if way != WAYS[0]:
        found["losses"], found["conditions"] = floss(model, k, flossing, rate, rng, seed)
        found["flossed"] = state_of(model, k, seed)
    optimiser = tt.training.Adam(rate, transforms=(tt.training.ClipNorm(LIMIT),))
    held_out, right = task.batch(200, seed=99), []
    again = (epochs // 5, 2 * epochs // 5) if way == WAYS[2] else ()
    for epoch, batch in zip(range(epochs), task.batches(BATCH, seed=seed), strict=False):
        if epoch in again:
            floss(model, k, flossing // 2, rate, rng, seed)
        _, gradient = model.value_and_gradient(batch.x, batch.targets, task.loss, weights=batch.mask)
        optimiser.step(model.flat, gradient)
        if (epoch + 1) % (epochs // LOOKS) == 0:
            said = model.predict(held_out.x)[..., 0] > 0
            right.append(float((said == (held_out.targets[..., 0] > 0))[held_out.mask].mean()))
    return found | {"right": right, "last": state_of(model, k, seed)}


def slope_error(units, k, seed):
    """|analytic − difference|/|analytic| of the loss of flossing, along its own gradient."""
    model, x = model_of(units, seed), bits(np.random.default_rng(seed))
    penalty = tt.training.Flossing(k, steps=STEPS, discard=DISCARD)
    gradient, first, h = penalty(model, model.unroll(x))[1], model.flat.copy(), 1e-7
    way = gradient / np.linalg.norm(gradient)

    def at(e):
        model.flat[...] = first + e * way
        return penalty(model, model.unroll(x))[0]

    slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    return abs(slope / np.linalg.norm(gradient) - 1)


def measure(units=40, k=30, delay=10, length=120, epochs=500, flossing=60, seeds=3, rate=3e-3):
    task = tt.tasks.DelayedXor(delay=delay, length=length)
    jobs = [(way, seed) for way in WAYS for seed in range(seeds)]
    found = {
        job: trained(*job, task, units, k, epochs, flossing, rate) for job in study.progress(jobs, "gradient_flossing")
    }
    each = {way: [found[way, seed] for seed in range(seeds)] for way in WAYS}
    checks = []
    why = "through 55 QRs and the states, against differences of fourth order: rounding over h = 1e-7, frames that turn"
    checks.append(study.check("flossing: relative error of its slope", slope_error(units, k, 0), 0, 1e-6, why=why))
    before, after = (np.mean([one[name][0] ** 2 for one in each["before"]]) for name in ("first", "flossed"))
    why = "λ → 0: half of the root mean square or more is gone"
    checks.append(study.check("exponents, rms after / before flossing", np.sqrt(after / before), 0, 0.5, why=why))
    first, last = (np.mean([one[name][1] for one in each["before"]]) for name in ("first", "flossed"))
    why = "spread of λ times 20 steps: falls with the exponents; half or more"
    checks.append(study.check("ln condition number, after / before flossing", last / first, 0, 0.5, why=why))
    ends = {way: np.array([one["right"][-1] for one in each[way]]) for way in WAYS}
    for way in WAYS[1:]:
        why = "learned by all seeds: 95 % right, half of what is wrong by chance is 50 %"
        checks.append(study.check(f"{way}: share right in the end, worst seed", ends[way].min(), 1, 0.05, why=why))
    why = "flossing helps; the mean over seeds is no smaller for it, 2 % for held-out bits"
    short = max(0.0, ends["none"].mean() - ends["before"].mean())
    checks.append(study.check("none: share right beyond that with flossing before", short, 0, 0.02, why=why))
    data = {
        way: {
            "right": [one["right"] for one in each[way]],
            "exponents": {name: each[way][0][name][0] for name in TIMES if name in each[way][0]},
            "log_condition": [[one[name][1] for name in TIMES if name in one] for one in each[way]],
            "losses": [one.get("losses", []) for one in each[way]],
            "conditions": [one.get("conditions", []) for one in each[way]],
        }
        for way in WAYS
    }  # fmt: skip
    data["epoch"] = (np.arange(LOOKS) + 1) * (epochs // LOOKS)
    return {"checks": checks, "seeds": {"weights, bits": list(range(seeds)), "held out": 99}, "data": data}


def draw(result):
    data = result["data"]
    fig, axes = study.figure(1, 3, height=2.7)
    spectrum, flossing, learning = axes
    names = {"first": "before flossing", "flossed": "after flossing", "last": "after training"}
    for number, (name, label) in enumerate(names.items()):
        values = np.array(data["before"]["exponents"][name], dtype=float)
        spectrum.plot(np.arange(1, values.size + 1), values, label=label, **tt.plots.style(number))
    spectrum.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    spectrum.set_xlabel("number $i$ of the exponent")
    spectrum.set_ylabel(r"Lyapunov exponent $\lambda_i$ (nats/step)")
    spectrum.set_title("one seed, flossing before")
    spectrum.legend(loc="lower left")
    look, right = {"linewidth": 0.9}, flossing.twinx()
    for losses, conditions in zip(data["before"]["losses"], data["before"]["conditions"], strict=True):
        (first,) = flossing.semilogy(losses, color=tt.plots.COLOURS[1], **look)
        at, logs = np.array(conditions, dtype=float).T
        (second,) = right.plot(
            at, logs / np.log(10), color=tt.plots.COLOURS[3], linestyle="--", marker="o", markersize=2.5, **look
        )
    right.spines.right.set_visible(True)
    right.set_ylim(bottom=0)
    right.set_ylabel("condition number (decades)")
    flossing.set_ylim(bottom=1e-4, top=10 ** (np.ceil(np.log10(flossing.get_ylim()[1])) + 0.5))  # room for the legend
    flossing.set_xlabel("update of flossing")
    flossing.set_ylabel(r"mean $\lambda_i^2$ (nats² per step²)")
    flossing.set_title("flossing, each seed")
    flossing.legend([first, second], [r"mean $\lambda_i^2$", "condition number"], loc="upper right")
    for number, way in enumerate(WAYS):
        for k, curve in enumerate(np.array(data[way]["right"], dtype=float)):
            learning.plot(data["epoch"], curve, label=way if k == 0 else None, **(tt.plots.style(number) | look))
    learning.axhline(0.5, color="0.6", linewidth=0.8, zorder=0)
    learning.set_ylim(0.2, 1.02)
    learning.set_xlabel("update of training")
    learning.set_ylabel("share of held-out steps that are right")
    learning.set_title("delayed XOR, each seed")
    learning.legend(loc="lower right", title="flossing", title_fontsize=7, alignment="left")
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
