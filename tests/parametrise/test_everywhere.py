"""Analyses, models, training, files, ensembles and kernels of networks whose weights follow from free parameters."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from analyses import OF_NETWORK, OF_RUN, I, N, X, total
from ways import NAMES, P, every_way, network, plain_twin

import throughtime as tt

BY_PARAMETERS = {"loss_surface", "clip_per_step", "lyapunov_gradient", "pascanu_omega", "clipping_effect"}
OF_WEIGHTS = {"gradient_by_lag", "truncation_bias"}  # norms of gradients by parameters


def ours(name="exp", cell="tanh", **options):
    return network(every_way(N)[name], cell, inputs=I, units=N, **options)


def same(one, other):
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            same(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, (tuple, list)):
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, dict):
        same(list(one.values()), list(other.values()))
    elif isinstance(one, np.ndarray) or np.isscalar(one):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", sorted(set(OF_NETWORK) - BY_PARAMETERS))
def test_analyses_of_a_network_see_its_weights(name):
    net = ours()
    same(OF_NETWORK[name](net, X), OF_NETWORK[name](plain_twin(net), X))


@pytest.mark.parametrize("name", sorted(set(OF_RUN) - BY_PARAMETERS - OF_WEIGHTS))
def test_analyses_of_a_run_see_its_weights(name):
    net = ours()
    same(OF_RUN[name](net.unroll(X)), OF_RUN[name](plain_twin(net).unroll(X)))


def test_every_analysis_is_in_one_of_the_lists():
    assert set(OF_NETWORK) | set(OF_RUN) >= BY_PARAMETERS | OF_WEIGHTS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_lags_add_up_to_the_gradient_of_the_free_parameters(cell, name):
    net = network(every_way(4, 4 if cell == "lstm" else 1)[name], cell, inputs=I, units=4, num_layers=2)
    run = net.unroll(X[:12])
    g = np.random.default_rng(1).normal(size=run.output.shape)
    found = tt.analysis.gradient_by_lag(run, g)
    assert found.parameters == tuple(key for key in net.parameters if key.startswith("weight_hh"))
    assert found.remainder < 1e-12
    one = tt.analysis.truncation_bias(run, g, [3], parameters=list(net.parameters))
    cut, full = run.backprop(g, window=3).parameters, run.backprop(g).parameters
    difference = np.sqrt(sum(((cut[key] - full[key]) ** 2).sum() for key in full))
    norm = np.sqrt(sum((value**2).sum() for value in full.values()))
    assert np.isclose(one.relative_error[0], difference / norm, rtol=1e-9)


def finite_difference(net, value, gradient, seed=2):
    """The slope of value(net) along a random direction; h as of test_gradients, the value of order 1."""
    rng = np.random.default_rng(seed)
    direction = {key: rng.normal(size=part.shape) for key, part in net.parameters.items()}
    before, h = net.state_dict(), 1e-4

    def moved(step):
        for key, d in direction.items():
            net.parameters[key][...] = before[key] + step * d
        return value(net)

    slope = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    net.load_state_dict(before)
    assert list(gradient) == list(net.parameters)
    return slope, sum(float((gradient[key] * d).sum()) for key, d in direction.items())


@pytest.mark.parametrize("name", ["antisymmetric", "exp", "cayley_negative", "low_rank_fixed", "sparse"])
@pytest.mark.parametrize("cell", ["tanh", "gru"])
def test_penalties_on_gradients(cell, name):
    """∂Ω/∂θ and ∂λ/∂θ are those by the free parameters."""
    net = network(every_way(4, 3 if cell == "gru" else 1)[name], cell, inputs=I, units=4)
    x, g = X[:10], np.zeros((10, 3, 4))
    g[-1] = 1.0
    found = tt.analysis.pascanu_omega(net.unroll(x), g, full=True)
    slope, ours = finite_difference(net, lambda n: tt.analysis.pascanu_omega(n.unroll(x), g).value, found.parameters)
    assert np.isclose(ours, slope, rtol=1e-6, atol=1e-8)
    found = tt.analysis.lyapunov_gradient(net.unroll(x), k=2)
    by = lambda n: tt.analysis.lyapunov_gradient(n.unroll(x), k=2).exponents.sum()  # noqa: E731
    slope, ours = finite_difference(net, by, found.parameters)
    assert np.isclose(ours, slope, rtol=1e-6, atol=1e-8)


def test_loss_surface_moves_the_free_parameters():
    net = ours("exp")
    one, two = ("weight_hh_l0.skew", 0), ("weight_hh_l0.skew", 3)
    found = tt.analysis.loss_surface(net, X, total, one, two, [0.0, 1e-3], [0.0])
    slope = (found.loss[1, 0] - found.loss[0, 0]) / 1e-3
    middle = found.gradient[:, 0, 0].mean()  # of a trapezium: h² times a third derivative, 1e-6 of some hundred
    assert abs(slope - middle) < 1e-3 * max(1.0, abs(middle))


def test_clipping_is_of_the_free_parameters():
    net = ours("exp")
    run = net.unroll(X)
    gradient, _ = tt.analysis.clip_per_step(run, np.ones(run.output.shape), 0.1)
    assert list(gradient) == list(net.parameters)
    expected = run.backprop(np.ones(run.output.shape), clip_state=0.1).parameters
    # the two differ by PyTorch's 1e-6 in the denominator, once for each of the steps
    assert all(np.allclose(gradient[key], value, rtol=1e-3, atol=1e-5) for key, value in expected.items())
    assert tt.analysis.clipping_effect(run, np.ones(run.output.shape), [0.1]).parameters == tuple(net.parameters)


def test_kernels_have_the_weights():
    net = ours("cayley", "gru")
    mine, theirs = tt.kernels.of(net), tt.kernels.of(plain_twin(net))
    x, state = np.ones((2, I)), np.zeros((2, N))
    assert np.array_equal(mine.step(mine.weights, x, state), theirs.step(theirs.weights, x, state))


def test_an_antisymmetric_network_of_the_paper():
    """AntisymmetricRNN, h' = h + ε tanh((V − Vᵀ − γ·1) h + U x + b): where tanh is nearly linear, no gradient vanishes
    or explodes by more than ε²σ² and εγ in a step; without the parametrisation it does."""
    from typing import NamedTuple

    from throughtime.scalar import tanh, tanh_slope

    @tt.cell(gates=1, states=1)
    class Stable(NamedTuple):
        """h' = h + step·tanh(x + r)."""

        step: float = 0.01

        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (s[0] + cell.step * tanh(u),), (u,)

        def backward(cell, ds, s, s_next, saved):
            d = (cell.step * tanh_slope(saved[0]) * ds[0],)
            return d, d, ds

    steps, step, gamma = 400, 0.05, 0.01
    quiet = tt.init.gaussian(1.5, input_gain=1e-3)
    x = np.random.default_rng(0).normal(size=(steps, 3))
    last = np.zeros((steps, 32))
    last[-1] = 1.0

    def growth(parametrise):
        net = tt.Network(Stable(step=step), 3, 32, init=quiet, parametrise=parametrise, seed=0)
        log_norm = tt.analysis.gradient_norms(net.unroll(x), last).log_norm
        return net, float(log_norm[0, 0] - log_norm[-1, 0])

    net, antisymmetric = growth({"weight_hh": P.antisymmetric(gamma)})
    w = net.weights()["weight_hh_l0"]
    largest = np.linalg.norm(w, 2)
    assert np.allclose(np.linalg.eigvals(w).real, -gamma, rtol=0, atol=1e-13)
    # |1 + εμ|² of an eigenvalue μ = −γ + iω is between 1 − 2εγ and 1 + ε²σ²
    assert -steps * step * gamma * 1.1 <= antisymmetric <= 0.5 * steps * step**2 * largest**2
    assert growth(None)[1] > 10.0


