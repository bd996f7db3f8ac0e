"""The GPU's sequence kernels against the CPU engine: every cell and cut, ensembles, copies, lengths, both directions.

Sizes are tiny and the cuts are made for them (plans.py has those for real sizes): what a thread, a block and a grid do
is the same. A cell with one state and one with two meet every cut, the others one each, in one precision where the
products are NumPy's; THROUGHTIME_TESTS=all has more cells in every cut, and every schedule.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scheduler
from networks import CELLS, library_cell
from whole import ALL, in_turn

from throughtime.cells import CELLS as LIBRARY
from throughtime.cells import spec
from throughtime.engine.cpu import jacobians
from throughtime.engine.cpu import run as cpu
from throughtime.engine.cuda import device, plans
from throughtime.engine.cuda import run as gpu
from throughtime.engine.cuda.jacobians import jacobians as of_device
from throughtime.engine.cuda.passes import PUSHFORWARD, large_pushforward
from throughtime.engine.cuda.plans import Plan

CUTS = {
    "one block": Plan(alone=True, resident=True, lanes=4, units=1, groups=8, rows=1),
    "one block, two rows, two units": Plan(alone=True, resident=True, lanes=4, units=2, groups=8, rows=2),
    "a cluster": Plan(alone=False, resident=True, lanes=4, units=1, groups=8, rows=1, cluster=True),
    "a cluster, two rows, two units": Plan(
        alone=False, resident=True, lanes=4, units=2, groups=1, rows=2, cluster=True
    ),
    "a grid": Plan(alone=False, resident=True, lanes=8, units=1, groups=4, rows=2),
    "a grid, two units": Plan(alone=False, resident=True, lanes=16, units=2, groups=2, rows=4),
    "a grid, streamed": Plan(alone=False, resident=False, lanes=8, units=2, groups=1, rows=1),
}
CUT = pytest.mark.parametrize("cut", CUTS)
T, INPUTS = 3, 2


def draw(cell, units, networks, per, lengths, dtype, seed=0, offset=1):
    """K networks, their input and the states of a layer that begins at column `offset` of all states."""
    rng = np.random.default_rng(seed)
    cell = LIBRARY[cell]() if isinstance(cell, str) else cell
    record, batch = spec(cell), networks * per
    size, square, parts = record.states * units, len(record.blocks) * units, record.parts * units
    shapes = ((record.gates * units, INPUTS), (square, units), (record.gates * units,), (parts,))
    shapes += ((units,),) * len(record.parameters)
    x, states = rng.standard_normal((T, batch, INPUTS)), np.full((T + 1, batch, offset + size), np.nan)
    states[:, :, :offset] = 7
    for end in (0, T):  # the states to start from, in both directions
        states[end, :, offset:] = rng.standard_normal((batch, size))
    return SimpleNamespace(
        cell=cell, record=record, units=units, size=size, offset=offset, networks=networks, per=per, batch=batch,
        dtype=np.dtype(dtype), rng=rng, x=x.astype(dtype), states=states.astype(dtype),
        parameters=[rng.uniform(-1, 1, (networks, *shape)).astype(dtype) for shape in shapes],
        lengths=np.full(batch, T) if lengths is None else np.resize(lengths, batch),
    )  # fmt: skip


def random(p, *shape):
    return p.rng.standard_normal(shape).astype(p.dtype)


def on_gpu(p, reverse):
    *parameters, x, states, lengths = [device.to_device(array) for array in (*p.parameters, p.x, p.states, p.lengths)]
    return gpu.unroll(p.cell, tuple(parameters), x, states, p.offset, lengths, reverse)


def on_cpu(p, reverse):
    """One layer for each network."""
    layers = []
    for k in range(p.networks):
        own = slice(k * p.per, (k + 1) * p.per)
        x, states = np.ascontiguousarray(p.x[:, own]), p.states[:, own].copy()
        parameters = tuple(np.ascontiguousarray(array[k]) for array in p.parameters)
        layers.append(cpu.unroll(p.cell, parameters, x, states, p.offset, p.lengths[own], reverse))
    return layers


def close(p, found, wanted, what):
    near(p, device.to_host(found), wanted, what)


def near(p, found, wanted, what):
    """Some hundred roundings at most, of numbers of size 1; a wrong term is of size 1 too."""
    assert found.dtype == p.dtype, what
    assert found.shape == wanted.shape, what
    scale = max(1, np.abs(wanted).max(initial=0))
    error = np.abs(found - wanted).max(initial=0)
    assert error <= 200 * np.finfo(p.dtype).eps * scale, f"{what}: error {error:.1e} beside {scale:.1e}"


def check(p, reverse=False, windows=((0, T),), copies=2):
    """Everything that the engine computes, with one and with several perturbations of each sequence."""
    layer, layers = on_gpu(p, reverse), on_cpu(p, reverse)
    close(p, layer.states, np.concatenate([one.states for one in layers], 1), "states")
    if p.record.emits:
        sent = np.concatenate([one.sent for one in layers], 1)
        close(p, layer.sent, sent.reshape(-1), "what is sent")
    for start, stop in windows:
        window = {"start": start, "stop": stop}
        check_backprop(p, layer, layers, True, copies=1, to_weights=True, **window)
        check_backprop(p, layer, layers, True, copies=copies, apart=True, to_weights=False, **window)
        check_backprop(p, layer, layers, False, copies=1, to_weights=False, to_input=False, **window)
        if not reverse:
            check_tangent(p, layer, layers, True, copies=1, to_output=True, **window)
            check_tangent(p, layer, layers, False, copies=copies, **window)
    if not reverse and not p.record.stage:  # of a stage they come by products, which the stack makes
        close(p, of_device(layer, T - 1, T)[0], np.concatenate([jacobian_of(p, one) for one in layers]), "Jacobian")


def jacobian_of(p, layer):
    """The last step's (B, S, S), on the CPU: row by row from perturbations along the unit vectors, where no other way
    is."""
    found, own = jacobians.of_layers([layer], T - 1, T), slice(p.offset, p.offset + p.size)
    if found is not None:
        return found[0][:, own, own]
    eye = np.tile(np.eye(p.size, dtype=p.dtype), (layer.batch, 1))
    moved, _ = cpu.tangent(layer, eye, start=T - 1, stop=T, copies=p.size)
    return moved.reshape(layer.batch, p.size, p.size).swapaxes(1, 2)


def parts(p, array, copies, axis=1):
    """The rows of each network."""
    each = p.per * copies
    cuts = [
        np.s_[:, k * each : (k + 1) * each] if axis else np.s_[k * each : (k + 1) * each] for k in range(p.networks)
    ]
    return [None if array is None else np.ascontiguousarray(array[cut]) for cut in cuts]


def check_backprop(p, layer, layers, from_output, **options):
    copies, steps = options["copies"], options["stop"] - options["start"]
    M = p.batch * copies
    carry, out = random(p, M, p.size), random(p, steps, M, p.units) if from_output else None
    states = np.full((steps + 1, M, p.offset + p.size), 3, p.dtype)
    on_device = device.to_device(states)
    given = device.to_device(out) if from_output else None
    found = gpu.backprop(layer, device.to_device(carry), given, grad_states=on_device, **options)
    own_states = parts(p, states, copies)
    wanted = [
        cpu.backprop(*arguments, grad_states=own, **options)
        for *arguments, own in zip(layers, parts(p, carry, copies, 0), parts(p, out, copies), own_states, strict=True)
    ]
    close(p, found.carry, np.concatenate([back.carry for back in wanted]), "carry")
    close(p, on_device, np.concatenate(own_states, 1), "gradients of the states")
    if options.get("to_input", True):
        close(p, found.x, np.concatenate([back.x for back in wanted], 1), "gradient of the input")
    for k, array in enumerate(found.parameters or ()):
        close(p, array, np.stack([back.parameters[k] for back in wanted]), f"gradient {k}")


def check_tangent(p, layer, layers, from_input, **options):
    copies, steps = options["copies"], options["stop"] - options["start"]
    M = p.batch * copies
    v, vx = random(p, M, p.size), random(p, steps, M, INPUTS) if from_input else None
    given = device.to_device(vx) if from_input else None
    found, output = gpu.tangent(layer, device.to_device(v), given, **options)
    wanted = [
        cpu.tangent(*arguments, **options)
        for arguments in zip(layers, parts(p, v, copies, 0), parts(p, vx, copies), strict=True)
    ]
    close(p, found, np.concatenate([moved for moved, _ in wanted]), "tangent")
    if output is not None:
        close(p, output, np.concatenate([out for _, out in wanted], 1), "tangent of the output")


@pytest.fixture
def cut_by(monkeypatch):
    def force(cut):
        monkeypatch.setattr(plans, "plan", lambda *_: CUTS[cut])

    return force


TILED = {
    "a cluster": Plan(alone=False, resident=True, lanes=4, units=1, groups=8, rows=4, cluster=True, at_once=2),
    "a grid": Plan(alone=False, resident=True, lanes=8, units=1, groups=4, rows=6, at_once=2),
    "a grid, one group": Plan(alone=False, resident=True, lanes=64, units=4, groups=1, rows=3, at_once=1),
    "a grid, groups of two warps": Plan(alone=False, resident=True, lanes=64, units=2, groups=2, rows=4, at_once=2),
    "a grid, streamed": Plan(alone=False, resident=False, lanes=8, units=2, groups=1, rows=4, at_once=1),
}


# Not the tiles of a cluster, which are those of a block: nothing is on its way there.
TWICE = [cut for cut in TILED if cut != "a cluster"] if ALL else ["a grid", "a grid, streamed"]


@pytest.mark.parametrize("cut", TILED)
def test_rows_in_tiles(monkeypatch, cut):
    """More rows to a block than are multiplied at once: two networks of 5, with and without copies ahead of use."""
    monkeypatch.setattr(plans, "plan", lambda *_: TILED[cut])
    monkeypatch.setattr(scheduler, "SEED", len(cut))
    check(draw("lstm", 4, 2, 5, [T, 2, 1, 0, T], "float32", offset=4), reverse=True)
    if cut in TWICE:
        check(draw("lstm", 5, 2, 5, [T, 2, 1, 0, T], "float64"), windows=((1, 3),))
    if cut == "a grid":
        check(draw(library_cell("adapting"), 4, 1, 7, None, "float64", offset=2), windows=((0, T),))


# One cut is enough for a cell whose loops are those of another in all cuts, or of those of test_wired_cells.py.
# Of these `adapting` is in all cuts below too, and `gru` backward in time.
IN_ALL = ("tanh", "rate", "lstm", "gru", "adapting") if ALL else ("lstm",)
ALIKE = {name: [*CUTS][k % len(CUTS)] for k, name in enumerate(name for name in CELLS if name not in IN_ALL)}


PAIRS = [(cut, name) for cut in CUTS for name in CELLS if ALIKE.get(name, cut) == cut]


@pytest.mark.parametrize(("cut", "name"), PAIRS)
def test_every_cell_in_every_cut(cut_by, monkeypatch, cut, name):
    cut_by(cut)
    place = [*CUTS].index(cut) + [*CELLS].index(name)
    monkeypatch.setattr(scheduler, "SEED", (None, 0, 1, 2)[place % 4])
    units, per = ((3, 3), (8, 1))[place % 2]
    check(draw(library_cell(name), units, 1, per, [T, 1, 0] if per == 3 else None, "float64", seed=place))


SCHEDULES = [(seed, cut) for k, cut in enumerate(CUTS) for seed in (None, 0, 1, 2) if ALL or seed in (None, k % 3)]


@pytest.mark.parametrize(("seed", "cut"), SCHEDULES)
def test_every_schedule(cut_by, monkeypatch, seed, cut):
    """A cell with several states and gates that sends something else than h; an ensemble, lengths, a window."""
    cut_by(cut)
    monkeypatch.setattr(scheduler, "SEED", seed)
    check(draw(library_cell("adapting"), 5, 2, 2, [T, 2, 1, 0], "float64"), windows=((1, 3),))


@pytest.mark.parametrize("name", ["lstm", "gru"])
@CUT
def test_backward_in_time(cut_by, monkeypatch, cut, name):
    cut_by(cut)
    monkeypatch.setattr(scheduler, "SEED", len(cut))
    check(draw(library_cell(name), 3, 1, 3, [T, 2, 0], "float64"), reverse=True, windows=((1, 3),))


@CUT
def test_ensembles_in_single_precision(cut_by, monkeypatch, cut):
    cut_by(cut)
    monkeypatch.setattr(scheduler, "SEED", len(cut))
    check(draw("lstm", 4, 3, 2, None, "float32", offset=4), windows=((0, T), (2, 2)))  # rows that vectors divide


def test_columns_that_come_in_several_pieces(monkeypatch):
    """Streamed weights of more columns than lie in shared memory at once."""
    plan = Plan(alone=False, resident=False, lanes=4, units=2, groups=8, rows=2)
    monkeypatch.setattr(plans, "plan", lambda *_: plan)
    monkeypatch.setattr(scheduler, "SEED", 0)
    check(draw("lstm", 20, 1, 2, None, "float64"))


@CUT
def test_the_same_bits_in_every_schedule(cut_by, monkeypatch, cut):
    cut_by(cut)
    results = set()
    for seed in (None, 3, 4):
        monkeypatch.setattr(scheduler, "SEED", seed)
        p = draw("gru", 6, 1, 2, [T, 3], "float32")
        layer = on_gpu(p, False)
        back = gpu.backprop(layer, device.to_device(random(p, 2, p.size)), device.to_device(random(p, T, 2, p.units)))
        arrays = (layer.states, back.x, back.carry, *back.parameters)
        results.add(b"".join(device.to_host(array).tobytes() for array in arrays))
    assert len(results) == 1


@pytest.mark.parametrize(("name", "dtype"), in_turn("tanh", "lstm", "gru", "rate", "adapting"))
def test_perturbations_of_many_rows(monkeypatch, name, dtype):
    """By products of all rows in each step; ensembles, lengths, copies, with and without the input's."""
    monkeypatch.setattr(large_pushforward, "WAVES", -1)
    asked, run = [], large_pushforward.run
    monkeypatch.setattr(large_pushforward, "run", lambda *given: asked.append(run(*given)))
    p = draw(library_cell(name), 5, 2, 2, [T, 2, 1, 0], dtype)
    layer, layers = on_gpu(p, False), on_cpu(p, False)
    for start, stop in ((0, T), (1, 2), (2, 2)):
        for from_input in (False, True):
            check_tangent(p, layer, layers, from_input, copies=3, start=start, stop=stop)
    assert len(asked) == 4
    assert large_pushforward.suits(layer, layer.plan(PUSHFORWARD, 3), 3)
