"""How many instructions a step of the loops takes: `python tests/engine/cpu/instruction_counts.py [--write]`.

A clock tells of the machine and of what else runs on it; the number of instructions tells of the code alone. A loop
that falls back to scalars, spills its registers or packs its operands at each step shows here, whatever the machine. It
isn't time: waiting for memory, for a division or for the sum before costs no instruction.

Valgrind's callgrind counts. It runs AVX2 and not AVX-512, so the code is compiled for a processor with AVX2, beforehand
and without it (`HASWELL`): LLVM is fifty times slower under it. Only what belongs to no file is counted, which is
compiled code: the instructions of Python itself aren't the same in every call. Those of the C library (copying, setting
to zero) are left out with them. A pass of few steps is subtracted from one of many: what every call costs, such as
packing the weights, drops out. Processor time: 27 s for compiling, 13 s under valgrind.

The test counts each cell in one precision; THROUGHTIME_TESTS=all has both, as has --write.

Other ways: hardware counters (`perf stat`) are not there on most virtual machines, and differ between processors;
llvm-mca and counts in the assembly know the inner loops and not how often they run.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import NamedTuple

import llvmlite
import llvmlite.binding as llvm
import numpy as np

PATH = Path(__file__).with_suffix(".txt")
COLUMNS = ("cell", "dtype", "N", "B", "pass", "instructions")
ANEW = "python tests/engine/cpu/instruction_counts.py --write"
SLACK = 0.03  # of a count; from Python 3.11 to 3.12 none moved by more than a thousandth
STEPS = {1: (50, 150), 16: (2, 6)}  # few and many, by the batch: a vector's multiply-adds take valgrind 0.2 µs
PASSES = "forward", "backward"
HASWELL = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "THROUGHTIME_CALIBRATE": "off"}


class Case(NamedTuple):
    cell: str
    dtype: str
    units: int  # and inputs
    batch: int


CASES = [
    Case(cell, dtype, *size)
    for cell, dtype, size in product(("tanh", "gru", "lstm"), ("float32", "float64"), ((16, 1), (64, 16)))
]
IN_TURN = {"tanh": "float32", "gru": "float64", "lstm": "float32"}


def chosen() -> list[Case]:
    """What is counted, by the environment: the process that compiles and the one that counts ask it."""
    every = os.environ.get("THROUGHTIME_TESTS") == "all"
    return [case for case in CASES if every or IN_TURN[case.cell] == case.dtype]


Counts = dict[tuple[str, ...], float]  # (cell, dtype, N, B, pass) -> instructions per step


def why_not() -> str:
    """Why nothing can be counted here; empty where it can."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "the counts are those of Linux on x86-64"
    features = llvm.get_host_cpu_features()
    if not all(features.get(name) for name in ("avx2", "fma", "bmi2")):
        return "the code that is counted is for AVX2 and FMA, which this processor lacks"
    return "" if shutil.which("valgrind") else "valgrind is not installed"


def counted() -> Counts:
    """Instructions per step of every case."""
    environment = os.environ | HASWELL | {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with tempfile.TemporaryDirectory() as folder:
        options = ["-q", "--tool=callgrind", "--instr-atstart=no", "--compress-strings=no", "--compress-pos=no"]
        options.append(f"--callgrind-out-file={folder}/out")
        for before, mode in ((), "--compile"), (("valgrind", *options), "--count"):
            command = [*before, sys.executable, __file__, mode]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, f"{' '.join(command)}: {done.stderr[-2000:]}"
        files = [path.read_text() for path in Path(folder).iterdir()]
    totals = {}
    for text in files:
        if name := re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE):
            totals[tuple(name[1].split())] = in_no_library(text)
    found = {}
    for case, which in product(chosen(), PASSES):
        key, (few, many) = (*map(str, case), which), STEPS[case.batch]
        found[key] = (totals[*key, str(many)] - totals[*key, str(few)]) / (many - few)
    return found


def in_no_library(text: str) -> int:
    """Instructions of a dump that belong to no file: those of compiled code."""
    total, place, called = 0, "", False
    for line in text.splitlines():
        if line.startswith("ob="):
            place = line
        elif line.startswith("calls="):
            called = True  # the next line is the cost of what was called, which is counted where it stands
        elif line[:1].isdigit():
            total += int(line.split()[1]) if place == "ob=???" and not called else 0
            called = False
    return total