def chain(way, dtype="float64", seed=0, cell="tanh", units=8):
    net = tt.Network(cell, 2, units, parametrise={"weight_hh": way}, seed=seed, dtype=dtype)
    return tt.models.Chain([net, tt.models.last, tt.models.Readout(units, 1, seed=seed, dtype=dtype)])


@pytest.mark.parametrize("name", NAMES)
def test_models_hold_the_free_parameters_in_their_vector(name):
    way = every_way(8)[name]
    model = chain(way)
    net = model.pieces[0]
    names = [f"0.{key}" for key in net.parameters] + ["1.weight", "1.bias"]
    assert list(model.parameters) == names
    assert model.flat.size == sum(value.size for value in model.parameters.values())
    task = tt.tasks.Adding(length=6)
    batch = task.batch(5, seed=0)
    value, gradient = model.value_and_gradient(batch.x, batch.targets, task.loss)
    direction = np.random.default_rng(0).normal(size=gradient.size)
    before, h = model.flat.copy(), 1e-6
    values = []
    for step in (h, -h):
        model.flat[...] = before + step * direction
        values.append(model.value_and_gradient(batch.x, batch.targets, task.loss)[0])
    # of central differences: h² and 1e-16/h, both far below
    assert np.isclose((values[0] - values[1]) / (2 * h), gradient @ direction, rtol=1e-6, atol=1e-7)
    model.flat[...] = before
    assert np.isclose(model.value_and_gradient(batch.x, batch.targets, task.loss)[0], value, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_training_keeps_what_the_parametrisation_promises(dtype):
    """Adam and weight decay move what is free; W stays orthogonal to rounding after 30 updates, and the loss falls."""
    task = tt.tasks.Adding(length=8)
    model = chain(P.orthogonal(), dtype, units=16)
    optimiser = tt.training.Adam(0.01, transforms=(tt.training.WeightDecay(1e-3),))
    found = tt.training.fit(model, task.batches(16, seed=0), task.loss, optimiser, steps=30)
    w = model.pieces[0].weights()["weight_hh_l0"].astype(float)
    assert np.linalg.norm(w.T @ w - np.eye(16)) <= 20 * 16 * np.finfo(dtype).eps
    assert not np.allclose(w, chain(P.orthogonal(), dtype, units=16).pieces[0].weights()["weight_hh_l0"], atol=1e-3)
    loss = found.history["loss"]
    assert np.mean(loss[-5:]) < np.mean(loss[:5])


def test_training_keeps_a_pattern():
    task, pattern = tt.tasks.Adding(length=8), np.random.default_rng(0).random((16, 16)) < 0.2
    for way in (P.masked(pattern), P.sparse(pattern)):
        model = chain(way, units=16)
        tt.training.fit(model, task.batches(16, seed=0), task.loss, tt.training.Adam(0.01), steps=5)
        assert not model.pieces[0].weights()["weight_hh_l0"][~pattern].any()


def test_penalties_of_training():
    task = tt.tasks.Adding(length=8)
    model = chain(P.orthogonal(), units=8)
    found = tt.training.fit(
        model, task.batches(8, seed=0), task.loss, tt.training.Adam(0.01), steps=2, clip_state=1.0,
        penalties=[tt.training.Omega(1.0), tt.training.Flossing(k=2)],
    )  # fmt: skip
    assert np.isfinite(found.history["loss"]).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_networks_and_models_on_disk(tmp_path, name, dtype):
    net = network(every_way(5, 3)[name], "gru", inputs=I, num_layers=2, dtype=dtype)
    net.save(tmp_path / "net")
    found = tt.load(tmp_path / "net")
    assert found.parametrise == net.parametrise
    assert list(found.parameters) == list(net.parameters)
    assert all(np.array_equal(found.parameters[key], value) for key, value in net.parameters.items())
    assert np.array_equal(found.unroll(X).output, net.unroll(X).output)
    other = tt.Network("rate", 5, 4, parametrise={"weight_ih": P.dale([1, -1, 1, 1, -1])}, dtype=dtype, seed=1)
    model = tt.models.Chain([net, other, tt.models.Dropout(0.1, seed=3), tt.models.Readout(4, 2, seed=0, dtype=dtype)])
    model.save(tmp_path / "model")
    again = tt.load(tmp_path / "model")
    assert np.array_equal(again.flat, model.flat)
    assert [piece.parametrise for piece in again.pieces[:2]] == [net.parametrise, other.parametrise]
    assert np.array_equal(again.predict(X), model.predict(X))


def test_files_that_do_not_fit(tmp_path):
    from archives import rewritten

    net = network(P.sparse(np.eye(5)))
    for header, words in (
        (lambda h: h | {"parametrise": {"weight_hh_l0": {"name": "hopeful", "fields": {}}}}, '"hopeful", which is not'),
        (lambda h: h | {"parametrise": {"weight_hh_l0": {"name": "sparse", "fields": {"a": 1}}}}, "does not describe"),
        (lambda h: h | {"parametrise": 3}, "does not describe a network"),
        (lambda h: h | {"parametrise": {}}, "lacks the parameter weight_hh_l0"),
        (lambda h: h | {"fixed": [{"shape": [5, 5]}]}, "does not describe its patterns"),
        (lambda h: h | {"fixed": []}, "does not describe a network"),
        (lambda h: h | {"fixed": [{"shape": [5, 5], "dtype": "bool", "ones": 4}]}, r"weight_hh_l0.values .*\(4,\)"),
    ):
        net.save(tmp_path / "net")
        rewritten(tmp_path / "net", header)
        with pytest.raises(ValueError, match=f'net" .*{words}'):
            tt.load(tmp_path / "net")


def test_plain_networks_are_written_as_before(tmp_path):
    """Version 1, which says nothing of parametrisations."""
    import json
    import zipfile

    for made, path in ((tt.Network("tanh", 2, 3), "net"), (tt.models.Readout(2, 3), "model")):
        made.save(tmp_path / path)
        header = json.loads(zipfile.ZipFile(tmp_path / path).read("header.json"))
        assert header["version"] == 1
        assert not {"parametrise", "fixed"} & set(header)
    network(P.diagonal()).save(tmp_path / "net")
    assert json.loads(zipfile.ZipFile(tmp_path / "net").read("header.json"))["version"] == 2


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles(name):
    net = network(every_way(5)[name], inputs=I)
    net.unroll(X)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.copy(net)):
        assert other.parametrise == net.parametrise
        assert np.array_equal(other.unroll(X).output, net.unroll(X).output)
    other = copy.deepcopy(net)
    for value in other.parameters.values():
        value *= 0.5
    assert not np.array_equal(other.unroll(X).output, net.unroll(X).output)
    run = pickle.loads(pickle.dumps(net.unroll(X)))
    g = np.ones(run.output.shape)
    expected = net.unroll(X).backprop(g).parameters
    assert all(np.array_equal(value, expected[key]) for key, value in run.backprop(g).parameters.items())


