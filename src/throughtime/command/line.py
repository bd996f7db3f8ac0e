"""The command line: what it takes, and what it says to who uses it for the first time."""

from __future__ import annotations

import argparse
import sys
from textwrap import fill
from time import monotonic
from typing import Any

from ..cells import CELLS
from ..engine.cpu.loops import unroll
from ..engine.cpu.processors import available
from ..jit import kept_in
from ..refuse import arguments
from .parts import PARTS
from .precompile import precompile

DTYPES = ("float32", "float64")
ABOUT = """throughtime is a library for Python: recurrent networks and the dynamics of their gradients. You use it from
Python, by `import throughtime as tt`; this command prepares it."""
PRECOMPILE = f"""Compile cells ahead of time, so that no program has to wait for it.

throughtime translates its loops into the machine code of this processor when a cell is first used, which takes
several seconds for each cell and dtype, and keeps it on disk for all later programs. This command does that now:

    throughtime precompile                          all cells, float32 and float64: some minutes
    throughtime precompile lstm gru                 two of them
    throughtime precompile lstm --dtype float32     one of them in one dtype: some ten seconds

What is ready already is not compiled again, and a command that was interrupted goes on where it was. Run it again
after an update of throughtime, Numba or Python, and on another kind of processor. The code is kept beside the
installed package or, if it is set, in the folder that the environment variable NUMBA_CACHE_DIR names.

Noise, sparse weights, fields with a value for each unit, and what models add to a network (readouts, losses,
optimisers) are compiled when they are first used.

{fill("cells: " + ", ".join(CELLS), 112)}"""


def main(words: list[str] | None = None) -> int:
    """Run the command with these words, those of the shell if None; returns what the shell is told, 0 for well."""
    given = understood(words)
    if given.command is None:
        _parser().print_help()
        return 0
    return _precompile(given)


def understood(words: list[str] | None) -> argparse.Namespace:
    """The command and its options; what is none is told to the user, and SystemExit."""
    return _parser().parse_args(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("throughtime", description=ABOUT)
    _add_precompile(parser.add_subparsers(dest="command", metavar="command"))
    return parser


def _add_precompile(commands: Any) -> None:
    parser = commands.add_parser(
        "precompile", description=PRECOMPILE, help="compile cells ahead of time, so that no program has to wait",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("cells", nargs="*", type=_cell, metavar="cell", help="names of cells; all if none is given")
    parser.add_argument("--dtype", choices=DTYPES, help="one precision in place of both")
    parser.add_argument(
        "--part", action="append", choices=PARTS,
        help="one part in place of all: forward (runs), backward (gradients), tangents (jvp, vjp, Jacobians), analyses "
        "(Lyapunov spectra, fixed points, …); may be given several times. Each brings along the runs that it needs",
    )  # fmt: skip
    parser.add_argument(
        "--jobs", type=_count, default=available(), metavar="n",
        help="processes at a time, each of some 500 MB; if left out as many as there are processors, here %(default)s",
    )  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _cell(name: str) -> str:
    try:
        return arguments.known("cell", name, CELLS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    try:
        return arguments.size("--jobs", int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1.") from None


def _precompile(given: argparse.Namespace) -> int:
    folder = kept_in(unroll)
    if folder is None:
        print(
            "throughtime: there is no folder to keep machine code in. Name one that you may write to, and start your "
            "programs with it too: export NUMBA_CACHE_DIR=…",
            file=sys.stderr,
        )
        return 1
    cells, dtypes = list(dict.fromkeys(given.cells or CELLS)), [given.dtype] if given.dtype else list(DTYPES)
    began = monotonic()
    try:
        failed = precompile(cells, dtypes, given.part or list(PARTS), given.jobs, not given.quiet)
    except KeyboardInterrupt:
        print("throughtime: interrupted. What was ready is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    for (cell, dtype), error in failed.items():
        print(f"throughtime: {cell} in {dtype} could not be compiled: {error}", file=sys.stderr)
    ready = len(cells) * len(dtypes) - len(failed)
    print(
        f"{ready} of {len(cells) * len(dtypes)} ready after {monotonic() - began:.0f} s: {', '.join(cells)}, in "
        f"{' and '.join(dtypes)}. Kept in {folder}"
    )
    return 1 if failed else 0
