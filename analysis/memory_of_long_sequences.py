"""How much memory does a gradient through T steps take, with all states kept, with some of them, and with PyTorch?

One sequence through an LSTM in float32, forward and backward. Peak: the most that the process holds in addition to what
it held before the call, x and dL/doutput among it (VmHWM of Linux, each in a process of its own after a short call of
the same kind). `unroll(x)` keeps K = 4 activations and 2 states of each unit and step; `unroll(x, checkpoint="auto")`
the states at the ends of pieces and one piece, beside what is handed out: output, x and its gradient. Both have their
time beside the other's; PyTorch is torch.nn.LSTM, if it is installed.

Sources: Chen et al. (2016), arXiv:1604.06174; Gruslys et al. (2016), arXiv:1606.03401. Deviations: none of their
figures is repeated here.
"""

import gc
import importlib.util
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"lengths": [1000, 10_000, 100_000], "units": 128, "inputs": 16, "repeats": 2, "seconds": 1.0, "peer": True}
FULL = SIZES | {"lengths": [1000, 3000, 10_000, 30_000, 100_000, 300_000], "repeats": 3, "seconds": 3.0}
SMALL = {"lengths": [10_000, 60_000], "units": 64, "inputs": 8, "repeats": 1, "seconds": 0.0, "peer": False}
WAYS = {"all states kept": None, "checkpoint": "auto"}
SEED = 1


def status(key):
    """Bytes of a line of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def ours(checkpoint, length, units, inputs):
    """A function that goes forward and back, and gives the gradients by the parameters."""
    rng = np.random.default_rng(SEED)
    net = tt.Network("lstm", inputs, units, dtype="float32", seed=rng)
    x = rng.standard_normal((length, 1, inputs)).astype("float32")
    g = rng.standard_normal((length, 1, units)).astype("float32")
    return lambda: net.unroll(x, checkpoint=checkpoint).backprop(g, states=False).parameters


def theirs(length, units, inputs):
    """The same of PyTorch."""
    import torch

    torch.manual_seed(SEED)
    net = torch.nn.LSTM(inputs, units)
    x = torch.randn(length, 1, inputs, requires_grad=True)
    g = torch.randn(length, 1, units)

    def both():
        net.zero_grad()
        net(x)[0].backward(g)

    return both


def once(way, length, units, inputs, repeats, seconds):
    """(peak in bytes, seconds, gradients) of one way, in this process."""

    def made(steps):
        return theirs(steps, units, inputs) if way == "torch" else ours(WAYS[way], steps, units, inputs)

    made(2000)()  # compiled, or loaded, and the threads are there: as long as the pieces of a long sequence, or longer
    call = made(length)
    tt.release_memory()
    gc.collect()
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w", encoding="ascii") as reset:
        reset.write("5")  # VmHWM, the peak of VmRSS, starts again
    found = call()
    peak = status("VmHWM") - before
    times = []
    while len(times) < repeats or (sum(times) < seconds and len(times) < 50):  # a short call is a noisy one
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return peak, statistics.median(times), found


def measure(lengths, units, inputs, repeats, seconds, peer):
    ways = [*WAYS, "torch"] if peer and importlib.util.find_spec("torch") else [*WAYS]
    peaks, times = {way: [] for way in ways}, {way: [] for way in ways}
    off, fresh = [], multiprocessing.get_context("spawn")
    for length in study.progress(lengths, "memory_of_long_sequences"):
        gradients = {}
        for way in ways:  # one after another: together they would share the cores
            with ProcessPoolExecutor(1, mp_context=fresh) as pool:
                peak, took, found = pool.submit(once, way, length, units, inputs, repeats, seconds).result()
            peaks[way].append(peak)
            times[way].append(took)
            gradients[way] = found
        one, other = (gradients[way] for way in WAYS)
        off.append(max(float(np.abs(one[name] - other[name]).max()) for name in one))
    # bytes per step
    grown = {way: (own[-1] - own[-2]) / (lengths[-1] - lengths[-2]) for way, own in peaks.items()}
    inherent, kept = 4 * (units + 2 * inputs), 4 * ((4 + 2) * units + 2 * inputs)
    beside, promised = grown["checkpoint"] / inherent, grown["all states kept"] / kept
    checks = [
        study.check("gradients with and without checkpoint, largest difference", max(off), 0, 0, why="the same bits"),
        study.check(
            "checkpoint: bytes per step / those of output, x and its gradient", beside, 1, 0.25,
            why="all else is of one piece, and 2 N numbers for each piece; the README's 1.25 times what is kept",
        ),
        study.check(
            "all states kept: bytes per step / those of activations, states, x and its gradient", promised, 1, 0.25,
            why="the README's formula, without the gradients of the states, which are not asked for",
        ),
    ]  # fmt: skip
    data = {"lengths": lengths, "ways": ways, "peaks": peaks, "seconds": times, "inherent": inherent, "kept": kept}
    return {"checks": checks, "seeds": {"weights, input": SEED}, "data": data}


def draw(result):
    data, plots = result["data"], tt.plots
    fig, axes = study.figure(1, 2, height=2.7)
    T = np.array(data["lengths"])
    names = {"all states kept": "all states kept", "checkpoint": 'checkpoint="auto"', "torch": "PyTorch"}
    for i, way in enumerate(data["ways"]):
        style = {"color": plots.COLOURS[i + 1], "marker": plots.MARKERS[i], "markersize": 4, "label": names[way]}
        peaks = np.array(data["peaks"][way], float)  # 0 where memory that the process had was enough: not drawn
        axes[0].loglog(T, np.where(peaks > 0, peaks, np.nan) / 1e6, **style)
        axes[1].semilogx(T, 1e6 * np.array(data["seconds"][way]) / T, **style)
    axes[0].loglog(T, data["inherent"] * T / 1e6, "--", color="0.4", linewidth=0.9, label="output, x and its gradient")
    axes[0].set_ylabel("peak in megabytes")
    axes[0].set_title("memory")
    axes[1].set_ylabel("microseconds per step")
    axes[1].set_title("time")
    axes[1].set_ylim(0)
    for ax in axes:
        ax.set_xlabel("time steps $T$")
    axes[0].legend()
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
