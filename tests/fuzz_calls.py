"""Random calls of every public function and method, with values of wrong kinds, sizes and extremes.

    python tests/fuzz_calls.py SECONDS SEED

What is public is found by walking the package: a new function, method or result is called here without registration.
Every call has to return, or raise ValueError or TypeError (or what CALLED says of it) from a `raise` statement of the
package itself, so with a sentence of ours; no warning, no crash, no memory beyond MEMORY. tests/test_fuzz.py starts it
in a process of its own, as the limit on memory is for a whole process. The last line of the output is its verdict.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import os
import re
import resource
import signal
import sys
import time
import types
import warnings
from pathlib import Path

import numpy as np

import throughtime as tt

ROOT = Path(tt.__file__).parent
MODULES = (
    tt, tt.analysis, tt.analysis.mean_field, tt.init, tt.kernels, tt.models, tt.parametrise, tt.plots, tt.scalar,
    tt.tasks, tt.training,
)  # fmt: skip
MEMORY = 3 << 30  # bytes that the calls may add to those of the imports
# Seconds for one call: it may have to compile, and an LSTM that forgets nothing has a mean field that takes 50.
PATIENCE = 150

T, B, I, N = 6, 2, 2, 3
RNG = np.random.default_rng(0)
X, G = RNG.normal(size=(T, B, I)), np.ones((T, B, N))
TANH, LSTM = tt.Network("tanh", I, N, seed=0), tt.Network("lstm", I, N, num_layers=2, seed=1)
FAMILY = tt.Ensemble([TANH, tt.Network("tanh", I, N, seed=2)])

CLASSES = (
    tt.Network, tt.Ensemble, *tt.tasks.TASKS.values(), tt.models.Chain, tt.models.Embedding, tt.models.Readout,
    tt.models.Repeat, tt.models.Residual, tt.models.Dropout, tt.models.LayerNorm, tt.models.EncoderDecoder,
    tt.models.Attention, tt.models.ClosedLoop, tt.models.InputFeeding,
)  # fmt: skip
WRITER = tt.models.language_model("gru", 5, hidden_size=N, embedding=2, seed=7)
TRANSLATOR = tt.models.EncoderDecoder(
    tt.models.Chain([tt.models.Embedding(5, 2, seed=0), tt.Network("gru", 2, N, seed=8)]),
    tt.models.language_model("gru", 5, hidden_size=N, embedding=2, seed=9), tt.models.Attention("dot", N, N), seed=10,
)  # fmt: skip
MODEL = tt.models.Chain([tt.Network("gru", I, N, seed=3), tt.models.Readout(N, I, seed=4)])
LOOP = MODEL.closed_loop()
SEVERAL = tt.Ensemble(
    lambda seed: tt.models.Chain([tt.Network("gru", I, N, seed=seed), tt.models.Readout(N, I, seed=seed)]),
    {"seed": [0, 1]},
)

# Where KeyError and the like are what the documentation says.
ALLOWED = (ValueError, TypeError, KeyError, FileNotFoundError, IsADirectoryError, ImportError)
# no GPU here; what the mapped function raises; a loss that is not finite
RAISED = {
    "to": (RuntimeError,),
    "map": (AttributeError,),
    "final_state": (AttributeError,),
    "fit": (tt.training.Diverged,),
}
SKIPPED = {
    "layer",
    "made_with",
    "start",
    "weight",
    "pullback",
    "shapes",
    "places",
}  # of the engine; of parametrisations


def a_loss(given, targets=None, lengths=None, weights=None):
    """That of a run, of an analysis, or of an output, of a model."""
    output = getattr(given, "output", given)
    return output.sum(), np.ones_like(output)


def good_values():
    """Right values by the name of the argument; what has a default and is not here is left out."""
    run, deep = TANH.unroll(X), LSTM.unroll(X)
    one = ("weight_hh_l0", (0, 0))
    return {
        "net": [TANH, LSTM, FAMILY, LOOP], "network": [TANH, LSTM], "run": [run, deep, FAMILY.unroll(X)],
        "matrix": [RNG.normal(size=(N, N)), run], "jacobians": [RNG.normal(size=(20, N, N))],
        "gradients": [run.backprop(G), {"a": np.ones(3)}], "grad_output": [G], "x": [X, X[:, 0]],
        "state_dict": [TANH.state_dict()], "networks": [[TANH, TANH]], "t": [2], "stop": [4], "k": [1, 2],
        "steps": [10], "warmup": [0], "cell": ["tanh", tt.GRU()], "input_size": [I], "hidden_size": [N],
        "path": ["net.tt"],
        "batches": [[(X, X)] * 3], "optimiser": [tt.training.SGD(0.1)], "loss": [a_loss], "first": [one],
        "second": [("weight_hh_l0", (0, 1))], "first_values": [[0.0, 0.1]], "second_values": [[0.0]],
        "windows": [[1, 2]], "thresholds": [[0.5]], "max_norm": [1.0], "max_value": [1.0], "exponents": [[0.1, -0.2]],
        "clip_state": [0.5], "grad_exponents": [np.ones(1)], "checkpoint": [2, "auto"],
        "device": ["cpu"], "v": [np.ones((B, N))], "u": [np.ones((B, N))], "g": [np.ones((B, N))], "value": [1.0],
        "gain": [1.5], "count": [2], "function": [lambda given: 1.0], "starts": [4], "points": [4], "units": [50],
        "iterations": [20], "seed": [0], "factor": [2.0], "lag": [2], "gains": [[0.5, 1.0]], "chi": [[0.5, 1.0]],
        "angles": [4], "index": [0], "name": ["exponents", ()], "a": [1.0], "b": [2.0],
        "source": [b"to be or not to be " * 9, np.ones((4, 3), int)],
        "array": [X, X[:, 0]], "sequences": [[[1, 2], [3, 4, 5]]],
        "start": [0, np.zeros((2, 3), int)],
        "model": [WRITER, MODEL, SEVERAL, TRANSLATOR], "width": [2], "temperature": [0.5], "top_k": [2], "end": [0],
        "pool": ["mean"], "task": [tt.tasks.Adding(length=3), tt.tasks.FlipFlop()],
        "encoder": [tt.Network("gru", I, N)], "decoder": [tt.Network("gru", I, N)], "rate": [0.5],
        "kind": ["dot"], "feeds": ["context"], "attention": [None, tt.models.Attention("dot", N, N)],
        "queries": [N], "keys": [N],
        "embedding": [3], "outputs": [2],
        "pieces": [[tt.Network("gru", I, N, seed=5), tt.models.last, tt.models.Readout(N, 2, seed=6)]],
        "longest": [20.0], "states": [np.zeros((3, N))], "incoming": [2], "penalty": [0.1, [0.1, 1.0]], "radius": [0.9],
        "tokens": [5], "inputs": [I], "vector": [MODEL.flat.copy()],
        "output": [np.ones((T, B, 1))], "targets": [np.ones((T, B, 1)), np.zeros((T, B), int)],
        "parameters": [["weight_hh_l0"], []],
        "pattern": [np.eye(N)], "signs": [np.ones(N)], "rank": [1], "method": ["exp", "cayley"],
        "length": [3], "batch": [2, tt.tasks.DelayedXor(1, 8).batch(2, 0)], "size": [2],
    }  # fmt: skip


def wrong_values():
    """Values of wrong kinds, sizes and extremes."""
    wide = np.broadcast_to(np.zeros(()), (10**6, 10**5, I))
    values = [
        None, True, "", "x", b"x", "a\0b", "cuda:0", "net.tt", -1, 0, 1, 3, 10**30, -(10**30), 2**63, 2**62, 10**400,
        1.5, 0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e300, 1e-300, 1j, np.float32(2), np.int8(-3),
        [], [[]], {}, (), set(), {"a": 1}, {1: "a"}, [None], ["a", "b"], [1, [2, 3]], (1, 2), (1.0, 2.0, 3.0), object(),
        bool, tt.Network, tt.GRU, tt.GRU(), tt.Rate(leak=2.0), np, id, lambda *a, **k: None, lambda *a, **k: 1 / 3,
        iter([1, 2]), range(3), slice(1, 2), Ellipsis, np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0, 2)), np.zeros(()),
        np.full((3, 3), np.nan), np.full((T, B, N), np.inf), np.zeros((3, 3)), np.eye(3, dtype=int), np.ones((2, 3)),
        np.eye(3) * 1e300, np.eye(3) * 1e-300, np.eye(3, dtype=np.float16), np.eye(3, dtype=complex), wide, wide[:, 0],
        np.zeros((3, 3), bool), np.zeros(3, "M8[s]"), np.array(["a", "b"]), np.array([1, None], object), X > 0,
        np.zeros(3, [("a", float)]), np.ma.masked_greater(X, 0), np.ma.ones(3), np.zeros((2, 2, 2, 2)), X.astype("f4"),
        TANH, LSTM, FAMILY, TANH.unroll(X), FAMILY.unroll(X), TANH.unroll(X).backprop(G), TANH.parameters,
        Path("none"), Path("."), np.random.default_rng(0), np.random.SeedSequence(1), Awkward(),
    ]  # fmt: skip
    try:
        import torch
    except ImportError:
        return values
    tensors = [torch.zeros(T, B, I), torch.zeros(3, 3).bfloat16(), torch.zeros(3, 3, requires_grad=True)]
    return [*values, *tensors, torch.nn.GRU(I, N), torch.float32, torch.device("cpu"), torch.zeros(2, device="meta")]


class Awkward:
    """An object that fails at whatever is asked of it."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def _refuse(self, *args, **options):
        raise RuntimeError("no such thing")

    __array__ = __float__ = __index__ = __len__ = __iter__ = __getitem__ = __eq__ = __fspath__ = _refuse
    __hash__ = object.__hash__


