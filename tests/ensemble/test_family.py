"""Ensembles: the same numbers as one network after another, labels, resuming, errors, and other machines."""

import os
import pickle
import threading

import numpy as np
import pytest
from analyses import OF_NETWORK, OF_RUN, I, N, apply
from analyses import X as ANY
from matplotlib import pyplot

import throughtime as tt
from throughtime.ensemble import sweep

GAINS, SEEDS = [0.5, 1.5, 3.0], [0, 1]


def make(gain, seed):
    return tt.Network("tanh", 2, 24, init=tt.init.gaussian(gain), seed=seed)


def family(**options):
    return tt.Ensemble(make, {"gain": GAINS, "seed": SEEDS}, **options)


X = np.random.default_rng(0).standard_normal((60, 2))
SPECTRUM = {"k": 3, "seed": 0, "warmup": 10}


def expected():
    return np.array(
        [[tt.analysis.lyapunov_spectrum(make(g, s), X, **SPECTRUM).exponents for s in SEEDS] for g in GAINS]
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_same_bits_as_one_network_after_another(count, threads):
    threads(count)
    found = tt.analysis.lyapunov_spectrum(family(), X, **SPECTRUM)
    assert isinstance(found, tt.analysis.EnsembleResult)
    np.testing.assert_array_equal(found["exponents"], expected())
    assert tt.get_num_threads() == count


def test_every_analysis_of_a_run_takes_the_run_of_an_ensemble():
    runs = family().unroll(X)
    assert runs.output.shape == (3, 2, 60, 24)
    assert runs.states.shape == (3, 2, 61, 1, 24)
    np.testing.assert_array_equal(runs.output[1, 0], make(1.5, 0).unroll(X).output)
    last = np.zeros((60, 24))
    last[-1] = 1.0
    decay = tt.analysis.gradient_norms(runs, grad_output=last)
    alone = tt.analysis.gradient_norms(make(3.0, 1).unroll(X), grad_output=last)
    np.testing.assert_array_equal(decay["log_norm"][2, 1], alone.log_norm)
    spectra = tt.analysis.jacobian_spectrum(runs, [5])
    assert spectra["singular_values"].shape[:2] == (3, 2)
    gradients = runs.map(lambda run: run.backprop(np.ones((60, 24))))
    assert gradients["states"].shape == (3, 2, 61, 1, 24)


@pytest.mark.parametrize("name", [*OF_NETWORK, *OF_RUN])
def test_every_analysis_takes_an_ensemble(name):
    """The same bits as network by network; the result prints, and gives what arrays there are."""
    nets = [tt.Network("tanh", I, N, seed=seed) for seed in range(3)]
    found = apply(name, tt.Ensemble(nets), ANY)
    assert found.axes == {"network": [0, 1, 2]}
    assert "Results of 3 networks" in repr(found)
    for net, one in zip(nets, found.results, strict=True):
        alone = apply(name, net, ANY)
        assert type(one) is type(alone)
        if isinstance(alone, tuple):  # clip_per_step: gradients by name, and a fraction
            np.testing.assert_equal(one, alone)
        else:
            mine, theirs = (r.arrays() if hasattr(r, "arrays") else {"value": r} for r in (one, alone))
            np.testing.assert_equal(mine, theirs)
    if isinstance(found.results[0], tuple):
        with pytest.raises(ValueError, match="no numbers"):
            found.arrays()
    else:
        assert found.arrays()["axis_network"].tolist() == [0, 1, 2]


def test_results_of_different_shapes_are_kept_one_by_one():
    """Networks have one fixed point or several: arrays that do not stack are left out, and nothing is lost."""
    nets = [tt.Network("tanh", 1, 4, bias=False, init=tt.init.gaussian(gain), seed=3) for gain in (0.5, 3.0)]
    found = tt.analysis.fixed_points(tt.Ensemble(nets), starts=64)
    counts = [len(one.points) for one in found.results]
    assert counts[0] == 1 < counts[1]
    assert "Results of 2 networks" in repr(found)
    assert "points" not in found.arrays()
    assert found.arrays()["lost"].shape == (2,)
    with pytest.raises(ValueError, match=r"different shapes.*one by one from \.results"):
        found["points"]


def test_named_first_argument():
    found = tt.analysis.lyapunov_spectrum(net=family(), x=X, **SPECTRUM)
    np.testing.assert_array_equal(found["exponents"], expected())


def test_a_list_of_networks_and_fields_and_labels():
    nets = [make(1.5, seed) for seed in range(4)]
    assert tt.Ensemble(nets).axes == {"network": [0, 1, 2, 3]}
    found = tt.Ensemble(nets, {"a": np.array([0.1, 0.2]), "b": ["x", "y"]}).map(lambda net: float(net.hidden_size))
    assert found[()].tolist() == [[24.0, 24.0], [24.0, 24.0]]
    assert found.axes == {"a": [0.1, 0.2], "b": ["x", "y"]}
    assert found.at(a=0.1, b="y") == 24.0
    assert "axis b (2): x, y" in repr(found)
    with pytest.raises(ValueError, match="not on that axis"):
        found.at(a=0.3, b="x")
    with pytest.raises(ValueError, match="every axis once"):
        found.at(a=0.1)
    with pytest.raises(KeyError, match="themselves"):
        found["exponents"]


def test_initialisations_and_cells_fields_are_axes_too():
    def network(init, leak):
        return tt.Network(tt.LeakyTanh(leak=leak), 1, 8, init=init, seed=0)

    found = tt.Ensemble(network, {"init": ["gaussian", "orthogonal"], "leak": [0.1, 0.5]}).map(
        lambda net: net.cell.leak
    )
    assert found[()].tolist() == [[0.1, 0.5], [0.1, 0.5]]


def test_kaplan_yorke_and_other_properties_are_fields():
    found = tt.analysis.lyapunov_spectrum(family(), X, seed=0)
    assert found["kaplan_yorke_dimension"].shape == (3, 2)
    arrays = found.arrays()
    assert arrays["exponents"].shape == (3, 2, 24)
    assert arrays["axis_gain"].tolist() == GAINS


def test_the_result_draws_curves_and_phase_diagrams():
    found = tt.analysis.lyapunov_spectrum(family(), X, **SPECTRUM)
    _, axes = pyplot.subplots(1, 3)
    assert found.plot("exponents", ax=axes[0])["curve"]
    assert axes[0].get_xlabel() == "gain"
    assert found.plot("exponents", ax=axes[1], over=("gain", "seed"), entry=1)["map"]
    named = tt.Ensemble([make(1.0, 0)] * 4, {"cell": ["a", "b"], "g": [1, 2]}).map(lambda net: 1.0)
    assert named.plot(ax=axes[2])["map"]
    pyplot.close()


# ---------------------------------------------------------------- threads


def test_networks_run_side_by_side_with_single_threaded_linear_algebra(threads):
    threads(2)
    seen, meet = [], threading.Barrier(2, timeout=20)

    def look(net):
        meet.wait()  # two at the same time, or this breaks
        from threadpoolctl import threadpool_info

        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        seen.append((tt.get_num_threads(), max(blas, default=1)))
        return 0.0

    tt.Ensemble([make(1.0, seed) for seed in range(4)]).map(look)
    assert seen == [(1, 1)] * 4
    assert tt.get_num_threads() == 2


def test_an_ensemble_inside_an_ensemble_gives_the_threads_back(threads):
    threads(3)
    inner = tt.Ensemble([make(1.0, 0), make(1.0, 1)])
    found = inner.map(lambda net: inner.map(lambda other: 1.0)[()].sum())
    assert found[()].tolist() == [2.0, 2.0]
    assert tt.get_num_threads() == 3


# ---------------------------------------------------------------- going on


CALLS: list[int] = []
FAIL_AT: set[int] = set()


def count_and_measure(net, power=1.0):
    seed = round(float(net.parameters["bias_hh_l0"][0]))
    if seed in FAIL_AT:
        raise FloatingPointError("no such luck")
    CALLS.append(seed)
    return np.array([seed**power])


def numbered(count=6):
    nets = [make(1.0, 0) for _ in range(count)]
    for i, net in enumerate(nets):
        net.parameters["bias_hh_l0"][0] = i
    return nets


@pytest.fixture(autouse=True)
def _fresh():
    CALLS.clear()
    FAIL_AT.clear()


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path, threads):
    threads(1)
    FAIL_AT.add(3)
    with pytest.raises(FloatingPointError) as caught:
        tt.Ensemble(numbered(), save=tmp_path).map(count_and_measure)
    assert "network=3" in caught.value.__notes__[0]
    assert CALLS[:3] == [0, 1, 2]
    before = list(CALLS)
    FAIL_AT.clear()
    CALLS.clear()
    found = tt.Ensemble(numbered(), save=tmp_path).map(count_and_measure)
    assert found[()][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert sorted(CALLS + before) == [0, 1, 2, 3, 4, 5]
    CALLS.clear()
    tt.Ensemble(numbered(), save=tmp_path).map(count_and_measure)
    assert CALLS == []


def test_an_interrupt_keeps_what_was_finished(tmp_path, threads, monkeypatch):
    threads(1)

    def interrupt(done, *_):
        yield next(done)
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, "_bar", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tt.Ensemble(numbered(), save=tmp_path).map(count_and_measure)
    monkeypatch.undo()
    finished = sorted(CALLS)
    assert len(list(tmp_path.glob("*.pkl"))) == len(finished) >= 1
    CALLS.clear()
    assert tt.Ensemble(numbered(), save=tmp_path).map(count_and_measure)[()].shape == (6, 1)
    assert sorted(CALLS + finished) == [0, 1, 2, 3, 4, 5]


def test_other_arguments_or_parameters_are_computed_anew(tmp_path):
    nets = numbered(3)
    tt.Ensemble(nets, save=tmp_path).map(count_and_measure)
    tt.Ensemble(nets, save=tmp_path).map(count_and_measure, power=2.0)
    assert len(CALLS) == 6
    nets[1].parameters["weight_hh_l0"][0, 0] += 1e-12
    tt.Ensemble(nets, save=tmp_path).map(count_and_measure)
    assert len(CALLS) == 7


def test_a_broken_file_is_computed_again(tmp_path):
    tt.Ensemble(numbered(2), save=tmp_path).map(count_and_measure)
    sorted(tmp_path.glob("*.pkl"))[0].write_bytes(b"not a pickle")
    found = tt.Ensemble(numbered(2), save=tmp_path).map(count_and_measure)
    assert found[()][:, 0].tolist() == [0, 1]
    assert len(CALLS) == 3


def test_resuming_needs_a_function_with_a_name(tmp_path):
    with pytest.raises(ValueError, match="lambda"):
        family(save=tmp_path).map(lambda net: 0.0)


def test_runs_resume_too(tmp_path):
    first = tt.analysis.jacobian_spectrum(family(save=tmp_path).unroll(X), [5])
    again = tt.analysis.jacobian_spectrum(family(save=tmp_path).unroll(X), [5])
    np.testing.assert_array_equal(first["singular_values"], again["singular_values"])
    assert len(list(tmp_path.glob("*.pkl"))) == 6
    tt.analysis.jacobian_spectrum(family(save=tmp_path).unroll(2 * X), [5])
    assert len(list(tmp_path.glob("*.pkl"))) == 12


# ---------------------------------------------------------------- other processes and machines


def test_wrapped_analyses_can_be_pickled():
    assert pickle.loads(pickle.dumps(tt.analysis.lyapunov_spectrum)) is tt.analysis.lyapunov_spectrum


def test_joblib_gives_the_same_numbers(tmp_path):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed: the sweep over processes was not tested")
    with joblib.parallel_config(backend="threading", n_jobs=2):
        found = tt.analysis.lyapunov_spectrum(family(backend="joblib", save=tmp_path), X, **SPECTRUM)
        runs = family(backend="joblib").unroll(X)
        spectra = tt.analysis.jacobian_spectrum(runs, [5])
    np.testing.assert_array_equal(found["exponents"], expected())
    assert spectra["singular_values"].shape[:2] == (3, 2)
    assert len(list(tmp_path.glob("*.pkl"))) == 6


def where(net):
    return np.array([os.getpid(), tt.get_num_threads(), net.hidden_size])


@pytest.mark.slow
def test_a_dask_cluster_of_two_workers(tmp_path):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed: the sweep over a cluster was not tested")
    distributed = pytest.importorskip(
        "distributed", reason="dask is not installed: the sweep over a cluster was not tested"
    )
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(2)
        with joblib.parallel_config(backend="dask"):
            found = tt.analysis.lyapunov_spectrum(family(backend="joblib", save=tmp_path / "kept"), X, **SPECTRUM)
            places = family(backend="joblib").map(where)[()].reshape(-1, 3)
    np.testing.assert_array_equal(found["exponents"], expected())
    assert os.getpid() not in places[:, 0]
    assert (places[:, 1] == 1).all()
    assert len(list((tmp_path / "kept").glob("*.pkl"))) == 6


def test_missing_joblib_is_a_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "joblib", None)
    with pytest.raises(ImportError, match="pip install joblib"):
        family(backend="joblib").map(where)


