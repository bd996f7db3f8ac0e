"""What every test shares. Tests write into tmp_path only.

Set before NumPy is imported: one BLAS thread (small matrices; spinning workers would take the cores from
the library's own threads), and a Matplotlib that opens no window.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
sys.path.insert(0, str(Path(__file__).parent))  # `import naive` works whatever pytest's import mode

import pytest

# Compilers and the simulator make millions of objects, and Python looks through all of them again and again: a tenth of
# all time went there. What is left behind is collected as before, only later.
gc.set_threshold(100_000, 20, 20)


def pytest_addoption(parser):
    parser.addoption("--fuzz-seconds", type=float, help="how long each fuzzer goes on, in place of some ten seconds")
    parser.addoption("--fuzz-seed", type=int, default=0, help="of the fuzzer of wrong calls")


def pytest_collection_modifyitems(config, items):
    """Of two workers each begins with half of what takes long: at the end, one of them would wait for the other."""
    if hasattr(config, "workerinput"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        rest = [item for item in items if not item.get_closest_marker("slow")]
        middle = len(rest) // 2
        items[:] = [*slow[::2], *rest[:middle], *slow[1::2], *rest[middle:]]


class Punctual:
    """In the place of a team's lateness."""

    def alone(self):
        return False

    def judge(self, taken, ran):
        """No part is late."""


@pytest.fixture(autouse=True, scope="session")
def small_passes_are_divided():
    """Tests are small, and the bits for any number of threads are theirs to compare: what is too small for a second
    thread to pay is divided all the same."""
    from throughtime.engine.cpu import board, scanned, shares
    from throughtime.engine.cpu import threads as team
    from throughtime.engine.cpu.machine import Machine
    from throughtime.engine.lu import frame

    def planned(steps, rows, blocks, work, team, *, weights, **others):
        if rows >= 2 * team and not (weights > shares.RESIDENT and blocks >= team):
            return "rows", team
        return "units", min(team, blocks)

    shares.SMALL, shares.planned = 200_000, planned
    shares.now = scanned.now = frame.machine = lambda: Machine(0.0, 0.0, meet=1e-7, rate=1e11, copy=1e10)
    # Workers are waited for, as bits of a pass that was not divided would say nothing.
    board.PATIENCE = board.ANSWER = 10**10
    team.Lateness = Punctual
    team._after_fork()  # a team that is never late, with more threads than processors too


@pytest.fixture
def fuzz_seconds(request):
    """`fuzz_seconds(usual)`: how long a fuzzer goes on, by --fuzz-seconds or THROUGHTIME_FUZZ or as usual."""
    wanted = request.config.getoption("--fuzz-seconds") or os.environ.get("THROUGHTIME_FUZZ")
    return lambda usual: float(wanted or usual)


@pytest.fixture(scope="session")
def torch():
    """PyTorch on one thread, or a skip that says why."""
    module = pytest.importorskip(
        "torch", reason="PyTorch is not installed: only the committed golden values were compared"
    )
    module.set_num_threads(1)
    return module


@pytest.fixture
def threads():
    """`threads(n)` sets the library's number of threads, for this test only."""
    import throughtime as tt

    before = tt.get_num_threads()
    yield tt.set_num_threads
    tt.set_num_threads(before)
