"""What people write who come from other libraries, and what the same is called here; attributes that cannot be set.

An attribute that does not exist stays missing (`hasattr` is false), and setting one that would do nothing raises: both
are AttributeError with the call to write. An argument that does not exist is a TypeError with the name of ours.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

UNROLL = "write `run = net.unroll(x)`; `run.output` is what the last layer sends, `run.final_state` the state"
ONE = "a throughtime network behaves the same in training and in evaluation; leave it out"
PARAMETERS = "the arrays in the dict `net.parameters` are written in place, for instance by `w -= rate * gradient`"
BACKPROP = "write `run.backprop(grad_output)`; the gradients of the weights are its `.parameters`"

ATTRIBUTES = {
    **dict.fromkeys(("forward", "run", "predict", "step", "apply", "__call__"), UNROLL),
    **dict.fromkeys(("train", "eval", "training", "requires_grad_", "flatten_parameters"), ONE),
    **dict.fromkeys(("backward", "grad", "gradient", "gradients", "bptt"), BACKPROP),
    **dict.fromkeys(("named_parameters", "zero_grad", "weight", "weights", "params", "all_weights"), PARAMETERS),
    **dict.fromkeys(("cuda", "gpu"), 'write `net.to("cuda")`'),
    "cpu": 'write `net.to("cpu")`',
    **dict.fromkeys(("float", "single", "half"), 'a network keeps its dtype: make one with `dtype="float32"`'),
    "double": 'a network keeps its dtype: make one with `dtype="float64"`',
    **dict.fromkeys(("hx", "h0", "h_0"), "the initial state is an argument: `net.unroll(x, state=h)`"),
    **dict.fromkeys(("h_n", "hn", "c_n", "hidden", "last_state", "state"), "write `run.final_state`, or `run.states`"),
    **dict.fromkeys(("y", "outputs", "hidden_states"), "write `run.output`, or `run.states`"),
    **dict.fromkeys(("input_dim", "in_features"), "write `net.input_size`"),
    **dict.fromkeys(("hidden_dim", "units", "num_units", "out_features"), "write `net.hidden_size`"),
    **dict.fromkeys(("T", "length", "seq_len"), "write `run.steps`"),
}  # fmt: skip
ARGUMENTS = {
    **dict.fromkeys(("h0", "hx", "h_0", "initial_state", "hidden", "h", "init_state"), "the initial state is `state=`"),
    **dict.fromkeys(("sequence_length", "sequence_lengths", "seq_len", "seq_lens"), "it is `lengths=` here"),
    **dict.fromkeys(("inputs", "input", "data"), "it is `x` here"),
    **dict.fromkeys(("input_dim", "in_features", "n_inputs"), "it is `input_size=` here"),
    **dict.fromkeys(("units", "num_units", "hidden_dim", "hidden_units", "n_hidden"), "it is `hidden_size=` here"),
    **dict.fromkeys(("layers", "n_layers"), "it is `num_layers=` here"),
    **dict.fromkeys(("random_state", "rng", "generator"), "it is `seed=` here"),
    **dict.fromkeys(("mode", "rnn_type", "cell_type", "nonlinearity"), 'it is the cell, the first argument: "tanh"'),
    **dict.fromkeys(("initializer", "initialiser", "weight_init"), "it is `init=` here"),
    **dict.fromkeys(("use_bias", "biases"), "it is `bias=` here"),
    **dict.fromkeys(("grad", "gradient", "grad_outputs"), "it is `grad_output=` here"),
    **dict.fromkeys(("n_exponents", "num_exponents", "n"), "it is `k=` here, the number of exponents"),
    **dict.fromkeys(("transient", "burn_in", "burnin"), "it is `warmup=` here, or `discard=`"),
    "batch_first": "it belongs to the network: `tt.Network(…, batch_first=True)`",
    "device": 'it belongs to the network: `tt.Network(…, device="cuda")`, or `net.to("cuda")`',
    "dtype": 'it belongs to the network: `tt.Network(…, dtype="float32")`',
    "dropout": "between the layers of a model it is a piece: `tt.models.Chain([net, tt.models.Dropout(0.2), …])`",
    "proj_size": "throughtime has no projections",
    "retain_graph": "a run can be sent back as often as you like; leave it out",
}  # fmt: skip


class NoSuchAttribute(AttributeError):
    """For an attribute that an object does not have. The sentence is made when it is read: getattr(run, name, default)
    asks often, and the search for a name near by would take three times as long as a backward pass."""

    def __init__(self, owner: Any, name: str, what: str, advice: str = "") -> None:
        super().__init__(what, name=name, obj=owner)
        self.advice = advice

    def __str__(self) -> str:
        name = str(self.name)
        advice = self.advice or ATTRIBUTES.get(name) or near(name, dir(self.obj))
        return f"{self.args[0]} has no attribute `{name}`{advice and '; ' + advice}."


def near(name: str, known: Iterable[str]) -> str:
    """perhaps you mean `input_size`; empty where nothing is near."""
    import difflib  # late, as nearly no program makes such a mistake: loading it takes as long as half a dozen of ours

    found = difflib.get_close_matches(name, [other for other in known if not other.startswith("_")], n=1, cutoff=0.6)
    return f"perhaps you mean `{found[0]}`" if found else ""


class Sealed:
    """An object that is what it was made as: once `_sealed_by` is there, no public attribute is set or removed.

    Names that begin with an underscore are the library's own, and a function may take the place of a method, as tests
    put it there. `_unset` says what to write instead; an empty answer lets the attribute pass.
    """

    _sealed_by = ""

    def _unset(self, name: str) -> str:
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        if not (callable(value) and callable(getattr(type(self), name, None))):
            self._check(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if not callable(getattr(type(self), name, None)):
            self._check(name)
        object.__delattr__(self, name)

    def _check(self, name: str) -> None:
        if self._sealed_by in self.__dict__ and not name.startswith("_") and (words := self._unset(name)):
            raise AttributeError(words, name=name, obj=self)


Made = TypeVar("Made", bound=Callable[..., Any])
Class = TypeVar("Class", bound=type)


def explained(function: Made) -> Made:
    """The same function; a call with arguments that it does not have, or without those it needs, says so in words."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
                raise  # from inside
        name, signature = function.__qualname__.removesuffix(".__init__"), inspect.signature(function)
        raise TypeError(misfit(name, signature, args, options)) from None

    return call  # type: ignore[return-value]