def test_xarray_or_a_sentence():
    found = tt.analysis.lyapunov_spectrum(family(), X, **SPECTRUM)
    try:
        import xarray  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="pip install xarray"):
            found.to_xarray()
    else:
        data = found.to_xarray()
        assert float(data.exponents.sel(gain=1.5, seed=1)[0]) == found["exponents"][1, 1, 0]


# ---------------------------------------------------------------- what has no meaning


def test_axes_with_a_meaning_have_its_name():
    """Not field_0: what runs along sequences in one field does so in all."""
    pytest.importorskip("xarray")
    family = tt.Ensemble([tt.Network("gru", 2, 4, seed=k) for k in range(2)])
    run = family.unroll(np.random.default_rng(0).normal(size=(30, 3, 2)))
    one, two = (tt.analysis.jacobian_spectrum(run, t).to_xarray() for t in (3, [3, 4]))
    assert dict(one.sizes) == {"network": 2, "sequence": 3, "direction": 4}
    assert dict(two.sizes) == {"network": 2, "kept": 2, "sequence": 3, "direction": 4}
    product = tt.analysis.product_singular_values(run, 0, 5).to_xarray()
    assert product["steps"].dims == ("network", "sequence")
    spectrum = tt.analysis.lyapunov_spectrum(family, steps=40, k=1, seed=0).to_xarray()
    assert not [part for value in spectrum.data_vars.values() for part in value.dims if part.endswith("_0")]


