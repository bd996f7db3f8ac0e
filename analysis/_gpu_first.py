"""The first three minutes of a GPU: is it there, is it right, how fast is a step and what does the host take?

Pieces for `_workers`, each in a process of its own with a time limit, so that a fault of one costs the others nothing.
The references are computed beforehand, on the CPU: `python analysis/_gpu_first.py references` writes them to
tests/golden/gpu_cuts.npz. `python analysis/_gpu_first.py steps CUT` runs one cut for three steps and no more, which is
what compute-sanitizer looks at.
"""

import shutil
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import _gpu_device as gpu
import _gpu_pieces as pieces
import _gpu_right
import _study as study
import numpy as np

import throughtime as tt

REFERENCES = study.ROOT / "tests" / "golden" / "gpu_cuts.npz"
# Every way through a sequence, by the rules for an H100: weights in the registers of one block, of a cluster, of the
# grid, or read at every step. Of an LSTM, with a batch that leaves a block with rows to spare.
CUTS = {
    "block": ("float32", 64),
    "cluster": ("float32", 200),
    "grid": ("float32", 512),
    "streamed": ("float64", 1024),
    "block64": ("float64", 64),
}
STEPS, BATCH, INPUTS, KEPT = 6, 5, 7, 300
LENGTHS = (6, 1, 4, 6, 3)
PACE = (512, 2048)  # steps: what is done once a call falls out of the difference
TOOLS = ("memcheck", "racecheck", "synccheck")
PACKAGES = ("numba", "numba-cuda", "llvmlite", "numpy", "cuda-bindings", "cuda-core", "cuda-pathfinder", "torch")


def plan(device, runs, cuts=tuple(CUTS)):
    """Two stages of pieces (key, function, arguments): what is there, right and how fast; and the sanitizer."""
    first = [("machine", "machine", {"device": device})]
    first += [(f"right {cut}", "right", {"device": device, "cut": cut}) for cut in cuts]
    first += [(f"pace {cut}", "pace", {"device": device, "cut": cut, "runs": runs}) for cut in cuts]
    first += [("queueing", "queueing", {"device": device}), ("allocation", "allocation", {"device": device})]
    tools = TOOLS if device == "cuda" else ()
    return first, [
        (f"sanitized {tool} {cut}", "sanitized", {"tool": tool, "cut": cut}) for tool in tools for cut in cuts
    ]


# ------------------------------------------------------------------------------------------------- what there is


