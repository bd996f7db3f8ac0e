"""Every example of README.md runs, and prints what the README says.

An example is a ```python block; a ```text block right after it is its output. Each runs as a newcomer would run it:
as a script of its own, in an empty folder, with warnings as errors.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import throughtime

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n(?:\n*```text\n(.*?)^```)?", README, re.M | re.S)


def test_the_readme_has_examples_with_output():
    assert len(EXAMPLES) >= 2
    assert EXAMPLES[0][1], "the first example of the README shows its output"


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_prints_what_the_readme_says(number, tmp_path):
    code, expected = EXAMPLES[number]
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    where = str(Path(throughtime.__file__).resolve().parents[1])  # the package under test, installed or not
    environment = os.environ | {"PYTHONPATH": where, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    answer = subprocess.run(
        [sys.executable, "-W", "error", script.name], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.rstrip() == expected.rstrip()
