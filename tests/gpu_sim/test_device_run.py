"""Networks and runs on the device against those on the CPU: every public way through a run."""

import copy
import pickle
from typing import NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.engine.cuda import device
from throughtime.engine.cuda.toolkit import cuda
from throughtime.scalar import sigmoid, sigmoid_slope, tanh, tanh_slope


def host(value):
    return device.to_host(value)


def close(found, expected):
    np.testing.assert_allclose(host(found), expected, rtol=1e-12, atol=1e-13)


def states(value):
    if isinstance(value, list):  # of unlike layers
        return tuple(part for own in value for part in states(own))
    return value if isinstance(value, tuple) else (value,)


CASES = {
    "lstm": {},
    "gru-2-layers": {"num_layers": 2},
    "tanh-both-ways": {"bidirectional": True, "num_layers": 2},
    "rate-batch-first": {"batch_first": True, "bias": False},
    "unlike": {"cells": ["lstm", "rate"], "sizes": [3, 2]},
    "unlike-both-ways": {"cells": ["gru", "lstm"], "sizes": [2, 3], "bidirectional": True},
}


@pytest.fixture(params=CASES, ids=list(CASES), scope="module")
def pair(request):
    return both(request.param)


def both(case):
    """A network with a run on the CPU and on the device, and a gradient of the output."""
    options = dict(CASES[case])
    cells, sizes = options.pop("cells", case.split("-")[0]), options.pop("sizes", 3)
    net = tt.Network(cells, 2, sizes, seed=1, **options)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 3, 2) if net.batch_first else (3, 2, 2))
    run, there = net.unroll(x, lengths=[3, 2]), net.to("cuda").unroll(x, lengths=[3, 2])
    return run, there, rng.standard_normal(run.output.shape)


def test_states_and_output(pair):
    run, there, _ = pair
    close(there.states, run.states)
    close(there.output, run.output)
    for a, b in zip(states(there.final_state), states(run.final_state), strict=True):
        close(a, b)


def test_gradients(pair):
    run, there, g = pair
    expected, found = run.backprop(g, run.final_state), there.backprop(g, run.final_state)
    assert list(found.parameters) == list(expected.parameters)
    for name, value in expected.parameters.items():
        close(found.parameters[name], value)
    close(found.input, expected.input)
    close(found.states, expected.states)
    for a, b in zip(states(found.initial_state), states(expected.initial_state), strict=True):
        close(a, b)
    assert "norm" in repr(found)
    assert len(found.cells) == len(expected.cells)
    for own, other in zip(found.cells, expected.cells, strict=True):
        assert vars(own).keys() == vars(other).keys()  # an LSTM among the layers has none
        for name, value in vars(other).items():
            np.testing.assert_allclose(vars(own)[name], value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["lstm", "gru-2", "rate"])
@pytest.mark.parametrize("lengths", [None, [4, 0, 3]])
def test_truncated(name, lengths):
    cell, layers = (*name.split("-"), "1")[:2]
    net = tt.Network(cell, 2, 3, num_layers=int(layers), seed=1)
    rng = np.random.default_rng(2)
    x, g = rng.standard_normal((4, 3, 2)), rng.standard_normal((4, 3, 3))
    run, there = net.unroll(x, lengths=lengths), net.to("cuda").unroll(x, lengths=lengths)
    ends = run.final_state if lengths else None
    for window, given, end in ((2, g, ends), (3, None, run.final_state), (4, g, None)):
        expected, found = run.backprop(given, end, window=window), there.backprop(given, end, window=window)
        assert list(found.parameters) == list(expected.parameters)
        for key, value in expected.parameters.items():
            close(found.parameters[key], value)
        close(found.input, expected.input)
        close(found.states, expected.states)
        for a, b in zip(states(found.initial_state), states(expected.initial_state), strict=True):
            close(a, b)
        for own, other in zip(found.cells, expected.cells, strict=True):
            assert vars(own).keys() == vars(other).keys()  # an LSTM among the layers has none
            for field, value in vars(other).items():
                np.testing.assert_allclose(vars(own)[field], value, rtol=1e-12, atol=1e-13)


