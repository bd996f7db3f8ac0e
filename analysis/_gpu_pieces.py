"""What speed_gpu measures, each piece in a process of `_workers`. device="cpu" rehearses it without a GPU."""

import contextlib
import hashlib
import importlib.util
import statistics
import subprocess
import time
import types
from importlib import metadata
from pathlib import Path

import _study as study
import numpy as np

import throughtime as tt

SPIN = 0.1  # seconds
BOUND = {"float64": 1e-12, "float32": 2e-5}  # relative to the largest number of an array
CUDNN = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}
GATES = {"tanh": 1, "gru": 3, "lstm": 4}


def missing():
    """Why nothing can be measured here, or None."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed (pip install 'throughtime[cuda]')"
    from throughtime.engine.cuda import device, toolkit

    if toolkit.SIMULATED:
        return "NUMBA_ENABLE_CUDASIM is set, and the simulator is no device"
    return None if device.available() else "there is no CUDA device"


def pytorch(device):
    """torch, if it can use the device."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    return torch


def there(array, device):
    """A copy of a NumPy array on the device."""
    if device == "cpu":
        return array
    from throughtime.engine.cuda.device import to_device

    return to_device(array)


def here(value):
    return value.copy_to_host() if hasattr(value, "copy_to_host") else np.asarray(value)


def clear(device):
    """Give back what is free, to the other processes."""
    if device == "cuda":
        from throughtime.engine.cuda.toolkit import cuda

        cuda.current_context().memory_manager.deallocations.clear()
        if (torch := pytorch(device)) is not None:
            torch.cuda.empty_cache()


def finish(device):
    """Wait until the device has done all that was queued."""
    if device == "cuda":
        from throughtime.engine.cuda.toolkit import cuda

        cuda.synchronize()


def room(numbers, device):
    """An array of so many float32 numbers, not filled."""
    if device == "cpu":
        return np.empty(numbers, np.float32)
    from throughtime.engine.cuda.device import empty

    return empty(numbers, np.float32)


def poison(device, megabytes=256):
    """Fill device memory with NaN and give it back: what is allocated next holds NaN until it is written."""
    if device == "cuda":
        from throughtime.engine.cuda.toolkit import cuda

        blocks = [there(np.full(1 << 18, np.nan, np.float32), device) for _ in range(megabytes)]
        cuda.synchronize()
        del blocks
        clear(device)


def watch(device):
    """A function: seconds of one call. By events on the device, so that what the host does between launches counts."""

    def by_clock(call):
        began = time.perf_counter()
        call()
        return time.perf_counter() - began

    def by_events(call):
        begin, end = cuda.event(), cuda.event()
        cuda.synchronize()
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    if device == "cpu":
        return by_clock
    from throughtime.engine.cuda.toolkit import cuda

    return by_events


def medians(calls, device, seconds, least, most):
    """Median seconds of each call, in turns after a warm-up; as many runs as fit into `seconds`. And their number.

    The warm-up goes on for a tenth of a second: an idle device's clock is slow (345 MHz in place of 1980 on an H200).
    """
    seconds_of = watch(device)
    began = time.perf_counter()
    while True:
        for call in calls:
            call()
        finish(device)
        if device == "cpu" or time.perf_counter() - began > SPIN:
            break
    once = sum(seconds_of(call) for call in calls)
    runs = int(np.clip(seconds / max(once, 1e-9), least, most))
    found = [[seconds_of(call) for call in calls] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*found, strict=True)], runs


# ---------------------------------------------------------------------------------------------------- what it is


