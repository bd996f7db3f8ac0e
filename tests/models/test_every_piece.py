"""Central differences of every kind of piece, with slope 2: by parameters, input and state, from output and state."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from every_piece import NAMES, examples, kinds_in
from test_model_gradients import slope_two

import throughtime as tt
from throughtime.models.kinds import KINDS

EVERY = pytest.mark.parametrize("name", NAMES)
PADDED = pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
NO_EXAMPLE = {"Model", "Composite"}  # what models are made from


def test_every_kind_has_an_example():
    found = set().union(*(kinds_in(example.model) for example in examples().values()))
    library = {name: own for name, own in KINDS.items() if name.startswith("throughtime.")}
    lacking = sorted(name for name, own in library.items() if own not in found and own.__name__ not in NO_EXAMPLE)
    assert not lacking, f"tests/models/every_piece.py has no example of {lacking}"


def parts(tree):
    """The arrays of floats in tuples and dicts."""
    if isinstance(tree, (tuple, dict)):
        return [part for own in (tree.values() if isinstance(tree, dict) else tree) for part in parts(own)]
    return [tree] if isinstance(tree, np.ndarray) and tree.dtype.kind == "f" else []


def filled(tree, values):
    """The same tree with other numbers, from an iterator."""
    if isinstance(tree, dict):
        return {name: filled(own, values) for name, own in tree.items()}
    if isinstance(tree, tuple):
        return tuple(filled(own, values) for own in tree)
    return next(values) if parts(tree) else tree


def state_of(run):
    """The shape of the state that goes in: for an encoder and a decoder the encoder's."""
    back = run.backprop(np.zeros_like(run.output))
    return back.initial_state


@PADDED
@EVERY
def test_central_differences(name, padded):
    model, x, lengths = examples()[name]
    lengths = lengths if padded else None
    begin = {key: generator.bit_generator.state for key, generator in model.generators.items()}

    def run_of(x, state):
        for key, generator in model.generators.items():  # the same dropout each time
            generator.bit_generator.state = begin[key]
        return model._run(x, state, lengths, training=True)

    state = state_of(run_of(x, None))
    tree = (model.flat, x, state)
    shapes = [part.shape for part in parts(tree)]
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])

    def fun(vector):
        pieces = (vector[a:b].reshape(n) for a, b, n in zip(ends[:-1], ends[1:], shapes, strict=True))
        model.flat[...], own, first = filled(tree, pieces)
        run = run_of(own, first)
        at_end = run.final_state
        found = run.backprop(np.cos(run.output), filled(at_end, (np.cos(part) for part in parts(at_end))))
        value = sum(np.sin(part).sum() for part in parts((run.output, at_end)))
        if lengths is not None and run.lengths is not None:  # zeros in the padding have no gradient, and no sine
            assert not run.output[np.arange(len(run.output))[:, None] >= run.lengths].any()
        by_name = [found.parameters[key].ravel() for key in model.shapes]
        return value, np.concatenate([*by_name, *(part.ravel() for part in parts((found.input, found.initial_state)))])

    start = [model.flat, *(part for part in parts(x))]
    start += [0.3 * np.random.default_rng(1).standard_normal(part.shape) for part in parts(state)]
    slope_two(fun, np.concatenate([part.ravel() for part in start]))


@EVERY
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_stands_in_the_padding_is_not_looked_at(name, dtype):
    """NaN and tokens that there are not; of a vector that is laid out in time there is no padding in x."""
    model, x, lengths = examples(dtype)[name]
    if name == "repeat":
        return
    begin = {key: generator.bit_generator.state for key, generator in model.generators.items()}
    found = []
    for filling in (None, np.nan):
        inputs, ends = (x, lengths) if isinstance(x, tuple) else ((x,), (lengths,))
        own = tuple(part.copy() for part in inputs)
        for part, end in zip(own, ends, strict=True):
            if filling is not None:
                part[np.arange(len(part))[:, None] >= end] = -1 if part.dtype.kind == "i" else filling
        for key, generator in model.generators.items():
            generator.bit_generator.state = begin[key]
        run = model._run(own if isinstance(x, tuple) else own[0], None, lengths, training=True)
        back = run.backprop(np.ones_like(run.output))
        found.append([run.output, *back.parameters.values(), *parts((back.input, back.initial_state))])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert all(part.dtype == np.dtype(dtype) for part in found[0])


def test_the_classes_of_this_library_alone_are_asked():
    """A user's own class is no kind of the library's."""

    class Own(tt.models.Chain):
        pass

    assert KINDS["Own"] is Own
    del KINDS["Own"]
