"""Loss and gradient over a plane: closed forms, central differences, the cliff's numbers, refusals."""

import numpy as np
import pytest
from scipy.special import expit

import throughtime as tt

surface = tt.analysis.loss_surface
W, B = ("weight_hh_l0", (0, 0)), ("bias_hh_l0", 0)


def cliff(steps=50):
    """x_t = w sigmoid(x_{t−1}) + b, x_0 = ½, as a sigmoid unit h_t = sigmoid(x_t); L = (h_50 − .7)²."""
    net = tt.Network("sigmoid", 1, 1, seed=0)
    for value in net.parameters.values():
        value[...] = 0.0

    def loss(run):
        g = np.zeros((steps, 1))
        g[-1] = 2 * (run.output[-1] - 0.7)
        return (run.output[-1, 0] - 0.7) ** 2, g

    return net, np.zeros((steps, 1)), loss, {"state": [[expit(0.5)]]}


def test_every_point_is_the_recursion_and_its_derivative():
    net, x, loss, start = cliff(steps=7)
    w, b = np.linspace(3.0, 7.0, 4), np.linspace(-3.5, -1.5, 5)
    found = surface(net, x, loss, W, B, w, b, **start)
    assert found.loss.shape == (4, 5)
    assert found.gradient.shape == (4, 5, 2)

    def plain(w, b):
        state = 0.5
        for _ in range(7):
            state = w / (1 + np.exp(-state)) + b
        return (1 / (1 + np.exp(-state)) - 0.7) ** 2

    step = 1e-30
    for i, j in np.ndindex(4, 5):
        assert found.loss[i, j] == pytest.approx(plain(w[i], b[j]), rel=1e-12)
        exact = plain(w[i] + 1j * step, b[j]).imag / step, plain(w[i], b[j] + 1j * step).imag / step
        np.testing.assert_allclose(found.gradient[i, j], exact, rtol=1e-11)
    assert not net.parameters["weight_hh_l0"].any()  # the network is as it was


def test_directions_of_many_parameters():
    rng = np.random.default_rng(0)
    net = tt.Network("gru", 2, 5, num_layers=2, seed=0)
    x, target = rng.standard_normal((9, 3, 2)), rng.standard_normal((9, 3, 5))
    one = {name: rng.standard_normal(value.shape) for name, value in net.parameters.items()}
    two = {"weight_hh_l1": rng.standard_normal((15, 5))}

    def loss(run):
        return 0.5 * ((run.output - target) ** 2).sum(), run.output - target

    found = surface(net, x, loss, one, two, [-1e-4, 0.0, 1e-4], [-1e-4, 0.0, 1e-4])
    slope = (found.loss[2, 1] - found.loss[0, 1]) / 2e-4, (found.loss[1, 2] - found.loss[1, 0]) / 2e-4
    np.testing.assert_allclose(found.gradient[1, 1], slope, rtol=1e-6)


def test_a_loss_of_the_final_state():
    net = tt.Network("linear", 1, 1, bias=False, seed=0)
    net.parameters["weight_hh_l0"][...] = 0.0

    def loss(run):
        return run.final_state[0, 0], None, np.ones((1, 1))

    found = surface(net, np.zeros((50, 1)), loss, W, ("weight_ih_l0", (0, 0)), [1.1], [0.0], state=[[0.5]])
    assert found.gradient[0, 0, 0] == pytest.approx(2667.974, abs=5e-4)  # t x_0 w^(t−1), references section 1