def test_refusals():
    with pytest.raises(ValueError, match=r"networks of one shape.*network=1.*hidden_size=8"):
        tt.Ensemble([tt.Network("tanh", 1, 4), tt.Network("tanh", 1, 8)])
    with pytest.raises(ValueError, match="needs `axes`"):
        tt.Ensemble(make)
    with pytest.raises(ValueError, match=r"3 networks.*2 of a = 2 points"):
        tt.Ensemble(numbered(3), {"a": [1, 2]})
    with pytest.raises(ValueError, match="at least one network"):
        tt.Ensemble([])
    with pytest.raises(ValueError, match="give the network a seed"):
        tt.Ensemble(lambda gain: tt.Network("tanh", 1, 4), {"gain": [1.0]})
    with pytest.raises(TypeError, match=r"expected a throughtime\.Network"):
        tt.Ensemble(lambda gain: gain, {"gain": [1.0]})
    with pytest.raises(ValueError, match="no backend"):
        family(backend="mpi")


def test_an_error_says_in_which_network():
    with pytest.raises(ValueError, match="k=99") as caught:
        tt.analysis.lyapunov_spectrum(family(), X, k=99)
    assert "gain=" in caught.value.__notes__[0]


def test_results_of_different_shapes_are_said_so():
    found = family().map(lambda net: np.zeros(int(10 * abs(net.parameters["weight_hh_l0"]).max())))
    with pytest.raises(ValueError, match="different shapes"):
        found[()]
    assert len(found.results) == 6
