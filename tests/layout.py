"""The rules of the house, each a function of a package's folder that gives one sentence for each place that breaks it.

tests/test_layout.py asks them of the library, and of small packages in which a rule is broken on purpose.
"""

from __future__ import annotations

import ast
from functools import cache
from statistics import median
from typing import NamedTuple

# A file imports from its own room and from those before. `plots` reads results and is imported by no room.
ROOMS = (
    "code", "jit", "refuse", "scalar", "cells", "engine", "network", "results", "ensemble", "analysis", "models",
    "training", "tasks", "plots", "command",
)  # fmt: skip
BESIDE = {
    "exponential": "scalar", "circular": "scalar", "init": "network", "parametrise": "network", "progress": "network",
    "kernels": "ensemble", "__main__": "command",
}  # fmt: skip
# Inside functions: what not everyone has installed, and SciPy and Matplotlib, slower to load than all of ours.
OPTIONAL = ("torch", "tqdm", "joblib", "dask", "xarray", "matplotlib", "scipy", "numba_cuda", "numba.cuda", "cuda")
# Doors that open at first use: (file, what it imports) -> why.
DOORS = {
    ("throughtime", "import_module"): "analysis, kernels and plots bring SciPy's parts and Matplotlib",
    ("engine/blas", "threadpoolctl.ThreadpoolController"): "it looks through all loaded libraries, which takes time",
    ("engine/other_threads", "threadpoolctl.threadpool_info"): "likewise",
    (
        "results/record",
        "throughtime.plots",
    ): "result.plot() draws: pictures stand above what they show, and are slow to load",
    ("refuse/words", "difflib"): "only a mistake needs it, and it is loaded as long as several of our files",
    ("refuse/arguments", "difflib"): "likewise",
    ("engine", "import_module"): "the engine of a device: Numba's CUDA package is for those who ask for the GPU",
    ("engine/cuda/toolkit", "import_module"): "a part of Numba's CUDA package, under a name lent to NumPy",
    ("code/names", "import_module"): "what a user's function imports when it runs",
}
# Private parts of Python and Numba that have no public name.
FOREIGN = {"_getframe", "_compile_for_args", "_can_compile", "_cache", "_ary"}
LINES, MEDIAN = 300, 110
TUPLES = {"_fields", "_replace", "_asdict", "_field_defaults", "_make"}  # what a NamedTuple calls its public methods


class Import(NamedTuple):
    name: str  # absolute and dotted
    late: bool  # inside a function
    typing: bool  # read by the type checker alone


def files(root):
    return sorted(root.rglob("*.py"))


def module(root, path):
    """cells/lstm.py -> ("cells", "lstm")."""
    parts = path.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(root, path):
    """Each import of a file."""
    package = [root.name, *module(root, path)]
    if path.name != "__init__.py":
        package.pop()
    found = []

    def walk(node, late, typing):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found.append(Import("import_module", late, typing))
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, late, typing) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            found.extend(Import(".".join([*base, alias.name]), late, typing) for alias in node.names)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = typing or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for child in ast.iter_child_nodes(node):
            walk(child, late, typing)

    walk(tree(path), False, False)
    return found


def own(root, path):
    """The imports of the package's own files, as parts: ("engine", "blas", "hold")."""
    for found in imports(root, path):
        head, *parts = found.name.split(".")
        if head == root.name and not found.typing:
            yield found, tuple(parts)


def one_way(root):
    """Imports point from later rooms to earlier ones."""
    for path in files(root):
        here = module(root, path)
        if not here:
            continue  # the package's own __init__ re-exports every room
        for found, parts in own(root, path):
            if ("/".join(here), found.name) in DOORS:
                continue
            there = parts[0] if parts else ""
            if BESIDE.get(there, there) not in ROOMS or not (
                (root / there).is_dir() or (root / f"{there}.py").is_file()
            ):
                yield f"{'/'.join(here)} imports {'.'.join(parts) or 'the whole package'}, which is in no room"
            elif BESIDE.get(here[0], here[0]) not in ROOMS:
                yield f"{'/'.join(here)} belongs to no room: give it one in tests/layout.py"
            elif ROOMS.index(BESIDE.get(there, there)) > ROOMS.index(BESIDE.get(here[0], here[0])):
                yield f"{'/'.join(here)} imports {'.'.join(parts)} against the stream"


