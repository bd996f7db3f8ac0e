"""Run every study of this folder, one after another: `python analysis/run_all.py [--full] [--out DIR]`.

A study is a file here whose name does not start with "_"; each runs in a process of its own. The exit status is 1 if
one of them failed, and its output is shown.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tqdm import tqdm

HERE = Path(__file__).resolve().parent


def studies():
    return sorted(path for path in HERE.glob("*.py") if path.name[0] != "_" and path != Path(__file__).resolve())


def run(path, arguments, bar):
    """One study: (exit status, what it printed, seconds). The bar keeps moving while it works."""
    began = time.perf_counter()
    environment = os.environ | {"THROUGHTIME_QUIET": "1", "PYTHONIOENCODING": "utf-8"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as printed:
        process = subprocess.Popen(
            [sys.executable, path, *arguments], stdout=printed, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while True:
                seconds = f"{path.stem} {time.perf_counter() - began:.0f} s"
                bar.set_postfix_str(seconds, refresh=sys.stderr.isatty())  # a log file wants no line every half second
                try:
                    process.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:  # an interrupt: do not leave the study running
            process.kill()
            process.wait()
            raise
        printed.seek(0)
        return process.returncode, printed.read().rstrip(), time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the sizes of the papers: minutes instead of seconds")
    parser.add_argument("--out", help="folder for the pictures and the numbers (default: figures/)")
    options = parser.parse_args()
    arguments = ["--full"] * options.full + (["--out", options.out] if options.out else [])
    failed, total = [], 0.0
    with tqdm(
        studies(), desc="studies", unit="study", bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}{postfix}"
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
    print(
        f"{len(studies()) - len(failed)} of {len(studies())} studies in {total:.0f} s"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