def machine(turn, device):
    """Versions, multiprocessors, the clusters of 8 blocks that run at once, and where the compiler's libraries are."""
    row = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            row[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            row[package] = None
    row["compute-sanitizer"] = shutil.which("compute-sanitizer")
    if device == "cuda":
        from throughtime.engine.cuda import device as there

        row |= {"multiprocessors": there.multiprocessors(), "clusters": there.clusters()}
        for name, find in (("clusters of 8", clusters), *((name, library) for name in LIBRARIES)):
            try:
                row[name] = find(name)
            except Exception as error:  # none of these decides anything: what is missing is what we want to know
                row[name] = f"{type(error).__name__}: {error}"[:200]
    return {"rows": [row]}


LIBRARIES = ("nvvm", "nvJitLink", "cudadevrt")


def library(name):
    """Where a library of the CUDA toolkit was found."""
    from cuda import pathfinder

    if name == "cudadevrt":
        return str(pathfinder.locate_static_lib(name).abs_path)
    return str(pathfinder.load_nvidia_dynamic_lib(name).abs_path)


def clusters(_, threads=256, size=8):
    """The most clusters of 8 blocks that the device runs at once, of a kernel that does nothing."""
    from cuda.bindings import driver
    from numba import cuda

    @cuda.jit("void(float32[::1])")
    def nothing(x):
        x[0] = 0

    function = next(iter(nothing.overloads.values()))._codelibrary.get_cufunc().handle
    config = driver.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = size, 1, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
    attribute = driver.CUlaunchAttribute()
    attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
    attribute.value.clusterDim.x, attribute.value.clusterDim.y, attribute.value.clusterDim.z = size, 1, 1
    config.attrs, config.numAttrs = [attribute], 1
    error, count = driver.cuOccupancyMaxActiveClusters(driver.CUfunction(int(function)), config)
    if int(error):
        raise RuntimeError(str(error))
    return int(count)


# ------------------------------------------------------------------------------------------------------ is it right


def problem(cut, steps=STEPS):
    """A network and all that goes through it, the same numbers on every machine."""
    dtype, units = CUTS[cut]
    rng = np.random.default_rng(units)

    def draw(*shape):
        return rng.uniform(-1.0, 1.0, shape).astype(dtype)

    net = tt.Network("lstm", INPUTS, units, dtype=dtype, seed=units)
    x, grad = draw(steps, BATCH, INPUTS), draw(steps, BATCH, units)
    v, u = draw(BATCH, net.state_size, 2), draw(BATCH, net.state_size, 2)
    return net, (x, np.minimum(LENGTHS, steps), grad, v, u)


def kept(name, value):
    """Of a large array: single numbers, and sums over all with random signs, on the scale of one number."""
    flat = np.asarray(value, "f8").ravel()
    rng = np.random.default_rng(sum(name.encode()))
    signs = rng.integers(0, 2, (4, flat.size), dtype=np.int8) * 2 - 1
    some = flat if flat.size <= KEPT else flat[rng.integers(0, flat.size, KEPT)]
    return np.concatenate([some, signs @ flat / max(1.0, np.sqrt(flat.size)), [np.abs(flat).max(initial=1e-3)]])


def numbers(net, way):
    """Forward, backward and perturbations, name -> what is kept of each array."""
    found = _gpu_right.numbers(net, *way)
    found.pop("jacobian", None)
    return {name: kept(name, value) for name, value in found.items()}


def references():
    """Computed by the CPU engine and written, to be carried to a machine with a GPU."""
    found = {f"{cut} {name}": value for cut in CUTS for name, value in numbers(*problem(cut)).items()}
    np.savez_compressed(REFERENCES, allow_pickle=False, **found)


def right(turn, device, cut):
    """One cut beside the references. Memory is full of NaN before, so that what no kernel has written shows."""
    dtype, units = CUTS[cut]
    net, way = problem(cut)
    with np.load(REFERENCES, allow_pickle=False) as file:
        wanted = {key.removeprefix(f"{cut} "): file[key] for key in file if key.startswith(f"{cut} ")}
    gpu.poison(device)
    began = time.perf_counter()
    found = numbers(net.to(device), way)
    row = {"cut": cut, "dtype": dtype, "N": units, "seconds with compiling": time.perf_counter() - began}
    checks = []
    for name, value in wanted.items():
        error = np.abs(found[name] - value)[:-1].max() / value[-1] if found[name].shape == value.shape else np.nan
        what = f"{cut}: {dtype} N={units}, {name}"
        checks.append(study.check(what, error, 0, _gpu_right.BOUND[dtype], why="the CPU engine, computed beforehand"))
    return {"checks": checks, "rows": [row]}


# ------------------------------------------------------------------------------------------------------ how fast


def pace(turn, device, cut, runs):
    """Microseconds per step of the kernels alone, here and of cuDNN, by the difference of two lengths; I = N."""
    dtype, units = CUTS[cut]
    torch, net = gpu.pytorch(device), tt.Network("lstm", units, units, dtype=dtype, seed=0)
    weights, net = net.state_dict(), net.to(device)
    rows, batches = [], (1, 16)
    for batch in batches:
        small = gpu.there(np.zeros((2, batch, units), dtype), device)
        net.unroll(small).backprop(small)  # compiles, while others do so too
    with turn():
        for batch in batches:
            rows += paces(device, torch, net, weights, {"cut": cut, "dtype": dtype, "N": units, "B": batch}, runs)
    return {"rows": rows}


def paces(device, torch, net, weights, row, runs):
    """Rows of one batch: forward, and forward + backward."""
    rows, calls = [], {"forward": [], "forward+backward": []}
    for steps in PACE:
        x = np.random.default_rng(steps).standard_normal((steps, row["B"], row["N"])).astype(row["dtype"])
        ours = gpu.there(x, device)
        calls["forward"].append(lambda ours=ours: net.unroll(ours))
        calls["forward+backward"].append(lambda ours=ours: net.unroll(ours).backprop(ours))
        if torch is not None:
            theirs = pieces.peer(torch, "lstm", weights, x, x, device)
            calls["forward"].append(lambda theirs=theirs: theirs.forward(False))
            calls["forward+backward"].append(lambda theirs=theirs: theirs.both(False))
    for what, each in calls.items():
        seconds, count = gpu.medians(each, device, 1.0, *runs)
        sides = len(each) // len(PACE)
        per = [1e6 * (seconds[sides + i] - seconds[i]) / (PACE[1] - PACE[0]) for i in range(sides)]
        named = dict(zip(("microseconds a step", "cudnn"), per, strict=False))
        rows.append(row | {"what": what, "runs": count, **named})
    return rows


def queueing(turn, device, count=50, units=64):
    """Microseconds that the host needs to queue a forward and a backward pass, the device not waited for."""
    net = tt.Network("lstm", units, units, dtype="float32", seed=0).to(device)
    x = gpu.there(np.zeros((units, 16, units), np.float32), device)
    net.unroll(x).backprop(x)
    unrolled, back = [], []
    with turn():
        for _ in range(count):
            began = time.perf_counter()
            run = net.unroll(x)
            halfway = time.perf_counter()
            run.backprop(x)
            unrolled.append(halfway - began)
            back.append(time.perf_counter() - halfway)
            gpu.finish(device)
    row = {"unroll": 1e6 * statistics.median(unrolled), "backprop": 1e6 * statistics.median(back)}
    return {"rows": [{"microseconds of the host": row}]}


def allocation(turn, device, count=50):
    """Microseconds of allocating and of freeing an array, by its size."""
    rows = []
    with turn():
        for megabytes in (0.001, 1, 64):
            taken, given = [], []
            for _ in range(count):
                began = time.perf_counter()
                array = gpu.room(int(megabytes * 2**18), device)
                taken.append(time.perf_counter() - began)
                began = time.perf_counter()
                del array
                gpu.clear(device)
                given.append(time.perf_counter() - began)
            microseconds = {"allocate": 1e6 * statistics.median(taken), "free": 1e6 * statistics.median(given)}
            rows.append({"megabytes": megabytes, **microseconds})
    return {"rows": rows}


def sanitized(turn, tool, cut, seconds=55):
    """compute-sanitizer over three steps forward and back, where it is installed; the check is what it found."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        return {"rows": [{"tool": tool, "cut": cut, "skipped": "compute-sanitizer is not installed"}]}
    command = [program, "--tool", tool, "--error-exitcode", "9", sys.executable, __file__, "steps", cut]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"rows": [{"tool": tool, "cut": cut, "skipped": f"not done within {seconds} s"}]}
    said = [line for line in answer.stdout.splitlines() if line.startswith("=========")]
    refused = answer.returncode != 0 and any("not supported" in line for line in said)
    row = {"tool": tool, "cut": cut, "said": said[-8:], "error": answer.stderr[-300:] if answer.returncode else ""}
    if refused:
        return {"rows": [row | {"skipped": "compute-sanitizer refuses this device"}]}
    why = "what the tool reports of three steps forward and back"
    return {"checks": [study.check(f"{tool} of {cut}", answer.returncode, 0, 0, why=why)], "rows": [row]}


def steps(cut):
    """Three steps forward and back, for compute-sanitizer: wrong answers are no matter here."""
    net, (x, lengths, grad, *_) = problem(cut, steps=3)
    net.to("cuda").unroll(x, lengths=lengths).backprop(grad)
    gpu.finish("cuda")


if __name__ == "__main__":
    asked, *rest = sys.argv[1:] or [""]
    if asked not in ("references", "steps") or any(cut not in CUTS for cut in rest):
        sys.exit(f"{Path(__file__).name}: pass `references`, or `steps` and one of {', '.join(CUTS)}")
    globals()[asked](*rest)