def test_fields_of_several_networks():
    networks = [tt.Network("rate", 2, 3, num_layers=2, seed=seed) for seed in range(3)]
    x, g = np.random.default_rng(2).standard_normal((4, 2, 2)), np.random.default_rng(3).standard_normal((4, 2, 3))
    each = [net.unroll(x, lengths=[2, 4]).backprop(g).cells for net in networks]
    there = tt.Ensemble(networks).to("cuda").unroll(x, lengths=[2, 4])
    found = there.backprop(np.concatenate([g] * 3, axis=1)).cells
    for k, own in enumerate(found):
        np.testing.assert_allclose(own.leak, [of_one[k].leak for of_one in each], rtol=1e-12, atol=1e-13)


@tt.cell(gates=("z", "n"), sends={"h": ("z",)}, stage={"a": ("n",)}, parameters=("tau",))
class Staged(NamedTuple):
    """A product after a gate, a parameter of the units, and fields in the step, in the stage and in what is sent."""

    leak: float = 0.6
    staged: float = 0.8
    sent: float = 1.3

    def emit(cell, s):
        return tanh(cell.sent * s[0])

    def emit_slope(cell, s):
        return (cell.sent * tanh_slope(cell.sent * s[0]),)

    def stage(cell, x, r, s, p):
        return (cell.staged * sigmoid(x[0] + r[0]) * s[0],)

    def stage_backward(cell, da, s, saved, p):
        d = cell.staged * da[0] * s[0] * sigmoid_slope(saved[0])
        return (d, 0.0), (d,), (cell.staged * sigmoid(saved[0]) * da[0],), (0.0,)

    def forward(cell, x, r, s, p):
        u = x[1] + r[1]
        return (s[0] + cell.leak * p[0] * (tanh(u) - s[0]),), (x[0] + r[0], u)

    def backward(cell, ds, s, s_next, saved, p):
        d = cell.leak * ds[0]
        du = p[0] * d * tanh_slope(saved[1])
        return (0.0, du), (0.0, du), (ds[0] - p[0] * d,), (d * (tanh(saved[1]) - s[0]),)


@pytest.mark.parametrize("leak", [0.6, np.array([0.2, 0.5, 0.7])], ids=["number", "array"])
def test_fields_of_cells_that_are_not_plain(leak):
    networks = [tt.Network(Staged(leak=leak), 2, 3, num_layers=2, seed=seed) for seed in range(2)]
    x, g = np.random.default_rng(2).standard_normal((4, 2, 2)), np.random.default_rng(3).standard_normal((4, 2, 3))
    each = [net.unroll(x, lengths=[2, 4]).backprop(g).cells for net in networks]
    there = tt.Ensemble(networks).to("cuda").unroll(x, lengths=[2, 4])
    for k, own in enumerate(there.backprop(np.concatenate([g] * 2, axis=1)).cells):
        for field in Staged._fields:
            expected = [getattr(of_one[k], field) for of_one in each]
            np.testing.assert_allclose(getattr(own, field), expected, rtol=1e-12, atol=1e-13)


def test_truncated_refusals():
    both = tt.Network("tanh", 2, 3, bidirectional=True, seed=0).to("cuda").unroll(np.ones((4, 2)))
    with pytest.raises(ValueError, match="bidirectional"):
        both.backprop(np.ones((4, 6)), window=2)
    with pytest.raises(ValueError, match="at least 1"):
        both.backprop(np.ones((4, 6)), window=0)
    some = tt.Ensemble([tt.Network("tanh", 2, 3, seed=seed) for seed in range(2)]).to("cuda").unroll(np.ones((4, 2)))
    with pytest.raises(ValueError, match="one network"):
        some.backprop(np.ones((4, 3)), window=2)


def test_perturbations_and_jacobians(pair):
    run, there, _ = pair
    if run.network.bidirectional:
        with pytest.raises(ValueError, match="bidirectional"):
            there.jvp(np.ones((2, run.network.state_size)), 0, 1)
        return
    v = np.random.default_rng(3).standard_normal((2, run.network.state_size, 2))
    close(there.jvp(v, 0, 3), run.jvp(v, 0, 3))
    close(there.vjp(v, 1, 3), run.vjp(v, 1, 3))
    close(there.jvp(device.to_device(v[:, :, 0]), 0, 2), run.jvp(v[:, :, 0], 0, 2))
    close(there.jacobian(2), run.jacobian(2))
    close(there.jacobians(1), run.jacobians(1))
    g = np.ones((2, run.network.hidden_sizes[-1]))
    close(there.output_cotangent(3, g), run.output_cotangent(3, g))


