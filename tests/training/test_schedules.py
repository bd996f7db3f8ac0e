"""Schedules are those of torch.optim.lr_scheduler, step by step; closed forms where PyTorch is not installed."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import throughtime as tt

t = tt.training
STEPS = 40
S = "lr_scheduler"
# name -> (ours, the first rate, what PyTorch makes on an optimiser of it, up to which step)
SCHEDULES = {
    "constant": (t.Constant(0.3), 0.3, lambda s, o: s.ConstantLR(o, 1.0), STEPS),
    "step": (t.StepDecay(0.3, 7, 0.5), 0.3, lambda s, o: s.StepLR(o, 7, 0.5), STEPS),
    "exponential": (t.Exponential(0.3, 0.9), 0.3, lambda s, o: s.ExponentialLR(o, 0.9), STEPS),
    "cosine": (t.Cosine(0.3, 30, 0.1), 0.3, lambda s, o: s.CosineAnnealingLR(o, 30, 0.1), 31),
    "triangular": (
        t.Cyclical(0.1, 0.3, 4, 7), 0.1, lambda s, o: s.CyclicLR(o, 0.1, 0.3, 4, 7, cycle_momentum=False), STEPS,
    ),
    "triangular2": (
        t.Cyclical(0.1, 0.3, 5, factor=0.5), 0.1,
        lambda s, o: s.CyclicLR(o, 0.1, 0.3, 5, mode="triangular2", cycle_momentum=False), STEPS,
    ),
    "one_cycle": (t.OneCycle(0.3, STEPS), 0.1, lambda s, o: s.OneCycleLR(o, 0.3, STEPS), STEPS),
    "one_cycle_linear": (
        t.OneCycle(0.3, STEPS, 0.4, 10.0, 100.0, "linear"), 0.1,
        lambda s, o: s.OneCycleLR(
            o, 0.3, STEPS, pct_start=0.4, anneal_strategy="linear", div_factor=10.0, final_div_factor=100.0
        ), STEPS,
    ),
    "warm_up": (
        t.WarmUp(t.Exponential(0.3, 0.9), 8, 0.25), 0.3,
        lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.25, 1.0, 8), s.ExponentialLR(o, 0.9)]), STEPS,
    ),
    "then": (
        t.Then(t.Constant(0.3), 10, t.Exponential(0.3, 0.9)), 0.3,
        lambda s, o: s.SequentialLR(o, [s.ConstantLR(o, 1.0), s.ExponentialLR(o, 0.9)], [10]), STEPS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_step_has_the_rate_that_pytorch_gives_it(name, torch):
    """To 1e-13: PyTorch multiplies from step to step, some eps a step."""
    ours, first, make, count = SCHEDULES[name]
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecated arguments inside SequentialLR
        scheduler = make(torch.optim.lr_scheduler, optimiser)
        theirs = []
        for _ in range(count):
            theirs.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            if len(theirs) < count:
                scheduler.step()
    assert np.abs(np.array([ours(step) for step in range(count)]) - theirs).max() < 1e-13


def test_closed_forms():
    assert [t.StepDecay(0.8, 10, 0.5)(step) for step in (0, 9, 10, 35)] == [0.8, 0.8, 0.4, 0.1]
    assert t.Exponential(0.8, 0.5)(3) == 0.1
    assert t.Cosine(1.0, 6)(2) == pytest.approx(0.75, abs=1e-15)
    assert [t.Cyclical(0.0, 1.0, 2, 4)(step) for step in range(7)] == [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]
    cycle = t.OneCycle(1.0, 101, 0.5)
    assert (cycle(0), cycle(100), cycle(1000)) == (pytest.approx(1 / 25), 1 / 25e4, 1 / 25e4)
    assert max(cycle(step) for step in range(101)) == pytest.approx(1.0, abs=1e-3)
    assert t.WarmUp(lambda step: 2.0 + step, 4)(2) == 2.0
    assert t.Then(t.Constant(1.0), 3, t.WarmUp(t.Constant(2.0), 2))(4) == 1.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_step_has_a_rate_that_is_none(name):
    """In particular none below 0, at the ends of cycles and far behind the last step."""
    rates = [SCHEDULES[name][0](step) for step in [*range(200), 10**6]]
    assert all(isinstance(rate, float) and 0.0 <= rate <= 0.3 + 1e-15 and math.isfinite(rate) for rate in rates)


def test_a_schedule_drives_an_optimiser():
    optimiser, flat = t.SGD(t.StepDecay(1.0, 2, 0.5)), np.zeros(1)
    rates = []
    for _ in range(4):
        optimiser.step(flat, np.ones(1))
        rates.append(optimiser.last_rate)
    assert rates == [1.0, 1.0, 0.5, 0.5]
    assert flat == -3.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: t.Constant(-1.0), ValueError, "`rate` is -1; expected a finite number of at least 0"),
        (lambda: t.Constant("0.1"), TypeError, "expected a real number"),
        (lambda: t.Cosine(0.1, 0), ValueError, "`steps` is 0"),
        (lambda: t.Cosine(0.1, 2.5), TypeError, "expected a whole number"),
        (lambda: t.Cosine(0.1), TypeError, "needs `steps`"),
        (lambda: t.OneCycle(0.1, 10, share=1.5), ValueError, "`share` is from 0 to 1"),
        (lambda: t.OneCycle(0.1, 10, shape="cosin"), ValueError, 'Did you mean "cosine"'),
        (lambda: t.WarmUp(0.1, 10), TypeError, r"a number alone is `tt.training.Constant\(…\)`"),
        (lambda: t.Then(t.Constant, 1, t.Constant(1.0)), TypeError, "a function of the step"),
    ],
)
def test_bad_input_is_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
