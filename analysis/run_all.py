"""Run every study of this folder, one after another: `python analysis/run_all.py [--full] [--out DIR] [NAME ...]`.

A study is a file here whose name does not start with "_"; each runs in a process of its own, and says how far it is.
Interrupted, the same command goes on: studies that were done are not run again, and the one at work goes on where it
stopped. The exit status is 1 if one of them failed, and its output is shown. `--times DIR` runs nothing: it takes the
times of the studies in another folder (of a run with --full --out DIR) into the JSON files of figures/.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import _kept
import _machine
import _study
from _progress import duration
from tqdm import tqdm

HERE = Path(__file__).resolve().parent
COMMANDS = ("run_all", "bench")  # files of this folder that are no studies


def studies():
    return sorted(path for path in HERE.glob("*.py") if path.name[0] != "_" and path.stem not in COMMANDS)


def run(path, arguments, bar):
    """One study: (exit status, what it printed, seconds). The bar says how far it is, while it works."""
    began = time.perf_counter()
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        how_far = Path(folder) / "progress"
        environment["THROUGHTIME_PROGRESS"] = str(how_far)
        process = subprocess.Popen(
            [sys.executable, path, *arguments], stdout=printed, stderr=subprocess.STDOUT, env=environment
        )
        last = time.perf_counter()
        try:
            while True:
                text = f"{time.perf_counter() - began:.0f} s"
                with suppress(OSError):
                    text = how_far.read_text(encoding="utf-8") or text
                bar.set_postfix_str(f"{path.stem}: {text}", refresh=sys.stderr.isatty())
                if not sys.stderr.isatty() and time.perf_counter() - last > 60:  # a log file: a line a minute
                    last = time.perf_counter()
                    print(f"{path.stem}: {text}", file=sys.stderr, flush=True)
                try:
                    process.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:  # an interrupt: do not leave the study running; what it has kept is on disk
            process.kill()
            process.wait()
            raise
        printed.seek(0)
        return process.returncode, printed.read().rstrip(), time.perf_counter() - began


class Done:
    """Which studies of a run are done: kept on disk until all are."""

    def __init__(self, path, arguments):
        self.path, self.arguments, self.found = path, arguments, {}
        with suppress(OSError, ValueError, TypeError, KeyError):  # absent, damaged or of something else
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.found = dict(kept["done"]) if kept["arguments"] == arguments else {}

    def __contains__(self, path):
        return self.found.get(path.stem) == _kept.code(path)

    def add(self, path):
        self.found[path.stem] = _kept.code(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = json.dumps({"arguments": self.arguments, "done": self.found})
        self.path.write_text(kept, encoding="utf-8")

    def end(self):
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.parent.rmdir()  # if nothing else was interrupted


def foreseen(paths, which):
    """(seconds that these studies take here: on record, scaled, or their own estimate; how many have neither)."""
    pace, found = _machine.pace(), []
    for path in paths:
        if recorded := _study.times(_study.ROOT / "figures" / f"{path.stem}.json").get(which):
            found.append(recorded["seconds"] * pace / recorded["pace"])
        elif "\ndef about(" in path.read_text(encoding="utf-8"):
            study = importlib.import_module(path.stem)
            found.append(study.about(**getattr(study, which)))
    return sum(found), len(paths) - len(found)


def counted(count):
    """1 study, 2 studies."""
    return f"{count} study" if count == 1 else f"{count} studies"


def interruptible(main):
    """Run a program that goes on where it stopped, and end with its exit status."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it stopped")
        sys.exit(130)


def take_times(folder, figures):
    """The times of the studies in a folder, into those in figures/; how many were taken."""
    taken = 0
    for path in sorted(figures.glob("*.json")):
        new, text = _study.times(folder / path.name), path.read_text(encoding="utf-8")
        if new:
            line = f' "times": {json.dumps(_study.plain(_study.times(path) | new), ensure_ascii=False)},\n'
            lines = [each for each in text.splitlines(keepends=True) if not each.startswith(' "times": ')]
            place = next(k for k, each in enumerate(lines) if each.startswith(' "checks": '))
            path.write_text("".join([*lines[:place], line, *lines[place:]]), encoding="utf-8")
            taken += 1
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="larger sizes, nearer the papers: minutes, not seconds")
    parser.add_argument("--out", help="folder for the pictures and the numbers (default: figures/)")
    parser.add_argument("--times", type=Path, metavar="DIR", help="take the times from DIR into figures/ and end")
    parser.add_argument("names", nargs="*", metavar="NAME", help="these studies only")
    options = parser.parse_args()
    if options.times:
        print(f"{take_times(options.times, _study.ROOT / 'figures')} times taken: python tests/readme_tables.py")
        return 0
    _study.look_at_folder(parser, options.out and Path(options.out))
    chosen = [path for path in studies() if not options.names or path.stem in options.names]
    if unknown := set(options.names) - {path.stem for path in chosen}:
        parser.error(f"no study of this name: {', '.join(sorted(unknown))}")
    return all_of(chosen, options.full, options.out)


def all_of(chosen, full=False, out=None, kept="run_all"):
    """Run these studies: the exit status. kept: under which name it is noted what is done."""
    arguments = ["--full"] * full + (["--out", out] if out else [])
    done = Done(Path(out or _study.ROOT / "figures") / ".kept" / f"{kept}.json", arguments)
    left = [path for path in chosen if path not in done]
    if len(left) < len(chosen):
        print(f"{counted(len(chosen) - len(left))} done before the interruption; delete {done.path} to begin anew")
    seconds, unknown = foreseen(left, "FULL" if full else "SIZES")
    more = f", and what {unknown} take of which it is not on record" if unknown else ""
    print(f"{counted(len(left))}: about {duration(seconds)} here{more}", flush=True)
    failed, total = [], 0.0
    with tqdm(
        left, desc="studies", unit="study", bar_format="{desc}: {n_fmt}/{total_fmt} |{bar:12}| {elapsed}{postfix}"
    ) as bar:
        for path in bar:
            status, printed, seconds = run(path, arguments, bar)
            total += seconds
            last = printed.splitlines()[-1] if printed else ""
            bar.write(
                last
                if status == 0 and last
                else f"{path.stem}: FAILED (exit status {status}) after {seconds:.1f} s\n{printed}",
                file=sys.stdout,
            )
            if status:
                failed.append(path.stem)
            else:
                done.add(path)
    done.end()
    print(
        f"{len(left) - len(failed)} of {counted(len(left))} in {total:.0f} s"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    interruptible(main)
