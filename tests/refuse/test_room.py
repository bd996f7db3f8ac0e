"""Sizes beyond the memory of the machine, and paths that are none, are refused before anything happens."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import throughtime as tt
from throughtime.refuse import room

HUGE = [10**30, 2**63, 2**63 - 1, 10**12]


LIMIT = room.limit


@pytest.fixture(autouse=True)
def nothing_is_allocated(monkeypatch):
    """More than a few megabytes in a test of this file is what it is about; a machine of 20 GiB, wherever it runs."""
    monkeypatch.setattr(room, "limit", lambda: 20 << 30)
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_networks_too_large_for_the_machine(cell, name, size):
    sizes = {"input_size": 3, "hidden_size": 4, "num_layers": 1} | {name: size}
    with pytest.raises(ValueError, match=r"2\^63|GiB"):
        tt.Network(cell, **sizes)


def test_products_of_sizes_that_each_would_do():
    with pytest.raises(ValueError, match=r"hidden_size=100000000.*more bytes than|GiB"):
        tt.Network("lstm", 10**8, 10**8, num_layers=10**8, bidirectional=True)
    with pytest.raises(ValueError, match=r"num_layers=1000000000 needs .* GiB"):
        tt.Network("tanh", 1, 1, num_layers=10**9, bias=False)  # a name and a shape for each


@pytest.mark.parametrize(
    ("shape", "net"),
    [((10**7, 10**6, 2), ("tanh", 2, 3)), ((10**10, 2), ("tanh", 2, 3)), ((10**6, 10, 2), ("lstm", 2, 300))],
)
def test_inputs_and_runs_too_large_for_the_machine(shape, net):
    net = tt.Network(*net, init=lambda network, rng: {n: np.zeros(s) for n, s in network.shapes.items()})
    with pytest.raises(ValueError, match=r"needs .* GiB"):
        net.unroll(np.broadcast_to(np.zeros(()), shape))


def test_jacobians_too_large_for_the_machine():
    run = tt.Network("tanh", 1, 300).unroll(np.zeros((10, 10, 1)))
    run._stack.layers[0][0].steps = 10**7  # as if it had as many
    with pytest.raises(ValueError, match=r"10000000 Jacobians .* GiB.*`start` and `stop`"):
        run.jacobians()


@pytest.mark.parametrize("size", HUGE)
def test_counts_of_analyses(size):
    net, analysis = tt.Network("tanh", 1, 3, seed=0), tt.analysis
    for call in (
        lambda: analysis.lyapunov_spectrum(net, steps=size),
        lambda: analysis.lyapunov_spectrum(net, steps=10, k=size),
        lambda: analysis.perturbed_twin(net, warmup=size),
        lambda: analysis.covariant_vectors(net, steps=size),
        lambda: analysis.fixed_points(net, iterations=size),
        lambda: analysis.kreiss_constant(np.eye(2), angles=size),
        lambda: analysis.transient_growth(np.eye(2), size),
        lambda: analysis.pseudospectrum(np.eye(2), points=size),
        lambda: analysis.mean_field.population("tanh", units=size),
        lambda: analysis.mean_field.population("tanh", steps=size),
        lambda: analysis.pascanu_bound(net).log_bound(size),
        lambda: analysis.gradient_by_lag(net.unroll(np.zeros((5, 1))), np.ones((5, 3)), size),
    ):
        with pytest.raises(ValueError, match=r"`?\w+`?=? ?(is )?\d+|2\^63|GiB"):
            call()


def test_what_the_limit_is():
    assert 2**28 < LIMIT() < 2**63
    with pytest.raises(ValueError, match=r"^It needs more bytes than can be addressed \(2\^63\)"):
        room.check("It", 10**5000)
    room.check("It", room.limit() // 8)


# ------------------------------------------------------------------------------------- paths


def paths(call):
    """The sentences about paths that are none."""
    for wrong, error in (
        (1, TypeError), (True, TypeError), (0, TypeError), (np.int64(2), TypeError), (None, TypeError),
        ("", ValueError), ("a\0b", ValueError), (b"", ValueError), ("x" * 300, ValueError), ("\ud800", ValueError),
        ([], TypeError), (Path, TypeError), (open(os.devnull), TypeError),  # noqa: SIM115 - closed by the test
    ):  # fmt: skip
        with pytest.raises(error, match="`path`"):
            call(wrong)
        if hasattr(wrong, "close"):
            assert not wrong.closed
            wrong.close()


def test_paths_that_are_none():
    net = tt.Network("tanh", 2, 3, seed=0)
    paths(tt.load)
    paths(net.save)
    for number in (0, 1, 2):
        os.fstat(number)  # all three are still open


def test_paths_of_every_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = tt.Network("tanh", 2, 3, seed=0)
    for path in ("net.tt", Path("other.tt"), b"bytes.tt", os.fspath(tmp_path / "whole.tt"), "ünïcode 中.tt"):
        net.save(path)
        np.testing.assert_array_equal(tt.load(path).parameters["weight_hh_l0"], net.parameters["weight_hh_l0"])
    os.mkfifo("pipe")
    with pytest.raises(ValueError, match="no ordinary file"):
        tt.load("pipe")


def test_nothing_but_a_file_is_replaced(tmp_path):
    """A network was written beside a device or a pipe and then took its place."""
    net, pipe, loop = tt.Network("tanh", 1, 2, seed=0), tmp_path / "pipe", tmp_path / "loop"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(ValueError, match=r"pipe\" is no ordinary file; save the network to the name of a file"):
            net.save(path)
    with pytest.raises(ValueError, match="a symbolic link that leads back to itself"):
        net.save(loop)
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "loop", "pipe"]
