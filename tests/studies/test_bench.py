"""What `analysis/bench.py` and the speed studies do beside measuring. The times here are made up, and stay here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

import throughtime as tt

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))  # studies import `_study` from beside them

import _bench
import _bench_peers
import _bench_spread
import _heat
import _machine
import _study
import bench
import speed_cpu

CELLS, DTYPES = ("tanh", "gru", "lstm"), ("float32", "float64")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_numpy_loop_is_the_same_network(cell, dtype):
    net, x, g = _bench_peers.problem(cell, dtype, 7, 3, 9, 4)
    side, wanted = _bench_peers.numpy(net, x, g), net.unroll(x)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(side["forward"](), wanted.output, rtol=0, atol=20 * eps)
    found, gradients = side["forward+backward"](), wanted.backprop(g)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        exact = gradients.parameters[f"{name}_l0"]
        # sums over 9 steps, 3 sequences and 7 units, in another order
        np.testing.assert_allclose(found[name], exact, rtol=0, atol=100 * eps * np.abs(exact).max())
    np.testing.assert_allclose(found["input"], gradients.input, rtol=0, atol=100 * eps * np.abs(gradients.input).max())


@pytest.mark.parametrize("peer", ["torch", "jax"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_peers_are_the_same_network(peer, cell):
    pytest.importorskip(peer)
    net, x, g = _bench_peers.problem(cell, "float64", 5, 2, 6, 3)
    side, wanted = _bench_peers.SIDES[peer](net, x, g), net.unroll(x).backprop(g).input
    np.testing.assert_allclose(side["gradient"](), wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())
    np.testing.assert_allclose(np.asarray(side["forward"]()), net.unroll(x).output, rtol=0, atol=1e-14)
    side["forward+backward"]()


def test_the_bound_is_its_products_its_weights_and_its_functions():
    rate = {"peak": 1e9, "pointwise": 1e6, "bytes": [1, 1 << 30], "read": [1e12, 1e12]}
    point = {"cell": "lstm", "dtype": "float32", "N": 100, "B": 2, "T": 10, "I": 50}
    products = 10 * 2 * 4 * 100 * (100 + 50) * 2 / 1e9
    total, parts = _bench.bound(point, "forward", rate, 0.25)
    assert parts == pytest.approx({"products": products, "weights": 0, "pointwise": 10 * 5 * 100 * 2 / 1e6})
    assert total == pytest.approx(0.25 + sum(parts.values()))
    _, back = _bench.bound(point, "forward+backward", rate, 0.25)
    assert back == pytest.approx({"products": 3 * products, "weights": 0, "pointwise": 2 * parts["pointwise"]})
    slow = rate | {"read": [1e6, 1e6]}  # the weights come later than the products are done
    _, read = _bench.bound(point, "forward", slow, 0.25)
    assert read["products"] + read["weights"] == pytest.approx(
        10 * (4 * 100 * 100 * 4 / 1e6 + 2 * 4 * 100 * 50 * 2 / 1e9)
    )


def test_turns_alternate_and_the_first_calls_do_not_count():
    order = []
    found = _bench.in_turns([lambda: order.append("a"), lambda: order.append("b")], 0.0, least=3, settle=0.0)
    assert found.shape == (3, 2)
    assert "".join(order) == "aabb" * 3


def test_ratios_are_medians_with_their_quartiles():
    turns = [[1.0, 2.0, 10.0], [1.0, 3.0, 10.0], [2.0, 4.0, 10.0], [1.0, 2.0, 10.0], [1.0, 2.0, 10.0]]
    found = _bench.compared(turns)
    assert found["seconds"] == [1.0, 2.0, 10.0]
    assert found["ratios"] == [[2.0, 2.0, 2.0], [10.0, 10.0, 10.0]]
    assert _bench.together([(1.0, 2.0, 3.0), (1.5, 1.8, 2.0), (2.0, 4.0, 5.0)]) == (2.0, 1.0, 5.0)


def test_processes_are_put_together_number_by_number():
    each = [{"N": [1, 2], "x": {"y": [1.0, 5.0]}, "s": "a"}, {"N": [1, 2], "x": {"y": [3.0, 4.0]}, "s": "a"}]
    assert _bench.over_processes(each) == {"N": [1, 2], "x": {"y": [2.0, 4.5]}, "s": "a"}
    assert _bench.over_processes(each, max)["x"]["y"] == [3.0, 5.0]
    checks = [[_study.check("a", value, 0, 1, why="")] for value in (0.5, float("nan"), 0.1)]
    assert [item["pass"] for item in _bench.worst(checks)] == [False]


def made_up(sizes=speed_cpu.FULL, ratio=1.5, seconds=1e-3):
    """Results of all pieces."""
    asked = list(_bench_peers.PEERS)
    pieces, results = list(speed_cpu.plan(asked=asked, **sizes)), {}
    rate = {"peak": 1e11, "pointwise": 1e9, "bytes": [1, 1 << 30], "read": [1e11, 1e11]}
    calls = {f"{cell} {dtype}": dict.fromkeys(speed_cpu.PASSES, 1e-5) for cell in CELLS for dtype in DTYPES}
    for process, own in enumerate(pieces):
        for key, function, a in own:
            if function == "rates":
                results[key] = {"rates": dict.fromkeys(DTYPES, rate), "calls": calls}
                continue
            r = ratio + 0.1 * process
            one = {"seconds": [seconds] * 5, "ratios": [[r - 0.2, r, r + 0.3] for _ in a["peers_asked"]]}
            off = dict.fromkeys(a["peers_asked"], 1e-15)
            passes = dict.fromkeys(speed_cpu.PASSES, one)
            results[key] = {"sides": ["ours", *a["peers_asked"]], "passes": passes, "off": off, "missing": {}}
    return results, pieces


def test_the_full_grid_is_that_of_every_shape_and_its_numbers_are_small(tmp_path):
    results, pieces = made_up()
    found = speed_cpu.result_of(results, pieces)
    rows = speed_cpu.rows_of(found)
    assert len(rows) == 3 * 2 * 9 * 6 * 2 * 2
    assert found["data"]["points"] == found["data"]["faster"] == found["data"]["ahead_of_all"] == len(rows)
    row = next(row for row in rows if (row["N"], row["B"], row["T"]) == (48, 3, 200))
    assert (row["torch"], row["torch low"], row["torch high"]) == pytest.approx((1.6, 1.3, 2.0))
    assert row["numpy"] is row["compiled"] is None
    assert 0 < row["share"] == pytest.approx(row["bound"] / row["seconds"], rel=1e-3)  # four digits
    _study.write(tmp_path / "numbers.json", "speed_cpu", speed_cpu.__doc__, speed_cpu.FULL, found)
    assert (tmp_path / "numbers.json").stat().st_size < 300_000
    text = speed_cpu.table(found)
    assert "ahead of JAX at 1296 of 1296 points; mean RNN 1." in text
    assert max(map(len, text.splitlines())) < 200


def test_what_is_slower_or_fails_is_not_counted():
    results, pieces = made_up(speed_cpu.SIZES, ratio=0.5)
    key = pieces[0][1][0]
    results[key] = {"error": "it broke"}
    found = speed_cpu.result_of(results, pieces)
    assert found["data"]["faster"] == found["data"]["ahead_of_all"] == 0
    assert [item["name"] for item in found["checks"] if not item["pass"]] == [f"{key}: it broke"]


def test_the_heat_maps_are_a_column_wide_and_can_be_read(tmp_path):
    found = speed_cpu.result_of(*made_up())
    pictures = {"": speed_cpu.draw(found)} | speed_cpu.pictures(found)
    assert set(pictures) == {"", "_torch", "_compiled", "_jax", "_numpy", "_share"}
    for picture in pictures.values():
        picture.savefig(tmp_path / "picture.png")
        assert picture.get_size_inches()[0] <= 3.5
        texts = [text for ax in picture.axes for text in ax.texts]
        assert min(text.get_fontsize() for text in texts) >= 5.5
        assert len(texts) >= 30
        pyplot.close(picture)


def test_numbers_below_one_are_bold_and_read_on_their_colour():
    rows = [{"N": 1, "B": b, "x": value} for b, value in enumerate((0.2, 0.996, 1.0, 3.0, 50.0))]
    figure, ax = _study.figure()
    _heat.panel(ax, rows, "x")
    assert [text.get_text() for text in ax.texts] == ["0.20", "1.0", "1.0", "3.0", "50"]
    assert [text.get_weight() == "bold" for text in ax.texts] == [True, False, False, False, False]
    assert [text.get_color() for text in ax.texts] == ["white", "black", "black", "white", "white"]
    pyplot.close(figure)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "STORE", tmp_path / "store.json")
    return bench.STORE


def test_what_moved_by_more_than_its_spread_is_printed(store, capsys):
    before = {"a": [1.0, 1.1, 1.2], "b": [1.0, 1.1, 1.2], "c": [1.0, 1.1, 1.2], "d": [1.0, 1.1, 3.0]}
    now = {"a": [1.1, 1.15, 1.3], "b": [0.7, 0.8, 0.9], "c": [1.9, 2.2, 2.3], "d": [1.9, 2.2, 2.3]}
    bench.store("another", now, 100.0)
    bench.store("here", before, 100.0)
    assert "measured once" in bench.moved("here")[0]
    bench.store("here", now, 100.0)
    lines = bench.moved("here")
    assert [line.split()[0] for line in lines[1:-1]] == ["SLOWER", "faster"]
    assert "2.00 x  c: 1.10 then 2.20, spread [1.00, 1.20] then [1.90, 2.30]" in lines[2]
    assert lines[-1] == "2 of 4 ratios moved by more than their spread"
    assert "measured never" in bench.moved("a third")[0]
    assert bench.main(["--moved"]) == 0
    assert _machine.name() in capsys.readouterr().out
    assert set(json.loads(store.read_text(encoding="utf-8"))) == {"another", "here"}


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"here": []}', '{"here": {"now": {}}}', '{"here": {"now": 5, "before": 6}}']
)
def test_a_store_that_is_none_is_written_anew(store, text):
    store.write_text(text, encoding="utf-8")
    assert "measured never" in bench.moved("here")[0]
    bench.store("here", {"a": [1.0, 1.1, 1.2]}, 1.0)
    assert "measured once" in bench.moved("here")[0]


def test_an_interrupted_quick_run_says_that_nothing_is_kept(store, monkeypatch, capsys):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "quick", interrupted)
    assert bench.main(["--quick"]) == 130
    assert "begins anew" in capsys.readouterr().out
    assert not store.exists()


def test_the_number_of_threads_is_one(monkeypatch):
    monkeypatch.delenv("THROUGHTIME_THREADS", raising=False)
    assert _machine.threads() == _machine.processors()
    assert _machine.threads(1) == 1
    monkeypatch.setenv("THROUGHTIME_THREADS", "3")
    assert _bench.threads() == _machine.threads(1) == 3
    for wrong in ("two", "0", "-1", "1.5"):
        monkeypatch.setenv("THROUGHTIME_THREADS", wrong)
        with pytest.raises(SystemExit, match="expected a whole number of threads"):
            _bench.threads()


def test_the_machine_is_named():
    about = _machine.machine()
    assert about["processors"] >= 1
    assert about["vectors"] != "unknown"
    assert json.dumps(about)
    assert 0 < _machine.pace() < 10


@pytest.mark.slow
def test_a_small_quick_run_finds_ratios(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)  # its compiler takes longer than all of this
    monkeypatch.setattr(_bench_peers, "there_is", lambda name: name == "torch" and "torch" in installed())
    found, wrong = bench.quick(1, 0.01, 0.0, [("tanh", 4, 1)], [("tanh", "small", 8)], [12])
    assert wrong == []
    assert "spectrum N=12: NumPy script" in found
    assert len(found) == (4 if "torch" in installed() else 1)
    assert all(0 < low <= high and ratio > 0 for low, ratio, high in found.values())


def installed():
    import importlib.util

    return [name for name in ("torch", "jax") if importlib.util.find_spec(name)]


def test_rates_are_what_the_loops_say():
    """Of the loops, not of the clock: each reads and computes what it says."""
    values = np.arange(8.0)
    assert _bench.total(1, values) == values.sum()
    out = np.empty(8)
    _bench.hyperbolic(2, values, out)
    np.testing.assert_allclose(out, np.tanh(values), rtol=4e-16)
    assert tt.get_num_threads() >= 1


def test_a_quick_run_is_printed_stored_and_compared(store, monkeypatch, capsys):
    monkeypatch.setattr(bench, "quick", lambda: ({"lstm forward: PyTorch": [1.0, 1.1, 1.2]}, ["what did not work"]))
    for _ in range(2):
        assert bench.main(["--quick"]) == 0
    printed = capsys.readouterr().out
    assert "   1.10  [1.00, 1.20]  lstm forward: PyTorch" in printed
    assert "what did not work" in printed
    assert "0 of 1 ratios moved by more than their spread" in printed
    (found,) = json.loads(store.read_text(encoding="utf-8")).values()
    assert set(found) == {"now", "before"}


def test_the_spread_is_that_within_a_process_and_from_one_to_the_next():
    """Made-up times of two calls in three processes, the second of them slower with two threads."""

    def process(scale):
        calm = {"alone": [scale * 1e-3] * 9, "two": [scale * 0.5e-3] * 9, "disturbed": 0.0}
        return {"a": calm, "b": {"alone": [1e-3 * k for k in range(1, 10)], "two": [6e-3], "disturbed": 0.25}}

    found = _bench_spread.judged([process(scale) for scale in (1.0, 2.0, 3.0)])
    assert found["a"].pop("gain") == pytest.approx([2.0, 2.0, 2.0])
    assert found["a"] == pytest.approx({"seconds": 2e-3, "within": 0.0, "across": 0.8, "disturbed": 0.0})
    found["a"]["gain"] = [2.0, 2.0, 2.0]
    assert found["b"]["within"] == pytest.approx(6.4 / 5)
    assert found["b"]["across"] == 0.0
    *each, last = _bench_spread.lines(found)
    assert [line.endswith("SLOWER with two") for line in each] == [False, False, True]
    assert last.startswith("1 of 2 calls slower with two threads, 0 on too busy a machine")
    assert "at most by 80.0% (a)" in last
    found["b"]["disturbed"] = 0.75
    *each, last = _bench_spread.lines(found)
    assert [line.endswith("too busy to tell") for line in each] == [False, False, True]
    assert last.startswith("0 of 1 calls slower with two threads, 1 on too busy a machine")


def test_turns_that_others_disturbed_are_left_out(threads, monkeypatch):
    """By a clock of what was waited for that says so of every fourth turn; unless all were."""
    threads(3)
    looks = iter(([0.0, 0.0] * 3 + [0.0, 1e6]) * 10**3)
    monkeypatch.setattr(_bench_spread, "waited", lambda: next(looks))
    monkeypatch.setattr(_bench_spread, "TURN", 0.0)
    found = _bench_spread.turns(lambda: None, 0.0, least=8)
    assert found["disturbed"] == 0.25
    assert (len(found["alone"]), len(found["two"])) == (8, 4)
    clock = iter([0.0, 1e6] * 10**4)
    monkeypatch.setattr(_bench_spread, "waited", lambda: next(clock))
    found = _bench_spread.turns(lambda: None, 0.0, least=8)
    assert found["disturbed"] == 1.0
    assert len(found["alone"]) == len(found["two"]) == 8
    assert tt.get_num_threads() == 3


def test_one_process_measures_every_shape_both_ways():
    found = _bench_spread.once([("tanh", 4, 1), ("gru", 3, 2)], 0.0)
    names = ["tanh N=4 B=1", "gru N=3 B=2"]
    assert list(found) == [f"{name} {what}" for name in names for what in _bench_spread.PASSES]
    assert all(min(one["alone"] + one["two"]) > 0.0 for one in found.values())
