"""Cells with a stage, parameters and fields of each unit, several signals or none on the device, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scheduler
import wired
from test_loops import CUTS, INPUTS, TILED, T, close, draw, near, on_gpu, parts, random
from whole import ALL

import throughtime as tt
from throughtime.engine.cuda import device, plans
from throughtime.engine.cuda import run as gpu
from throughtime.engine.cuda.jacobians import of_layers


def problem(name, units, networks, per, lengths, dtype="float64", **options):
    return draw(wired.WIRED[name](units), units, networks, per, lengths, dtype, **options)


def rows(p, array, k, copies=1, axis=0):
    """Those of network k, in double precision."""
    return parts(p, array, copies, axis)[k].astype(np.float64)


def of_network(p, k, x, state, start=0, reverse=False, parameters=None, copies=1):
    """What network k computes in NumPy from step `start` on, each sequence `copies` times."""
    parameters = [array[k].astype(np.float64) for array in p.parameters] if parameters is None else parameters
    ends = np.repeat(p.lengths[k * p.per : (k + 1) * p.per], copies) - start
    return wired.run(p.cell, parameters, x, state, ends, reverse)


def check(p, reverse=False, start=0, stop=T):
    """States and output, and of the window from `start` to `stop` gradients, perturbations and Jacobians."""
    layer, own, begin = on_gpu(p, reverse), slice(p.offset, p.offset + p.size), T if reverse else 0
    wanted = [
        of_network(p, k, rows(p, p.x, k, axis=1), rows(p, p.states[begin, :, own], k), reverse=reverse)
        for k in range(p.networks)
    ]
    states, outputs = (np.concatenate(each, 1) for each in zip(*wanted, strict=True))
    near(p, device.to_host(layer.states)[:, :, own], states, "states")
    alive = np.arange(T)[:, None, None] < p.lengths[:, None]
    near(p, np.where(alive, device.to_host(layer.output()), 0), outputs, "output")
    check_gradients(p, layer, states, reverse, start, stop)
    if not reverse:
        check_perturbations(p, layer, states, start, stop)
        check_jacobian(p, layer, states, stop - 1)


def check_gradients(p, layer, states, reverse, start, stop):
    carry, g = random(p, p.batch, p.size), random(p, stop - start, p.batch, p.units)
    room = device.to_device(np.full((stop - start + 1, p.batch, p.offset + p.size), 3, p.dtype))
    window = {"start": start, "stop": stop}
    back = gpu.backprop(layer, device.to_device(carry), device.to_device(g), grad_states=room, **window)
    wanted = []
    for k in range(p.networks):

        def loss(state, x, *parameters, k=k):
            reached, sent = of_network(p, k, x, state, start, reverse, parameters)
            last = reached[0 if reverse else -1]
            return (rows(p, carry, k) * last).sum() + (rows(p, g, k, axis=1) * sent).sum()

        state, x = states[stop if reverse else start], p.x[start:stop]
        given = rows(p, state, k), rows(p, x, k, axis=1), *(array[k].astype(np.float64) for array in p.parameters)
        wanted.append(wired.gradients(loss, given))
    close(p, back.carry, np.concatenate([each[0] for each in wanted]), "gradient of the state")
    first = device.to_host(room)[stop - start if reverse else 0][:, p.offset :]
    near(p, first, device.to_host(back.carry), "gradients of the states")
    close(p, back.x, np.concatenate([each[1] for each in wanted], 1), "gradient of the input")
    assert len(back.parameters) == len(p.parameters)
    for j, array in enumerate(back.parameters):
        close(p, array, np.stack([each[2 + j] for each in wanted]), f"gradient of parameter {j}")


def check_perturbations(p, layer, states, start, stop, copies=2):
    many, window = copies * p.batch, {"start": start, "stop": stop, "copies": copies}
    v, vx, u = random(p, many, p.size), random(p, stop - start, many, INPUTS), random(p, many, p.size)
    found, sent = gpu.tangent(layer, device.to_device(v), device.to_device(vx), to_output=True, **window)
    wanted = []
    for k in range(p.networks):

        def reached(state, x, k=k):
            states, sent = of_network(p, k, x, state, start, copies=copies)
            return states[-1], sent

        state, x = np.repeat(states[start], copies, 0), np.repeat(p.x[start:stop], copies, 1)
        given = rows(p, state, k, copies), rows(p, x, k, copies, 1)
        wanted.append(wired.moved(reached, given, (rows(p, v, k, copies), rows(p, vx, k, copies, 1))))
    close(p, found, np.concatenate([state for state, _ in wanted]), "tangent")
    close(p, sent, np.concatenate([out for _, out in wanted], 1), "tangent of the output")
    found, _ = gpu.tangent(layer, device.to_device(v), None, **window)
    back = gpu.backprop(layer, device.to_device(u), None, to_weights=False, to_input=False, **window).carry
    near(p, (u * device.to_host(found)).sum(1), (device.to_host(back) * v).sum(1), "<u, J v> = <J^T u, v>")


def check_jacobian(p, layer, states, t):
    found = of_layers([layer], t, t + 1)
    if p.record.stage:
        assert found is None  # then engine/stack.py takes products with unit vectors
        return
    for b in range(p.batch):
        k, ends = b // p.per, p.lengths[[b]] - t

        def step(state, x, k=k, ends=ends):
            return (wired.run(p.cell, [a[k].astype(np.float64) for a in p.parameters], x, state, ends)[0][-1],)

        state, x = np.repeat(states[t, [b]], p.size, 0), np.repeat(p.x[t : t + 1, [b]].astype(np.float64), p.size, 1)
        (columns,) = wired.moved(step, (state, x), (np.eye(p.size), np.zeros(x.shape)))
        near(p, device.to_host(found)[0, b], columns.T.astype(p.dtype), "Jacobian")


def forced(monkeypatch, cut):
    monkeypatch.setattr(plans, "plan", lambda *_: CUTS[cut])


# A cell that has all of it in every cut, each of the others in one, by THROUGHTIME_TESTS=all in two; without a product
# there is one cut.
NAMES = [name for name in wired.WIRED if name != "everything"]
PAIRS = [("everything", cut) for cut in CUTS]
PAIRS += [
    (name, [*CUTS][(2 * k + j) % len(CUTS)])
    for k, name in enumerate(NAMES)
    for j in ((0, 3) if ALL and name != "no product" else (0,))
]


@pytest.mark.parametrize(("name", "cut"), PAIRS)
def test_every_wiring(monkeypatch, name, cut):
    """Ensembles, lengths, sizes that fill no block, windows, in one of the schedules."""
    forced(monkeypatch, cut)
    place = PAIRS.index((name, cut))
    monkeypatch.setattr(scheduler, "SEED", (None, 0, 1, 2)[place % 4])
    units, networks, per = ((5, 1, 3), (3, 2, 2))[place % 2]
    check(problem(name, units, networks, per, [T, 1, 2, 0], seed=place), start=int(place % 3 == 0))


@pytest.mark.parametrize("cut", ["a grid, groups of two warps"])
def test_a_stage_in_tiles(monkeypatch, cut):
    """Its product shares the room of the other one."""
    monkeypatch.setattr(plans, "plan", lambda *_: TILED[cut])
    monkeypatch.setattr(scheduler, "SEED", 1)
    check(problem("everything", 4, 1, 5, [T, 1, 2, 0, T], offset=4))


@pytest.mark.parametrize("name", ["stage", "parameters and fields", "two signals", "no product", "everything"])
def test_backward_in_time(monkeypatch, name):
    forced(monkeypatch, [*CUTS][len(name) % len(CUTS)])
    monkeypatch.setattr(scheduler, "SEED", 1)
    check(problem(name, 3, 1, 2, [T, 1]), reverse=True)


@pytest.mark.parametrize("name", ["stage", "parameters and fields", "two signals", "no product"])
def test_single_precision_in_the_cuts_of_their_sizes(monkeypatch, name):
    monkeypatch.setattr(scheduler, "SEED", 2)
    check(problem(name, 4, 1, 1, None, "float32", offset=4))


def test_layers_of_unlike_cells(monkeypatch):
    """A stage below units that hear of no other, and a plain cell above: the product of the steps' Jacobians."""
    monkeypatch.setattr(scheduler, "SEED", 0)
    net = tt.Network([wired.Cho(), wired.Alone(), "lstm"], 2, [3, 4, 2], num_layers=3, seed=0)
    rng = np.random.default_rng(1)
    run = net.to("cuda").unroll(rng.standard_normal((T, 2, 2)), lengths=[T, 1])
    u, v = (rng.standard_normal((2, net.state_size)) for _ in range(2))
    product = v
    for matrix in device.to_host(run.jacobians(0, T)):
        product = np.einsum("bij,bj->bi", matrix, product)
    forward, back = device.to_host(run.jvp(v, 0, T)), device.to_host(run.vjp(u, 0, T))
    np.testing.assert_allclose(forward, product, rtol=0, atol=1e-14)
    np.testing.assert_allclose((u * forward).sum(1), (back * v).sum(1), rtol=0, atol=1e-14)
    found = run.backprop(rng.standard_normal((T, 2, 2))).parameters
    assert {name: value.shape for name, value in found.items()} == {n: p.shape for n, p in net.parameters.items()}
