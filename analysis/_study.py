"""What the studies share: the command line, the look of the figures, checks, and the files they leave.

A study is one file with SIZES, FULL and SMALL (the sizes of `make figures`, of the papers and of the tests),
measure(**sizes) -> result, draw(result) -> figure, and `study.run(globals())`. Its docstring begins with its question,
which the README shows. A result is {"checks": [...], "seeds": ..., "data": ...}, and the picture is drawn from it
alone. `pictures(result)`, {suffix: figure}, draws more of them, if a study has it.

`main` does the same for every study: it says beforehand about how long it takes here, shows how far it is, keeps what
its functions have returned (_kept.py), so that it goes on where it was interrupted, and writes the time it took. What
takes long is a function of the study's file, its loops are `study.progress(...)`, and an Ensemble that works for
minutes has save=study.folder(); no more is asked of a study. One with RESUMES = "kept" is given the folder of what is
kept, measure(folder=...), for a record of its own (True: that of the figures, where the record stays). One whose times
are given with its sizes has about(**sizes), in seconds.
"""

import os

# Before NumPy is imported: the matrices here are small, and idle BLAS threads would take the cores from the library's.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import argparse
import importlib.util
import json
import math
import platform
import sys
from pathlib import Path

import _kept
import _machine
import _progress
import matplotlib
import numba
import numpy as np
from _progress import duration
from matplotlib import pyplot

import throughtime as tt

ROOT = Path(__file__).resolve().parents[1]
PAGE = 6.9  # inches: the full width of a two-column journal
LOOK = {
    "font.size": 8, "axes.labelsize": 8, "axes.titlesize": 8, "axes.titlelocation": "left",
    "xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7, "legend.frameon": False,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7, "lines.linewidth": 1.3,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "savefig.dpi": 220, "figure.dpi": 150,
}  # fmt: skip


def check(name, measured, expected, tolerance, *, why):
    """An expected number: |measured − expected| ≤ tolerance. `why` says where number and tolerance come from."""
    measured, expected, tolerance = float(measured), float(expected), float(tolerance)
    return {
        "name": name,
        "measured": measured,
        "expected": expected,
        "tolerance": tolerance,
        "why": why,
        "pass": holds(measured, expected, tolerance),
    }


def holds(measured, expected, tolerance):
    """What `pass` in a JSON file means; the tests compute it again."""
    return bool(abs(measured - expected) <= tolerance)


def figure(rows=1, columns=1, *, width=PAGE, height=2.6, mosaic=None, **options):
    """A figure in the studies' look and its axes; of a mosaic, a dict of them by name."""
    matplotlib.rcParams.update(LOOK)
    options |= {"figsize": (width, height), "layout": "constrained"}
    return pyplot.subplots(rows, columns, **options) if mosaic is None else pyplot.subplot_mosaic(mosaic, **options)


def letters(axes):
    """(a), (b), ... in front of the titles."""
    for letter, ax in zip("abcdefgh", np.ravel(axes), strict=False):
        ax.set_title(f"({letter})  {ax.get_title(loc='left')}", loc="left")


def end_labels(ax, labels, *, gap):
    """Texts at the right end of curves on a log axis, (y, text, colour) each, moved apart to `gap` decades."""
    x = ax.get_xlim()[1]
    placed = -math.inf
    for y, text, colour in sorted(labels):
        placed = max(math.log10(y), placed + gap)
        ax.annotate(
            text,
            (x, y),
            xytext=(1.02, 10.0**placed),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            color=colour,
            fontsize=7,
            annotation_clip=False,
        )


def progress(things, what, total=None):
    """The things one by one, counted on the line that shows how far the study is; without things, a count to update."""
    return _progress.Loop(things, what, total)


