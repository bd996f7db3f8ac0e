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
import readme_tables

import throughtime

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n(?:\n*```text\n(.*?)^```)?", README, re.M | re.S)


def test_the_tables_name_every_cell_and_every_study():
    assert readme_tables.written(README) == README, "write them anew: python tests/readme_tables.py"


def test_a_table_that_lacks_a_row_or_tells_another_is_seen():
    rows = [*readme_tables.cells(), *readme_tables.studies()]
    for row in (rows[0], rows[-1]):
        assert readme_tables.written(README.replace(row + "\n", "")) != README.replace(row + "\n", "")
    assert readme_tables.written(README.replace("The gated recurrent unit: ", "Something else: ")) == README


def lines(code):
    return [line for line in code.splitlines() if line.strip()]


def test_every_example_shows_what_it_prints():
    assert len(EXAMPLES) == README.count("```python") >= 4
    assert all(printed for _, printed in EXAMPLES)


def test_the_first_screen_has_commands_a_short_example_and_a_figure():
    first = README.split("\n## ")[0]
    for needed in ("make figures", "make test", "```python", "](figures/"):
        assert needed in first
    assert len(lines(EXAMPLES[0][0])) <= 11  # ten and the imports


def test_a_cell_of_one_s_own_takes_at_most_25_lines():
    (own,) = (code for code, _ in EXAMPLES if "@tt.cell" in code)
    assert len(lines(own)) <= 25


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
