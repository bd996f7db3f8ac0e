"""The parts of `analysis/hochreiter_battery.py` that its checks rest on: the cell of 1997, and what counts as wrong."""

import sys
from pathlib import Path

import numpy as np

import throughtime as tt

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "analysis"))  # studies import `_study` from beside them

import hochreiter_battery


def test_the_cell_of_1997_keeps_its_state_while_the_gate_of_the_input_is_shut():
    net = tt.Network("lstm1997", 1, 3, seed=0)
    net.parameters["bias_ih_l0"][:3] = -800.0  # σ is 0
    c = np.array([[[0.5, -2.0, 7.0]]])
    run = net.unroll(np.ones((50, 1, 1)), state=(np.zeros_like(c), c))
    assert (run.states[:, 0, 3:] == c[0, 0]).all()
    assert (run.jacobian(50)[0, 3:, 3:] == np.eye(3)).all()


def test_a_sequence_is_wrong_when_an_output_is_off_by_more_than_the_paper_allows():
    adding, order = (hochreiter_battery.task_of(name, 20) for name in ("adding", "order"))
    batch = adding.batch(4, seed=0)
    off = np.array([[0.0], [0.039], [-0.041], [1.0]])
    assert list(hochreiter_battery.wrong(adding, batch.targets + off, batch)) == [False, False, True, True]
    batch = order.batch(2, seed=0)
    share = np.array([0.71, 0.69])  # of the right class; the others have the rest
    p = np.repeat((1.0 - share)[:, None] / 3, 4, axis=1)
    p[[0, 1], batch.targets] = share
    assert list(hochreiter_battery.wrong(order, np.log(p), batch)) == [False, True]
