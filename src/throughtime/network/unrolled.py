"""Unrolled: a network unfolded over one input, and the ways through it: BPTT, and perturbations forward and back.

Dimensions: T time steps, B sequences, I inputs, N units, L layers, D directions, S the state size of the whole network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.once import once
from ..refuse import arguments, checks, room, words
from ..refuse.called import called
from . import handed_in
from .asked import asked
from .backwards import backwards
from .forwards import forwards
from .gradients import Gradients
from .on_host import OnHost
from .steps import PRODUCT, Steps

SINGLE = "it has `vjp`, `pullback` and `output_cotangent`: for all else take the run that the steps are of"
ALL = "it keeps some of them only: take the run without, `net.unroll(x)`, of all steps or of fewer"

Array = np.ndarray  # or of the machine that the run is on


@called("a run")
@words.explain
class Unrolled(Steps):
    """A network unfolded over one input, made by `network.unroll(x)`; it owns copies of the input and the parameters.

    output       (T, B, N*D), or (T, N*D) for one sequence, or (B, T, N*D) with batch_first: what the last layer sends,
                 0 in the padding
    final_state  h, or for an LSTM (h, c), each (L*D, B, N) or (L*D, N): every sequence's state at its own end; of
                 layers of unlike sizes or states a list of what each layer alone would have
    states       (T+1, B, S): s_0, the initial state, to s_T; layer 0 (h, then c), [layer 0 reverse], layer 1, ...
                 After a sequence's end its state stands still. The reverse direction's entry t is its state between
                 inputs t-1 and t, come from the right: it starts at the sequence's end and its last is states[0].
    lengths      (B,) or None

    output and states are read-only views of what the way back needs; copy them to change them.

    Of a network on the GPU all arrays are Numba device arrays, as are the results of the methods, whose arguments may
    lie in NumPy or on the device. CuPy and PyTorch take the results without a copy; `numpy.asarray` and
    `.copy_to_host()` copy them. For K networks the batch holds K times as many sequences as `x`, network after
    network, or `x` has them all; a NumPy gradient of one network's shape is that of each.

    >>> import numpy as np, throughtime as tt
    >>> run = tt.Network("lstm", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
    >>> run.output.shape, run.states.shape, [part.shape for part in run.final_state]
    ((20, 3, 8), (21, 3, 16), [(1, 3, 8), (1, 3, 8)])
    """

    def __init__(
        self, network: Any, x: Any, state: Any = None, lengths: Any = None, method: Any = None, noise: Any = None,
        checkpoint: Any = None,
    ) -> None:  # fmt: skip
        self.__dict__.update(forwards(network, x, state, lengths, method, noise, checkpoint))

    _sealed_by = "_stack"  # all that there is at first

    @once
    def output(self) -> Array:
        """What the last layer sends, as the user sees it; made when somebody looks."""
        if self._stack.device == "cpu":
            return self.engine.arrays.read_only(self._outside(self._sent))
        with self._on():
            return self._outside(self._sent)

    @once
    def states(self) -> Array:
        """(T+1, B, S), likewise; of a run that keeps them all."""
        if self._stack.back_only or self._stack.every:
            raise AttributeError("states")  # `__getattr__` says why
        return self.engine.arrays.read_only(self._stack.states)

    def _unset(self, name: str) -> str:
        advice = words.near(name, dir(self))
        if not hasattr(self, name):
            return f"A run has no attribute `{name}` to set{advice and '; ' + advice}."
        return (
            f"`run.{name}` is what was computed, and setting it would change nothing else of the run; make another, "
            "`net.unroll(x)`, or keep your own array beside it."
        )

    def __getattr__(self, name: str) -> Any:
        if "_stack" in self.__dict__ and self._stack.back_only:
            raise words.NoSuchAttribute(self, name, "A run of single steps", SINGLE)
        if name == "states" and self.checkpoint:
            raise words.NoSuchAttribute(self, name, "A run made with `checkpoint`", ALL)
        raise words.NoSuchAttribute(self, name, "A run")

    def backprop(
        self,
        grad_output: Any = None,
        grad_final_state: Any = None,
        window: int | None = None,
        clip_state: float | None = None,
        *,
        input: bool = True,
        states: bool | None = None,
        parameters: Any = None,
        per_sequence: bool = False,
        out: Any = None,
        cells: bool = True,
    ) -> Gradients:
        """Backpropagation through time: the gradient of a loss L from dL/doutput and dL/dfinal_state.

            dL/ds_t = (ds_{t+1}/ds_t)^T dL/ds_{t+1} + (doutput_t/ds_t)^T dL/doutput_t

        grad_output has the shape of `output`, grad_final_state that of `final_state`; at least one is given. With
        `window=k` (truncated BPTT) the loss at time t flows back through at most k steps, t, t-1, ..., t-k+1, of all
        layers, for every t and not block by block; the work then grows with k. With `clip_state=c` the gradient of
        every state is brought to a norm of at most c on its way, for each sequence and time by itself, on the full
        state of all layers: u_T, …, u_0 in place of dL/ds_t above, with

            u_t = v_t min(1, c/|v_t|),   v_t = (ds_{t+1}/ds_t)^T u_{t+1} + (doutput_t/ds_t)^T dL/doutput_t

        from which all gradients then come; it goes step by step and takes several times as long. Sources: Werbos
        (1990); for the window Williams & Peng (1990), their BPTT(h) with h = k; for clipping on the way Graves (2013,
        arXiv:1308.0850), there by value.

        What is not asked for is not computed: input=False, states=False and cells=False leave these out, None in the
        result; parameters, a list of names, leaves out the others. A run made with `checkpoint` gives the gradients of
        the states, which are of all steps, for states=True alone. per_sequence=True: of the parameters and fields the
        gradient of every sequence, (B, ...), whose sum is the usual one; on the CPU, without clip_state. out: arrays
        that the gradients are written to, a dict by the names of the parameters, or the Gradients of an earlier call;
        on the CPU.

        ValueError or TypeError if a gradient or an array does not fit, if a name is that of no parameter, if `window`
        is no positive integer or `clip_state` no positive number, if both are given, and if one is for a bidirectional
        network; on the GPU there is no clipping.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("tanh", 2, 8, seed=0).unroll(np.ones((20, 3, 2)))
        >>> whole, g = run.backprop(np.ones((20, 3, 8))), np.ones((20, 3, 8))
        >>> each = run.backprop(g, input=False, states=False, parameters=["weight_hh_l0"], per_sequence=True).parameters
        >>> each["weight_hh_l0"].shape, np.allclose(each["weight_hh_l0"].sum(0), whole.parameters["weight_hh_l0"])
        ((3, 8, 8), True)
        """
        if self._stack.back_only:
            raise ValueError(f"A run of single steps has no output to go back from; {SINGLE}.")
        if grad_output is None and grad_final_state is None:
            checks.some_gradient(grad_output, grad_final_state)
        if states is None:
            states = not self._stack.every
        by_fields = cells if type(cells) is bool else arguments.flag("cells", cells)
        wanted = asked(self, input, states, parameters, per_sequence, out)
        given = self, wanted, grad_output, grad_final_state, window, clip_state, by_fields
        if self._stack.device == "cpu":
            return backwards(*given)
        with self._on():
            return backwards(*given)

    def jvp(self, v: Any, start: int, stop: int) -> Array:
        """Perturbations of states[start] taken forward to states[stop]: J_stop ... J_{start+1} v.

        J_t = ds_t/ds_{t-1} acts on the full state. v is (B, S), or (B, S, K) for K perturbations at once; the result
        has the same shape. ValueError if v does not fit, if not 0 <= start <= stop <= T, or if the network is
        bidirectional.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("lstm", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> run.jvp(np.ones((1, 16)), 0, 20).shape
        (1, 16)
        """
        start, stop = self._window(PRODUCT, start, stop)
        with self._on():
            rows, copies, back = handed_in.perturbation("v", v, self._stack, self.network, own=start == stop)
            return back(self._stack.tangents(rows, start, stop, copies))

    def vjp(self, u: Any, start: int, stop: int) -> Array:
        """Cotangents of states[stop] taken back to states[start]: J_{start+1}^T ... J_stop^T u, on the full state.

        u is (B, S), or (B, S, K) for K cotangents at once; the result has the same shape. ValueError as for `jvp`.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8, seed=0).unroll(np.ones((20, 2)))
        >>> u, v = np.ones((1, 8)), np.arange(8.0)[None]
        >>> bool(np.isclose((run.vjp(u, 0, 20) * v).sum(), (u * run.jvp(v, 0, 20)).sum()))
        True
        """
        start, stop = self._window(PRODUCT, start, stop)
        with self._on():
            rows, copies, back = handed_in.perturbation("u", u, self._stack, self.network, own=start == stop)
            return back(self._stack.cotangents(rows, start, stop, copies))

    def jacobian(self, t: int) -> Array:
        """(B, S, S): ds_t/ds_{t-1} for t = 1 ... T, on the full state of all layers; rows are outputs, columns inputs.

        ValueError if t is out of range or the network is bidirectional.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("linear", 2, 3, seed=0).unroll(np.ones((5, 2)))
        >>> bool(np.allclose(run.jacobian(1)[0], run.network.parameters["weight_hh_l0"]))
        True
        """
        self._one_way("A Jacobian")
        if type(t) is not int or not 1 <= t <= self.steps:
            meaning = f"jacobian(t) is d states[t]/d states[t-1], for t = 1 to {self.steps}"
            t = arguments.step("t", t, 1, self.steps, meaning)
        return self._jacobians(t - 1, t)[0]

    def jacobians(self, start: int = 0, stop: int | None = None) -> Array:
        """(stop-start, B, S, S): the Jacobians of all steps from states[start] to states[stop], by default T, at once.

            jacobians(start, stop)[i] = ds_{start+i+1}/ds_{start+i} = jacobian(start + i + 1)

        All are held in memory together: (stop-start) B S^2 numbers. ValueError if not 0 <= start <= stop <= T or if
        the network is bidirectional.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 3, seed=0).unroll(np.ones((20, 2)))
        >>> of_all = run.jacobians()
        >>> of_all.shape, bool(np.array_equal(of_all[6], run.jacobian(7)))
        ((20, 1, 3, 3), True)
        """
        return self._jacobians(*self._window("A Jacobian", start, stop))

    def _jacobians(self, start: int, stop: int) -> Array:
        B, S = self._stack.batch, self._stack.size
        if self.device == "cpu":
            numbers, advice = (stop - start) * B * S * S, "Take them for fewer steps at once, by `start` and `stop`."
            room.check(f"{stop - start} Jacobians ({B}, {S}, {S})", numbers, self.network.dtype.itemsize, advice)
        with self._on():
            return self._stack.jacobians(start, stop)

    def on_host(self) -> Any:
        """The run as analyses in NumPy see it: itself, or of one on the GPU a view that computes there and answers in
        NumPy.

        >>> import numpy as np, throughtime as tt
        >>> run = tt.Network("gru", 2, 8).unroll(np.ones((20, 2)))
        >>> run.on_host() is run
        True
        """
        return self if self.device == "cpu" else OnHost(self)

    def __repr__(self) -> str:
        T, B, S = self.steps, self._stack.batch, self._stack.size  # single steps have no `states`
        return f"{self.network!r} unrolled over {T} steps of {B} sequences; state size {S}"

    # ------------------------------------------------------------------------------------------------------- shapes

    def _outside(self, own: Array) -> Array:
        """(T, B, .) as the user sees it."""
        if self._had_batch and not self.network.batch_first:
            return own
        arrays = self.engine.arrays
        if not self._had_batch:
            return arrays.shaped(arrays.ordered(own, (0, 1, 2)), (int(own.shape[0]), int(own.shape[2])))
        return arrays.ordered(own, (1, 0, 2))