def no_circle(root):
    """No two files import each other, directly or by way of others."""
    known = {module(root, path): path for path in files(root)}
    edges = {}
    for name, path in known.items():
        targets = edges.setdefault(name, set())
        for found, parts in own(root, path):
            if not found.late:
                while parts not in known:
                    parts = parts[:-1]
                targets.add(parts)
        targets.discard(name)

    def reached(start):
        seen, waiting = set(), [start]
        while waiting:
            new = edges[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen

    reach = {name: reached(name) for name in edges}
    for name in sorted(reach):
        circle = sorted("/".join(other) or root.name for other in reach[name] if name in reach[other])
        if circle:
            yield f"{'/'.join(name) or root.name} stands in a circle: {', '.join(circle)}"


def no_late_import(root):
    """An import inside a function is of an optional or slow library, or a named door."""
    for path in files(root):
        here = "/".join(module(root, path)) or root.name
        for found in imports(root, path):
            optional = any(f"{found.name}.".startswith(f"{library}.") for library in OPTIONAL)
            if found.late and not optional and (here, found.name) not in DOORS:
                yield f"{here} imports {found.name} inside a function"


def nothing_private_from_outside(root):
    """`thing._name` is written in the folder that defines `_name`, nowhere else."""
    defined = {}
    for path in files(root):
        defined.setdefault(path.parent, set()).update(private_definitions(tree(path)))
    for path in files(root):
        here = "/".join(module(root, path)) or root.name
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in FOREIGN | TUPLES:
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                if not own and node.attr not in defined[path.parent]:
                    yield f"{here}, line {node.lineno}: {ast.unparse(node)} is private to another room"
            elif isinstance(node, ast.ImportFrom) and node.level:
                for name in (alias.name for alias in node.names if private(alias.name)):
                    yield f"{here} imports {name}, which is private to its file"


def private(name):
    return name.startswith("_") and not name.startswith("__") and name != "_"


def private_definitions(code):
    """The private names that a file gives a meaning: functions, classes, variables, attributes that are assigned."""
    for node in ast.walk(code):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                yield node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # type(name, bases, {"_version": …})
            yield node.value


def short_files(root):
    """No file has more than 300 lines, and half of them fit two screens."""
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in files(root)}
    for path, length in lengths.items():
        if length > LINES:
            yield f"{'/'.join(module(root, path))} has {length} lines, more than {LINES}"
    middle = median(lengths.values())
    if middle > MEDIAN:
        yield f"the median of {len(lengths)} files is {middle:g} lines, more than {MEDIAN}"


def one_name_one_file(root):
    """No two files have one name, but for the two engines' that offer the same functions."""
    places = {}
    for path in files(root):
        if path.name != "__init__.py":
            places.setdefault(path.name, []).append(path)
    cpu, cuda = root / "engine" / "cpu", root / "engine" / "cuda"
    for name, paths in places.items():
        if len(paths) > 1 and {path.parent for path in paths} != {cpu, cuda}:
            yield f"{name} stands in {', '.join(str(path.parent.relative_to(root)) for path in paths)}"


def both_engines_alike(root):
    """Of two files of one name the GPU's engine offers all that the CPU's does, under the same names."""
    for path in files(root / "engine" / "cpu"):
        twin = root / "engine" / "cuda" / path.name
        if path.name != "__init__.py" and twin.exists():
            alone = sorted(offered(path) - offered(twin))
            if alone:
                yield f"engine/cpu/{path.name} alone offers {alone}"


def offered(path):
    """What a file lists in `__all__`, or all its public functions."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return {node.name for node in tree(path).body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}


def every_file_says_what_it_is(root):
    """The first line of each file is a sentence."""
    for path in files(root):
        if not ast.get_docstring(tree(path)):
            yield f"{'/'.join(module(root, path))} has no line that says what it holds"


RULES = (
    one_way, no_circle, no_late_import, nothing_private_from_outside, short_files, one_name_one_file,
    both_engines_alike, every_file_says_what_it_is,
)  # fmt: skip
