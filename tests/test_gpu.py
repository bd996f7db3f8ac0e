"""The GPU engine without a GPU: tests/gpu_sim, tests/gpu_compile and tests/gpu_emulated, each in a process of its own.

The first needs a variable that is set before Numba is imported, the second replaces functions of Numba's CUDA package,
the third loads a stand-in for NVIDIA's driver.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WHEELS = ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime")


def skip_without(*packages):
    for package in packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            pytest.skip(
                f"the GPU's kernels were not checked: {package} is missing, pip install 'throughtime[test-gpu]'"
            )


def run(place, **variables):
    """Pytest on a folder or file in a new process; it has to pass, and something has to have run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "NUMBA_ENABLE_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"tests/{place}"]
    done = subprocess.run(command, cwd=ROOT, env=kept | variables, capture_output=True, text=True, timeout=1800)
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert re.search(r"\b[1-9]\d* passed", report.splitlines()[-1]), report


@pytest.mark.slow
def test_kernels_in_the_simulator():
    skip_without("numba-cuda", "greenlet")
    run("gpu_sim", NUMBA_ENABLE_CUDASIM="1")


@pytest.mark.slow
def test_kernels_compiled_for_the_device():
    skip_without(*WHEELS)
    run("gpu_compile")


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "test_machine.py", "test_driver.py", "test_host.py", "test_memory.py", "test_library.py", "test_speed_gpu.py",
        "test_kept_kernels.py", "test_steady.py", "test_sharing.py", "test_models.py",
    ],
)  # fmt: skip
def test_the_engine_on_an_emulated_device(what):
    skip_without(*WHEELS)
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("the GPU engine was not run on an emulated device: there is no C compiler")
    run(f"gpu_emulated/{what}")


def test_the_runner_takes_no_failure_for_success(tmp_path):
    """A test of the test."""
    (tmp_path / "test_empty.py").write_text('"""Nothing."""\n')
    with pytest.raises(AssertionError, match="no tests ran"):
        run(os.path.relpath(tmp_path, ROOT / "tests"))
    (tmp_path / "test_skipped.py").write_text('import pytest\n\n\ndef test_it():\n    pytest.skip("no")\n')
    with pytest.raises(AssertionError, match="1 skipped"):
        run(os.path.relpath(tmp_path, ROOT / "tests"))
    (tmp_path / "test_wrong.py").write_text("def test_it():\n    assert False, 'what is wrong'\n")
    with pytest.raises(AssertionError, match="what is wrong"):
        run(os.path.relpath(tmp_path, ROOT / "tests"))