def test_jacobians_of_stacked_layers_take_no_launch_per_step(monkeypatch):
    launched = []
    launch = device.launch
    monkeypatch.setattr(device, "launch", lambda kernel, *rest: (launched.append(kernel), launch(kernel, *rest)))
    for name in ("lstm", "rate"):
        net = tt.Network(name, 2, 3, num_layers=2, seed=1)
        x, counts = np.random.default_rng(0).standard_normal((4, 2, 2)), []
        run, there = net.unroll(x, lengths=[2, 4]), net.to("cuda").unroll(x, lengths=[2, 4])
        for start in (3, 3, 0):  # the first packs the weights
            launched.clear()
            close(there.jacobians(start), run.jacobians(start))
            counts.append(len(launched))
        assert counts[1] == counts[2]
        assert there.jacobians(2, 2).shape == (0, 2, net.state_size, net.state_size)


def test_jacobians_of_an_ensemble_of_stacked_layers():
    family = tt.Ensemble([tt.Network("tanh", 2, 3, num_layers=2, seed=seed) for seed in range(2)])
    x = np.ones((3, 1, 2))
    found = host(family.to("cuda").unroll(x).jacobians())
    for k, run in enumerate(family.unroll(x).runs):
        np.testing.assert_allclose(found[:, k], run.jacobians()[:, 0], rtol=1e-12, atol=1e-14)


def test_device_arrays_go_in_without_a_copy():
    net = tt.Network("tanh", 2, 3, seed=0)
    x, h = np.ones((4, 2, 2)), np.full((1, 2, 3), 0.5)
    given = device.to_device(x)
    there = net.to("cuda").unroll(given, state=device.to_device(h))
    assert there.input is given
    close(there.output, net.unroll(x, state=h).output)
    g = device.to_device(np.ones((4, 2, 3)))
    close(there.backprop(g).input, net.unroll(x, state=h).backprop(np.ones((4, 2, 3))).input)


def test_one_sequence_without_a_batch_axis():
    net = tt.Network("lstm", 2, 3, seed=0)
    run, there = net.unroll(np.ones((4, 2))), net.to("cuda").unroll(np.ones((4, 2)))
    close(there.output, run.output)
    assert [part.shape for part in there.final_state] == [(1, 3), (1, 3)]
    close(there.backprop(np.ones((4, 3))).input, run.backprop(np.ones((4, 3))).input)


def test_an_ensemble_is_one_launch(monkeypatch):
    family = tt.Ensemble([tt.Network("gru", 2, 3, seed=seed) for seed in range(3)])
    launched = []
    launch = device.launch
    monkeypatch.setattr(device, "launch", lambda kernel, *rest: (launched.append(kernel), launch(kernel, *rest)))
    there = family.to("cuda").unroll(np.ones((3, 2)))
    assert sum("unroll-" in getattr(kernel, "py_func", kernel).__qualname__ for kernel in launched) == 1
    expected = family.unroll(np.ones((3, 2)))
    found = host(there.output)
    for k, run in enumerate(expected.runs):
        np.testing.assert_allclose(found[:, k], run.output, rtol=1e-12)
    gradients = there.backprop(np.ones(found.shape))
    for k, run in enumerate(expected.runs):
        own = run.backprop(np.ones((3, 3))).parameters["weight_hh_l0"]
        np.testing.assert_allclose(host(gradients.parameters["weight_hh_l0"])[k], own, rtol=1e-11, atol=1e-13)


def test_networks_of_one_launch_share_the_fields_of_their_cells():
    family = tt.Ensemble(lambda leak: tt.Network(tt.LeakyTanh(leak), 2, 3, seed=0), {"leak": [0.1, 0.2]})
    with pytest.raises(ValueError, match=r"LeakyTanh\(leak=0.1\) and LeakyTanh\(leak=0.2\)"):
        family.to("cuda")


