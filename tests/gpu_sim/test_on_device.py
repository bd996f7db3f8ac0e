"""The analyses that take networks and runs on the GPU, against themselves on the CPU."""

import functools
import types

import numpy as np
import pytest
from whole import ALL, in_turn

import throughtime as tt
from throughtime.analysis.lyapunov import device_frame, trajectory
from throughtime.analysis.lyapunov.trajectory import Trajectory
from throughtime.engine.cuda import device

analysis = tt.analysis


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=["tanh", "lstm", "gru-2"] if ALL else ["lstm", "gru-2"])  # two states; two layers
def net(request):
    return network(request.param)


def network(case):
    name, layers = (*case.split("-"), "1")[:2]
    return tt.Network(name, 2, 3, num_layers=int(layers), init=tt.init.gaussian(1.5), seed=3)


def test_lyapunov_spectrum(net):
    x = np.random.default_rng(0).standard_normal((14, 2, 2))
    options = {"steps": 12, "warmup": 2, "discard": 2, "seed": 1}
    for k in (1, net.state_size):
        expected = analysis.lyapunov_spectrum(net, x, k=k, **options)
        found = analysis.lyapunov_spectrum(net.to("cuda"), x, k=k, interval=2, **options)
        close(found.exponents, expected.exponents)
        assert found.interval == 2
    close(found.sum_rule_residual, 0.0)


