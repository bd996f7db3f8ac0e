"""What does a small network learn of Python's source, byte by byte, and which of its cells can be read?

A tanh network, a GRU and an LSTM read modules of Python's standard library once, and predict each next byte. Beside
them, on the same held-out modules and after the same text:

    counts of order n     p(b | last n bytes), from counts; where these are few, mixed with order n − 1 (Witten-Bell):
                          p_n = (count + kinds · p_{n−1})/(total + kinds), kinds = different bytes seen after these n
    zlib, lzma            bytes of what was read and the held-out text together, less those of what was read alone;
                          they go on learning within the held-out text, counts and networks do not
    saturation            per unit, the share of time in which a gate is below .1, and above .9
    cells to be read      Pearson correlation of a cell state c with: inside quotes, indentation, place in the line;
                          the cell is chosen on one half of the held-out text, and its correlation is that on the other

Deviations from the paper: source of Python in place of the Linux kernel's; one pass over less than a megabyte by
default, one layer of 128 units; Adam with a falling rate in place of RMSprop; the norm is clipped in place of each
element. The text depends on the version of Python, what is checked does not.

Source: Karpathy, Johnson & Li 2015, arXiv:1506.02078; Witten & Bell, IEEE Trans. Inf. Theory 37, 1991.
"""

import _study as study
import _text
import numpy as np
from matplotlib import pyplot
from matplotlib.colors import LinearSegmentedColormap

import throughtime as tt

SIZES = {"units": 128, "size": 900_000, "held_out": 100_000, "passes": 1, "rate": 0.01}
FULL = {"units": 512, "size": 1_500_000, "held_out": 150_000, "passes": 2, "rate": 0.003}
SMALL = {"units": 64, "size": 400_000, "held_out": 20_000, "passes": 1, "rate": 0.01}
SHARE = {"tanh": 0.4, "gru": 1.0, "lstm": 1.0}  # of the rate
EMBEDDING, LANES, STEPS = 32, 16, 64
TEMPERATURES = (0.4, 0.7, 1.0)
WRITTEN = 300  # bytes
FEATURES = ("inside quotes", "indentation", "place in the line")
WIDE, LINES = 76, 8  # bytes and lines of the coloured text
GATES = {"gru": {"reset": 0, "update": 1}, "lstm": {"input": 0, "forget": 1, "output": 3}}
NAMES = {"tanh": "tanh", "gru": "GRU", "lstm": "LSTM"}
SEED = 0


# ---------------------------------------------------------------------------------------------------- the networks


def trained(cell, stream, units, passes, rate):
    """(model, bits per byte of every update)"""
    updates = int(passes * len(stream.tokens)) // (LANES * STEPS)
    model = tt.models.language_model(
        cell, stream.inputs, hidden_size=units, embedding=EMBEDDING, seed=SEED, dtype="float32"
    )
    optimiser = tt.training.Adam(
        tt.training.Cosine(SHARE[cell] * rate, updates), transforms=(tt.training.ClipNorm(1.0),)
    )
    history = tt.training.fit(model, stream.batches(), "cross_entropy", optimiser, steps=updates).history
    return model, history["loss"] / np.log(2)


def log_probabilities(output):
    """ln softmax over the last axis."""
    shifted = output - output.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64))


def bits(output, targets):
    """−log₂ p of each target."""
    return -np.take_along_axis(log_probabilities(output), targets[..., None], axis=-1)[..., 0] / np.log(2)


def saturation(cell, run):
    """gate -> (2, N): per unit, the share of time in which it is below .1, and above .9."""
    made, units, found = run.made_with(), run.network.hidden_size, {}
    for name, block in GATES[cell].items():
        rows = slice(block * units, (block + 1) * units)
        u = run.input @ made["weight_ih_l0"][rows].T + run.states[:-1, :, :units] @ made["weight_hh_l0"][rows].T
        u += made["bias_ih_l0"][rows] + made["bias_hh_l0"][rows]
        found[name] = np.stack([(u < -np.log(9)).mean(axis=(0, 1)), (u > np.log(9)).mean(axis=(0, 1))])
    return found