def functions():
    """(name, function) of all public functions and classes that users call."""
    for module in MODULES:
        for name in getattr(module, "__all__", dir(module)):
            found = getattr(module, name)
            if isinstance(found, types.FunctionType) or found in CLASSES:
                yield f"{module.__name__}.{name}", found


def methods(thing):
    """(name, bound method) of the public methods of an object of this library."""
    for name in dir(type(thing)):
        if not name.startswith("_") and name not in SKIPPED:
            found = inspect.getattr_static(type(thing), name)
            if isinstance(found, types.FunctionType):
                yield f"{type(thing).__name__}.{name}", getattr(thing, name)
            elif isinstance(found, (property, functools.cached_property)):
                yield f"{type(thing).__name__}.{name}", functools.partial(getattr, thing, name)


def arguments_for(function, known, wrong, rng):
    """Keyword arguments: right ones with one wrong, mostly; sometimes all right or all wrong."""
    if isinstance(function, functools.partial):
        return {}
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    mode = rng.choice(["one", "one", "one", "two", "all", "none"])
    spoilt = {"one": 1, "two": 2, "all": len(named), "none": 0}[mode]
    bad = set(rng.permutation(len(named))[:spoilt])
    chosen = {}
    for i, parameter in enumerate(named):
        right = known.get(parameter.name)
        if parameter.default is parameter.empty and right is None:
            right = known.get(f"{function.__name__}.first", wrong)
        if i in bad:
            chosen[parameter.name] = wrong[rng.integers(len(wrong))]
        elif right is not None and (parameter.default is parameter.empty or rng.random() < 0.5):
            chosen[parameter.name] = right[rng.integers(len(right))]
    return {name: copy.copy(value) if isinstance(value, (dict, list)) else value for name, value in chosen.items()}


