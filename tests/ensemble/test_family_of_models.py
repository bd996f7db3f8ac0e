"""Ensembles of models: unrolled and sent back as one after another, their pieces analysed; what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

import throughtime as tt

GAINS, SEEDS = [0.5, 1.5], [0, 1, 2]
RNG = np.random.default_rng(0)
X, G = RNG.normal(size=(7, 3, 2)), RNG.normal(size=(3, 1))


def network(gain, seed):
    return tt.Network("lstm", 2, 4, init=tt.init.gaussian(gain), seed=seed)


def model(gain, seed):
    return tt.models.Chain([network(gain, seed), tt.models.last, tt.models.Readout(4, 1, seed=seed)])


def family(make=model, **options):
    return tt.Ensemble(make, {"gain": GAINS, "seed": SEEDS}, **options)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("make", [model, network])
def test_gradients_are_those_of_one_after_another(make, count, threads):
    threads(count)
    run = family(make).unroll(X)
    g = G if make is model else RNG.normal(size=(7, 3, 4))
    found = run.backprop(g)
    assert found.axes == {"gain": GAINS, "seed": SEEDS}
    for i, gain in enumerate(GAINS):
        for j, seed in enumerate(SEEDS):
            alone = make(gain, seed).unroll(X).backprop(g)
            for name, value in alone.parameters.items():
                np.testing.assert_array_equal(found[name][i, j], value)
            np.testing.assert_array_equal(found["input"][i, j], alone.input)
            if make is network:
                np.testing.assert_array_equal(found["states"][i, j], alone.states)
            np.testing.assert_array_equal(found["initial_state"][i, j], np.asarray(alone.initial_state))
    assert {"input", *alone.parameters} <= set(found.fields)
    assert found.to_xarray()["input"].dims[:2] == ("gain", "seed")
    assert "bias_hh_l0" in repr(found)


def test_gradients_of_their_own():
    """With the ensemble's axes in front, or from a function of the run, each network gets its own."""
    run = family().unroll(X)
    each = RNG.normal(size=(2, 3, 3, 1))
    found = run.backprop(each)
    np.testing.assert_array_equal(found["1.bias"][..., 0], each.sum((2, 3)))
    by_function = run.backprop(lambda own: own.output - 1.0)
    np.testing.assert_array_equal(by_function["0.weight_hh_l0"], run.backprop(run.output - 1.0)["0.weight_hh_l0"])
    nets = family(network).unroll(X)
    h, c = RNG.normal(size=(2, 2, 3, 1, 3, 4))
    own = nets.backprop(grad_final_state=(h, c))
    alone = network(1.5, 2).unroll(X).backprop(grad_final_state=(h[1, 2], c[1, 2]))
    np.testing.assert_array_equal(own["weight_ih_l0"][1, 2], alone.parameters["weight_ih_l0"])
    shared = nets.backprop(grad_final_state=(h[0, 0], c[0, 0]), window=2)
    alone = network(1.5, 2).unroll(X).backprop(grad_final_state=(h[0, 0], c[0, 0]), window=2)
    np.testing.assert_array_equal(shared["weight_ih_l0"][1, 2], alone.parameters["weight_ih_l0"])


def test_other_processes_give_the_same_bits(tmp_path):
    pytest.importorskip("joblib")
    here = family().unroll(X)
    there = family(backend="joblib").unroll(X)
    for name in ("0.weight_hh_l0", "input"):
        np.testing.assert_array_equal(here.backprop(G)[name], there.backprop(G)[name])
    norms = [tt.analysis.gradient_norms(run.networks["0"], np.ones((7, 3, 4)))["log_norm"] for run in (here, there)]
    np.testing.assert_array_equal(*norms)


def test_every_analysis_takes_the_runs_of_a_piece():
    runs = family().unroll(X).networks
    assert list(runs) == ["0"]
    found = tt.analysis.gradient_norms(runs["0"], np.ones((7, 3, 4)))
    alone = tt.analysis.gradient_norms(network(1.5, 1).unroll(X), np.ones((7, 3, 4)))
    np.testing.assert_array_equal(found["log_norm"][1, 1], alone.log_norm)
    assert runs["0"].states.shape == (2, 3, 8, 3, 8)


