"""What surrounds the package agrees with it: versions, dependencies, commands, links."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import throughtime

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "throughtime"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version_everywhere():
    version = PROJECT["version"]
    assert throughtime.__version__ == version
    assert re.search(r"^version: (\S+)$", text("CITATION.cff"), re.M)[1] == version
    assert f"## [{version}]" in text("CHANGELOG.md")


def test_one_licence_everywhere():
    assert PROJECT["license"] == "BSD-3-Clause"
    assert "license: BSD-3-Clause" in text("CITATION.cff")
    assert text("LICENSE").startswith("BSD 3-Clause License")


def test_every_import_of_the_package_is_a_declared_dependency():
    declared = {re.match(r"[\w.-]+", entry)[0] for entry in PROJECT["dependencies"]}
    imported = {}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            else:
                continue
            imported.update({name.split(".")[0]: path.name for name in names})
    # Of an extra, imported inside the one function that needs it, which says so in a sentence where it is missing.
    declared |= {re.match(r"[\w.-]+", entry)[0] for entry in PROJECT["optional-dependencies"]["sweeps"]}
    # llvmlite comes with numba, which pins the one version that it works with; cuda (the package cuda-core) comes with
    # numba-cuda, the extra `cuda`.
    known = declared | set(sys.stdlib_module_names) | {"throughtime", "llvmlite", "cuda"}
    assert {name: where for name, where in imported.items() if name not in known} == {}


def test_every_folder_of_the_package_is_installed():
    """Setuptools leaves out a folder without __init__.py."""
    folders = {path.parent for path in SOURCE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("target", ["figures", "test", "lint", "clean"])
def test_make_knows_the_target(target):
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    answer = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()


def test_the_ci_script_can_be_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_links_resolve(page):
    headings = re.findall(r"^#+ (.+)$", text(page), re.M)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if target.startswith("#"):
            ok = target[1:] in anchors
        else:
            ok = "://" in target or (ROOT / target.split("#")[0]).exists()
        if not ok:
            broken.append(target)
    assert broken == []
