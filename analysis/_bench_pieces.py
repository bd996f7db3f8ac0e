"""What speed_cpu measures, each piece in a process of `_workers`, whose pieces come one after another."""

import time

import _bench as bench
import _bench_peers as peers
import numpy as np

import throughtime as tt

PASSES = ("forward", "forward+backward")
LONG = 2.0  # seconds of a turn, from which on two of them are enough
# Their turns come after all others': OpenBLAS's threads spin for longer than a turn lets them, and beside them the
# library works with one thread (LSTM, N = 384, B = 20: 14.9 ms forward in place of 7.6 after a turn of the loop).
SPIN, REST = ("numpy",), 0.3  # seconds


def begin():
    """As a user has it who sets nothing, unless THROUGHTIME_THREADS is set."""
    tt.set_num_threads(bench.threads())
    if peers.there_is("torch"):
        import torch

        torch.set_num_threads(bench.threads())


def rates(turn, cells, dtypes, seconds=1.0):
    """The rates that the bounds of this process are made of, and what a call takes that has nothing to do."""
    begin()
    found = {dtype: bench.rates(dtype, seconds) for dtype in dtypes}
    return {"rates": found, "calls": {f"{c} {d}": bench.calls(c, d, seconds / 50) for c in cells for d in dtypes}}


def point(turn, cell, dtype, N, B, T, I, peers_asked, seconds, settle=bench.SETTLE):
    """Turns of all sides in both passes, and how far their gradients of the input are from ours."""
    begin()
    net, x, g = peers.problem(cell, dtype, N, B, T, I)
    sides, off, missing = {"ours": peers.ours(net, x, g)}, {}, {}
    wanted = sides["ours"]["gradient"]()
    for name in peers_asked:
        try:
            side = peers.SIDES[name](net, x, g)
            found = side["gradient"]()
        except Exception as error:  # a peer that does not work here is left out, and named
            missing[name] = f"{type(error).__name__}: {error}"[:200]
            continue
        off[name] = float(np.max(np.abs(found - wanted)) / np.max(np.abs(wanted)))
        sides[name] = side
    sides = {name: sides[name] for name in sorted(sides, key=lambda name: name in SPIN)}
    turns = {}
    time.sleep(REST if set(SPIN) & set(sides) else 0.0)
    for what in PASSES:
        calls = [side[what] for name, side in sides.items() if name not in SPIN]
        for call in calls:
            call()  # compiles
        first = bench.in_turns(calls, 0.0, least=1, settle=settle)
        others = bench.in_turns(calls, seconds, 2 if 2 * first.sum() < LONG else 1, settle=settle)
        turns[what] = [np.vstack([first, others])]
    for what, found in turns.items():
        calls = [side[what] for name, side in sides.items() if name in SPIN]
        found += [bench.in_turns([call], 0.0, least=len(found[0]), settle=settle) for call in calls]
    passes = {what: bench.compared(np.hstack(found)) for what, found in turns.items()}
    return {"sides": list(sides), "passes": passes, "off": off, "missing": missing}