def test_what_is_kept_is_that_of_these_models_and_this_piece(tmp_path):
    """Two pieces of one model, and the same piece behind another embedding, are not taken for one another."""

    def deep(seed, scale):
        embedding = tt.models.Embedding(5, 2, seed=0)
        embedding.flat *= scale
        same = tt.Network("tanh", 2, 2, seed=seed)
        return tt.models.Chain([embedding, same, tt.Network("tanh", 2, 2, seed=seed)])

    tokens = np.array([[0, 1], [2, 3], [4, 0]])
    for scale in (1.0, 2.0):
        kept, fresh = (
            tt.Ensemble(lambda seed, scale=scale: deep(seed, scale), {"seed": SEEDS}, save=save).unroll(tokens)
            for save in (tmp_path, None)
        )
        for name in ("1", "2"):
            found = [tt.analysis.gradient_norms(run.networks[name], np.ones((3, 2, 2))) for run in (kept, fresh)]
            np.testing.assert_array_equal(found[0]["log_norm"], found[1]["log_norm"])
        np.testing.assert_array_equal(*(run.backprop(np.ones((3, 2, 2)))["2.bias_hh_l0"] for run in (kept, fresh)))


def test_models_need_not_be_of_one_shape():
    def cell(cell):
        return tt.models.Chain([tt.Network(cell, 2, 4, seed=0), tt.models.last, tt.models.Readout(4, 1, seed=0)])

    several = tt.Ensemble(cell, {"cell": ["tanh", "lstm"]})
    assert several.of_models
    assert several.unroll(X).output.shape == (2, 3, 1)
    counts = several.map(lambda model: model.flat.size)[()]
    assert counts[0] < counts[1]
    with pytest.raises(ValueError, match="different shapes"):
        several.unroll(X).backprop(G)["0.weight_hh_l0"]


WRONG = {
    "a network among models": (lambda: tt.Ensemble([model(1, 0), network(1, 0)]), "is a network; expected a model"),
    "a model among networks": (lambda: tt.Ensemble([network(1, 0), model(1, 0)]), "is a model; expected a network"),
    "neither": (lambda: tt.Ensemble([1.0]), "expected a throughtime.Network, or a model"),
    "models of no seed": (
        lambda: tt.Ensemble(lambda a: tt.models.Readout(2, 2), {"a": [1]}), "two different networks from the same"
    ),
    "on a GPU": (lambda: family().to("cuda"), "Models work on the CPU"),
    "an analysis of models": (lambda: tt.analysis.lyapunov_spectrum(family(), X), r"family\.map\(lambda model"),
    "an analysis of their runs": (
        lambda: tt.analysis.gradient_norms(family().unroll(X), G), r'run\.networks\["0"\]'
    ),
    "axes that do not fit": (lambda: family().unroll(X).backprop(np.ones((3, 2, 3, 1))), r"expected \(3, 1\), the"),
    "a loss": (lambda: family().unroll(X).backprop(lambda run: (1.0, run.output)), "expected the gradient alone"),
    "no gradient": (lambda: family().unroll(X).backprop(), "There is no gradient"),
    "no such gradient": (lambda: family().unroll(X).backprop(G)["weight"], "the results have no 'weight'"),
    "states of models": (lambda: family().unroll(X).states, r"run\.networks\[name\]\.states"),
    "the last of several runs": (lambda: tt.models.last(family(network).unroll(X)), "is the run of an Ensemble"),
    "directions of several runs": (
        lambda: tt.models.sum_directions(family(network).unroll(X)), "is the run of an Ensemble"
    ),
    "pieces of networks": (lambda: family(network).unroll(X).networks, "pass it to an analysis itself"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_told(case):
    call, words = WRONG[case]
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError), match=words):
        call()
