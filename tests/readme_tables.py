"""The README's tables of cells and of studies, from the files themselves: `python tests/readme_tables.py` writes them.

A row is made of the first line of a cell's docstring, or of the question that a study's docstring begins with. Rows
keep their order; new ones are put at the end. A study's time is that of its JSON file, at the sizes of `make figures`
and, behind a stroke, at those of the papers: a dash where it has not run there since times are kept.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import throughtime as tt
from throughtime.cells import spec

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def cells():
    """| name | what one unit does | its fields |"""
    for name, cls in tt.CELLS.items():
        record = spec(cls)
        fields = ", ".join(f"`{field}={value:g}`" for field, value in cls._field_defaults.items()) or "none"
        first = inspect.getdoc(cls).split("\n")[0].rstrip(".")
        yield f"| `{name}` | {first} | {record.gates} | {record.states} | {fields} |"


def studies():
    """| name | its question | how long it takes | picture and numbers |"""
    for path in sorted((ROOT / "analysis").glob("*.py")):
        if path.name[0] != "_" and path.stem not in ("run_all", "bench"):
            name, said = path.stem, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            question = re.sub(r"\s+", " ", said[: said.index("?") + 1])
            made = (ROOT / "figures" / f"{name}.json").exists()
            files = f"[picture](figures/{name}.png), [numbers](figures/{name}.json)" if made else "never run yet"
            yield f"| [{name}](analysis/{name}.py) | {question} | {took(name)} | {files} |"


def took(name):
    """12 s / 5 min: the times of a study's JSON file."""
    path = ROOT / "figures" / f"{name}.json"
    times = json.loads(path.read_text(encoding="utf-8")).get("times", {}) if path.exists() else {}
    words = [duration(times[which]["seconds"]) if which in times else "–" for which in ("SIZES", "FULL")]
    return " / ".join(words)


def duration(seconds):
    """1 s, 12 s, 3 min, 1 h 20 min."""
    if seconds < 99.5:
        return f"{max(round(seconds), 1)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def key(row):
    return row.split(" | ")[0]


def written(text):
    """The text with all rows as they should be."""
    for rows, others in ((list(cells()), r"\| `\w+` \|"), (list(studies()), r"\| \[\w+\]\(analysis/")):
        wanted = {key(row): row for row in rows}
        lines = text.split("\n")
        places = [k for k, line in enumerate(lines) if re.match(others, line)]
        kept = [key(lines[k]) for k in places if key(lines[k]) in wanted]
        table = [wanted[name] for name in [*kept, *(name for name in wanted if name not in kept)]]
        text = "\n".join([*lines[: places[0]], *table, *lines[places[-1] + 1 :]])
    return text


if __name__ == "__main__":
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
