"""How does a network hold three bits: are its fixed points the corners, edges, faces and middle of a cube?

Networks learn the flip-flop: each of three outputs is the sign of the last pulse of its own input. Between pulses the
input is zero, and a memory is a stable fixed point: 8 for the 8 words of three bits. Three bistable units side by side
have 3³ fixed points, since each bit may also sit at its threshold, along which the point is unstable:

    8 corners + 12 edges + 6 faces + 1 middle, with 0, 1, 2 and 3 unstable directions

All are hyperbolic, so a weak coupling leaves them as they are; whether training ends there is the question. The points
are searched from mixtures of three states that the trained network visits, and again from four times as many others.
Apart from the search, the signs of det(I − J) at all fixed points of a bounded map sum to 1 (Lefschetz), so that a
single missing point shows. Which corners a saddle lies between is found by running the network from both sides of it.

With pulses in every other step, as the FixedPointFinder package has them, a memory need not last: some GRUs that make
no mistake have fewer than 8 stable points. Where pulses have probability ¼, silence is longer, and the cube is whole;
but of GRUs with 64 units (--full) only some have all of it: the others hold a word by states that drift slowly enough.

Deviations from the paper: discrete time, 24 tanh units, LSTM or GRU, trained by backpropagation with Adam (there: 1000
rate units in continuous time, output fed back, FORCE). The paper counts 26 fixed points in its network (from a summary,
not read there).
Source: Sussillo & Barak, Neural Computation 25, 2013; Golub & Sussillo, J. Open Source Software 3, 2018.
"""

from itertools import product

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 24, "updates": 800, "seeds": 3, "starts": 512}
FULL = {"units": 64, "updates": 2000, "seeds": 3, "starts": 1024}
SMALL = {"units": 24, "updates": 800, "seeds": 1, "starts": 256, "kinds": ("tanh, ¼",)}
KINDS = ("tanh, ¼", "gru, ¼", "lstm, ¼", "gru, ½")  # cell, probability of a pulse
PULSES = {"¼": 0.25, "½": 0.5}
CUBE = (8, 12, 6, 1, 0)  # by the number of unstable directions; the last: 4 or more
WORDS = np.array(list(product((-1, 1), repeat=3)))
BESIDE = 1e-4  # of a saddle, where the runs start that leave it
STEPS = 1500  # of these runs
SEEDS = {"readout": 1, "sequences": 2, "test": 3, "starts": 4, "other starts": 5}


def trained(net, task, updates):
    """The model, and the share of 500 fresh sequences in which an output is more than ½ off at any step."""
    model = tt.models.Chain([net, tt.models.Readout(net.hidden_size, task.outputs, seed=SEEDS["readout"])])
    rate = tt.training.Cosine(0.01, steps=updates)
    optimiser = tt.training.Adam(rate, transforms=(tt.training.ClipNorm(1.0),))
    tt.training.fit(model, task.batches(32, seed=SEEDS["sequences"]), task.loss, optimiser, steps=updates)
    test = task.batch(500, seed=SEEDS["test"])
    return model, task.share_wrong(model.predict(test.x), test)


def visited(model, task):
    """(n, S) states of the network on fresh sequences, after the first ten steps."""
    states = model.unroll(task.batch(200, seed=SEEDS["test"]).x).networks["0"].states[10:]
    return states.reshape(-1, states.shape[-1])


