"""Every example in a docstring of the package runs and prints what it says; a new module is found by itself."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import throughtime

MODULES = ["throughtime", *(m.name for m in pkgutil.walk_packages(throughtime.__path__, "throughtime."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} does not say what it is for"
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0, f"{result.failed} of {result.attempted} lines are wrong, see above"


SHOWN_ELSEWHERE = {"get_num_threads"}  # by set_num_threads


def functions(module):
    """What a user calls: the functions of `__all__`, or those written in the module."""
    names = getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"])
    found = {name: getattr(module, name) for name in names if name not in SHOWN_ELSEWHERE}
    own = {name: thing for name, thing in found.items() if inspect.isfunction(thing)}
    return [pytest.param(thing, id=f"{module.__name__}.{name}") for name, thing in sorted(own.items())]


@pytest.mark.parametrize("thing", functions(throughtime) + functions(throughtime.analysis) + [throughtime.Network])
def test_every_public_function_shows_how_to_call_it(thing):
    assert ">>>" in (thing.__doc__ or ""), f"the docstring of {thing.__name__} has no example"


@pytest.mark.parametrize("name", ["init", "kernels", "scalar"])
def test_every_module_of_functions_has_examples(name):
    assert doctest_count(f"throughtime.{name}") >= 1


def doctest_count(name):
    return sum(len(found.examples) for found in doctest.DocTestFinder().find(importlib.import_module(name)))