def test_state_dicts():
    net = network(P.low_rank(2), "gru")
    other = network(P.low_rank(2), "gru", seed=9)
    other.load_state_dict(net.state_dict())
    assert np.array_equal(other.weights()["weight_hh_l0"], net.weights()["weight_hh_l0"])
    with pytest.raises(ValueError, match=r"missing: weight_hh_l0\.u, weight_hh_l0\.v; unexpected: weight_hh_l0\."):
        other.load_state_dict(tt.Network("gru", 3, 5).state_dict())


def test_ensembles():
    """Each network has its own fixed part; runs, gradients and analyses as one after another."""

    def make(seed):
        chi = np.random.default_rng(seed).normal(size=(8, 8)) / 8**0.5
        return tt.Network("tanh", I, 8, parametrise={"weight_hh": P.low_rank(1, fixed=chi)}, seed=seed)

    family = tt.Ensemble(make, {"seed": [0, 1, 2]})
    runs = family.unroll(X)
    for seed in range(3):
        assert np.array_equal(runs.output[seed], make(seed).unroll(X).output)
    found = runs.backprop(np.ones((30, 3, 8)))
    assert found["weight_hh_l0.u"].shape == (3, 8, 1)
    expected = make(1).unroll(X).backprop(np.ones((30, 3, 8))).parameters["weight_hh_l0.v"]
    assert np.array_equal(found["weight_hh_l0.v"][1], expected)
    spectra = tt.analysis.lyapunov_spectrum(family, X[:, 0], k=2, seed=0)
    alone = tt.analysis.lyapunov_spectrum(make(2), X[:, 0], k=2, seed=0)
    assert np.array_equal(spectra["exponents"][2], alone.exponents)
    with pytest.raises(ValueError, match="networks of one shape"):
        tt.Ensemble([make(0), tt.Network("tanh", I, 8)]).unroll(X)