def test_there_and_back():
    net = tt.Network("lstm", 2, 3, seed=0, dtype="float32")
    there = net.to("cuda")
    assert there.to("cuda") is there
    assert net.to("cpu") is net
    there.load_state_dict(tt.Network("lstm", 2, 3, seed=5, dtype="float32").state_dict())
    back = there.to("cpu")
    expected = tt.Network("lstm", 2, 3, seed=5, dtype="float32").parameters["weight_hh_l0"]
    np.testing.assert_array_equal(back.parameters["weight_hh_l0"], expected)
    assert back.dtype == np.float32


def trained(net):
    """The network on the device with other parameters than it was made with."""
    there = net.to("cuda")
    there.load_state_dict({name: value + 1.0 for name, value in net.state_dict().items()})
    return there


def test_what_is_kept_of_a_network_is_what_is_on_the_device(tmp_path):
    """Saved, pickled, copied: never the original, which stayed as it was."""
    net = tt.Network("gru", 2, 3, num_layers=2, seed=0)
    there = trained(net)
    there.save(tmp_path / "net.tt")
    kept = [tt.load(tmp_path / "net.tt"), pickle.loads(pickle.dumps(there)), copy.deepcopy(there), copy.copy(there)]
    for other in kept:
        for name, value in net.parameters.items():
            np.testing.assert_array_equal(other.state_dict()[name], value + 1.0)
    kept[2].load_state_dict(net.state_dict())  # a deep copy is another network, a shallow one shares its arrays
    assert not np.allclose(there.state_dict()["bias_hh_l0"], net.parameters["bias_hh_l0"])
    assert kept[3].parameters["bias_hh_l0"] is there.parameters["bias_hh_l0"]
    close(kept[1].unroll(np.ones((3, 2))).output, there.to("cpu").unroll(np.ones((3, 2))).output)


def test_a_pickle_of_the_gpu_is_opened_where_there_is_none(monkeypatch):
    kept = pickle.dumps(tt.Network("tanh", 2, 3, device="cuda"))
    monkeypatch.setattr(device, "available", lambda: False)
    with pytest.raises(RuntimeError, match="No CUDA device can be used"):
        pickle.loads(kept)


def test_an_ensemble_on_the_device_is_pickled_and_not_saved_as_one(tmp_path):
    family = tt.Ensemble([tt.Network("tanh", 2, 3, seed=k) for k in range(2)])
    there = family.to("cuda")
    there.load_state_dict({name: value + 1.0 for name, value in there.state_dict().items()})
    again = pickle.loads(pickle.dumps(there))
    assert again.networks == 2
    assert again.axes == there.axes
    for name, value in there.state_dict().items():
        close(again.parameters[name], value)
    with pytest.raises(ValueError, match="A file holds one network, and these are 2"):
        there.save(tmp_path / "family.tt")


def test_a_network_is_one_class_wherever_it_is():
    there = trained(tt.Network("tanh", 2, 3, seed=0))
    assert (type(there), there.device, there.networks, there.stacked) == (tt.Network, "cuda", 1, False)
    assert repr(there) == f"{there.to('cpu')!r} on the GPU"
    made = tt.Network("tanh", 2, 3, seed=0, device="cuda")
    np.testing.assert_array_equal(made.state_dict()["bias_hh_l0"] + 1.0, there.state_dict()["bias_hh_l0"])
    with pytest.raises(AttributeError, match="has no attribute `no_such_thing`"):
        _ = there.no_such_thing
    with pytest.raises(AttributeError, match="device"):
        there.device = "cpu"
    assert (there.hidden_size, there.state_size, there.bias, there.bidirectional) == (3, 3, True, False)
    there.parameters["bias_hh_l0"] = np.zeros(3)
    with pytest.raises(TypeError, match="needs a device array"):
        there.state_dict()
    with pytest.raises(ValueError, match=r'network\.to\("cpu"\)'):
        tt.kernels.of(there)


@pytest.mark.parametrize("shape", [(1, 4, 2), (4, 1, 2), (1, 4, 1), (4, 1, 1)])
def test_axes_of_one_number_may_have_any_stride(shape):
    net = tt.Network("tanh", shape[2], 3, seed=0)
    x = np.random.default_rng(0).standard_normal(shape).swapaxes(0, 1)  # its axis of length 1 keeps a stride
    close(net.to("cuda").unroll(cuda.to_device(x)).output, net.unroll(x).output)


