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


PUBLIC = {name: thing for name, thing in vars(throughtime).items() if name[0] != "_" and not inspect.ismodule(thing)}


@pytest.mark.parametrize("name", sorted(name for name, thing in PUBLIC.items() if callable(thing)))
def test_every_public_function_shows_how_to_call_it(name):
    assert ">>>" in (PUBLIC[name].__doc__ or ""), f"the docstring of tt.{name} has no example"