@functools.cache
def raise_lines(path):
    """The lines of a file that belong to `raise` statements."""
    tree = ast.parse(Path(path).read_text())
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def fault(error, name):
    """What is wrong with the error of a call, or an empty string."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    path, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
    place = f"{Path(path).name}:{line}"
    if not isinstance(error, (*ALLOWED, *RAISED.get(name.rpartition(".")[2], ()))):
        return f"{type(error).__name__} from {place}: {error}"
    if not path.startswith(str(ROOT)) or line not in raise_lines(path):
        return f"no sentence of ours, {type(error).__name__} from {place}: {error}"
    words = str(error)
    if len(words.split()) < 5:
        return f"hardly a sentence, from {place}: {words}"
    return ""


class TooLong(BaseException):
    """A call that does not end."""


def too_long(*_):
    raise TooLong


def shown(value):
    try:
        text = f"array {value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
    except Exception:
        text = type(value).__name__
    return text if len(text) < 60 else f"{text[:57]}..."


def call(name, function, options, log):
    """One call: its result, or None, and what is wrong with it."""
    log.seek(0)
    log.truncate()
    log.write(f"{name}({', '.join(f'{key}={shown(value)}' for key, value in options.items())})")
    log.flush()  # a crash leaves the last call there
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        return function(**options), ""
    except TooLong:
        return None, f"more than {PATIENCE} s"
    except Exception as error:
        return None, fault(error, name)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        tt.set_num_threads(1)


def main(seconds, seed):
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, too_long)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    with open("last_call", "w") as log:
        faults, told = rounds(seconds, np.random.default_rng(seed), log)
    print("\n".join(faults))
    print(f"{told}, seed {seed}: {len(faults)} faults")
    return 1 if faults else 0


def rounds(seconds, rng, log):
    """Every function once with right arguments, which makes one result of each kind, then again and again with wrong
    ones, and the methods of all results with them."""
    from matplotlib import pyplot

    known, wrong, everything = good_values(), wrong_values(), list(functions())
    things = {type(thing).__name__: thing for thing in (known["run"][0], TANH, FAMILY, LOOP, known["run"][2])}
    faults, calls, number, began = {}, 0, 0, time.monotonic()

    def results(function):
        named = re.findall(r"`(\w+)`", function.__doc__ or "")
        return [things[cls] for cls in named if cls in things] or list(things.values())

    while time.monotonic() - began < seconds or not number:
        subjects = everything + [pair for thing in list(things.values()) for pair in methods(thing)]
        for place in rng.permutation(len(subjects)):
            name, function = subjects[place]
            if number and time.monotonic() - began > seconds:
                break
            right_ones = known
            if name.startswith("throughtime.plots."):
                right_ones = known | {next(iter(inspect.signature(function).parameters)): results(function)}
            options = arguments_for(function, right_ones, wrong, rng) if number else right(function, right_ones)
            result, words = call(name, function, options, log)
            calls += 1
            pyplot.close("all")
            if words:
                made = Path("last_call").read_text()
                faults.setdefault((name, re.sub(r": .*", "", words, flags=re.DOTALL)), f"{made}\n    {words[:300]}")
            plain = (tt.Network, *tt.CELLS.values())  # a cell's functions are mathematics for compiled code
            if type(result).__module__.startswith("throughtime") and not isinstance(result, plain):
                things[type(result).__name__] = result
        number += 1
    return list(faults.values()), f"{calls} calls of {len(subjects)} functions and methods"


def right(function, known):
    """Right arguments only: the first round makes one result of each kind, whose methods are then called too."""
    if isinstance(function, functools.partial):
        return {}
    parameters = inspect.signature(function).parameters.values()
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    return {name: known.get(name, [None])[0] for name in needed}


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
