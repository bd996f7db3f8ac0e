"""How times are taken and judged in speed_cpu, speed_analysis and speed_training.

Sides take turns in one process, so that a busy machine hurts all; several processes, for where a process puts its
arrays may change its speed. A ratio is the median of the processes, each of its turns; its spread reaches from the
lowest quartile of any process to the highest.

The bound of a point is what it would take if nothing but this were to be done, each at the best rate measured in the
same process: its products at the matrix peak (or, where that takes longer, its recurrent weights read once a step from
the cache that holds them), its pointwise functions, and a call that has nothing to do.
"""

import itertools
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import _machine
import numba
import numpy as np

import throughtime as tt
from throughtime.scalar import tanh

GATES = {"tanh": 1, "gru": 3, "lstm": 4}
FUNCTIONS = {"tanh": 1, "gru": 3, "lstm": 5}  # of a unit and step: σ and tanh forward, as many slopes on the way back
READ = [1 << k for k in range(12, 27, 2)]  # bytes: 4 KB to 64 MB
SETTLE = 0.04  # seconds
REASSOCIATE = {"reassoc", "nsz", "contract"}  # or a sum is one long chain


def threads():
    """Of every side: THROUGHTIME_THREADS, by default one per processor."""
    return _machine.threads()


def in_turns(calls, seconds, least=3, most=40, settle=SETTLE):
    """Seconds of each call, (turns, calls), in as many turns as fit `seconds`, `least` at least.

    A turn of a side begins with calls that are not counted, for `settle` seconds and once at least: the threads of the
    side before still spin, OpenBLAS's some 30 ms on a machine of 2.6 GHz, and a side that has to share its processors
    with them takes up to seven times as long (tanh, N = 100, B = 8, forward + backward after a NumPy loop: 4.0 ms for
    0.55). Then it is called for a quarter of that time, once at least, and the median counts.
    """
    found, end = [], time.perf_counter() + seconds
    while len(found) < least or (len(found) < most and time.perf_counter() < end):
        turn = []
        for call in calls:
            again(call, settle)
            turn.append(statistics.median(again(call, settle / 4)))
        found.append(turn)
    return np.array(found)


def again(call, seconds):
    """Seconds of each call, of as many as fit, one at least."""
    found, end = [], time.perf_counter() + seconds
    while not found or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return found


def compared(found):
    """Of the turns of one process, our side first: {"seconds": [of each], "ratios": [of the others, quartiles]}."""
    found = np.asarray(found)
    ratios = found[:, 1:] / found[:, :1]
    quartiles = np.quantile(ratios, [0.25, 0.5, 0.75], axis=0).T if ratios.size else np.empty((0, 3))
    middle = np.median(found, axis=0)
    quartiles[:, 1] = middle[1:] / middle[0]
    return {"seconds": middle.tolist(), "ratios": np.sort(quartiles, axis=1).tolist(), "turns": len(found)}


def together(each):
    """(ratio, low, high) over the processes: of [low, ratio, high] in each."""
    low, middle, high = np.array(each, dtype=float).T
    return float(np.median(middle)), float(low.min()), float(high.max())


def elsewhere(function, *given, **named):
    """What the function of a study returns in a new process, which ends with it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given, **named).result()


def over_processes(each, choose=statistics.median):
    """The median of each number of nested dicts and lists that all processes have found; other values of the first."""
    first = each[0]
    if isinstance(first, dict):
        return {key: over_processes([one[key] for one in each], choose) for key in first}
    if isinstance(first, (list, tuple, np.ndarray)):
        return [over_processes(list(values), choose) for values in zip(*each, strict=True)]
    return choose(each) if isinstance(first, (float, np.floating)) else first


def worst(each):
    """Of the checks of all processes, by name those furthest from what is expected; NaN is further than all."""

    def off(item):
        distance = abs(item["measured"] - item["expected"])
        return np.inf if np.isnan(distance) else distance

    found = {}
    for item in (item for checks in each for item in checks):
        found[item["name"]] = max(found.get(item["name"], item), item, key=off)
    return list(found.values())


def best(call, seconds=0.05, least=3):
    """The shortest time of a call within some seconds."""
    found, end = [], time.perf_counter() + seconds
    while len(found) < least or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return min(found)


@numba.njit(nogil=True, cache=True, fastmath=REASSOCIATE)
def total(times, values):
    """Reads all of them again and again: as fast as loads are."""
    found = values[0]
    for _ in range(times):
        found *= values[0]
        for i in range(values.size):
            found += values[i]
    return found


@numba.njit(nogil=True, cache=True, error_model="numpy")
def hyperbolic(times, x, y):
    """The library's tanh, in vectors."""
    for _ in range(times):
        for i in range(x.size):
            y[i] = tanh(x[i])


