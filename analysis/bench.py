"""Measure all speeds of this machine: `python analysis/bench.py [--quick] [--moved] [--spread]`.

Without an option: speed_cpu, speed_analysis and speed_training at their full sizes, into figures/; interrupted, the
same command goes on. `--quick`: some ratios of each in two minutes. They are stored in bench_quick.json, by machine,
beside those that stood there before, and what moved is printed: a ratio whose median lies outside of the spread of the
other, both ways. `--moved` prints it again and measures nothing. `--spread`: ten calls in ten processes, how far their
times lie apart, and what a second thread brings; two minutes, printed and not kept.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ.get("THROUGHTIME_THREADS", str(len(os.sched_getaffinity(0)))))

import _bench as bench
import _bench_peers as peers
import _bench_spread
import _machine
import _progress
import _study as study
import run_all
import speed_cpu

HERE = Path(__file__).resolve().parent
STORE = HERE / "bench_quick.json"
STUDIES = ("speed_cpu", "speed_analysis", "speed_training")
QUICK = [("lstm", 16, 1), ("lstm", 100, 8), ("lstm", 384, 32), ("gru", 100, 8), ("tanh", 16, 1), ("tanh", 256, 32)]
TRAINING = [("lstm", "small", 64), ("gru", "bytes", 128)]
SPECTRA = [100, 200]
ABOUT = 110.0  # seconds, until a run here is stored


def quick(processes=2, seconds=12.0, settle=bench.SETTLE, points=QUICK, training=TRAINING, spectra=SPECTRA):
    """{what: [low, ratio, high]} over the processes: the LSTM in both precisions, the others in float32."""
    import speed_analysis
    import speed_training

    asked, found, wrong = [name for name in ("torch", "jax") if peers.there_is(name)], {}, []
    every = [(cell, n, b, dtype) for cell, n, b in points for dtype in ("float32", "float64")[: 1 + (cell == "lstm")]]
    work = []
    for cell, n, b, dtype in every:
        size = {"cell": cell, "dtype": dtype, "N": n, "B": b, "T": 50, "I": speed_cpu.inputs(n)}
        share = seconds / (2 * len(every))
        work.append((f"{cell} {dtype} N={n} B={b} T=50", "point", size | {"peers_asked": asked, "seconds": share}))
    work = [(key, function, a | {"settle": settle}) for key, function, a in work]
    with study.progress(None, "points", total=processes * (len(work) + len(spectra) + 1)) as bar:
        for _ in range(processes):
            for key, result in speed_cpu.workers(work):
                bar.update()
                if "error" in result:
                    wrong.append(f"{key}: {result['error']}")
                    continue
                for what, one in result["passes"].items():
                    for name, ratios in zip(result["sides"][1:], one["ratios"], strict=True):
                        found.setdefault(f"{key} {what}: {peers.PEERS[name]}", []).append(ratios)
            for row in bench.elsewhere(speed_training.once, training, seconds / 10) if "torch" in asked else []:
                key = f"update {row['cell']} {row['kind']} {row['N']}: PyTorch"
                found.setdefault(key, []).append([row["low"], row["ratio"], row["high"]])
            bar.update()
            for n in spectra:
                found.setdefault(f"spectrum N={n}: NumPy script", []).append(bench.elsewhere(speed_analysis.quick, n))
                bar.update()
    return {key: [round(value, 4) for value in in_order(bench.together(each))] for key, each in found.items()}, wrong


def in_order(ratio_low_high):
    ratio, low, high = ratio_low_high
    return low, ratio, high


def stored():
    """{machine: {"now": a run, "before": the one before or None}}; what is no such record is left out."""
    try:
        runs = json.loads(STORE.read_text(encoding="utf-8")).items()
        return {
            machine: each for machine, each in runs if each["now"]["date"] and (each["before"] or each["now"])["date"]
        }
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return {}


def store(machine, ratios, seconds):
    """The new ratios of this machine, and those that were its newest."""
    every = stored()
    new = {"date": time.strftime("%Y-%m-%d"), "versions": study.versions(), "seconds": round(seconds), "ratios": ratios}
    every[machine] = {"now": new, "before": every.get(machine, {}).get("now")}
    STORE.write_text(json.dumps(every, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def moved(machine):
    """Lines: what of the ratios now lies outside of the spread before, and the other way round."""
    now, before = (stored().get(machine, {}).get(name) for name in ("now", "before"))
    if not now or not before:
        return [f"{machine}: measured {'once' if now else 'never'}, there is nothing to compare"]
    lines = [f"{machine}: {now['date']} beside {before['date']}"]
    both = [key for key in now["ratios"] if key in before["ratios"]]
    for key in both:
        (low, ratio, high), (old_low, old, old_high) = now["ratios"][key], before["ratios"][key]
        if not old_low <= ratio <= old_high and not low <= old <= high:
            word = "faster" if ratio > old else "SLOWER"
            spread = f"[{old_low:.2f}, {old_high:.2f}] then [{low:.2f}, {high:.2f}]"
            lines.append(f"{word:7}{ratio / old:6.2f} x  {key}: {old:.2f} then {ratio:.2f}, spread {spread}")
    return [*lines, f"{len(lines) - 1} of {len(both)} ratios moved by more than their spread"]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some ratios in two minutes")
    parser.add_argument("--moved", action="store_true", help="what moved between the last two quick runs here")
    parser.add_argument("--spread", action="store_true", help="ten calls in ten processes, in two minutes")
    options = parser.parse_args(argv)
    machine = f"{_machine.name()}; {bench.threads()} threads"
    if options.quick:
        about = (stored().get(machine, {}).get("now") or {}).get("seconds", ABOUT)
        missing = [title for name, title in peers.PEERS.items() if not peers.there_is(name)]
        print("\n".join(f"{title} is not installed, and left out" for title in missing), end="\n" if missing else "")
        print(f"bench: about {_progress.duration(about)}; {machine}", flush=True)
        progress = _progress.Progress("bench", about)
        try:
            with _progress.shown(progress):
                ratios, wrong = quick()
        except KeyboardInterrupt:
            print("interrupted: a quick run is not kept, the same command begins anew")
            return 130
        for key, (low, ratio, high) in ratios.items():
            print(f"{ratio:7.2f}  [{low:.2f}, {high:.2f}]  {key}")
        print("\n".join(wrong), end="\n" if wrong else "")
        store(machine, ratios, progress.seconds())
    if options.spread:
        print(machine, *_bench_spread.lines(_bench_spread.measure()), sep="\n")
        return 0
    if options.quick or options.moved:
        print("\n".join(moved(machine)))
        return 0
    return run_all.all_of([HERE / f"{name}.py" for name in STUDIES], full=True, kept="bench")


if __name__ == "__main__":
    run_all.interruptible(main)
