"""Whether the device is right: against the CPU engine, against itself, and jvp against vjp."""

import _gpu_device as gpu
import _study as study
import numpy as np

import throughtime as tt

BOUND = {"float64": 1e-12, "float32": 2e-5}  # relative to the largest number of an array


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
    return {name: gpu.here(value) for name, value in found.items()}


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
    gpu.poison(device)
    net = net.to(device)
    found = numbers(net, *way)
    gpu.poison(device)
    again = numbers(net, *way)
    gpu.clear(device)
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