@pytest.mark.parametrize(("name", "dtype"), in_turn("tanh", "rate", "leaky_tanh", "lstm", "gru-2"))
def test_sum_rule_is_that_of_the_jacobians(name, dtype):
    """ln|det J| over pieces of different runs, of units that saturate: rows and columns of very different size."""
    cell, layers = (*name.split("-"), "1")[:2]
    net = tt.Network(cell, 2, 3, num_layers=int(layers), init=tt.init.gaussian(2.0), seed=3, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((6, 2, 2)) * np.array([1.0, 9.0])[:, None]
    source = Trajectory(net.to("cuda"), x.astype(dtype), 2, None)
    source.chunk = 4
    frame = device_frame.DeviceFrame(source.engine, np.repeat(np.eye(net.state_size, dtype=dtype)[None], 2, axis=0))
    done, _, log_det = frame.carry(source, 6, 2, True)
    assert done == 6
    expected = np.linalg.slogdet(net.unroll(x).jacobians().astype(float))[1].sum(axis=0)
    close(log_det, expected, 1e-11 if dtype == "float64" else 1e-5)


def test_determinants_of_singular_and_broken_jacobians():
    """A dead unit gives -inf, NaN stays in its sequence."""
    net = tt.Network("relu", 2, 3, num_layers=2, seed=3)
    for name in net.parameters:
        net.parameters[name][...] = np.abs(net.parameters[name]) if "weight" in name else 0.1
    for name in ("weight_hh_l0", "weight_hh_l1"):
        net.parameters[name][...] += np.eye(3)
    x = np.ones((4, 3, 2))
    x[1, 0], x[2, 1, 0] = -100.0, np.nan
    run, there = net.unroll(x), net.to("cuda").unroll(x)
    with np.errstate(all="ignore"):
        expected = np.linalg.slogdet(run.jacobians())[1].sum(axis=0)
    found = device_frame.log_det(there, 0, 4)
    assert found[0] == expected[0] == -np.inf
    assert np.isnan(found[1])
    close(found[2], expected[2])


def test_intervals_of_all_sequences_are_judged_as_each_alone():
    """The judge's word and what is lost: of sequences that lose exponents, in turn, become NaN, or do neither."""
    rng, B, K = np.random.default_rng(0), 5, 4
    logs = rng.standard_normal((6, B, K))
    logs[1, 0, 2] = logs[2, 0, 1] = logs[3, 1] = -np.inf
    logs[2, 2, 3] = np.nan
    start = np.repeat(np.eye(K)[None], B, axis=0)

    def judged(chosen, parts):
        frame = device_frame.DeviceFrame(tt.Network("tanh", 1, K).to("cuda").engine, start[chosen])
        frame.pace, words = types.SimpleNamespace(limit=2, fixed=True), []
        frame.pace.judge = frame.pace.note = lambda spread, *_: words.append(np.max(spread))
        found = [frame._judged(part[chosen], 2) for part in parts]
        return np.array(words), np.array(found), frame.lost, frame.broken

    words, found, lost, broken = judged(np.arange(B), logs)
    each = [judged(np.array([b]), logs) for b in range(B)]
    np.testing.assert_array_equal(words, np.maximum.reduce([one[0] for one in each]))
    np.testing.assert_array_equal(found, np.concatenate([one[1] for one in each], axis=1))
    np.testing.assert_array_equal(lost, np.concatenate([one[2] for one in each]))
    np.testing.assert_array_equal(broken, np.concatenate([one[3] for one in each]))
    spread, left = each[0][0].reshape(6, 2)[:, 0], [[0, 1, 2, 3], [], [], *3 * [[0, 3]]]
    expected = [np.ptp(part[0, rest]) if rest else np.inf for part, rest in zip(logs, left, strict=True)]
    np.testing.assert_array_equal(spread, expected)


def family_of_six():
    def make(cell, gain, seed):
        return tt.Network(cell, 2, 3, init=tt.init.gaussian(gain), seed=seed)

    return tt.Ensemble(functools.partial(make, "tanh"), {"gain": [0.5, 1.5], "seed": [0, 1, 2]})


def same_result(found, expected, *names):
    assert type(found) is type(expected)
    assert found.axes == expected.axes
    for name in names:
        close(found[name], expected[name])


@pytest.mark.parametrize("driven", [False, True])
def test_lyapunov_spectra_of_an_ensemble_in_one_call(driven, monkeypatch):
    """A script that says .to("cuda") has the result that it had before, of one launch for all networks."""
    monkeypatch.setattr(trajectory, "CHUNK_BYTES", 0)  # 16 steps at once: without input it unrolls 2048 for these six
    family = family_of_six()
    x = np.random.default_rng(0).standard_normal((6, 2, 2)) if driven else None
    options = {"steps": 4, "warmup": 2, "seed": 1, "interval": 1}
    found = analysis.lyapunov_spectrum(family.to("cuda"), x, **options)
    expected = analysis.lyapunov_spectrum(family, x, **options)
    same_result(found, expected, "exponents", "history", "mean_log_det", "steps")
    close(found["sum_rule_residual"], 0.0)
    close(found.at(gain=1.5, seed=2).exponents, expected.at(gain=1.5, seed=2).exponents)
    assert found.results[0].reason == expected.results[0].reason


def test_an_ensemble_is_made_on_the_cpu():
    """Its networks' launches would run side by side, from many threads."""
    net = network("tanh")
    with pytest.raises(TypeError, match=r'network=1 is on the GPU.*`ensemble\.to\("cuda"\)`'):
        tt.Ensemble([net, net.to("cuda")])
    with pytest.raises(TypeError, match="seed=0 is on the GPU"):
        tt.Ensemble(lambda seed: tt.Network("tanh", 2, 3, seed=seed, device="cuda"), {"seed": [0, 1]})
    with pytest.raises(TypeError, match="is on the GPU"):
        tt.Ensemble([tt.Ensemble([net]).to("cuda")])


def test_runs_of_an_ensemble():
    """What is given for one network serves all of them."""
    family, rng = family_of_six(), np.random.default_rng(1)
    for shape, lengths in (((5, 2), None), ((5, 2, 2), [5, 3])):
        x, g = rng.standard_normal(shape), rng.standard_normal((*shape[:-1], 3))
        end = rng.standard_normal((1, 2, 3) if lengths else (1, 3))
        run, there = family.unroll(x, lengths=lengths), family.to("cuda").unroll(x, lengths=lengths)
        expected = analysis.gradient_norms(run, g, end)
        same_result(analysis.gradient_norms(there, g, end), expected, "log_norm", "rate", "last", "horizon")
        found, expected = analysis.gradient_norms(there, grad_output=g), analysis.gradient_norms(run, grad_output=g)
        same_result(found, expected, "log_norm")
        expected = analysis.product_singular_values(run, 1, 4)
        same_result(analysis.product_singular_values(there, 1, 4), expected, "log_singular_values", "sweeps")
        expected = analysis.jacobian_spectrum(run, [1, 2])
        same_result(analysis.jacobian_spectrum(there, [1, 2]), expected, "singular_values", "t")
        with pytest.raises(ValueError, match="one network at a time"):
            analysis.gradient_by_lag(there, g)
        gradients = there.backprop(g, end).parameters["weight_hh_l0"]
        expected = [one.backprop(g, end).parameters["weight_hh_l0"] for one in run.runs]
        close(device.to_host(gradients), expected)


def test_gradient_by_lag(net):
    rng = np.random.default_rng(1)
    x, g = rng.standard_normal((5, 2, 2)), rng.standard_normal((5, 2, 3))
    for lengths in (None, [5, 3]):
        expected = analysis.gradient_by_lag(net.unroll(x, lengths=lengths), g)
        found = analysis.gradient_by_lag(net.to("cuda").unroll(x, lengths=lengths), g)
        close(found.log_norm, expected.log_norm)
        close(found.share, expected.share)
        close(found.cosine, expected.cosine)


def test_gradient_by_lag_keeps_norms_beyond_the_range_of_numbers():
    net = tt.Network("linear", 1, 1, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = 1e-60
    lags = analysis.gradient_by_lag(net.to("cuda").unroll(np.ones((8, 1))), np.ones((8, 1)))
    close(lags.log_norm[7, :, 0], np.arange(8) * np.log(1e-60))


def test_gradient_norms(net):
    """Losses of many sizes at some times, of sequences of different lengths: windows of all lengths."""
    rng = np.random.default_rng(4)
    x, g = rng.standard_normal((7, 3, 2)), rng.standard_normal((7, 3, 3))
    g[2:4] = 0.0
    g[4:, 1] *= 1e-100
    g[:, 0] *= 1e200
    for lengths in (None, [7, 5, 2]):
        run, there = net.unroll(x, lengths=lengths), net.to("cuda").unroll(x, lengths=lengths)
        expected, found = analysis.gradient_norms(run, g), analysis.gradient_norms(there, g)
        close(found.log_norm, expected.log_norm)
        assert found.last.tolist() == expected.last.tolist()


def test_gradient_norms_in_one_window():
    run = tt.Network("gru", 2, 3, num_layers=2, seed=3).to("cuda").unroll(np.ones((6, 2, 2))).on_host()
    calls = []
    whole = run.costates
    run.costates = lambda *window: calls.append(window) or whole(*window)
    run.vjp = None  # would be a launch per step
    analysis.gradient_norms(run, np.ones((6, 2, 3)))
    assert len(calls) == 1


def test_singular_values(net):
    x = np.random.default_rng(2).standard_normal((5, 2, 2))
    run, there = net.unroll(x), net.to("cuda").unroll(x)
    found = analysis.product_singular_values(there, 1, 5).log_singular_values
    close(found, analysis.product_singular_values(run, 1, 5).log_singular_values)
    found = analysis.jacobian_spectrum(there, 3)
    close(np.sort(np.abs(found.eigenvalues)), np.sort(np.abs(analysis.jacobian_spectrum(run, 3).eigenvalues)))


def test_what_does_not_work_there_says_so(net):
    there = net.to("cuda")
    with pytest.raises(ValueError, match=r'network\.to\("cpu"\)'):
        analysis.fixed_points(there)
    with pytest.raises(ValueError, match="works on the CPU"):
        analysis.truncation_bias(there.unroll(np.ones((3, 1, 2))), np.ones((3, 1, 3)), [1])
    with pytest.raises(ValueError, match="precision"):
        analysis.lyapunov_spectrum(there, steps=5, precision="float32")
    net.parameters["weight_hh_l0"][0, 0] = np.nan
    with pytest.raises(ValueError, match="weight_hh_l0"):
        analysis.lyapunov_spectrum(net.to("cuda"), steps=5)
