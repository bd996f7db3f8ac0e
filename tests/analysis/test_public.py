"""Every public analysis carries its decorator, where it is defined, and nothing else registers it."""

import ast
import inspect
import pickle
import sys
from inspect import isfunction

import pytest

import throughtime as tt

analysis, theory = tt.analysis, tt.analysis.mean_field
PUBLIC = {
    f"{module.__name__.rpartition('.')[2]}.{name}": getattr(module, name)
    for module in (analysis, theory)
    for name in module.__all__
    if isfunction(getattr(module, name))
}


def decorators(function):
    """The names of the decorators above the definition."""
    tree = ast.parse(inspect.getsource(inspect.unwrap(function))).body[0]
    calls = [node.func if isinstance(node, ast.Call) else node for node in tree.decorator_list]
    return [node.id for node in calls if isinstance(node, ast.Name)]


@pytest.mark.parametrize("name", PUBLIC)
def test_the_decorator_is_the_one_for_its_first_argument(name):
    function = PUBLIC[name]
    takes_networks = next(iter(inspect.signature(function).parameters)) in ("net", "run", "matrix")
    assert decorators(function) == ["of_networks" if takes_networks else "public"]


@pytest.mark.parametrize("name", PUBLIC)
def test_its_module_holds_what_is_public(name):
    """So that pickle finds it, and calls from one analysis to another are checked as well."""
    function = PUBLIC[name]
    assert getattr(sys.modules[function.__module__], function.__name__) is function
    assert pickle.loads(pickle.dumps(function)) is function


def test_what_does_not_work_on_the_gpu_names_what_does():
    class Elsewhere:
        device = "cuda"

    with pytest.raises(
        ValueError, match=r"lyapunov_spectrum.*gradient_by_lag, gradient_norms, jacobian_spectrum, prod"
    ):
        analysis.spectral_radius.__wrapped__(Elsewhere())
