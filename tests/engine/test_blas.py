"""BLAS on one thread inside every call of ours, and as it was after it; nobody left running; the word of advice.

What pools do to each other's limits is tried on pools that only remember their number; which threads run, in a process
of its own whose BLAS has several.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt
from throughtime.engine import blas
from throughtime.engine import other_threads as foreign
from throughtime.results import Result


class Remembers(blas.Pool):
    """A pool that does nothing; one limit for all threads, or one for each."""

    def __init__(self, count, per_thread=False):
        self.per_thread, self.says_before = per_thread, False
        self.all, self.own, self.sets = count, {}, 0

    def get(self):
        return self.own.get(threading.get_ident(), self.all) if self.per_thread else self.all

    def set(self, count):
        self.sets += 1
        if self.per_thread:
            self.own[threading.get_ident()] = count
        else:
            self.all = count


@pytest.fixture
def pool(monkeypatch):
    """One pool of four threads in place of the process's own."""
    found = Remembers(4)
    monkeypatch.setattr(blas, "pools", lambda: [found])
    monkeypatch.setattr(blas, "_visits", [])
    return found


# ---------------------------------------------------------------- one after another, one in another


def test_a_block_and_blocks_in_it(pool):
    with tt.single_blas():
        assert pool.get() == 1
        with tt.single_blas():
            assert pool.get() == 1
        assert pool.get() == 1
    assert pool.get() == 4
    assert pool.sets == 2  # the inner block had nothing to do


def test_nothing_is_set_where_there_is_one_thread_already(pool):
    pool.all = 1
    with tt.single_blas():
        pass
    assert (pool.get(), pool.sets) == (1, 0)


def test_an_error_leaves_it_as_it_was(pool):
    with pytest.raises(KeyboardInterrupt), tt.single_blas():
        raise KeyboardInterrupt
    assert pool.get() == 4


def test_an_interrupt_on_the_way_in(pool, monkeypatch):
    """Ctrl-C between the limit and the block: nobody is inside, and the number is back."""

    def interrupted():
        yield pool
        raise KeyboardInterrupt

    monkeypatch.setattr(blas, "pools", interrupted)
    with pytest.raises(KeyboardInterrupt), tt.single_blas():
        pass
    assert (pool.get(), blas._visits) == (4, [])


def test_a_function(pool):
    @tt.single_blas
    def bare(a, b=2):
        """What it says."""
        return a, b, pool.get()

    @tt.single_blas()
    def called(a, b=2):
        return bare(a, b=b)

    assert called(3) == (3, 2, 1)
    assert bare.__doc__ == "What it says."
    assert str(inspect.signature(called)) == "(a, b=2)"
    assert pool.get() == 4


def test_a_generator_that_is_left_open(pool):
    """Blocks of generators end in any order."""

    def numbers():
        with tt.single_blas():
            yield pool.get()
            yield pool.get()

    first, second = numbers(), numbers()
    assert (next(first), next(second)) == (1, 1)
    first.close()
    assert pool.get() == 1
    assert next(second) == 1
    second.close()
    assert pool.get() == 4


def test_what_cannot_be_held():
    def generator():
        yield 1

    async def coroutine():
        pass

    for function in (generator, coroutine):
        with pytest.raises(TypeError, match=rf"{function.__name__}.*write `with tt.single_blas\(\):` inside it"):
            tt.single_blas(function)
    with pytest.raises(TypeError, match=r"given 1 \(int\); it takes a function, or nothing"):
        tt.single_blas(1)


# ---------------------------------------------------------------- others set limits too


def test_a_limit_set_inside_stays(pool):
    with tt.single_blas():
        pool.set(3)
    assert pool.get() == 3


def test_a_limit_set_inside_is_held_and_given_back_by_a_block_in_it(pool):
    with tt.single_blas():
        pool.set(3)
        with tt.single_blas():
            assert pool.get() == 1
        assert pool.get() == 3
        pool.set(1)
    assert pool.get() == 4


def test_threadpoolctl_around_and_inside():
    """The process's own libraries, by another's functions."""
    from threadpoolctl import threadpool_info, threadpool_limits

    def counts():
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    if not blas.pools():
        pytest.skip("threadpoolctl knows no BLAS of this process")
    before = counts()
    with threadpool_limits(2, user_api="blas"):
        assert counts() == {2}
        with tt.single_blas():
            assert counts() == {1}
            with threadpool_limits(2, user_api="blas"):
                assert counts() == {2}
                with tt.single_blas():
                    assert counts() == {1}
                assert counts() == {2}
            assert counts() == {1}
        assert counts() == {2}
    assert counts() == before


# ---------------------------------------------------------------- several threads


