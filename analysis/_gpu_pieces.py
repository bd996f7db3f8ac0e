"""What speed_gpu measures, each piece in a process of `_workers`. device="cpu" rehearses it without a GPU."""

import types

import _gpu_device as gpu
import _study as study
import numpy as np
from _gpu_right import BOUND, correct  # noqa: F401  `correct` is a piece too

import throughtime as tt

CUDNN = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}
GATES = {"tanh": 1, "gru": 3, "lstm": 4}


def peak(turn, device, size, megabytes):
    """Multiply-adds per second of a large product by torch, and bytes per second of a copy, read and written."""
    found, torch = {}, gpu.pytorch(device)
    with turn():
        numbers = megabytes << 18
        pair = [gpu.there(np.zeros(numbers, np.float32), device) for _ in range(2)]

        def copy():
            pair[0].copy_to_device(pair[1]) if device == "cuda" else np.copyto(*pair)

        found["bytes_per_second"] = 8 * numbers / gpu.medians([copy], device, 0.5, 3, 15)[0][0]
        pair.clear()
        for dtype in BOUND:
            if torch is not None:
                m = torch.randn(size, size, dtype=getattr(torch, dtype), device=device)
                seconds = gpu.medians([lambda m=m: m @ m], device, 0.5, 3, 15)[0][0]
                found[f"{dtype}_per_second"] = size**3 / seconds
        gpu.clear(device)
    return found


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


def kernels(turn, device, cell, dtype, units, batch, seed):
    """Compile what `cudnn` times, so that the device need not wait for compilers between two timings."""
    net = tt.Network(cell, units, units, dtype=dtype, seed=seed).to(device)
    small = gpu.there(np.zeros((2, batch, units), dtype), device)
    net.unroll(small).backprop(small)
    gpu.clear(device)
    return {}


def cudnn(turn, device, cell, dtype, units, batch, steps, seconds, runs, seed):
    """Forward and forward + backward here and by torch.nn, with TF32 off and on; I = N."""
    torch, rng = gpu.pytorch(device), np.random.default_rng(seed)
    net = tt.Network(cell, units, units, dtype=dtype, seed=seed)
    weights = net.state_dict()
    net = net.to(device)
    x, g = (rng.standard_normal((steps, batch, units), dtype) for _ in range(2))
    small = gpu.there(x[:2].copy(), device)
    net.unroll(small).backprop(small)  # compiles, while others have their turn
    if torch is not None:
        peer(torch, cell, weights, x[:2], g[:2], device).both(False)  # loads cuDNN
    checks, rows = [], []
    with turn():
        ours_x, ours_g = gpu.there(x, device), gpu.there(g, device)
        calls = {
            "forward": [lambda: net.unroll(ours_x)],
            "forward+backward": [lambda: net.unroll(ours_x).backprop(ours_g)],
        }
        if torch is not None:
            other = peer(torch, cell, weights, x, g, device)
            forward, both = other.forward, other.both
            mine, theirs = gpu.here(net.unroll(ours_x).backprop(ours_g).input), both(False).cpu().numpy()
            worst = np.abs(mine - theirs).max() / np.abs(theirs).max()
            why = "torch.nn's answer; of its float32 no more than 1e-4 is known"
            what = f"{cell} {dtype} T={steps} B={batch} N={units}: gradient of the input beside torch's"
            checks.append(study.check(what, worst, 0, 1e-12 if dtype == "float64" else 1e-4, why=why))
            for what, call in (("forward", forward), ("forward+backward", both)):
                calls[what] += [lambda call=call: call(False)]
                if dtype == "float32" and device == "cuda":
                    calls[what] += [lambda call=call: call(True)]
        for what, each in calls.items():
            found, count = gpu.medians(each, device, seconds / 2, *runs)
            row = {"cell": cell, "dtype": dtype, "N": units, "B": batch, "what": what, "runs": count}
            named = zip(("seconds", "cudnn", "cudnn_tf32"), found, strict=False)
            rows.append(row | dict(named))
        ours_x = ours_g = other = forward = both = None
        gpu.clear(device)
    return {"checks": checks, "rows": rows}


def family(count, units, dtype, seed):
    init = tt.init.gaussian(gain=1.5)
    return [tt.Network("tanh", 1, units, bias=False, init=init, dtype=dtype, seed=seed + i) for i in range(count)]


def per_step(call, lengths, device, runs):
    """Seconds of a step: two lengths, so that what is done once does not count."""
    short, long = lengths
    found, _ = gpu.medians([lambda: call(short), lambda: call(long)], device, 0.0, *runs)
    return (found[1] - found[0]) / (long - short)


def spectra(which, steps, seed, interval="auto"):
    """Of all networks of an ensemble, on the device in one launch."""
    options = {"warmup": 20, "discard": 0, "seed": seed, "sum_rule": False, "interval": interval}
    return tt.analysis.lyapunov_spectrum(which, steps=steps, **options)


def lyapunov(turn, device, networks, units, dtype, steps, few, runs, seed):
    """Full spectra of many networks: here, and by torch's batched product and QR at each step."""
    torch = gpu.pytorch(device)
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
        lengths = 2 * steps, 6 * steps
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
        gpu.clear(device)
    return {"checks": checks, "rows": [row]}


def host(turn, device, networks, units, dtype, steps, few, runs, seed):
    """The same spectra by the CPU engine, of a few networks, scaled to all; on a host that does nothing else."""
    some = tt.Ensemble(family(few, units, dtype, seed))
    seconds = per_step(lambda length: spectra(some, length, seed), (2 * steps, 6 * steps), "cpu", runs)
    row = {"networks": networks, "dtype": dtype, "N": units, "cpu": seconds * networks / few}
    return {"rows": [row | {"measured": few, "threads": tt.get_num_threads()}]}


def jacobians(turn, device, units, batch, runs, seed):
    """Jacobians of one LSTM step for a batch, in float64, against torch.func.jacrev under vmap."""
    torch, rng = gpu.pytorch(device), np.random.default_rng(seed)
    net = tt.Network("lstm", 8, units, seed=seed)
    values = {name.removesuffix("_l0"): value for name, value in net.state_dict().items()}
    net = net.to(device)
    x = rng.standard_normal((2, batch, 8))
    run = net.unroll(x)
    found, states, checks = gpu.here(run.jacobian(2)), gpu.here(run.states), []
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
        row |= dict(zip(("seconds", "torch"), gpu.medians(calls, device, 1.0, *runs)[0], strict=False))
        gpu.clear(device)
    return {"checks": checks, "rows": [row]}
