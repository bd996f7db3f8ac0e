"""`help(...)` answers a beginner: every public name says what it is, what goes in and comes out, what is refused, and
how to call it. Names are found by walking the package, so that a new one is asked the same.
"""

from __future__ import annotations

import dataclasses
import inspect
import pydoc
import re
from collections.abc import Callable

import pytest

import throughtime as tt

MODULES = {
    "": tt, "analysis.": tt.analysis, "mean_field.": tt.analysis.mean_field, "init.": tt.init, "plots.": tt.plots,
    "scalar.": tt.scalar, "kernels.": tt.kernels, "tasks.": tt.tasks,
    "models.": tt.models, "parametrise.": tt.parametrise, "training.": tt.training,
}  # fmt: skip


def public(module):
    """name -> object of what a user finds in a module."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [name for name, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
    cells = {cls.__name__: cls for cls in tt.CELLS.values()} if module is tt else {}
    return {name: getattr(module, name) for name in names if not name.startswith("_")} | cells


def found(kind):
    things = {prefix + name: thing for prefix, module in MODULES.items() for name, thing in public(module).items()}
    return [pytest.param(thing, id=name) for name, thing in sorted(things.items()) if kind(thing)]


def page(thing):
    return inspect.getdoc(thing) or ""


def methods(cls):
    """Public methods and properties of a class, of its own."""
    return {
        name: thing
        for name, thing in inspect.getmembers(cls)
        if not name.startswith("_") and (inspect.isfunction(thing) or isinstance(thing, property))
    }


def is_result(thing):
    return inspect.isclass(thing) and dataclasses.is_dataclass(thing)


def is_function(thing):
    return inspect.isfunction(thing) or (isinstance(thing, Callable) and not inspect.isclass(thing))


FUNCTIONS = found(is_function)
RESULTS = found(is_result)
CLASSES = found(inspect.isclass)


def test_something_is_found():
    assert len(FUNCTIONS) > 60
    assert len(RESULTS) > 20


@pytest.mark.parametrize("thing", FUNCTIONS + CLASSES)
def test_a_summary_in_one_line(thing):
    first = page(thing).split("\n")[0]
    assert len(first) > 10
    assert first[-1] in ".:?", first


def parameters(function):
    try:
        signature = inspect.signature(function)
    except ValueError:
        return []
    return [
        name
        for name, p in signature.parameters.items()
        if name not in ("self", "cls", "args", "kwargs") and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


@pytest.mark.parametrize("thing", FUNCTIONS)
def test_every_argument_is_explained(thing):
    missing = [name for name in parameters(thing) if not re.search(rf"\b{name}\b", page(thing))]
    assert missing == []


@pytest.mark.parametrize("thing", RESULTS)
def test_every_field_and_property_of_a_result_is_explained(thing):
    text = page(thing)
    fields = {field.name for field in dataclasses.fields(thing) if not field.name.startswith("_")}
    explained = re.findall(r"^ *(\w+(?:, \w+)*) ?(?::|  )", text, re.MULTILINE)
    missing = fields - {name for names in explained for name in names.split(", ")}
    assert missing == set(), "the class docstring has a line for each field"
    for name, member in methods(thing).items():
        assert page(member), f".{name} has no docstring"


@pytest.mark.parametrize("thing", [p for p in CLASSES if not hasattr(p.values[0], "__throughtime__")])  # see tt.cell
def test_every_method_has_a_page_that_names_its_arguments(thing):
    for name, member in methods(thing).items():
        text = page(member)
        assert text, f".{name} has no docstring"
        if inspect.isfunction(member) and name != "plot":
            missing = [p for p in parameters(member) if not re.search(rf"\b{p}\b", text + page(thing))]
            assert missing == [], f".{name}"


@pytest.mark.parametrize(
    "thing", [p for p in FUNCTIONS if not p.id.startswith(("scalar.", "get_num", "release_memory"))]
)
def test_what_is_refused_is_said(thing):
    assert re.search(r"(Type|Value|Runtime|File\w+|Key)Error", page(thing))


@pytest.mark.parametrize("thing", [p for p in FUNCTIONS + RESULTS if not p.id.startswith("get_num")])
def test_an_example_to_run(thing):
    text = page(thing)
    if is_result(thing) and ">>>" not in text:
        text = "\n".join(page(p.values[0]) for p in FUNCTIONS if thing.__name__ in page(p.values[0]))
    assert ">>>" in text


@pytest.mark.parametrize("thing", [p for p in FUNCTIONS + RESULTS if p.id.startswith(("analysis.", "mean_field."))])
def test_rates_have_their_unit(thing):
    text = page(thing)
    if re.search(r"exponent|\brate\b|growth rate|entropy", text):
        assert re.search(r"\bnats?\b", text)


def test_completion_offers_all_that_is_public():
    assert set(tt.__all__) <= set(dir(tt))
    assert {"analysis", "kernels", "plots", "GRU"} <= set(dir(tt))
    assert not {"arguments", "checks", "engine", "jit"} & set(dir(tt))


def test_the_page_of_the_package_is_short_and_names_every_entry():
    text = pydoc.plain(pydoc.render_doc(tt))
    assert "builtins.tuple" not in text
    assert len(text.splitlines()) < 700
    assert [name for name in tt.__all__ if not re.search(rf"\b{name}\b", tt.__doc__)] == []