def test_results_of_ensembles_are_kept_by_the_parametrisation_too(tmp_path):
    """Two families that differ by their fixed parts alone do not share results, and one finds its own again."""

    def family(scale):
        chi = scale * np.eye(4)
        way = {"weight_hh": P.low_rank(1, fixed=chi)}
        values = {"weight_hh_l0.u": np.ones((4, 1)), "weight_hh_l0.v": np.ones((4, 1))}

        def begin(net, rng):
            drawn = tt.init.uniform()(net, rng)
            del drawn["weight_hh_l0"]
            return drawn | values

        return tt.Ensemble([tt.Network("tanh", I, 4, parametrise=way, init=begin, seed=0)], save=tmp_path)

    one, other = (tt.analysis.lyapunov_spectrum(family(s), X[:, 0], k=2, seed=0)["exponents"] for s in (0.1, 0.2))
    assert not np.array_equal(one, other)
    count = len(list(tmp_path.iterdir()))
    again = tt.analysis.lyapunov_spectrum(family(0.1), X[:, 0], k=2, seed=0)["exponents"]
    assert np.array_equal(again, one)
    assert len(list(tmp_path.iterdir())) == count


def test_closed_loops_and_reservoirs_have_the_weights():
    net = tt.Network("tanh", 2, 6, parametrise={"weight_hh": P.orthogonal()}, seed=0)
    readout = tt.models.Readout(6, 2, seed=1)
    loop = tt.models.Chain([net, readout]).closed_loop()
    plain = tt.models.Chain([plain_twin(net), tt.models.Readout(6, 2, seed=1)]).closed_loop()
    assert np.array_equal(loop.unroll(20).states, plain.unroll(20).states)
    assert np.array_equal(loop.unroll(5).jacobian(2), plain.unroll(5).jacobian(2))
    assert np.array_equal(loop.network.parameters["weight_hh_l0"], plain.network.parameters["weight_hh_l0"])


def test_shown():
    net = network(P.antisymmetric(gamma=0.1))
    assert repr(net) == (
        "Network(Tanh(), input_size=3, hidden_size=5, parametrise={'weight_hh_l0': antisymmetric(gamma=0.1)}, "
        'dtype="float64", 35 parameters)'
    )
