"""What a run costs once everything is there: launches, uploads, copies; and what runs share without knowing of it."""

from __future__ import annotations

from collections import Counter

import pytest
from test_driver import stream
from test_host import Array, B, I, N, T, close, numbers

import throughtime as tt
from throughtime.engine.cuda import device, launches, toolkit


@pytest.fixture
def calls(monkeypatch):
    """What the driver is asked for, and the kernels that are launched, counted by name."""
    counted, true, start = Counter(), toolkit.driver(), launches.start

    class Driver:
        def __getattr__(self, name):
            function = getattr(true, name)
            if not name.startswith("cu"):
                return function
            return lambda *given: (counted.update([name]), function(*given))[1]

    def noted(kernel, *given):
        counted[kernel.py_func.__name__] += 1
        return start(kernel, *given)

    for module in (device, toolkit, launches, device.DeviceArray.copy_to_host.__globals__):
        names = module if isinstance(module, dict) else vars(module)
        monkeypatch.setitem(names, "driver", lambda: Driver())
    monkeypatch.setattr(launches, "start", noted)
    return counted


@pytest.mark.parametrize("lengths", [None, [T, 2]])
def test_eight_launches_there_and_back(calls, lengths):
    """Forward: the input part and the loop. Back: the loop, the gradients of the input, of both weights, of the biases,
    and one that adds the slices of them."""
    net = tt.Network("lstm", I, N, seed=1).to("cuda")
    x, g = device.to_device(numbers(T, B, I)), device.to_device(numbers(T, B, N))
    for last in (False, True):
        calls.clear()
        net.unroll(x, lengths=lengths).backprop(g)
        assert calls["cuLaunchKernelEx"] == sum(n for name, n in calls.items() if not name.startswith("cu"))
        assert last or calls["pack_rows"] == calls["pack_columns"] == 1
    assert calls["product"] == 4
    assert calls["unroll"] == calls["backprop"] == 1
    padding = 0 if lengths is None else calls["clear_padding"]
    assert calls["cuLaunchKernelEx"] - padding <= 8
    assert calls["cuMemcpyHtoDAsync"] == (0 if lengths is None else 2)
    assert not [name for name in calls if name.startswith("cuMem") and not name.endswith("Async")]


def test_runs_keep_the_weights_that_they_were_made_with(calls):
    """Whoever has seen the address of a parameter may write there; then runs share nothing of it any more."""
    host, x, g = tt.Network("lstm", I, N, seed=1), numbers(T, B, I), numbers(T, B, N)
    net = host.to("cuda")
    before, again = net.unroll(x), net.unroll(x)
    wanted = host.unroll(x).backprop(g)
    close(again.backprop(g).input, wanted.input)
    assert calls["pack_rows"] == calls["pack_columns"] == 1
    weights = before.made_with()["weight_hh_l0"]
    weights[:] = 7.0  # a copy
    net.parameters["weight_hh_l0"][:] = 0.5
    host.parameters["weight_hh_l0"][...] = 0.5
    for _ in range(2):
        close(net.unroll(x).output, host.unroll(x).output)
    assert calls["pack_rows"] == 3
    close(net.unroll(x).backprop(g).input, host.unroll(x).backprop(g).input)
    for run in (before, again):
        close(run.backprop(g).input, wanted.input)
        close(run.made_with()["weight_hh_l0"], tt.Network("lstm", I, N, seed=1).parameters["weight_hh_l0"])


def test_a_part_that_somebody_holds_counts_too():
    host, x = tt.Network("gru", I, N, seed=1), numbers(T, B, I)
    net = host.to("cuda")
    net.unroll(x)
    row = net.parameters["weight_hh_l0"][1]
    net.unroll(x)
    row[:] = 0.25
    host.parameters["weight_hh_l0"][1] = 0.25
    close(net.unroll(x).output, host.unroll(x).output)


def test_new_parameters_are_packed_anew():
    host, x = tt.Network("lstm", I, N, seed=1), numbers(T, B, I)
    net = host.to("cuda")
    net.unroll(x)
    for made in (host, net):
        made.load_state_dict(tt.Network("lstm", I, N, seed=5).state_dict())
    close(net.unroll(x).output, host.unroll(x).output)


def test_what_one_stream_made_of_the_weights_another_waits_for():
    """The emulated driver complains where it does not."""
    host, x, g = tt.Network("lstm", I, N, seed=1), numbers(T, B, I), numbers(T, B, N)
    net, wanted = host.to("cuda"), host.unroll(x)
    for at in (stream(blocking=False), stream(blocking=False), stream(blocking=True)):
        run = net.unroll(Array(x, at))
        close(run.output, wanted.output, at=at)
        close(run.backprop(g).input, wanted.backprop(g).input, at=at)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("shape", [(T, B, I), (T, I)])
def test_a_state_is_handed_on_without_a_copy_in_between(calls, cell, shape):
    host, x = tt.Network(cell, I, N, num_layers=2, seed=1), numbers(*shape)
    net = host.to("cuda")
    first, wanted = net.unroll(x), host.unroll(x)
    calls.clear()
    second = net.unroll(device.to_device(x), state=first.final_state)
    back = second.backprop(grad_final_state=first.final_state)
    assert not calls["cuMemcpyDtoHAsync"]
    again = host.unroll(x, state=wanted.final_state)
    close(second.output, again.output)
    close(back.input, again.backprop(grad_final_state=wanted.final_state).input)
    for given in (first.output, [first.output], (first.output, None)):  # refused in words, as on the CPU
        with pytest.raises((ValueError, TypeError), match="state"):
            net.unroll(x, state=given)
