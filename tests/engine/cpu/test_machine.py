"""Who does what on machines that are made up, from the numbers of each; how these are measured, kept and read."""

import json
import warnings

import numpy as np
import pytest

from throughtime.engine.cpu import caches, machine, shares
from throughtime.engine.cpu.board import ALONE
from throughtime.engine.cpu.machine import LEAST, MOST, USUAL, Machine, believed

FAST = Machine(wake=5e-6, awake=2e-6, meet=1e-7, rate=1e11, copy=2e10)
SLOW = Machine(wake=1e-4, awake=2e-5, meet=2e-6, rate=8e9, copy=3e9)  # a virtual machine, sleeps deeply, with SSE
MACHINES = pytest.mark.parametrize("on", [USUAL, FAST, SLOW], ids=["usual", "fast", "slow"])
TEAMS = pytest.mark.parametrize("team", [2, 8, 64])


@pytest.fixture
def plan():
    """`planned` as the library has it; the tests' own divides whatever is small."""
    import importlib.util

    found = importlib.util.spec_from_file_location("throughtime.engine.cpu.shares_as_they_are", shares.__file__)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def time_of(way, count, steps, rows, blocks, work, on, plan):
    """What the plan expects of a way, once more, in seconds, of weights of 4 bytes that each row is multiplied by."""
    row, fetched = work / on.rate, plan.FETCH * min(4 * work, plan.RESIDENT) / on.copy
    if way == "alone":
        return steps * (rows + plan.EDGE) * row
    if way == "rows":
        return steps * (-(-rows // count) + plan.EDGE) * row + on.wake + fetched
    share = -(-blocks // count) / blocks
    return steps * (rows + plan.EDGE) * row * share + on.wake + steps * plan.MEETING * on.meet + fetched / count


@MACHINES
@TEAMS
def test_no_plan_is_expected_to_be_slower_than_one_thread(plan, on, team):
    for steps in (1, 50, 1000):
        for rows in (1, 2, 3, 20, 64):
            for blocks in (1, 2, 3, 7, 32):
                for work in (1e3, 1e4, 1e5, 1e6, 1e7):
                    way, count = plan.planned(steps, rows, blocks, work, team, weights=4 * work, meets=True, on=on)
                    one = time_of("alone", 1, steps, rows, blocks, work, on, plan)
                    assert 1 <= count <= team
                    assert (way == "alone") == (count == 1)
                    assert count <= {"alone": 1, "rows": rows, "units": blocks}[way]
                    if count > 1:
                        assert time_of(way, count, steps, rows, blocks, work, on, plan) < plan.GAIN * one


@MACHINES
def test_small_passes_are_of_one_thread_and_large_ones_of_two(plan, on):
    def way(rows, units, weights=1 << 18):
        return plan.planned(50, rows, -(-units // 32), 8 * units**2, 2, weights=weights, meets=True, on=on)[0]

    assert way(1, 16) == way(4, 16) == "alone"
    assert way(64, 512) in ("rows", "units")
    assert way(1, 2048) == "units"
    assert way(64, 512, 2 * plan.RESIDENT) == "units"


# A recorded machine: (steps, rows, units, gates) and microseconds alone, with two threads by rows and by units, of
# single calls that no other program disturbed.
RECORDED = Machine(wake=8e-5, awake=8e-5, meet=2e-7, rate=5.8e10, copy=2e10)
PASSES = [
    ((50, 2, 128, 1), 90, 158, 163),
    ((50, 4, 128, 1), 156, 204, 239),
    ((50, 8, 128, 1), 332, 285, 321),
    ((50, 1, 256, 1), 221, None, 279),
    ((50, 2, 256, 1), 350, 393, 343),
    ((50, 8, 256, 1), 1202, 950, 938),
]


def way_of(plan, steps, rows, units, gates, **more):
    """How a pass of a layer with as many inputs as units is divided between two threads."""
    work = int(2 * gates * units**2 / plan.PACE + plan.POINTWISE * gates * units)
    weights, blocks = 8 * gates * units**2, -(-units // 32)
    return plan.planned(steps, rows, blocks, work, 2, weights=weights, meets=True, **more)[0]


def test_no_recorded_pass_is_slower_by_two_threads(plan):
    for (steps, rows, units, gates), alone, by_rows, by_units in PASSES:
        way = way_of(plan, steps, rows, units, gates, on=RECORDED)
        taken = {"alone": alone, "rows": by_rows, "units": by_units}[way]
        assert taken <= alone, (steps, rows, units, way)
        assert taken < alone or rows < 8, "a pass that gains is left to one thread"


# Another, of loops that pack the weights themselves; numbers of 100 are in doubt by 5.
POLLING = Machine(wake=6.6e-6, awake=6.6e-6, meet=2e-7, rate=5.84e10, copy=2.96e10)
PACKING = [
    ((50, 1, 48, 4), 70, None, 72),
    ((50, 1, 64, 4), 100, None, 87),
    ((50, 1, 100, 4), 207, None, 158),
    ((50, 1, 128, 4), 281, None, 197),
    ((50, 1, 200, 4), 645, None, 402),
    ((50, 1, 100, 3), 171, None, 135),
    ((50, 1, 128, 3), 228, None, 159),
    ((50, 1, 128, 1), 97, None, 90),
    ((50, 1, 200, 1), 194, None, 179),
    ((50, 1, 256, 1), 265, None, 190),
    ((50, 32, 16, 1), 104, 124, 111),
    ((50, 64, 16, 1), 158, 154, 166),
    ((50, 20, 32, 1), 111, 135, 111),
    ((50, 20, 48, 1), 188, 203, 211),
    ((50, 64, 48, 1), 482, 381, 469),
    ((50, 8, 64, 1), 127, 131, 135),
    ((50, 20, 100, 1), 571, 458, 484),
    ((50, 8, 128, 1), 342, 277, 277),
    ((50, 8, 256, 1), 1143, 755, 703),
    ((50, 20, 16, 3), 98, 105, 147),
    ((50, 20, 32, 3), 230, 193, 230),
    ((50, 8, 48, 3), 190, 168, 183),
    ((50, 8, 64, 3), 287, 229, 220),
    ((50, 8, 100, 3), 622, 427, 457),
    ((50, 20, 16, 4), 125, 118, 126),
    ((50, 64, 16, 4), 311, 219, 312),
    ((50, 20, 32, 4), 287, 220, 287),
    ((50, 20, 48, 4), 518, 359, 408),
    ((50, 8, 64, 4), 370, 266, 257),
    ((50, 8, 100, 4), 805, 520, 555),
    ((50, 3, 48, 4), 116, 123, 113),
    ((50, 3, 64, 4), 173, 163, 138),
    ((50, 3, 100, 4), 359, 315, 266),
    ((50, 3, 100, 3), 283, 294, 223),
    ((50, 3, 128, 1), 165, 176, 149),
    ((50, 8, 100, 1), 260, 223, 236),
    ((50, 8, 32, 4), 141, 125, 140),
]


def test_a_pass_that_packs_is_divided_where_it_gained(plan):
    """The fastest way, or one that takes at most a sixth longer; none that took longer than one thread beyond doubt."""
    for (steps, rows, units, gates), alone, by_rows, by_units in PACKING:
        handed = 4 * units * (2 if gates < 4 else 3)
        way = way_of(plan, steps, rows, units, gates, packs=True, handed=handed, on=POLLING)
        times = {"alone": alone, "rows": by_rows or alone, "units": by_units}
        assert times[way] <= min(1.08 * alone, 7 / 6 * min(times.values())), (steps, rows, units, way)


def test_a_decision_is_taken_once(plan, threads, monkeypatch):
    """For the same pass; anew for another number of threads, or another machine."""
    asked, decide = [], plan.planned
    monkeypatch.setattr(plan, "planned", lambda *given, **more: asked.append(given) or decide(*given, **more))
    for count, on in ((2, USUAL), (3, USUAL), (3, SLOW)):
        monkeypatch.setattr(plan, "now", lambda on=on: on)
        threads(count)
        for rows in (2, 32):
            first = plan.of_steps(50, rows, 64, 8 * 64**2, 4, 32, gates=4)
            assert plan.of_steps(50, rows, 64, 8 * 64**2, 4, 32, gates=4) == first
    assert len(asked) == 6
    threads(1)
    assert plan.of_steps(50, 32, 64, 8 * 64**2, 4, 32, gates=4)[0] == [plan.alone(32, 64)]
    assert len(asked) == 6


def test_a_dearer_machine_divides_less(plan):
    def divided(on):
        sizes = [(rows, 2**k) for rows in (1, 4, 16, 64) for k in range(4, 11)]
        return {
            (rows, n)
            for rows, n in sizes
            if plan.planned(50, rows, -(-n // 32), n * n, 2, weights=4 * n * n, meets=True, on=on)[1] > 1
        }

    usual = divided(USUAL)
    for dearer in ({"wake": 1e-4}, {"meet": 5e-6}, {"rate": 5e11}):
        assert divided(USUAL._replace(**dearer)) < usual
    for seconds in (1e-5, 1e-4, 1e-3):
        assert plan.pays(seconds, 2, USUAL) >= plan.pays(seconds, 2, SLOW)


# ---- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "numbers",
    [None, [], [1.0], [*USUAL, 1.0], ["a"] * 5, [0.0] * 5, [np.nan] * 5, [-1e-5, 1e-6, 1e-6, 1e10, 1e10]],
)
def test_numbers_that_cannot_be_are_not_believed(numbers):
    assert believed(numbers) is None


def test_the_usual_numbers_are_believed():
    for numbers in (USUAL, LEAST, MOST, FAST, SLOW):
        assert believed(numbers) == numbers


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The file of the numbers in a folder of this test, and what is measured counted."""
    calls = []

    def measured():
        calls.append(1)
        return FAST, True

    monkeypatch.setattr(machine, "_found", None)
    monkeypatch.setattr(machine, "measured", measured)
    monkeypatch.setattr(machine, "user_folder", lambda: str(tmp_path / "deep"))
    monkeypatch.delenv(machine.VARIABLE, raising=False)

    def ask():
        monkeypatch.setattr(machine, "_found", None)
        return machine.machine()

    ask.calls, ask.folder = calls, tmp_path / "deep"
    return ask


def test_they_are_measured_once_for_all_processes(kept):
    assert kept() == kept() == machine.machine() == FAST
    assert len(kept.calls) == 1
    (file,) = kept.folder.iterdir()
    file.unlink()
    assert kept() == FAST
    assert len(kept.calls) == 2


DAMAGED = ["", "{", "[]", "[0, 0, 0, 0, 0]", json.dumps(["a"] * 5), "\ud800", "[" * 10**5, f"[{10**400}, 1, 1, 1, 1]"]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_written_again(kept, text):
    kept()
    (file,) = kept.folder.iterdir()
    file.write_bytes(text.encode(errors="surrogatepass"))
    assert kept() == FAST
    assert len(kept.calls) == 2
    assert json.loads(file.read_text()) == list(FAST)


def test_wishes(kept, monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "off")
    assert kept() == USUAL
    assert not kept.calls
    for wish in ("again", " Again"):
        monkeypatch.setenv(machine.VARIABLE, wish)
        assert kept() == kept() == FAST
    assert len(kept.calls) == 4


def test_a_wish_that_means_nothing_is_said_and_nothing_else(kept, monkeypatch):
    monkeypatch.setenv(machine.VARIABLE, "of")
    with pytest.warns(RuntimeWarning, match='THROUGHTIME_CALIBRATE is \'of\'.* expected "again" or "off"'):
        assert kept() == FAST
    monkeypatch.setattr(machine, "_found", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert machine.machine() == FAST


def test_other_users_of_the_folder_can_read_it_and_nothing_is_left_beside_it(kept):
    kept()
    (file,) = kept.folder.iterdir()
    other = kept.folder / "other"
    other.write_text("")
    assert file.stat().st_mode == other.stat().st_mode
    other.unlink()
    file.unlink()
    file.mkdir()  # cannot be replaced
    assert kept() == FAST
    assert list(kept.folder.iterdir()) == [file]


def test_a_folder_that_cannot_be_is_done_without(kept):
    kept.folder.write_text("a file in its place")
    assert kept() == kept() == FAST
    assert len(kept.calls) == 2


def test_what_is_measured_on_a_busy_machine_is_not_kept(kept, monkeypatch):
    monkeypatch.setattr(machine, "measured", lambda: (SLOW, False))
    assert kept() == SLOW
    assert not kept.folder.exists()


def test_what_the_caller_did_alone_is_no_measurement_of_a_team(monkeypatch):
    """A worker may have been late just before, or the team be busy: then calls take 2 microseconds."""
    calls = []

    def run(loop, arguments, parts, whole, patient=False):
        calls.append(patient)
        loop(*arguments, whole, np.zeros(ALONE, np.int64))
        return False

    monkeypatch.setattr(machine.threads, "run", run)
    assert machine.measured() == (USUAL, False)
    assert calls
    assert all(calls)  # those who were late are waited for


def test_this_machine():
    found, _ = machine.measured()
    assert believed(found) == found


def test_a_worker_that_polls_is_called_sooner(kept, monkeypatch):
    kept()
    for polls, wake in ((False, FAST.wake), (True, FAST.awake)):
        monkeypatch.setattr(machine.threads, "awake", lambda polls=polls: polls)
        assert machine.now() == FAST._replace(wake=wake)


# ---- caches --------------------------------------------------------------------------------------


def folder(tmp_path, *entries):
    for k, (level, kind, size, sharers) in enumerate(entries):
        own = tmp_path / f"index{k}"
        own.mkdir()
        for name, text in (("level", level), ("type", kind), ("size", size), ("shared_cpu_map", sharers)):
            (own / name).write_text(f"{text}\n")
    return tmp_path


@pytest.mark.parametrize("kilobytes", [32, 48, 64])
def test_caches_as_linux_tells_them(monkeypatch, tmp_path, kilobytes):
    entries = [
        (1, "Data", f"{kilobytes}K", "1"),
        (1, "Instruction", "16K", "1"),
        (2, "Unified", "2M", "00000000,00000003"),
    ]
    monkeypatch.setattr(caches, "SYSTEM", folder(tmp_path, *entries, (3, "Unified", "32M", "ff")))
    assert caches.caches() == (kilobytes << 10, 1 << 20)  # the second is shared by two


def test_caches_of_a_system_that_tells_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(caches, "SYSTEM", tmp_path)
    monkeypatch.setattr(caches, "_sysconf", lambda level: 0)
    monkeypatch.setattr(caches, "_sysctl", lambda level: -1)
    assert caches.caches() == (caches.USUAL[1], caches.USUAL[2])
