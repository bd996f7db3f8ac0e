"""Which threads of this process run when a call of the library has returned: test_blas.py runs this with a BLAS of two
threads and reads what it prints.

A thread of BLAS that has worked is in state R for some 100 ms; one that has not, sleeps, however busy the machine. So
the first look decides, and no clock is needed. The team's own threads may still be on their way to sleep, and those of
an ensemble on their way out: they were not there before the call.
"""

import contextlib
import json
import os
import threading
import time

import analyses
import matplotlib
import numpy as np

import throughtime as tt
from throughtime.engine import blas

matplotlib.use("Agg")
TASKS = "/proc/self/task"


def running():
    """(others, Python's but for this one): the threads in state R."""
    known = {str(thread.native_id) for thread in threading.enumerate()}
    found = []
    for task in os.listdir(TASKS):
        with contextlib.suppress(OSError), open(f"{TASKS}/{task}/stat") as file:
            if file.read().rsplit(")", 1)[1].split()[0] == "R":
                found.append(task)
    own = str(threading.get_native_id())
    return [t for t in found if t not in known], [t for t in found if t in known and t != own]


def quiet(which):
    """Whether such threads are asleep within some seconds."""
    for _ in range(2000):
        if not running()[which]:
            return True
        time.sleep(0.01)
    return False


def calls():
    """name -> a call without arguments, of a size that wakes BLAS where it is used."""
    rng, units = np.random.default_rng(0), 64
    x = rng.standard_normal((analyses.T, analyses.B, analyses.I))
    net, deep = (tt.Network("tanh", analyses.I, units, num_layers=layers, seed=0) for layers in (1, 2))
    run, deep_run = net.unroll(x), deep.unroll(x)
    matrices = rng.standard_normal((12, units, units)) / np.sqrt(units)
    large = {"weight": rng.standard_normal(200_000)}
    found = {name: lambda f=f: f(run) for name, f in analyses.OF_RUN.items()}
    found |= {name: lambda f=f: f(net, x) for name, f in analyses.OF_NETWORK.items()}
    theory = tt.analysis.mean_field
    spectrum, points = tt.analysis.jacobian_spectrum(run, [5]), tt.analysis.fixed_points(net, x[20, 1], starts=4)
    found |= {
        "unroll": lambda: net.unroll(x),
        "backprop": lambda: run.backprop(analyses.ones(run)),
        "window": lambda: run.backprop(analyses.ones(run), window=3),
        "jvp": lambda: run.jvp(np.ones((analyses.B, units, units)), 0, 10),
        "jacobians": lambda: deep_run.jacobians(0, 10),
        "orthogonal": lambda: tt.Network("tanh", 2, units, init="orthogonal", seed=0),
        "own initialiser": lambda: tt.Network("tanh", units, units, bias=False, init=of_a_product, seed=0),
        "repr of gradients": lambda: repr(run.backprop(analyses.ones(run))),
        "lyapunov_spectrum, all": lambda: tt.analysis.lyapunov_spectrum(net, x, seed=0),
        "lyapunov_from_jacobians": lambda: tt.analysis.lyapunov_from_jacobians(matrices, seed=0),
        "covariant_from_jacobians": lambda: tt.analysis.covariant_from_jacobians(matrices, seed=0),
        "product_from_jacobians": lambda: tt.analysis.product_from_jacobians(matrices),
        "clip_by_norm": lambda: tt.analysis.clip_by_norm(large, 1.0),
        "clip_by_value": lambda: tt.analysis.clip_by_value(large, 1.0),
        "mean field, tanh": lambda: theory.tanh(1.5, noise=0.1).spectrum(np.linspace(0.1, 1.0, 200)),
        "mean field, lstm": lambda: theory.lstm(1.0, units=400, steps=60),
        "repr of a spectrum": lambda: repr(spectrum),
        "plot": lambda: points.plot(),
        "ensemble": lambda: tt.analysis.jacobian_spectrum(tt.Ensemble([net, net]).unroll(x), [5]),
    }
    return found


def of_a_product(network, rng):
    return {name: rng.standard_normal((64, 64)) @ np.eye(64) for name in network.shapes}


def left_running(found):
    """name -> the threads of BLAS that run when the call has returned, if any; the names that left the team awake."""
    others, team = {}, []
    for name, call in found.items():
        call()  # compiled, and every library loaded
        assert quiet(0)
        before = set(os.listdir(TASKS))
        call()
        count = len(before.intersection(running()[0]))
        if count:
            others[name] = count
        if not quiet(1):
            team.append(name)
    return others, team


def main():
    a = np.ones((300, 300))
    assert quiet(0)
    a @ a
    control = len(running()[0])
    found = calls()
    others, team = left_running(found)
    blas._enter = blas._leave = lambda *_: None  # nobody is held from here on
    some = ("covariant_vectors", "fixed_points", "lyapunov_from_jacobians", "orthogonal", "own initialiser")
    unheld, _ = left_running({name: found[name] for name in some})
    print(json.dumps({"control": control, "calls": list(found), "running": others, "team": team, "unheld": unheld}))


if __name__ == "__main__":
    main()