def misfit(name: str, signature: inspect.Signature, args: tuple, options: dict[str, Any]) -> str:
    """What is wrong with these arguments."""
    known = {key: value for key, value in signature.parameters.items() if key not in ("self", "cls")}
    args = args[len(signature.parameters) - len(known) :]
    shown = f"`{name}` takes ({', '.join(known)})"
    for key in options:
        if key not in known:
            advice = ARGUMENTS.get(key) or near(key, known)
            return f"`{name}` has no argument `{key}`{advice and '; ' + advice}. {shown}."
    places = [key for key, value in known.items() if value.kind is value.POSITIONAL_OR_KEYWORD]
    if len(args) > len(places):
        rest = [key for key, value in known.items() if value.kind is value.KEYWORD_ONLY]
        by_name = f"; the others by name: {', '.join(f'{key}=…' for key in rest)}" if rest else ""
        return (
            f"`{name}` was given {len(args)} arguments by place, and takes {len(places)} so ({', '.join(places)})"
            + (f"{by_name}.")
        )
    if twice := [key for key in places[: len(args)] if key in options]:
        return f"`{name}` was given `{twice[0]}` twice, by place and by name."
    given = {*places[: len(args)], *options}
    lacking = [key for key, value in known.items() if value.default is value.empty and key not in given]
    return f"`{name}` needs {' and '.join(f'`{key}`' for key in lacking)}. {shown}."


def explain(cls: Class) -> Class:
    """Class decorator: `explained` for every public method and for making an instance."""
    for name, member in list(vars(cls).items()):
        if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
            setattr(cls, name, explained(member))
    return cls