def mixtures(states, count, seed):
    """(count, S): weighted means of three of the states each, the weights uniform among those that sum to 1."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3), count)
    return np.einsum("nk,nks->ns", weights, states[rng.integers(0, len(states), (count, 3))])


def read(model, states):
    """(n, 3) what the model gives out in these states."""
    readout = model.pieces[1].parameters
    return states[:, : model.pieces[0].hidden_size] @ readout["weight"].T + readout["bias"]


def left(net, found, saddles):
    """(steps + 1, 2n, S): the run without input from beside each saddle, all on one side and then all on the other."""
    away = []
    for k in saddles:
        run = net.unroll(np.zeros((1, net.input_size)), state=found.state(k))
        values, vectors = np.linalg.eig(run.jacobian(1)[0])
        away.append(BESIDE * vectors[:, np.abs(values).argmax()].real)
    away = np.reshape(away, (-1, net.state_size))
    begin = np.concatenate([found.points[saddles] + away, found.points[saddles] - away])
    parts = np.split(begin[None], begin.shape[1] // net.hidden_size, axis=2)
    state = tuple(parts) if len(parts) > 1 else parts[0]
    return net.unroll(np.zeros((STEPS, len(begin), net.input_size)), state=state).states


def new(others, found):
    """How many of the other points are not among those that were found."""
    return (np.abs(others.points[:, None] - found.points).max(axis=2).min(axis=1) > 1e-4).sum()


def analysed(net, task, updates, starts):
    """One network, from its first values to the graph of its fixed points."""
    model, wrong = trained(net, task, updates)
    states = visited(model, task)

    def search(count, seed):
        return tt.analysis.fixed_points(net, starts=mixtures(states, count, seed))

    found, again = search(starts, SEEDS["starts"]), search(4 * starts, SEEDS["other starts"])
    fewer = [starts // 2**k for k in range(5, -1, -1)]
    mixed = [search(count, count) for count in fewer]
    drawn = [tt.analysis.fixed_points(net, starts=count, seed=count) for count in fewer]
    unstable, output = found.unstable_directions, read(model, found.points)
    corners, saddles = np.flatnonzero(unstable == 0), np.flatnonzero(unstable == 1)
    runs = left(net, found, saddles)
    gap = np.abs(runs[-1][:, None] - found.points[corners]).max(axis=2)
    ends = np.sign(output[corners[gap.argmin(axis=1)]]).astype(int).reshape(2, -1, 3).swapaxes(0, 1)
    sides = {tuple(sorted(map(tuple, pair))) for pair in ends if (pair[0] != pair[1]).sum() == 1}
    return {
        "wrong": wrong,
        "counts": kinds(found),
        "index_sum": found.index.sum(),
        "words": len({tuple(word) for word in np.sign(output[corners])}),
        "edges": len(sides),
        "gap": gap.min(axis=1).max(initial=0.0),
        "new": [new(again, found), new(drawn[-1], found)],
        "found": [[len(each.points) for each in searches] for searches in (mixed, drawn)],
        "sums": [[each.index.sum() for each in searches] for searches in (mixed, drawn)],
        "fewest_hits": found.hits.min(),
        "slow_points": len(found.slow_points),
        "slowest_corner": found.spectral_radius[corners].max(),
        "fastest_saddle": found.spectral_radius[saddles].max(initial=0.0),
        "portrait": portrait(states, found.points, unstable, np.sign(output), runs),
    }


def kinds(found):
    """(5,) points with 0, 1, 2, 3 and more unstable directions."""
    return np.bincount(np.minimum(found.unstable_directions, 4), minlength=5)


def portrait(states, points, unstable, words, runs):
    """What is drawn: all in the first three principal components of the trained states, seen obliquely to the bits."""
    centre = states.mean(axis=0)
    spread, axes = np.linalg.svd(states - centre, full_matrices=False)[1:]
    corners = unstable == 0
    u, _, v = np.linalg.svd(axes[:3] @ (points[corners] - centre).T @ words[corners])
    around, down = np.radians(24.0), np.radians(18.0)
    view = np.array(
        [
            [np.cos(around), -np.sin(around) * np.sin(down)],
            [np.sin(around), np.cos(around) * np.sin(down)],
            [0.0, np.cos(down)],
        ]
    )
    onto = axes[:3].T @ u @ v @ view  # Procrustes: the rotation that takes corners nearest to their words
    paths = [along((runs[:, k] - centre) @ onto) for k in range(runs.shape[1])]
    return {
        "share_of_variance": (spread[:3] ** 2).sum() / (spread**2).sum(),
        "points": ((points - centre) @ onto).round(3),
        "unstable": unstable,
        "states": ((states[::97] - centre) @ onto).round(2),
        "paths": [path.round(3) for path in paths],
    }


def along(path, count=12):
    """`count` points of a path (steps, 2), as far from each other as can be."""
    length = np.append(0.0, np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum())
    return path[np.searchsorted(length, np.linspace(0.0, length[-1], count)).clip(max=len(path) - 1)]


def measure(units=24, updates=800, seeds=3, starts=512, kinds=KINDS):
    checks, data = [], {"kinds": list(kinds), "starts": starts}
    for kind in study.progress(kinds, "flip_flop"):
        cell, pulses = kind.split(", ")
        task = tt.tasks.FlipFlop(bits=3, length=64, pulses=PULSES[pulses])
        family = tt.Ensemble(lambda seed: tt.Network(cell, 3, units, seed=seed), {"seed": range(seeds)})  # noqa: B023
        found = family.map(analysed, task, updates, starts)
        every = {
            name: np.array([item[name] for item in found.results]) for name in found.results[0] if name != "portrait"
        }
        fewest = int(every["counts"].sum(axis=1).argmin())
        data[kind] = every | {"drawn": fewest, "portrait": found.results[fewest]["portrait"]}
        checks += of_kind(kind, every, cell == "gru" and units > SMALL["units"])
    return {"checks": checks, "seeds": SEEDS | {"networks": list(range(seeds))}, "data": data}


def of_kind(kind, every, slow=False):
    """The checks of all networks of one kind. slow: whether they may hold a word without a point that is stable."""

    def check(name, measured, expected, tolerance, why):
        return study.check(f"{kind}, {len(every['wrong'])} networks: {name}", measured, expected, tolerance, why=why)

    found = [
        check("largest share of wrong sequences", every["wrong"].max(), 0, 0.002, "the task is learned: 1 of 500"),
        check("largest |Σ index − 1|", np.abs(every["index_sum"] - 1).max(), 0, 0, "Lefschetz: the states are bounded"),
        check("points that 4 times as many starts add", every["new"][:, 0].sum(), 0, 0, "the starts were enough"),
        check("points that starts elsewhere add", every["new"][:, 1].sum(), 0, 0, "none lies outside of the mixtures"),
    ]
    if slow or kind.endswith("½"):  # a bit need not last: it is silent for ten steps once in a thousand
        return found
    why = "3 bistable units side by side have 3³ hyperbolic points, which a weak coupling keeps"
    names = ("stable", "1 unstable direction", "2 unstable directions", "3 unstable directions", "more")
    found += [
        check(f"mean number of points, {name}", every["counts"][:, k].mean(), CUBE[k], 0, why)
        for k, name in enumerate(names)
    ]
    return [
        *found,
        check("fewest words at stable points", every["words"].min(), 8, 0, "one for each word of three bits"),
        check("fewest edges of the cube that are joined", every["edges"].min(), 12, 0, "a saddle lies on each"),
        check("largest distance of a run's end from a corner", every["gap"].max(), 0, 1e-6,
              f"{STEPS} steps, in which what is left of a distance is rounding"),
    ]  # fmt: skip


LOOK = (
    ("o", 1, "corner: stable"),
    ("s", 3, "edge: 1 unstable"),
    ("^", 5, "face: 2 unstable"),
    ("*", 4, "middle: 3 unstable"),
)


def draw(result):
    data = result["data"]
    kinds = data["kinds"]
    fig, axes = study.figure(2, 3, height=4.9)
    for ax, kind in zip(axes.flat, kinds, strict=False):
        cube(ax, data[kind]["portrait"])
        number = np.sum(data[kind]["counts"][data[kind]["drawn"]])
        ax.set_title(f"{kind.replace(', ', ', p = ')}: {number} points")
    for ax in axes.flat[len(kinds) : 4]:
        ax.set_visible(False)
    counts(axes[1, 1], data)
    starts(axes[1, 2], data)
    study.letters([ax for ax in axes.flat if ax.get_visible()])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=6, handletextpad=0.2, columnspacing=1.0)
    return fig


def cube(ax, portrait):
    """Trained states, fixed points by kind, and the runs from both sides of the saddles with one unstable direction."""
    colours = tt.plots.COLOURS
    ax.plot(*np.array(portrait["states"]).T, ".", color="0.85", markersize=2.0, zorder=0, label="trained states")
    for k, path in enumerate(portrait["paths"]):
        label = "run from beside a saddle" if k == 0 else None
        ax.plot(*np.array(path).T, color="0.45", linewidth=0.9, label=label)
    points, unstable = np.array(portrait["points"]), np.array(portrait["unstable"])
    for kind, (marker, colour, name) in enumerate(LOOK):
        style = {"markersize": 7.0 if marker == "*" else 4.5, "markeredgecolor": "white", "markeredgewidth": 0.4}
        ax.plot(*points[unstable == kind].T, marker, color=colours[colour], label=name, **style)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel("across (PCs 1–3, seen obliquely)")
    ax.set_ylabel("up (the same)")


def counts(ax, data):
    """Points by unstable directions, one mark for each network, and those of the cube."""
    ax.bar(range(4), CUBE[:4], width=0.8, color="0.88", label="a cube")
    for number, kind in enumerate(data["kinds"]):
        found = np.array(data[kind]["counts"])[:, :4]
        at = np.arange(4) + 0.2 * (number - 1.5)
        look = {"color": tt.plots.COLOURS[COLOUR[number]], "marker": MARK[number], "markersize": 3.5}
        for k, row in enumerate(found):
            ax.plot(at, row, linestyle="none", fillstyle="none", label=kind if k == 0 else None, **look)
    ax.set_xticks(range(4))
    ax.set_ylim(-0.5, 13.5)
    ax.set_xlabel("unstable directions")
    ax.set_ylabel("fixed points of a network")
    ax.set_title("all networks")
    ax.legend(loc="upper right", handletextpad=0.3)


COLOUR, MARK = (0, 1, 5, 3), "osD^"


def starts(ax, data):
    """Points found against starts; open where the sum of the indices says that one is missing."""
    ax.axhline(sum(CUBE), color="0.6", linewidth=0.8, linestyle="--")
    for way, (line, name) in enumerate((("-", "mixtures of trained states"), (":", "default starts"))):
        for number, kind in enumerate(kind for kind in data["kinds"] if kind.endswith("¼")):
            found, sums = (np.array(data[kind][each])[:, way] for each in ("found", "sums"))
            at = np.broadcast_to(data["starts"] // 2 ** np.arange(found.shape[1])[::-1], found.shape)
            look = {"color": tt.plots.COLOURS[COLOUR[number]], "marker": "o", "linestyle": "none", "markersize": 3.0}
            ax.plot(at[0], found.mean(axis=0), line, color=look["color"], linewidth=1.0)
            ax.plot(at[sums == 1], found[sums == 1], **look)
            ax.plot(at[sums != 1], found[sums != 1], **look, markerfacecolor="white")
        ax.plot([], [], line, color="0.3", label=name)
    ax.plot([], [], "o", color="0.3", markersize=3.0, label="indices sum to 1")
    ax.plot([], [], "o", color="0.3", markersize=3.0, markerfacecolor="white", label="they do not")
    ax.set_xscale("log", base=2)
    ax.set_xlabel("starts of the search")
    ax.set_ylabel("fixed points found")
    ax.set_title("starts and finds, p = ¼")
    ax.set_ylim(0, 29)
    ax.legend(loc="lower right")


if __name__ == "__main__":
    study.run(globals())
