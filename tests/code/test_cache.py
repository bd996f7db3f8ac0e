"""Machine code on disk is a convenience: damaged, foreign or unwritable, it is one warning and compiled anew."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numba
import numpy as np
import pytest

import throughtime as tt
from throughtime import jit
from throughtime.code import cache as code_cache

PACKAGE = Path(tt.__file__).resolve().parent
OTHER = b"\x80\x04" + b"\0" * 40


def triple(x, unit):
    """Two lines, compiled in some 50 ms."""
    return 3.0 * x + unit


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Compile `triple` into a cache in a folder of its own, as another process would: what it gives, what it took."""
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path))

    def make(name="first"):
        code_cache._said.clear()
        made = jit.specialise(triple, name)
        value = made(2.0, 1.0)
        return value, sum(made.stats.cache_hits.values())

    return make


def files(folder, end):
    return sorted(folder.rglob(f"*.{end}"))


def test_whole_files_are_read_without_a_word(kept):
    assert kept() == (7.0, 0)
    assert kept() == (7.0, 1)


def contents(file):
    """Ways in which a file can be broken: cut, zeroed, flipped, replaced."""
    whole = file.read_bytes()
    n = len(whole)
    broken = {f"cut at {k}": whole[:k] for k in {0, 1, 2, 26, 27, 28, 58, 59, 60, 64, n // 4, n // 2, n - 8, n - 1}}
    broken |= {
        "zeros": bytes(n),
        "a page of zeros": whole[: n // 2] + bytes(min(4096, n - n // 2)) + whole[n // 2 + 4096 :],
    }
    broken |= {"zeros behind": whole[: n // 2] + bytes(n - n // 2), "longer": whole + b"\0", "text": b"hello\n" * 20}
    broken |= {"another pickle": pickle.dumps({"a": 1}), "half a pickle": OTHER}
    broken["Numba's own, of another version"] = pickle.dumps("0.1.0") + pickle.dumps(("stamp", {}))
    for bit in np.random.default_rng(0).integers(0, 8 * n, 16):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        broken[f"bit {bit}"] = bytes(flipped)
    return whole, broken


@pytest.mark.parametrize("end", ["nbi", "nbc"])
def test_a_broken_file_is_compiled_again_and_mended(kept, tmp_path, end):
    kept()
    (file,) = files(tmp_path, end)
    whole, broken = contents(file)
    for what, data in broken.items():
        file.write_bytes(data)
        with pytest.warns(RuntimeWarning, match="damaged or could not be read; it is compiled again") as said:
            assert kept() == (7.0, 0), what
        assert len(said) == 1, what
        assert kept() == (7.0, 1), what  # mended, and not a word
        file.write_bytes(whole)


def test_a_file_that_is_gone_is_written_again(kept, tmp_path):
    kept()
    for end in ("nbi", "nbc"):
        files(tmp_path, end)[0].unlink()
        assert kept() == (7.0, 0)
        assert kept() == (7.0, 1)


def test_code_of_another_signature_is_not_run(kept, tmp_path):
    """Two processes that write the index at once can leave it pointing to the other's code."""
    made = jit.specialise(triple, "first")
    made(2.0, 1.0)
    made(np.float32(2.0), np.float32(1.0))
    one, two = files(tmp_path, "nbc")
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    assert kept() == (7.0, 0)
    assert kept() == (7.0, 1)


def test_a_folder_in_the_place_of_a_file(kept, tmp_path):
    kept()
    for end in ("nbc", "nbi"):
        (file,) = files(tmp_path, end)
        file.unlink()
        file.mkdir()
        with pytest.warns(RuntimeWarning, match=r"is compiled again|could not be kept"):
            assert kept() == (7.0, 0)
        file.rmdir()
        kept()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")])
def test_what_cannot_be_written_is_compiled_in_each_process(kept, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.warns(RuntimeWarning, match=f"could not be kept.*{error.strerror}") as said:
        assert kept() == (7.0, 0)
    assert len(said) == 1
    monkeypatch.undo()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_in_the_place_of_the_folder_is_passed_by(kept, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(code_cache._Implementation, "_locator_classes", code_cache._Implementation._locator_classes[:1])
    assert kept() == (7.0, 0)
    assert kept() == (7.0, 0)


SCRIPT = """
import json, sys, warnings
import numpy as np
import throughtime as tt
assert sys.argv[1] in tt.__file__, tt.__file__
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    net = tt.Network("linear", 1, 1, bias=False, init=lambda net, rng: {k: np.ones(s) for k, s in net.shapes.items()})
    value = net.unroll(np.ones((3, 1))).output[-1].item()
from throughtime import jit
from throughtime.code import sources
print(json.dumps([value, [str(one.message) for one in said], sources.digest() is not None, jit._sources() is not None]))
"""


def run(path, cache, *more):
    environment = os.environ | {"PYTHONPATH": str(path), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, *more, "-c", SCRIPT, str(path)], env=environment, capture_output=True, text=True, timeout=300,
        cwd=cache,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    import json

    return json.loads(done.stdout.splitlines()[-1])


def test_the_package_inside_an_archive(tmp_path):
    """It computes, and keeps its machine code in the folder of NUMBA_CACHE_DIR."""
    archive = tmp_path / "library.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in PACKAGE.rglob("*.py"):
            made.write(file, file.relative_to(PACKAGE.parent).as_posix())
    (tmp_path / "cache").mkdir()
    assert run(archive, tmp_path / "cache") == [3.0, [], True, True]
    held = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.nb[ic]")}
    assert held
    assert run(archive, tmp_path / "cache") == [3.0, [], True, True]
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.nb[ic]")} == held


def test_the_package_as_byte_code_alone(tmp_path):
    """As in a frozen program: no .py file is there to be read."""
    import compileall
    import shutil

    package = Path(
        shutil.copytree(PACKAGE, tmp_path / "library" / "throughtime", ignore=shutil.ignore_patterns("__pycache__"))
    )
    compileall.compile_dir(package, legacy=True, quiet=1)
    for file in package.rglob("*.py"):
        file.unlink()
    (tmp_path / "cache").mkdir()
    assert run(package.parent, tmp_path / "cache") == [3.0, [], True, True]