def about(turn, device):
    """Device, driver and versions; and a digest of the sources, so that numbers of other code are not kept."""
    digest = hashlib.sha256()
    for path in sorted([*Path(tt.__file__).parent.rglob("*.py"), Path(__file__)]):
        digest.update(path.read_bytes())
    found = {"device": "cpu, a rehearsal", "driver": None, "sources": digest.hexdigest()[:16]}
    for package in ("numba-cuda", "cuda-bindings", "torch"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    if device == "cuda":
        from throughtime.engine.cuda.toolkit import cuda

        name = cuda.get_current_device().name
        found["device"] = name.decode() if isinstance(name, bytes) else str(name)
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            found["driver"] = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout.split("\n")[0]
    torch = pytorch(device)
    found["cudnn"] = torch.backends.cudnn.version() if torch is not None and device == "cuda" else None
    return found


def peak(turn, device, size, megabytes):
    """Multiply-adds per second of a large product by torch, and bytes per second of a copy, read and written."""
    found, torch = {}, pytorch(device)
    with turn():
        numbers = megabytes << 18
        pair = [there(np.zeros(numbers, np.float32), device) for _ in range(2)]

        def copy():
            pair[0].copy_to_device(pair[1]) if device == "cuda" else np.copyto(*pair)

        found["bytes_per_second"] = 8 * numbers / medians([copy], device, 0.5, 3, 15)[0][0]
        pair.clear()
        for dtype in BOUND:
            if torch is not None:
                m = torch.randn(size, size, dtype=getattr(torch, dtype), device=device)
                seconds = medians([lambda m=m: m @ m], device, 0.5, 3, 15)[0][0]
                found[f"{dtype}_per_second"] = size**3 / seconds
        clear(device)
    return found


# ------------------------------------------------------------------------------------------------------ is it right


def numbers(net, x, lengths, grad, v, u):
    """Everything of one forward and backward pass, and of products with Jacobians, name -> array."""
    run = net.unroll(x, lengths=lengths)
    back = run.backprop(grad)
    start = back.initial_state if isinstance(back.initial_state, tuple) else (back.initial_state,)
    found = {"output": run.output, "states": run.states, "input": back.input, **back.parameters}
    found |= {f"initial state {i}": value for i, value in enumerate(start)}
    found |= {"jvp": run.jvp(v, 0, len(x)), "vjp": run.vjp(u, 0, len(x))}
    if v.shape[0] * v.shape[1] ** 2 < 4e6:
        found["jacobian"] = run.jacobian(len(x))
    return {name: here(value) for name, value in found.items()}


def correct(turn, device, cell, dtype, steps, batch, units, seed):
    """The device against the CPU engine, against itself, and jvp against vjp."""
    if cell == "relu":  # of very many units one stands so close to the kink that rounding takes it across
        units, batch = min(units, 70), min(batch, 5)
    tt.set_num_threads(1)  # many processes check side by side
    rng = np.random.default_rng(seed)
    net = tt.Network(cell, 7, units, dtype=dtype, seed=rng)

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    x, grad = draw(steps, batch, 7), draw(steps, batch, units)
    v, u = draw(batch, net.state_size, 2), draw(batch, net.state_size, 2)
    way = (x, rng.integers(1, steps + 1, batch), grad, v, u)
    wanted = numbers(net, *way)
    poison(device)
    net = net.to(device)
    found = numbers(net, *way)
    poison(device)
    again = numbers(net, *way)
    clear(device)
    errors = {}
    for name, value in wanted.items():
        fits = found[name].shape == value.shape and found[name].dtype == value.dtype
        scale = np.abs(value).max(initial=1e-3)
        errors[name] = float(np.abs(found[name] - value).max(initial=0) / scale) if fits else np.nan
    worst = max(errors, key=lambda name: np.inf if np.isnan(errors[name]) else errors[name])
    differ = sum(again[name].tobytes() != value.tobytes() for name, value in found.items())
    jv, ju = found["jvp"].astype("f8"), found["vjp"].astype("f8")
    apart = abs((u * jv).sum() - (ju * v).sum()) / (np.linalg.norm(u) * np.linalg.norm(jv) + 1e-3)
    what = f"{cell} {dtype} T={steps} B={batch} N={units}"
    checks = [
        study.check(f"{what}: error, {worst}", errors[worst], 0, BOUND[dtype], why="the CPU engine on the same input"),
        study.check(f"{what}: arrays that differ in a second run", differ, 0, 0, why="the same bits every time"),
        study.check(f"{what}: <u, Jv> − <J'u, v>", apart, 0, BOUND[dtype], why="jvp and vjp are adjoint"),
    ]
    return {"checks": checks}


# ------------------------------------------------------------------------------------------------------ is it fast


def peer(torch, cell, weights, x, g, device):
    """torch.nn's module with the same weights, and its two passes. Forward alone is in eval mode: in training mode
    cuDNN writes all that a way back would need, which nobody wants there."""
    dtype = getattr(torch, str(x.dtype))
    inputs, units = weights["weight_ih_l0"].shape[1], weights["weight_hh_l0"].shape[1]
    module = getattr(torch.nn, CUDNN[cell])(inputs, units, dtype=dtype, device=device)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    x, g = torch.from_numpy(x).to(device), torch.from_numpy(g).to(device)

    def forward(tf32):
        torch.backends.cudnn.allow_tf32 = tf32
        module.eval()
        with torch.no_grad():
            return module(x)[0]

    def both(tf32):
        torch.backends.cudnn.allow_tf32 = tf32
        module.train()
        module.zero_grad(set_to_none=True)
        leaf = x.detach().requires_grad_()
        module(leaf)[0].backward(g)
        return leaf.grad

    return types.SimpleNamespace(forward=forward, both=both)


def cudnn(turn, device, cell, dtype, units, batch, steps, seconds, runs, seed):
    """Forward and forward + backward here and by torch.nn, with TF32 off and on; I = N."""
    torch, rng = pytorch(device), np.random.default_rng(seed)
    net = tt.Network(cell, units, units, dtype=dtype, seed=seed)
    weights = net.state_dict()
    net = net.to(device)
    small = there(rng.standard_normal((2, batch, units)).astype(dtype), device)
    net.unroll(small).backprop(small)  # compiles, while others have their turn
    checks, rows = [], []
    with turn():
        x = rng.standard_normal((steps, batch, units)).astype(dtype)
        g = rng.standard_normal((steps, batch, units)).astype(dtype)
        ours_x, ours_g = there(x, device), there(g, device)
        calls = {
            "forward": [lambda: net.unroll(ours_x)],
            "forward+backward": [lambda: net.unroll(ours_x).backprop(ours_g)],
        }
        if torch is not None:
            other = peer(torch, cell, weights, x, g, device)
            forward, both = other.forward, other.both
            mine, theirs = here(net.unroll(ours_x).backprop(ours_g).input), both(False).cpu().numpy()
            worst = np.abs(mine - theirs).max() / np.abs(theirs).max()
            why = "torch.nn's answer; of its float32 no more than 1e-4 is known"
            what = f"{cell} {dtype} T={steps} B={batch} N={units}: gradient of the input beside torch's"
            checks.append(study.check(what, worst, 0, 1e-12 if dtype == "float64" else 1e-4, why=why))
            for what, call in (("forward", forward), ("forward+backward", both)):
                calls[what] += [lambda call=call: call(False)]
                if dtype == "float32" and device == "cuda":
                    calls[what] += [lambda call=call: call(True)]
        for what, each in calls.items():
            found, count = medians(each, device, seconds / 2, *runs)
            row = {"cell": cell, "dtype": dtype, "N": units, "B": batch, "what": what, "runs": count}
            named = zip(("seconds", "cudnn", "cudnn_tf32"), found, strict=False)
            rows.append(row | dict(named))
        ours_x = ours_g = other = forward = both = None
        clear(device)
    return {"checks": checks, "rows": rows}


def family(count, units, dtype, seed):
    init = tt.init.gaussian(gain=1.5)
    return [tt.Network("tanh", 1, units, bias=False, init=init, dtype=dtype, seed=seed + i) for i in range(count)]


def per_step(call, lengths, device, runs):
    """Seconds of a step: two lengths, so that what is done once does not count."""
    short, long = lengths
    found, _ = medians([lambda: call(short), lambda: call(long)], device, 0.0, *runs)
    return (found[1] - found[0]) / (long - short)


def spectra(which, steps, seed, interval="auto"):
    """Of all networks of an ensemble, on the device in one launch."""
    options = {"warmup": 20, "discard": 0, "seed": seed, "sum_rule": False, "interval": interval}
    return tt.analysis.lyapunov_spectrum(which, steps=steps, **options)


def lyapunov(turn, device, networks, units, dtype, steps, few, runs, seed):
    """Full spectra of many networks: here, and by torch's batched product and QR at each step."""
    torch = pytorch(device)
    nets = family(networks, units, dtype, seed)
    weights = np.stack([net.parameters["weight_hh_l0"] for net in nets])
    wanted = spectra(tt.Ensemble(nets[:few]), steps, seed)["exponents"]
    whole = tt.Ensemble(nets).to(device)
    found = spectra(whole, steps, seed)["exponents"]
    worst = np.abs(found[: len(wanted)] - wanted).max()
    what = f"spectra of {networks} networks, {dtype} N={units}: exponents of the first {len(wanted)}"
    # Chaos doubles the rounding of float32 every few steps: there the two stay together for short times only.
    bound = 1e-6 if dtype == "float64" else 0.05
    checks = [study.check(what, worst, 0, bound, why="the CPU engine: same state, frame and steps")]
    row = {"networks": networks, "dtype": dtype, "N": units}
    with turn():
        lengths = 4 * steps, 12 * steps
        row["interval"] = interval = int(spectra(whole, lengths[1], seed)["interval"].min()) if device == "cuda" else 1
        row["seconds"] = per_step(lambda length: spectra(whole, length, seed, interval), lengths, device, runs)
        if torch is not None:
            w = torch.from_numpy(weights).to(device)

            def usual(orthonormal):
                def run(length):
                    h = torch.full((networks, units, 1), 0.1, dtype=w.dtype, device=device)
                    q = torch.eye(units, dtype=w.dtype, device=device).repeat(networks, 1, 1)
                    total = torch.zeros((networks, units), dtype=w.dtype, device=device)
                    for _ in range(length):
                        h = torch.tanh(torch.bmm(w, h))
                        q, r = orthonormal(torch.bmm((1 - h**2) * w, q))
                        total += torch.log(torch.abs(torch.diagonal(r, dim1=1, dim2=2)))
                    return total / length

                return run

            def cholesky(y):
                """CholeskyQR2, what a user who knows that batched QR is slow would write."""
                r = torch.eye(units, dtype=y.dtype, device=device).expand_as(y)
                for _ in range(2):
                    factor = torch.linalg.cholesky_ex(y.mT @ y)[0].mT  # without a wait for the host
                    y = torch.linalg.solve_triangular(factor, y, upper=True, left=False)
                    r = factor @ r
                return y, r

            row["torch"] = per_step(usual(torch.linalg.qr), (2, 6), device, runs)
            row["torch_cholesky"] = per_step(usual(cholesky), (2, 6), device, runs)
        clear(device)
    return {"checks": checks, "rows": [row]}


def host(turn, device, networks, units, dtype, steps, few, runs, seed):
    """The same spectra by the CPU engine, of a few networks, scaled to all; on a host that does nothing else."""
    some = tt.Ensemble(family(few, units, dtype, seed))
    seconds = per_step(lambda length: spectra(some, length, seed), (4 * steps, 12 * steps), "cpu", runs)
    row = {"networks": networks, "dtype": dtype, "N": units, "cpu": seconds * networks / few}
    return {"rows": [row | {"measured": few, "threads": tt.get_num_threads()}]}


def jacobians(turn, device, units, batch, runs, seed):
    """Jacobians of one LSTM step for a batch, in float64, against torch.func.jacrev under vmap."""
    torch, rng = pytorch(device), np.random.default_rng(seed)
    net = tt.Network("lstm", 8, units, seed=seed)
    values = {name.removesuffix("_l0"): value for name, value in net.state_dict().items()}
    net = net.to(device)
    x = rng.standard_normal((2, batch, 8))
    run = net.unroll(x)
    found, states, checks = here(run.jacobian(2)), here(run.states), []
    row, calls = {"N": units, "B": batch, "dtype": "float64"}, [lambda: run.jacobian(2)]
    with turn():
        if torch is not None:
            w = {name: torch.from_numpy(value).to(device) for name, value in values.items()}
            inputs, state = torch.from_numpy(x[1]).to(device), torch.from_numpy(states[1].copy()).to(device)

            def step(s, value):
                h, c = s[:units], s[units:]
                a = w["weight_ih"] @ value + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
                i, f, g, o = a.split(units)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                return torch.cat([torch.sigmoid(o) * torch.tanh(c), c])

            theirs = torch.func.vmap(torch.func.jacrev(step))
            worst = np.abs(found - theirs(state, inputs).cpu().numpy()).max()
            what = f"Jacobians of an LSTM step, N={units} B={batch}: difference"
            checks = [study.check(what, worst, 0, 1e-12, why="torch.func.jacrev")]
            calls.append(lambda: theirs(state, inputs))
        row |= dict(zip(("seconds", "torch"), medians(calls, device, 1.0, *runs)[0], strict=False))
        clear(device)
    return {"checks": checks, "rows": [row]}