def test_no_steps_and_no_sequences():
    net = tt.Network("gru", 2, 3, seed=0)
    there = net.to("cuda").unroll(np.ones((0, 2, 2)))
    close(there.states, net.unroll(np.ones((0, 2, 2))).states)
    assert net.to("cuda").unroll(np.ones((4, 0, 2))).output.shape == (4, 0, 3)


def test_bad_input_gets_a_sentence():
    net = tt.Network("tanh", 2, 3, seed=0)
    there = net.to("cuda")
    with pytest.raises(ValueError, match="cpu"):
        net.to("gpu")
    with pytest.raises(ValueError, match="shape"):
        there.unroll(device.to_device(np.ones((4, 2, 5))))
    with pytest.raises(TypeError, match="float32"):
        there.unroll(device.to_device(np.ones((4, 2, 2), np.float32)))
    run = there.unroll(np.ones((4, 2, 2)))
    with pytest.raises(ValueError, match="no gradient"):
        run.backprop()
    with pytest.raises(ValueError, match="expected"):
        run.backprop(device.to_device(np.ones((3, 2, 3))))
    there.parameters["weight_hh_l0"] = np.ones((3, 3))
    with pytest.raises(TypeError, match="device array"):
        there.unroll(np.ones((4, 2, 2)))


@pytest.mark.parametrize("name", ["lstm-1", "rate-2"])
def test_ways_through_that_analyses_stand_on(name):
    cell, layers = name.split("-")
    net = tt.Network(cell, 2, 3, num_layers=int(layers), seed=1)
    rng = np.random.default_rng(2)
    x, g = rng.standard_normal((5, 3, 2)), rng.standard_normal((3, 3, 3))
    run, there = net.unroll(x, lengths=[5, 1, 3]), net.to("cuda").unroll(x, lengths=[5, 1, 3])
    u = rng.standard_normal(run.states.shape[1:])
    close(there.costates(u, g, 1, 4), run.costates(u, g, 1, 4))
    for given in (g, device.to_device(g)):
        (back, parameters), (expected, own) = there.pullback(u, 1, 4, given), run.pullback(u, 1, 4, g)
        close(back, expected)
        for key, value in own.items():
            close(parameters[key], value)
    assert (there.columns(0), there.cell) == (run.columns(0), run.cell)
    assert there.engine is there.network.engine
    close(there.engine.arrays.compact(there.sent(0)), run.sent(0))
    local, expected = there.derivatives(int(layers) - 1, 0, 1, units=2), run.derivatives(int(layers) - 1, 0, 1, units=2)
    for ours, theirs in zip(local.by_recurrent[0], expected.by_recurrent[0], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["gru-1", "rate-2"])
@pytest.mark.parametrize("start", [0, 2])
def test_single_steps(name, start):
    """All rows of a window one step back in one launch: what each time gives by itself."""
    cell, layers = name.split("-")
    net = tt.Network(cell, 2, 3, num_layers=int(layers), seed=1)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 2, 2))
    run, there = net.unroll(x, lengths=[5, 3]), net.to("cuda").unroll(x, lengths=[5, 3])
    single = there.single_steps(start, 5)
    assert repr(single).endswith(f"unrolled over 1 steps of {2 * (5 - start)} sequences; state size {net.state_size}")
    u, g = (rng.standard_normal((5 - start, 2, n)) for n in (net.state_size, 3))
    back, parameters = single.pullback(u.reshape(-1, net.state_size), 0, 1)
    each = [run.pullback(u[t - start], t, t + 1) for t in range(start, 5)]
    close(back, np.concatenate([own for own, _ in each]))
    for key, value in parameters.items():
        close(value, sum(own[key] for _, own in each))
    close(single.vjp(u.reshape(-1, net.state_size), 0, 1), np.concatenate([own for own, _ in each]))
    sent = [run.output_cotangent(t + 1, g[t - start]) for t in range(start, 5)]
    alive = single.lengths[:, None] > 0
    close(single.output_cotangent(1, g.reshape(-1, 3)), np.where(alive, np.concatenate(sent), 0))
    with pytest.raises(ValueError, match="back only"):
        single.jvp(u.reshape(-1, net.state_size), 0, 1)