def peak(dtype, seconds=0.2, size=1024):
    """Multiplications and additions per second of a large product: the faster of NumPy's and PyTorch's."""
    a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    calls = [lambda: a @ a]
    try:
        import torch
    except ImportError:
        pass
    else:
        there = torch.from_numpy(a)
        calls.append(lambda: there @ there)
    return 2 * size**3 / min(best(call, seconds) for call in calls)


def on_all_threads(pieces, function, seconds):
    """The shortest time in which the threads do their pieces side by side, each a thread of its own."""
    function(1, *pieces[0])  # compiles
    times = max(1, round(1e-3 / best(lambda: function(1, *pieces[0]), 0.0)))  # handing out should not count
    with ThreadPoolExecutor(len(pieces)) as pool:
        return best(lambda: list(pool.map(lambda piece: function(times, *piece), pieces)), seconds) / times


def rates(dtype, seconds=1.0):
    """{"peak", "pointwise", "bytes", "read"} of this process with all its threads, per second."""
    count, size = threads(), np.dtype(dtype).itemsize
    share = seconds / (len(READ) + 5)
    x = np.random.default_rng(0).standard_normal(4096).astype(dtype)
    pieces = [(x.copy(), x.copy()) for _ in range(count)]
    pointwise = count * x.size / on_all_threads(pieces, hyperbolic, share)
    read = []
    for number in READ:
        pieces = [(np.ones(max(number // size // count, 1), dtype),) for _ in range(count)]
        read.append(number / on_all_threads(pieces, total, share))
    return {"peak": peak(dtype, 2 * share), "pointwise": pointwise, "bytes": READ, "read": read}


def calls(cell, dtype, seconds=0.02):
    """Seconds of a call that has next to nothing to do: {"forward": ..., "forward+backward": ...}."""
    net, x = tt.Network(cell, 1, 1, dtype=dtype, seed=0), np.zeros((1, 1, 1), dtype)
    run = {"forward": lambda: net.unroll(x).output, "forward+backward": lambda: net.unroll(x).backprop(x)}
    found = {}
    for what, call in run.items():
        call()
        found[what] = best(call, seconds)
    return found


def bound(point, what, rate, call):
    """Seconds of a point {"cell", "dtype", "N", "B", "T", "I"}, and its parts: {"products", "weights", "pointwise"}.

    On the way back there are two more products of each kind: the gradient of the weights and of what they take.
    """
    gates, n, batch, steps = GATES[point["cell"]], point["N"], point["B"], point["T"]
    recurrent = 2 * gates * n * n * batch / rate["peak"]
    weights = gates * n * n * np.dtype(point["dtype"]).itemsize
    read = weights / np.interp(np.log(weights), np.log(rate["bytes"]), rate["read"])
    both = what == "forward+backward"
    entering = 2 * gates * n * point["I"] * batch / rate["peak"] * (3 if both else 1)
    passes = 2 if both else 1
    parts = {
        "products": steps * (entering + passes * recurrent + (recurrent if both else 0)),
        "weights": steps * passes * max(0.0, read - recurrent),
        "pointwise": steps * passes * n * batch * FUNCTIONS[point["cell"]] / rate["pointwise"],
    }
    return call + sum(parts.values()), parts


def triangular(n, dtype, seconds=0.05):
    """Seconds of LAPACK's LU of n columns."""
    from scipy.linalg import get_lapack_funcs

    a = np.asfortranarray(np.random.default_rng(0).standard_normal((n, n)), dtype)
    (getrf,) = get_lapack_funcs(("getrf",), (a,))
    return best(lambda: getrf(a), seconds)


def mean_ratio(ratios):
    """Geometric."""
    return float(np.exp(np.mean(np.log(ratios)))) if len(ratios) else None


def grid(**axes):
    """[{"cell": ..., "N": ...}, ...]: all combinations, the last axis fastest."""
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def median(values):
    return statistics.median(values) if values else None
