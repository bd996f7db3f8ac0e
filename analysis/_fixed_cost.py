"""What a pass takes beside its compiled loops: the time of the whole call less that of the loops called directly.

python analysis/_fixed_cost.py            # unroll + backprop of small networks, one thread
"""

import time
from unittest import mock

import numpy as np

import throughtime as tt
from throughtime.engine.cpu import threads
from throughtime.engine.cpu.board import board

CELLS, DTYPES = ("tanh", "gru", "lstm"), ("float32", "float64")


def loops_of(call):
    """The compiled loops that a call runs, as functions without arguments, on the arrays of that one call."""
    found, run = [], threads.run

    def noted(loop, arguments, parts, whole):
        found.append((loop, (*arguments, whole, board(0, 1))))
        run(loop, arguments, parts, whole)

    with mock.patch.object(threads, "run", noted):
        call()
    return [lambda loop=loop, given=given: loop(*given) for loop, given in found]


def seconds_of(call, runs=9, each=200):
    """Of one call; the least of several means, for whatever else runs on the machine makes them longer."""
    means = []
    for _ in range(runs):
        began = time.perf_counter()
        for _ in range(each):
            call()
        means.append((time.perf_counter() - began) / each)
    return min(means)


def fixed_cost(call):
    """(seconds of the call, seconds of its loops)."""
    call()
    loops = loops_of(call)

    def alone():
        for loop in loops:
            loop()

    return seconds_of(call), seconds_of(alone)


def passes(cell, dtype, units=16, batch=1, steps=50):
    """unroll + backprop of one small network."""
    net = tt.Network(cell, units, units, dtype=dtype, seed=0)
    x, g = np.ones((2, steps, batch, units), dtype)
    return lambda: net.unroll(x).backprop(g)


def main():
    tt.set_num_threads(1)
    print("unroll + backprop, N = 16, B = 1, microseconds: whole, loops, rest (goal 40)")
    for steps in (50, 1):
        for cell in CELLS:
            for dtype in DTYPES:
                whole, loops = fixed_cost(passes(cell, dtype, steps=steps))
                print(
                    f"T = {steps:2} {cell:5} {dtype} {whole * 1e6:6.1f} {loops * 1e6:6.1f} {(whole - loops) * 1e6:6.1f}"
                )


if __name__ == "__main__":
    main()