def test_the_numbers_of_the_cliff():
    """References, section 5: the wall at b = .5 − .62245933 w, its height and the calm beside it, at w = 5."""
    net, x, loss, start = cliff()
    wall = 0.5 - 5 * expit(0.5)
    assert wall == pytest.approx(-2.6122967, abs=5e-8)
    peak = surface(net, x, loss, W, B, [5.0], wall + np.linspace(-1e-4, 0.0, 401), **start)
    best = int(np.argmax(peak.gradient_norm))
    assert peak.gradient_norm[0, best] == pytest.approx(6773, rel=1e-3)
    assert peak.second[best] - wall == pytest.approx(-4.47e-5, abs=5e-7)
    calm = surface(net, x, loss, W, B, [5.0], [-4.0, -1.0], **start)
    np.testing.assert_allclose(calm.gradient_norm[0], [0.03, 0.017], atol=0.001)
    net.parameters["weight_hh_l0"][...], net.parameters["bias_hh_l0"][...] = 5.0, wall
    run = net.unroll(x, **start)
    last = np.eye(50)[:, -1:] / (run.output[-1] * (1 - run.output[-1]))  # dx_50 = dh_50 / sigmoid'(x_50)
    assert run.backprop(last).parameters["bias_hh_l0"][0] == pytest.approx(18155.81, rel=1e-6)


def test_refusals_are_sentences():
    net, x, loss, start = cliff(5)
    with pytest.raises(ValueError, match=r"`first` moves 'w', but this network has weight_ih_l0"):
        surface(net, x, loss, ("w", 0), B, [1.0], [1.0], **start)
    with pytest.raises(ValueError, match=r"`second` is entry 4 of bias_hh_l0, of shape \(1,\)"):
        surface(net, x, loss, W, ("bias_hh_l0", 4), [1.0], [1.0], **start)
    with pytest.raises(ValueError, match=r"has shape \(2,\); bias_hh_l0 has \(1,\)"):
        surface(net, x, loss, W, {"bias_hh_l0": np.ones(2)}, [1.0], [1.0], **start)
    with pytest.raises(TypeError, match="expected a dict from names to arrays"):
        surface(net, x, loss, W, {}, [1.0], [1.0], **start)
    with pytest.raises(ValueError, match="`second_values` has shape"):
        surface(net, x, loss, W, B, [1.0], [], **start)
    with pytest.raises(TypeError, match="`loss` returned float"):
        surface(net, x, lambda run: 1.0, W, B, [1.0], [1.0], **start)


def test_the_result_prints_draws_and_converts_itself():
    from matplotlib import pyplot

    net, x, loss, start = cliff(10)
    found = surface(net, x, loss, W, B, np.linspace(4, 6, 5), np.linspace(-3, -2, 4), **start)
    assert "Loss over 5 × 4 points" in repr(found)
    assert "weight_hh_l0[0, 0]" in repr(found)
    assert set(found.arrays()) == {"first", "second", "loss", "gradient"}
    figure, ax = pyplot.subplots()
    assert found.plot(ax=ax)["image"].get_array().shape == (4, 5)
    assert found.plot(ax=ax, quantity="gradient_norm", log=False, colour_bar=False)["bar"] is None
    with pytest.raises(ValueError, match="gradient_norm"):
        found.plot(ax=ax, quantity="curl")
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    pyplot.close(figure)


WRONG = {
    "net": ["x", None, {}, np.eye(2)],
    "loss": [None, 1.0, "mse"],
    "first": [
        None,
        3,
        "weight_hh_l0",
        ("weight_hh_l0", "x"),
        {"weight_hh_l0": "x"},
        {"weight_hh_l0": [[np.nan]]},
        {1: 1},
    ],
    "second_values": [None, "x", [], [np.nan], {}, [[1.0]], [1j]],
}


@pytest.mark.parametrize(("name", "given"), [(name, given) for name, several in WRONG.items() for given in several])
def test_arguments_of_a_wrong_kind_are_named(name, given):
    net, x, loss, start = cliff(3)
    options = {"net": net, "x": x, "loss": loss, "first": W, "second": B, "first_values": [1.0], "second_values": [1.0]}
    with pytest.raises((TypeError, ValueError), match=rf"(?s)`{name}"):
        surface(**(options | {name: given}), **start)


@pytest.mark.parametrize("returned", ["x", ("x", None), ([1.0], None), (None, None), (1.0,)])
def test_losses_that_return_something_else(returned):
    net, x, _, start = cliff(3)
    with pytest.raises(TypeError, match="`loss` returned"):
        surface(net, x, lambda run: returned, W, B, [1.0], [1.0], **start)
