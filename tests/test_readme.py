"""Every example of README.md and of the tutorial runs, and prints what stands there.

An example is a ```python block; a ```text block right after it is its output. Each runs as a newcomer would run it:
as a script of its own (those of the tutorial as one), in an empty folder, with warnings as errors.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import readme_tables

import throughtime

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "analysis" / "TUTORIAL.md").read_text(encoding="utf-8")
BLOCKS = re.compile(r"^```python\n(.*?)^```\n(?:\n*```text\n(.*?)^```)?", re.M | re.S)
EXAMPLES = BLOCKS.findall(README)


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
    assert len(lines(EXAMPLES[0][0])) <= 16  # fifteen and the imports


def test_a_cell_of_one_s_own_takes_at_most_25_lines():
    own = [code for code, _ in EXAMPLES if "@tt.cell" in code]
    assert len(own) == 2
    assert all(len(lines(code)) <= 25 for code in own)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_prints_what_the_readme_says(number, tmp_path):
    code, expected = EXAMPLES[number]
    assert printed_by(code, tmp_path) == expected.rstrip()


def test_the_tutorial_prints_what_it_says(tmp_path):
    blocks = BLOCKS.findall(TUTORIAL)
    assert len(blocks) == TUTORIAL.count("```python") >= 8
    between = "\nprint('-' * 8)\n"
    wanted = [printed.rstrip() for _, printed in blocks]
    assert wanted.count("") == sum("print(" not in code for code, _ in blocks)
    found = printed_by(between.join(code for code, _ in blocks), tmp_path)
    assert [part.strip() for part in found.split("-" * 8)] == wanted


def printed_by(code, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    where = str(Path(throughtime.__file__).resolve().parents[1])  # the package under test, installed or not
    environment = os.environ | {"PYTHONPATH": where, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    answer = subprocess.run(
        [sys.executable, "-W", "error", script.name], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.rstrip()
