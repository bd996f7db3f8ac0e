"""Compiled copies: a forgotten placeholder is an error, and no edit of the library lets old machine code run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import throughtime
from throughtime import jit
from throughtime.code import sources
from throughtime.engine.cpu import backward_loop, build

PACKAGE = Path(throughtime.__file__).resolve().parent
FACTOR = SHIFT = jit.PLACEHOLDER
helper = jit.PLACEHOLDER


def scaled(x):
    return FACTOR * x


def shifted(x):
    return helper(x) + SHIFT


def test_a_copy_has_values_of_its_own():
    twice, thrice = jit.merged(scaled, FACTOR=2.0), jit.merged(scaled, FACTOR=3.0)
    assert jit.specialise(shifted, "twice", SHIFT=1.0, helper=twice)(5.0) == 11.0
    assert jit.specialise(shifted, "thrice", SHIFT=1.0, helper=thrice)(5.0) == 16.0


def test_a_placeholder_that_is_left_is_an_error():
    with pytest.raises(TypeError, match=r"^shifted is compiled without a value for SHIFT\.$"):
        jit.specialise(shifted, "short", helper=jit.merged(scaled, FACTOR=2.0))
    for make in (lambda: jit.merged(scaled), lambda: jit.address_of(scaled, "short", None)):
        with pytest.raises(TypeError, match=r"^scaled is compiled without a value for FACTOR\.$"):
            make()


def test_a_name_of_which_the_code_does_not_speak_is_an_error():
    with pytest.raises(TypeError, match=r"^scaled is given FACTORS, of which its code does not speak\.$"):
        jit.specialise(scaled, "wrong", FACTOR=1.0, FACTORS=2.0)


def test_a_placeholder_of_a_helper_is_found():
    """The loops call helpers by names in their own file: one that was not replaced brings its placeholders along."""
    shape = build.kernels(throughtime.LSTM(), "float64").shape
    names = jit.named_in(backward_loop.backprop, shape.constants | {"product_back": len})
    with pytest.raises(TypeError, match=r"parameter_gradients\.BLOCK, parameter_gradients\.BLOCK_VECTORS"):
        jit.filled(backward_loop.backprop, names | {"input_gradients": len})


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package whose text stands for that of the library."""
    package = shutil.copytree(PACKAGE, tmp_path / "throughtime", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources.resources, "files", lambda name: package)
    monkeypatch.setattr(sources, "digest", sources.digest.__wrapped__)
    return package


def of_compiled_code():
    """The files from which machine code on disk comes."""
    files = {path.relative_to(PACKAGE) for room in ("engine", "code") for path in (PACKAGE / room).rglob("*.py")}
    files |= {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "import specialise" in path.read_text()}
    files |= {Path(name) for name in ("jit.py", "scalar.py", "exponential.py")}
    return {path for path in files if path.parts[:2] != ("engine", "cuda")}


def test_an_edit_of_any_file_from_which_machine_code_comes_changes_its_name(copied):
    seen = {jit._sources.__wrapped__()}
    files = of_compiled_code()
    assert len(files) > 20
    for path in sorted(files):
        with open(copied / path, "a") as file:
            file.write("# edited\n")
        digest = jit._sources.__wrapped__()
        assert digest not in seen, f"an edit of {path} would let old machine code run"
        seen.add(digest)


@pytest.mark.parametrize("place", ["engine/later.py", "engine/later/loops.py"])
def test_so_does_a_file_in_a_room_that_comes_later(copied, place):
    before = jit._sources.__wrapped__()
    (copied / place).parent.mkdir(exist_ok=True)
    (copied / place).write_text("")
    assert jit._sources.__wrapped__() != before


@pytest.mark.parametrize("place", ["engine/cuda/device.py", "plots/style.py", "network/network.py"])
def test_an_edit_of_other_files_compiles_nothing_again(copied, place):
    before = jit._sources.__wrapped__()
    (copied / place).write_text("# edited\n")
    assert jit._sources.__wrapped__() == before