class Other(threading.Thread):
    """A thread that does one thing after another, each when asked."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ask, self.answer = threading.Semaphore(0), threading.Semaphore(0)
        self.todo = None
        self.start()

    def run(self):
        while True:
            self.ask.acquire()
            self.result = self.todo()
            self.answer.release()
            if self.todo is int:
                return

    def do(self, todo):
        self.todo = todo
        self.ask.release()
        assert self.answer.acquire(timeout=20)
        return self.result


@pytest.mark.parametrize("per_thread", [False, True])
def test_blocks_of_several_threads_that_overlap(pool, per_thread):
    """Whoever is inside has one thread; when all are out, each number is what it was. Random orders."""
    pool.per_thread = per_thread
    others, rng = [Other() for _ in range(3)], random.Random(0)
    for _ in range(30):
        inside = dict.fromkeys(others, 0)
        for _ in range(12):
            one = rng.choice(others)
            if inside[one] and rng.random() < 0.5:
                one.do(blas._leave)
                inside[one] -= 1
            else:
                one.do(blas._enter)
                inside[one] += 1
            for each in others:
                held = inside[each] if per_thread else sum(inside.values())
                assert each.do(pool.get) == (1 if held else 4)
        for one in others:
            for _ in range(inside[one]):
                one.do(blas._leave)
        assert [each.do(pool.get) for each in others] == [4, 4, 4]
        assert not blas._visits
    for each in others:
        each.do(int)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_while_others_are_inside(pool):
    """In the child the blocks of the other threads will never end, and its own goes on."""
    other = Other()

    def in_child(check):
        child = os.fork()
        if child == 0:
            os._exit(0 if check() else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def child_inside():
        held = pool.get() == 1
        blas._leave()
        return held and pool.get() == 4 and not blas._visits

    other.do(blas._enter)
    assert in_child(lambda: pool.get() == 4 and not blas._visits) == 0
    with tt.single_blas():
        assert in_child(child_inside) == 0
    other.do(blas._leave)
    assert pool.get() == 4
    with tt.single_blas():  # the lock was given back
        assert pool.get() == 1
    other.do(int)


# ---------------------------------------------------------------- libraries that come later, or not at all


class Library:
    """A library as threadpoolctl describes it."""

    user_api = "blas"

    def __init__(self, path, count, internal_api="blis", **more):
        self.filepath, self.count, self.internal_api = path, count, internal_api
        self.__dict__.update(more)

    def get_num_threads(self):
        return self.count

    def set_num_threads(self, count):
        before, self.count = self.count, count
        return before


@pytest.fixture
def libraries(monkeypatch):
    """What threadpoolctl finds, a list to be filled."""
    import threadpoolctl

    found: list = []
    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", lambda: type("Found", (), {"lib_controllers": found}))
    monkeypatch.setattr(blas, "_pools", {})
    monkeypatch.setattr(blas, "_visits", [])
    monkeypatch.setattr(blas, "_modules", 0)
    return found


def test_a_library_that_is_loaded_later_is_noticed(libraries, monkeypatch):
    libraries.append(Library("a", 4))
    with tt.single_blas():
        assert libraries[0].count == 1
        libraries.append(Library("b", 3))
        monkeypatch.setitem(sys.modules, "a_module_that_brings_it", sys)
        with tt.single_blas():
            assert libraries[1].count == 1
        assert [library.count for library in libraries] == [1, 3]
    assert [library.count for library in libraries] == [4, 3]


def test_without_a_library_that_threadpoolctl_knows(libraries):
    with tt.single_blas():
        assert blas.pools() == []


def test_where_threadpoolctl_fails(monkeypatch, libraries):
    import threadpoolctl

    def fails():
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", fails)
    with tt.single_blas():
        assert blas.pools() == []


def test_libraries_of_other_makers(libraries):
    """OpenMP is left alone, MKL says what it replaces: 0, no limit of this thread's own."""
    openmp, mkl = Library("omp", 8), Library("mkl", 8, "mkl")
    openmp.user_api = "openmp"
    limits = [0]

    def limit(count):
        before, limits[0] = limits[0], count
        mkl.count = count or 8
        return before

    mkl.set_num_threads = limit
    libraries += [openmp, mkl, Library("flexiblas", None)]
    with tt.single_blas():
        assert (openmp.count, mkl.count, libraries[2].count) == (8, 1, None)
    assert (openmp.count, mkl.count, limits) == (8, 8, [0])


# ---------------------------------------------------------------- everything public is held

HELD = blas._held(len).__code__  # of every held function


def held(function):
    """Whether one of the wrappers around a function is the one that holds BLAS."""
    while function is not None and getattr(function, "__code__", None) is not HELD:
        function = getattr(function, "__wrapped__", None)
    return function is not None


@pytest.mark.parametrize("module", [tt.analysis, tt.analysis.mean_field, tt.plots], ids=lambda m: m.__name__)
def test_every_function_is_held(module):
    functions = [getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))]
    assert len(functions) > 5
    for function in functions:
        assert held(function), function.__name__
        assert getattr(sys.modules[function.__module__], function.__name__) is function  # so that pickle finds it


def results(cls=Result):
    for each in cls.__subclasses__():
        yield each
        yield from results(each)