def samples(model, stream):
    """Texts at each temperature; of many at temperature 1 the mean of −ln p less the entropy, in standard errors."""
    start = stream.encode("def ")
    texts = {}
    for temperature in TEMPERATURES:
        found = tt.models.generate(model, start, WRITTEN, temperature=temperature, seed=SEED)
        texts[temperature] = "def " + stream.decode(found.tokens).decode("latin-1")
    first = np.repeat(start[:, None], 64, axis=1)
    written = tt.models.generate(model, first, 100, seed=SEED)
    logs = log_probabilities(model.unroll(np.concatenate([first, written.tokens])[:-1]).output[len(first) - 1 :])
    surprise = -np.take_along_axis(logs, written.tokens[..., None], axis=-1)[..., 0]
    excess = (surprise + (np.exp(logs) * logs).sum(axis=-1)).sum(axis=0)
    return texts, excess.mean() / (excess.std(ddof=1) / np.sqrt(excess.size))


# --------------------------------------------------------------------------------------------- cells that can be read


def correlations(cells, wanted):
    """(3, N) Pearson correlations of cells (m, N) with the features (3, m)."""
    c = cells - cells.mean(axis=0)
    f = wanted - wanted.mean(axis=1, keepdims=True)
    scale = np.sqrt((c**2).sum(axis=0)) * np.sqrt((f**2).sum(axis=1, keepdims=True))
    return f @ c / np.maximum(scale, 1e-300)


def readable(run, wanted):
    """For each feature (cell, its correlation, that of the best sum of all cells, states in the order of the text);
    cell and sum are chosen on the first half of the lanes, the correlations are those on the second."""
    units, half = run.network.hidden_size, LANES // 2
    cells = run.states[1:, :, units:].astype(float).swapaxes(0, 1)  # lane after lane: the order of the text
    wanted = wanted.reshape(len(FEATURES), LANES, -1)
    here, there = cells[:half].reshape(-1, units), cells[half:].reshape(-1, units)
    f, g = wanted[:, :half].reshape(len(FEATURES), -1), wanted[:, half:].reshape(len(FEATURES), -1)
    chosen = np.abs(correlations(here, f)).argmax(axis=1)
    mean = here.mean(axis=0)
    weights = np.linalg.lstsq(here - mean, (f - f.mean(axis=1, keepdims=True)).T)[0]
    of_all = np.diag(correlations((there - mean) @ weights, g))
    single = correlations(there, g)
    return [(int(j), single[k, j], of_all[k], cells[:, :, j].reshape(-1)) for k, j in enumerate(chosen)]


def excerpt(text, wanted, after):
    """Where LINES short lines begin and end, partly inside quotes, at different indentations; behind `after`."""
    ends = [0, *(k + 1 for k, byte in enumerate(text) if byte == 10)]
    best, place = -1.0, (0, 0)
    for n in range(len(ends) - LINES):
        start, stop = ends[n], ends[n + LINES]
        lines = text[start:stop].split(b"\n")[:LINES]
        if start < after or max(map(len, lines)) > WIDE or min(map(len, lines)) < 8 or max(text[start:stop]) > 126:
            continue
        inside = wanted[0, start:stop]
        indents = len({len(line) - len(line.lstrip()) for line in lines})
        score = 20 * min(inside.mean(), 1 - inside.mean()) + min(np.abs(np.diff(inside)).sum(), 6) + 2 * indents
        if score > best:
            best, place = score, (start, stop)
    return place


# ----------------------------------------------------------------------------------------------------------- measure