def least(key: tuple[str, ...]) -> float:
    """Multiply-adds of the two products of a step, as many at a time as a vector of AVX2 holds numbers."""
    blocks = {"tanh": 1, "gru": 3, "lstm": 4}[key[0]]
    return 2 * blocks * int(key[2]) ** 2 * int(key[3]) * np.dtype(key[1]).itemsize / 32


def run(count: bool) -> None:
    """All passes, once to compile and load them, then with a count of each. Nothing is compiled while counting."""
    features = llvm.get_host_cpu_features()
    for name in features:
        features[name] = features[name] and not name.startswith("avx512")
    llvm.get_host_cpu_features = lambda: features  # the library asks it how wide vectors are

    from numba.core import event

    import throughtime as tt

    tt.set_num_threads(1)
    gc.disable()
    cases = []
    for case in chosen():
        network = tt.Network(case.cell, case.units, case.units, seed=0, dtype=case.dtype)
        xs = [np.full((steps, case.batch, case.units), 0.1, case.dtype) for steps in STEPS[case.batch]]
        cases.append((case, network, xs))
    with event.install_recorder("numba:compile") as compilations:
        for _, network, xs in cases:
            result = network.unroll(xs[0])
            result.backprop(result.output)
    if not count:
        return
    if compilations.buffer:
        raise SystemExit(f"{len(compilations.buffer)} functions were compiled while counting, not before")
    ask = request()
    ask(START)
    for case, network, xs in cases:
        for x in xs:
            name = " ".join(map(str, case))
            ask(ZERO)
            result = network.unroll(x)
            ask(DUMP, f"{name} forward {len(x)}")
            output = result.output
            ask(ZERO)
            result.backprop(output)
            ask(DUMP, f"{name} backward {len(x)}")
    ask(STOP)


ZERO, DUMP, START, STOP = (0x43540000 + number for number in (1, 3, 4, 5))  # of valgrind/callgrind.h, after "CT"


def request():
    """`ask(number, name)` asks callgrind for something.

    As valgrind.h writes it, in machine code: rotations that do nothing on a processor, and that valgrind looks for.
    """
    code = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
    memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    place = ctypes.c_char.from_buffer(memory)
    function = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)(ctypes.addressof(place))
    function.code = place  # the memory lives as long as the function

    def ask(number, name=""):
        text = ctypes.create_string_buffer(name.encode())
        asked = (ctypes.c_size_t * 6)(number, ctypes.addressof(text))
        function(ctypes.addressof(asked))

    return ask


def text(counts: Counts) -> str:
    """Columns one under the other, beneath the version of the compiler."""
    rows = [COLUMNS, *((*key, f"{number:.0f}") for key, number in counts.items())]
    lines = ["".join(cell.ljust(10) for cell in row).rstrip() for row in rows]
    return "\n".join([f"llvmlite {llvmlite.__version__}", *lines, ""])


def read() -> tuple[str, Counts]:
    """The compiler's version, and the committed counts."""
    version, _, *lines = PATH.read_text().splitlines()
    rows = [tuple(line.split()) for line in lines]
    return version, {row[:-1]: float(row[-1]) for row in rows}


def differences(ours: Counts, committed: Counts) -> list[str]:
    """A line for each count that is not the committed one, within the slack."""
    found = []
    for key in sorted({*ours, *committed}):
        now, was = ours.get(key, float("nan")), committed.get(key, float("nan"))
        if not abs(now - was) <= SLACK * was:
            found.append(f"{' '.join(key)}: {now:.0f} instructions a step, committed {was:.0f} ({now / was - 1:+.1%})")
    return found


if __name__ == "__main__":
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode in ("--compile", "--count"):
        run(mode == "--count")
    elif reason := why_not():
        raise SystemExit(reason)
    else:
        os.environ["THROUGHTIME_TESTS"] = "all"
        table = text(counted())
        print(table, end="")
        if mode == "--write":
            PATH.write_text(table)
