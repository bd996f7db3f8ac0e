"""One speed? How far the times of the same call lie apart within a process and from one process to the next, and what a
second thread brings.

Ten shapes in ten processes. One thread and two take turns in each, so that a busy machine hurts both. A turn in which
threads of this process waited for a processor is left out, where the system says so (Linux): another program had it.
"""

import itertools
import os
import statistics
import time
from pathlib import Path

import _bench as bench
import numpy as np

import throughtime as tt

SHAPES = [
    ("tanh", 16, 1), ("tanh", 128, 8), ("tanh", 256, 2), ("tanh", 512, 32), ("gru", 32, 32), ("gru", 128, 4),
    ("gru", 256, 8), ("lstm", 64, 4), ("lstm", 128, 32), ("lstm", 384, 1),
]  # fmt: skip
PASSES = ("forward", "backward")
STEPS, TURN = 50, 0.003  # seconds of calls in a turn
WAITED = 0.02  # of a turn, from which on another program disturbed it
TASKS = Path("/proc/self/task")
SLOWER = 0.98
BUSY = 0.5  # of the turns disturbed, from which on nothing is said of a second thread


def waited():
    """Seconds that the threads of this process have waited for a processor."""
    total = 0
    for task in TASKS.iterdir() if TASKS.is_dir() else ():
        try:
            total += int((task / "schedstat").read_text().split()[1])
        except (OSError, IndexError, ValueError):  # it has ended, or this system does not count
            continue
    return total * 1e-9


def once(shapes, seconds):
    """Of one process: {"tanh N=16 B=1 forward": {"alone": seconds of turns, "two": likewise, "disturbed": share}}."""
    found = {}
    for cell, n, b in shapes:
        net = tt.Network(cell, n, n, dtype="float32", seed=0)
        rng = np.random.default_rng(0)
        x, g = (rng.standard_normal((STEPS, b, n)).astype(np.float32) for _ in range(2))
        run = net.unroll(x)
        calls = {"forward": lambda net=net, x=x: net.unroll(x), "backward": lambda run=run, g=g: run.backprop(g)}
        for what, call in calls.items():
            found[f"{cell} N={n} B={b} {what}"] = turns(call, seconds / (len(shapes) * len(calls)))
    return found


def turns(call, seconds, least=4):
    """Seconds of a call with one thread and with two, in turns; those that others disturbed are left out, unless all
    were."""
    calm, every, before = {1: [], 2: []}, {1: [], 2: []}, tt.get_num_threads()
    end = time.perf_counter() + seconds
    try:
        for count in itertools.cycle((1, 2)):
            tt.set_num_threads(count)
            call()
            held, began = waited(), time.perf_counter()
            each = bench.again(call, TURN)
            taken = time.perf_counter() - began
            every[count].append(statistics.median(each))
            if waited() - held <= WAITED * taken:
                calm[count].append(every[count][-1])
            if count == 2 and time.perf_counter() > end and len(every[2]) >= least:
                break
    finally:
        tt.set_num_threads(before)
    kept = sum(map(len, calm.values()))
    alone, two = (calm[count] if len(calm[count]) >= 2 else every[count] for count in (1, 2))
    return {"alone": alone, "two": two, "disturbed": 1.0 - kept / sum(map(len, every.values()))}


def spread(values):
    """How far the middle eight tenths of some numbers lie apart, over their median."""
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return float((high - low) / middle)


def judged(processes):
    """Of what `once` found in each: {key: {"seconds", "within", "across", "gain": [low, median, high], "disturbed"}}.

    within: the spread in one process, the median of them; across: that of their medians; gain: time of one thread over
    that of two. Of the times, those that one thread took.
    """
    found = {}
    for key in processes[0]:
        each = [one[key] for one in processes]
        middle = [statistics.median(one["alone"]) for one in each]
        gain = [a / statistics.median(one["two"]) for a, one in zip(middle, each, strict=True)]
        found[key] = {
            "seconds": statistics.median(middle),
            "within": statistics.median(spread(one["alone"]) for one in each),
            "across": spread(middle),
            "gain": [min(gain), statistics.median(gain), max(gain)],
            "disturbed": statistics.median(one["disturbed"] for one in each),
        }
    return found


def measure(processes=10, seconds=8.0, shapes=SHAPES):
    """Of new processes, one after another, each with so many seconds."""
    return judged([bench.elsewhere(once, shapes, seconds) for _ in range(processes)])


def lines(found):
    """What is said of it, a line for each call and one for all."""
    text = [f"{'':28}{'us':>8}{'within':>8}{'across':>8}   one thread / two [least, most]   disturbed"]
    for key, item in found.items():
        low, gain, high = item["gain"]
        word = "  too busy to tell" if item["disturbed"] > BUSY else "  SLOWER with two" if gain < SLOWER else ""
        text.append(
            f"{key:28}{1e6 * item['seconds']:8.0f}{item['within']:8.1%}{item['across']:8.1%}"
            f"   {gain:.2f} [{low:.2f}, {high:.2f}]{'':14}{item['disturbed']:.0%}{word}"
        )
    calm = [item for item in found.values() if item["disturbed"] <= BUSY]
    slower = sum(item["gain"][1] < SLOWER for item in calm)
    worst = max(found, key=lambda key: found[key]["across"])
    text.append(
        f"{slower} of {len(calm)} calls slower with two threads, {len(found) - len(calm)} on too busy a machine to "
        "tell; from process to process the times lie apart by "
        f"{statistics.median(item['across'] for item in found.values()):.1%} (median), at most by "
        f"{found[worst]['across']:.1%} ({worst}); of {os.cpu_count()} processors"
    )
    return text