def measure(units=128, size=900_000, held_out=100_000, passes=1, rate=0.01):
    read, modules = _text.source(size, held_out, SEED)
    held = b"".join(modules)
    stream = tt.tasks.text_stream(read + held, LANES, STEPS, held_out=len(held) / len(read + held))
    lane = (len(held) - 1) // LANES
    place = np.arange(lane)[:, None] + lane * np.arange(LANES)
    x, targets = stream.held_out[place].astype(int), stream.held_out[place + 1].astype(int)
    probabilities = _text.counts(read, held)[:, 1:][:, place]
    by_order = -np.log2(probabilities).mean(axis=(1, 2))
    zipped = _text.compressed(read, held)
    wanted = _text.features(modules)[:, : LANES * lane]

    data = {"order_bits": by_order, "compressed_bits": zipped, "bits": {}, "standard_error": {}, "curves": {}}
    data |= {"saturation": {}, "bytes": [len(read), len(held)], "updates": {}, "parameters": {}}
    checks, worse = [], 0
    for cell in study.progress(SHARE, "char_language_model"):
        untrained = tt.models.language_model(
            cell, stream.inputs, hidden_size=units, embedding=EMBEDDING, seed=SEED, dtype="float32"
        )
        model, curve = trained(cell, stream, units, passes, rate)
        run = model.unroll(x)
        each = bits(run.output, targets)
        data["bits"][cell] = each.mean()
        data["standard_error"][cell] = each.mean(axis=0).std(ddof=1) / np.sqrt(LANES)
        width = max(1, len(curve) // 60)
        whole = len(curve) // width * width
        data["curves"][cell] = curve[:whole].reshape(-1, width).mean(axis=1)
        data["updates"][cell], data["parameters"][cell] = len(curve), model.flat.size
        worse += bool(each.mean() > by_order[1])
        again = tt.training.evaluate(model, (x, targets), "cross_entropy") / np.log(2)
        why = "the same mean by tt.training.evaluate; float32 logits"
        checks.append(study.check(f"{NAMES[cell]}: bits per byte", each.mean(), again, 1e-4, why=why))
        if cell != "tanh":
            data["saturation"][cell] = saturation(cell, run.networks["1"])
        if cell == "lstm":
            own = readable(run.networks["1"], wanted)
            before = readable(untrained.unroll(x).networks["1"], wanted)
            texts, excess = samples(model, stream)
    start, stop = excerpt(held[: LANES * lane], wanted, LANES // 2 * lane)
    data["cells"] = {
        name: {"cell": now[0], "correlation": now[1], "of_all": now[2], "states": now[3][start:stop],
               "untrained": then[1], "of_all_untrained": then[2], "range": np.quantile(now[3], (0.02, 0.98))}
        for name, now, then in zip(FEATURES, own, before, strict=True)
    }  # fmt: skip
    data["text"], data["samples"] = held[start:stop].decode("latin-1"), texts

    mine = by_order[0] * np.log(2)
    why = "stream.baseline: the same counts, each one more; 1 % for that"
    checks.append(study.check("counts of order 0, nats", mine, stream.baseline, 0.01 * stream.baseline, why=why))
    short = read[:4000]
    each = [_text.counts(short, short[-_text.ORDERS :] + bytes([byte]))[:, -1] for byte in sorted(set(short))]
    off = np.abs(np.sum(each, axis=0) - 1).max()
    why = "p_n of all bytes that can follow add up to 1; rounding"
    checks.append(study.check("counts: largest |sum of p_n − 1|", off, 0, 1e-12, why=why))
    why = "a network has read what a count of order 1 has, and more"
    checks.append(study.check("networks that are worse than counts of order 1", worse, 0, 0, why=why))
    why = "generate draws from the model's own probabilities: E(−ln p) is the entropy; 4 standard errors"
    checks.append(study.check("writing: (mean of −ln p − entropy)/SE", excess, 0, 4, why=why))
    better = sum(item["of_all"] > item["of_all_untrained"] for item in data["cells"].values())
    why = "a sum of the trained cells follows each of the three more closely than one of the cells before training"
    checks.append(study.check("what the cells follow more closely than before", better, 3, 0, why=why))
    return {"checks": checks, "seeds": {"modules, weights, writing": SEED}, "data": data}


def draw(result):
    data = result["data"]
    fig, axes = study.figure(
        height=5.6,
        mosaic=[["curves", "counts", "gates"], ["text", "text", "text"]],
        height_ratios=[1.0, 1.35],
    )
    curves(axes["curves"], data)
    by_order(axes["counts"], data)
    gates(axes["gates"], data)
    texts(axes["text"], data)
    study.letters(list(axes.values())[:3])
    return fig


def curves(ax, data):
    """Bits per byte while it reads."""
    for number, (cell, curve) in enumerate(data["curves"].items(), start=1):
        at = (np.arange(len(curve)) + 0.5) / len(curve) * data["updates"][cell] * LANES * STEPS / 1e6
        ax.plot(at, curve, label=NAMES[cell], **tt.plots.style(number))
    ax.set_ylim(min(1.4, *(min(curve) - 0.1 for curve in data["curves"].values())), 5.0)
    ax.set_xlabel("text read (MB)")
    ax.set_ylabel("bits per byte")
    ax.set_title("while it reads")
    ax.legend(loc="upper right")


def by_order(ax, data):
    """Held-out bits per byte of counts against their order; the networks beside them."""
    bits_of = data["order_bits"]
    ax.plot(
        range(_text.ORDERS),
        bits_of,
        "o-",
        color="black",
        markersize=3.5,
        fillstyle="none",
        label=f"counts, best {min(bits_of):.2f}",
    )
    for number, cell in enumerate(data["bits"], start=1):
        value, error = data["bits"][cell], data["standard_error"][cell]
        ax.axhline(value, label=f"{NAMES[cell]} {value:.2f} ± {error:.2f}", **tt.plots.style(number))
    for name, value in data["compressed_bits"].items():
        ax.axhline(value, color="0.6", linewidth=0.9)
        ax.annotate(f"{name} {value:.2f}", (0, value), xytext=(-6, -7.5), textcoords="offset points", fontsize=6.5)
    ax.set_xlim(-0.5, _text.ORDERS - 0.5)
    ax.set_ylim(min(1.4, *(value - 0.3 for value in data["compressed_bits"].values())), 5.0)
    ax.set_xticks(range(_text.ORDERS))
    ax.set_xlabel("order $n$ of the counts (bytes)")
    ax.set_ylabel("held-out bits per byte")
    ax.set_title("held out (± 1 SE)")
    ax.legend(loc="upper right")


def gates(ax, data):
    """Each unit's share of time with a gate above .9 against that below .1."""
    marks = {("lstm", "input"): "^", ("lstm", "forget"): "o", ("lstm", "output"): "s", ("gru", "update"): "x"}
    for number, ((cell, gate), marker) in enumerate(marks.items(), start=1):
        low, high = np.asarray(data["saturation"][cell][gate], dtype=float)
        ax.plot(low, high, marker, color=tt.plots.COLOURS[number], markersize=3, fillstyle="none", markeredgewidth=0.7,
                label=f"{NAMES[cell]} {gate}")  # fmt: skip
    ax.plot([0, 1], [1, 0], color="0.6", linewidth=0.8)
    ax.set_xlim(-0.02, 1)
    ax.set_ylim(-0.02, 1)
    ax.set_xlabel("share of time below .1")
    ax.set_ylabel("share of time above .9")
    ax.set_title("gates, a mark a unit")
    ax.legend(loc="upper right", handletextpad=0.1)


LIGHT = LinearSegmentedColormap.from_list("light", ["white", "#9ecae1", "#4292c6"])  # black letters stay readable


def texts(ax, data):
    """The same lines three times, each byte in the shade of a cell's state; below them what the network writes."""
    wide, top = 2 * WIDE + 4, 0
    ax.set_xlim(0, wide)
    blocks = [*data["cells"].items(), None]
    for place, block in enumerate(blocks):
        left, top = (place % 2) * (WIDE + 4), (place // 2) * (LINES + 2.2)
        if block is None:
            written(ax, data["samples"], left, top)
            continue
        name, item = block
        low, high = item["range"]
        shade = (np.asarray(item["states"], dtype=float) - low) / (high - low)
        if item["correlation"] < 0:
            shade = 1 - shade
        title = f"{name}: cell {item['cell']}, |r| = {abs(item['correlation']):.2f}"
        ax.text(left, top, f"{title}; all cells {item['of_all']:.2f}", fontsize=7, va="center")
        row, column = 1, 0
        for letter, value in zip(data["text"], shade, strict=True):
            if letter == "\n":
                row, column = row + 1, 0
                continue
            colour = LIGHT(float(np.clip(value, 0, 1)))
            ax.add_patch(pyplot.Rectangle((left + column, top + row - 0.5), 1, 1, color=colour, linewidth=0))
            ax.text(left + column + 0.5, top + row, letter, family="monospace", fontsize=4.8, ha="center", va="center")
            column += 1
    ax.set_ylim(2 * (LINES + 2.2), -0.8)
    ax.axis("off")


def written(ax, samples, left, top):
    """What the LSTM writes at each temperature, two lines of it."""
    row = 0
    for temperature, text in samples.items():
        ax.text(left, top + row, f"written at temperature {temperature}", fontsize=7, va="center")
        lines = [line[:WIDE] for line in text.split("\n")]
        for line in [line for line in lines if line.strip()][:2]:
            row += 1
            ax.text(left, top + row, line, family="monospace", fontsize=4.8, va="center")
        row += 1


if __name__ == "__main__":
    study.run(globals())