def plain(value, digits=6):
    """Arrays to lists, numbers to `digits` significant digits, NaN and infinities to None: a small and strict JSON."""
    if isinstance(value, dict):
        return {str(key): plain(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item, digits) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else None
    return value


def versions():
    """What the numbers were made with."""
    return {
        "throughtime": tt.__version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
    }


def main(module, argv=None, epilogue=None):
    """Measure, draw, write figures/NAME.png and .json, and say what came out; the exit status is 1 if a check fails."""
    path, doc = Path(module["__file__"]), module["__doc__"]
    name = path.stem
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="larger sizes, nearer the papers: minutes, not seconds")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "figures", help="folder for the picture and the numbers (default: figures/)"
    )
    options = parser.parse_args(argv)
    look_at_folder(parser, options.out)
    which = "FULL" if options.full else "SIZES"
    sizes, file = module[which], options.out / f"{name}.json"
    kept = _kept.Kept(options.out / ".kept" / f"{name}-{which}", {"code": _kept.code(path), "sizes": plain(sizes)})
    pace, about = _machine.pace(), None
    if recorded := times(ROOT / "figures" / f"{name}.json").get(which):
        about = recorded["seconds"] * pace / recorded["pace"]
        say(f"{name}: about {duration(about)} here; {duration(recorded['seconds'])} on {recorded['processor']}")
    elif "about" in module:
        about = module["about"](**sizes)
        say(f"{name}: about {duration(about)} here, by its own estimate")
    else:
        say(f"{name}: how long these sizes take is not on record")
    if kept.before:
        say(f"{name}: goes on where it stopped, {duration(kept.before)} done, {kept.results} results kept")
    options.out.mkdir(parents=True, exist_ok=True)
    resumes = {"kept": {"folder": kept.folder}, True: {"folder": options.out}}.get(module.get("RESUMES"), {})
    progress = _progress.Progress(name, about, kept.before)
    try:
        with _kept.calls(module, kept, progress):
            result = module["measure"](**sizes, **resumes)
    except KeyboardInterrupt:
        print(f"{name}: interrupted after {duration(progress.seconds())}; the same command goes on where it stopped")
        return 130
    took = {"seconds": progress.seconds(), "pace": pace, "processor": _machine.processor()}
    # The numbers before the picture: what fails there loses nothing.
    write(file, name, doc, sizes, result, times(file) | {which: took})
    pictures = {"": module["draw"](result)} | (module["pictures"](result) if "pictures" in module else {})
    for suffix, picture in pictures.items():
        # No software or date in the file: the same numbers give the same bytes.
        picture.savefig(options.out / f"{name}{suffix}.png", metadata={"Software": None})
        pyplot.close(picture)
    kept.done()
    for item in result["checks"]:
        verdict = "ok  " if item["pass"] else "FAIL"
        numbers = f"{item['measured']:.6g}, expected {item['expected']:.6g} ± {item['tolerance']:.2g}"
        print(f"{verdict} {item['name']}: {numbers}")
    if epilogue:
        print(epilogue(result))
    print(f"{name}: {took['seconds']:.1f} s, {options.out / name}.png and .json")
    return 0 if all(item["pass"] for item in result["checks"]) else 1


def look_at_folder(parser, out):
    """End in a sentence where the folder for the results cannot be one, before anything is measured."""
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            parser.error(f"--out {out}: {error.strerror}")
        if not os.access(out, os.W_OK):
            parser.error(f"--out {out}: nothing may be written there")


def folder():
    """For `save=` of an Ensemble: where its networks keep what they found until the study is done; None elsewhere."""
    return _kept.FOLDERS[-1] / "networks" if _kept.FOLDERS else None


def say(text):
    """A line before the work, at once."""
    print(text, flush=True)


def times(path):
    """{"SIZES": {"seconds", "pace", "processor"}, "FULL": ...} of a study's JSON file, as far as it ran."""
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("times", {})
    except (OSError, ValueError, AttributeError):
        return {}


def write(path, name, doc, sizes, result, took=None):
    """The numbers of a study as one JSON file: one line per check and per series. took: as `times` reads it."""

    def text(value, digits=6):
        return json.dumps(plain(value, digits), ensure_ascii=False, allow_nan=False)

    head = {"study": name, "question": doc.strip().splitlines()[0], "command": f"python analysis/{name}.py"}
    head |= {"versions": versions(), "sizes": sizes, "seeds": result["seeds"]}
    head |= {"times": took} if took else {}
    lines = [f" {text(key)}: {text(value)}" for key, value in head.items()]
    checks = ",\n".join(f"  {text(item, 17)}" for item in result["checks"])
    data = ",\n".join(f"  {text(key)}: {text(value)}" for key, value in result["data"].items())
    lines += [f' "checks": [\n{checks}\n ]', f' "data": {{\n{data}\n }}']
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def needs(package):
    """Say so and end where a peer is missing that the study cannot do without."""
    if importlib.util.find_spec(package) is None:
        name = Path(sys.argv[0]).stem
        print(f"{name}: skipped, because {package} is not installed (pip install {package}, then run it again)")
        sys.exit(0)


def run(module, epilogue=None):
    """For `if __name__ == "__main__"` of a study. `epilogue`: result -> text to print after the checks."""
    sys.exit(main(module, epilogue=epilogue))
