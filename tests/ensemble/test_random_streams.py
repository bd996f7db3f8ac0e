"""Random generators handed to an ensemble: the same results for every number of threads, backend and order."""

import copy
import functools
import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import throughtime as tt
from throughtime.ensemble import random_streams

NETS = [tt.Network("tanh", 1, 4, init=tt.init.gaussian(1.5), seed=seed) for seed in range(4)]
X = np.random.default_rng(0).standard_normal((40, 1))


@dataclass
class Sampler:
    rng: Any
    scale: float = 2.0

    def __call__(self, net):
        return self.draw(net)

    def draw(self, net):
        return self.scale * self.rng.standard_normal(2)


class Pair(NamedTuple):
    rng: Any
    label: str = "a"


def draw(net, rng):
    """Two numbers from a generator, or from whatever holds one."""
    if isinstance(rng, (Sampler, Pair)):
        rng = rng.rng
    elif isinstance(rng, (list, tuple)):
        rng = rng[0]
    elif isinstance(rng, dict):
        rng = rng["rng"]
    if isinstance(rng, random.Random):
        return np.array([rng.random(), rng.random()])
    if isinstance(rng, np.random.RandomState):
        return rng.standard_normal(2)
    return np.random.default_rng(rng).standard_normal(2)


SOURCES = {
    "Generator": np.random.default_rng,
    "Generator of MT19937": lambda seed: np.random.Generator(np.random.MT19937(seed)),
    "Generator of Philox": lambda seed: np.random.Generator(np.random.Philox(seed)),
    "RandomState": np.random.RandomState,
    "BitGenerator": np.random.PCG64,
    "SeedSequence": np.random.SeedSequence,
    "random.Random": random.Random,
}
CALLS = {
    "an analysis, by name": lambda nets, rng: tt.analysis.lyapunov_spectrum(nets, X, k=2, seed=rng)["exponents"],
    "without an input": lambda nets, rng: tt.analysis.lyapunov_spectrum(nets, steps=40, k=1, seed=rng)["exponents"],
    "a twin": lambda nets, rng: tt.analysis.perturbed_twin(nets, X, seed=rng)["exponent"],
    "fixed points": lambda nets, rng: np.concatenate(
        [one.points for one in tt.analysis.fixed_points(nets, starts=8, seed=rng).results]
    ),
    "covariant vectors": lambda nets, rng: tt.analysis.covariant_vectors(nets, X, k=2, seed=rng)["exponents"],
    "map": lambda nets, rng: nets.map(draw, rng)[()],
    "in a list": lambda nets, rng: nets.map(draw, [rng])[()],
    "in a tuple by name": lambda nets, rng: nets.map(draw, rng=(rng, 1))[()],
    "in a dict": lambda nets, rng: nets.map(draw, {"rng": rng})[()],
    "in a named tuple": lambda nets, rng: nets.map(draw, Pair(rng))[()],
    "in a record": lambda nets, rng: nets.map(draw, Sampler(rng))[()],
    "in a partial": lambda nets, rng: nets.map(functools.partial(draw, rng=rng))[()],
    "in a bound method": lambda nets, rng: nets.map(Sampler(rng).draw)[()],
    "in a callable object": lambda nets, rng: nets.map(Sampler(rng))[()],
    "of a run": lambda nets, rng: nets.unroll(X).map(draw, rng)[()],
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_the_same_for_every_number_of_threads_and_backend(call, threads):
    found = []
    for count in (1, 2, 4, 2, 2):
        threads(count)
        found.append(CALLS[call](tt.Ensemble(NETS), np.random.default_rng(7)))
    joblib = pytest.importorskip("joblib", reason="joblib is not installed: its backend was not tested")
    with joblib.parallel_config(backend="threading", n_jobs=3):
        found.append(CALLS[call](tt.Ensemble(NETS, backend="joblib"), np.random.default_rng(7)))
    for again in found[1:]:
        np.testing.assert_array_equal(again, found[0])


@pytest.mark.parametrize("source", SOURCES)
def test_a_stream_for_each_network_and_a_new_draw_for_each_call(source, threads):
    threads(2)
    rng = SOURCES[source](7)
    first, second = (tt.Ensemble(NETS).map(draw, rng)[()] for _ in range(2))
    np.testing.assert_array_equal(tt.Ensemble(NETS).map(draw, SOURCES[source](7))[()], first)
    assert len(np.unique(np.concatenate([first, second]))) == 16  # no number twice
    np.testing.assert_array_equal(tt.Ensemble(NETS[:2]).map(draw, SOURCES[source](7))[()], first[:2])


def test_the_callers_generator_is_advanced_once_whatever_the_number_of_networks():
    states = []
    for count in (1, 4):
        rng = np.random.default_rng(7)
        tt.Ensemble(NETS[:count]).map(draw, rng)
        states.append(rng.standard_normal())
    assert states[0] == states[1] != np.random.default_rng(7).standard_normal()


def test_a_whole_number_is_the_same_seed_for_every_network(threads):
    threads(2)
    found = tt.Ensemble(NETS).map(draw, 7)[()]
    np.testing.assert_array_equal(found, [np.random.default_rng(7).standard_normal(2)] * 4)


def test_one_generator_in_two_places_is_one_stream():
    def both(net, one, other):
        assert one is other["again"][0]
        return one.standard_normal()

    rng = np.random.default_rng(7)
    tt.Ensemble(NETS).map(both, rng, other={"again": [rng]})


def test_what_holds_none_is_not_copied():
    held, table = [1, {"a": 2}], np.zeros(3)

    def same(net, one, two, rng):
        assert one is held
        assert two["table"] is table
        return 0.0

    tt.Ensemble(NETS).map(same, held, {"table": table, "rng": np.random.default_rng(7)}, rng=np.random.default_rng(8))


def test_what_holds_itself():
    held: list = [np.random.default_rng(7)]
    held.append(held)
    one, two = random_streams.spawned(held, 2)
    assert one[1] is one
    assert one[0] is not two[0]


OUTSIDE = np.random.default_rng(3)
SAMPLER = Sampler(OUTSIDE)


def from_global(net):
    return OUTSIDE.standard_normal()


def from_helper(net):
    return from_global(net)


def from_default(net, rng=OUTSIDE):
    return rng.standard_normal()


def from_keyword_default(net, *, rng=OUTSIDE):
    return rng.standard_normal()


def from_record(net):
    return SAMPLER.draw(net)


def test_a_generator_from_outside_the_arguments_is_refused():
    rng = np.random.default_rng(3)
    closed = [from_global, from_helper, from_default, from_keyword_default, from_record, lambda net: rng.random()]
    for function in (*closed, functools.partial(from_helper)):
        with pytest.raises(ValueError, match="Pass it as an argument"):
            tt.Ensemble(NETS).map(function)
    given = [tt.Ensemble(NETS).map(f, rng=np.random.default_rng(7))[()] for f in closed[2:4]]
    np.testing.assert_array_equal(*given)
    assert tt.Ensemble(NETS[:1]).map(from_global)[()].shape == (1,)  # nobody to share it with


COUNT: list = []


def counted(net, rng):
    COUNT.append(1)
    return rng.standard_normal(2)


def test_saved_results_know_the_state_of_the_generator(tmp_path):
    rng = np.random.default_rng(7)
    family = tt.Ensemble(NETS, save=tmp_path)
    first, second = family.map(counted, rng)[()], family.map(counted, rng)[()]
    assert not np.array_equal(first, second)
    COUNT.clear()
    rng = np.random.default_rng(7)
    np.testing.assert_array_equal(family.map(counted, rng)[()], first)
    np.testing.assert_array_equal(family.map(counted, copy.deepcopy(rng))[()], second)
    assert not COUNT
    family.map(counted, np.random.default_rng(8))
    assert len(COUNT) == 4


@pytest.mark.parametrize("name", ["lyapunov_spectrum", "perturbed_twin", "covariant_vectors"])
def test_one_network_draws_from_its_generator_alike_for_every_number_of_threads(name, threads):
    found = []
    x = np.random.default_rng(1).standard_normal((40, 3, 1))
    for count in (1, 2, 4):
        threads(count)
        result = getattr(tt.analysis, name)(NETS[0], x, seed=np.random.default_rng(7))
        found.append(result.arrays())
    np.testing.assert_equal(found[1:], found[:1] * 2)


def test_joblib_takes_all_cores_where_nobody_says_how_many(monkeypatch):
    joblib = pytest.importorskip("joblib", reason="joblib is not installed: its backend was not tested")
    asked, parallel = [], joblib.Parallel

    def watched(n_jobs=None, **options):
        asked.append(n_jobs)
        return parallel(1, **options)

    monkeypatch.setattr(joblib, "Parallel", watched)
    family = tt.Ensemble(NETS, backend="joblib")
    expected = tt.Ensemble(NETS).map(draw, 7)[()]
    np.testing.assert_array_equal(family.map(draw, 7)[()], expected)
    with joblib.parallel_config(n_jobs=1):
        np.testing.assert_array_equal(family.map(draw, 7)[()], expected)
    assert asked == [-1, None]