@pytest.mark.parametrize(
    "cls", [c for c in results() if c.__module__.startswith("throughtime.")], ids=lambda c: c.__name__
)
def test_every_method_of_a_result_is_held(cls):
    made = {"__init__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__replace__"}  # by dataclass
    for name, value in vars(cls).items():
        if isinstance(value, property):
            assert held(value.fget), name
            assert value.__doc__
        elif isinstance(value, functools.cached_property):
            assert held(value.func), name
        elif inspect.isfunction(value) and name not in made:
            assert held(value), name


def test_an_initialiser_is_held(pool):
    seen = []

    def own(network, rng):
        seen.append(pool.get())
        return {name: np.zeros(shape) for name, shape in network.shapes.items()}

    tt.Network("tanh", 2, 3, init=own)
    assert seen == [1]
    assert held(tt.init.draws._orthogonal)


def test_an_ensemble_is_held(pool):
    seen = []
    tt.Ensemble([tt.Network("tanh", 2, 3, seed=seed) for seed in range(3)]).map(lambda net: seen.append(pool.get()))
    assert seen == [1, 1, 1]
    assert pool.get() == 4


# ---------------------------------------------------------------- nobody is left running


def test_no_thread_runs_on_after_a_call():
    """Of BLAS none at all after any of our calls, and of the team none for long; see blas_left_running.py."""
    if not os.path.isdir(foreign.TASKS):
        pytest.skip("no /proc/self/task on this system")
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": "2",
        "PYTHONPATH": os.pathsep.join([str(Path(tt.__file__).parents[1]), str(Path(__file__).parents[1])]),
    }
    command = [sys.executable, str(Path(__file__).parents[1] / "blas_left_running.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    if not found["control"]:
        pytest.skip("no thread of BLAS runs on after a product of NumPy here")
    assert len(found["calls"]) > 30
    assert found["running"] == {}
    assert found["team"] == []
    assert found["unheld"]  # the test of the test: of five calls that nobody holds, some leave threads running


# ---------------------------------------------------------------- the word of advice


@pytest.fixture
def advice(monkeypatch):
    """judge() of calls of 10 ms, 2 threads on 2 processors, beside a thread that runs for a given time."""
    now = {"clock": 0.0, "own": 0.0, "other": 0}
    monkeypatch.setattr(foreign, "_next", 0.0)
    monkeypatch.setattr(foreign, "_seen", 0)
    monkeypatch.setattr(foreign.time, "monotonic", lambda: now["clock"])
    monkeypatch.setattr(foreign.time, "thread_time", lambda: now["own"])
    monkeypatch.setattr(foreign, "_have_run", lambda: {"7": now["other"], "8": 5})
    monkeypatch.setattr(foreign, "_blas_threads", lambda: 2)

    def calls(*milliseconds, taken=0.010, team=2, processors=2, apart=1.0):
        """The warnings of calls during which the other thread ran so long."""
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for other in milliseconds:
                now["clock"] += apart
                before = foreign.look()
                now["clock"] += taken
                now["own"] += taken
                now["other"] += round(other * 1e6)
                if before is not None:
                    foreign.judge(before, team, processors)
        return [warning.category for warning in seen]

    return calls


def test_a_thread_that_takes_a_processor_three_times_in_a_row_is_told_once(advice):
    assert advice(9, 9) == []
    assert advice(9) == [tt.PerformanceWarning]
    assert advice(9, 9, 9, 9) == []


def test_no_word_without_need(advice):
    assert advice(*[2] * 9) == []  # it ran, a little
    assert advice(9, 9, 0, 9, 9, 0) == []  # now and then
    assert advice(*[9] * 9, processors=3) == []  # there was a processor for it
    assert advice(*[9] * 9, taken=0.0005) == []  # short calls
    assert advice(*[9] * 9, apart=0.0) == []  # a moment


def test_no_word_where_blas_has_one_thread_or_openmp_is_there(advice, monkeypatch):
    monkeypatch.setattr(foreign, "_blas_threads", lambda: 0)
    assert advice(*[9] * 9) == []


def test_openmp_may_be_anybodys(monkeypatch):
    import threadpoolctl

    monkeypatch.setattr(blas, "pools", lambda: [Remembers(2), Remembers(6)])
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [{"user_api": "blas"}])
    assert foreign._blas_threads() == 6
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [{"user_api": "blas"}, {"user_api": "openmp"}])
    assert foreign._blas_threads() == 0


def test_the_words_and_whose_line_they_point_to(recwarn):
    foreign._say(0.010, 0.009, 2)
    (warning,) = recwarn
    assert warning.category is tt.PerformanceWarning
    assert warning.filename == __file__
    for part in ("10.0 ms", "9.0 ms", "2 threads", "`with tt.single_blas():` around your loop"):
        assert part in str(warning.message)


def test_where_warnings_are_errors_it_is_left_unsaid():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        foreign._say(0.010, 0.009, 2)


def test_threads_of_python_are_not_the_others():
    if not os.path.isdir(foreign.TASKS):
        pytest.skip("no /proc/self/task on this system")
    other = Other()
    known = {str(threading.get_native_id()), str(other.native_id)}
    assert known <= set(os.listdir(foreign.TASKS))
    assert not known & set(foreign._have_run())
    other.do(int)
