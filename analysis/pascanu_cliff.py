"""Where is the wall in the loss of a recurrent network, how high is it, and does clipping keep descent from flying off?

One unit with two parameters, the map of Pascanu, Mikolov & Bengio (ICML 2013, figure 6):

    x_t = w sigmoid(x_{t−1}) + b,   x_0 = ½,   E = (sigmoid(x_50) − 0.7)²

Where b = ½ − w sigmoid(½) = .5 − .62245933 w, ½ is a fixed point, unstable if w sigmoid'(½) > 1 (w > 4.25525): an error
grows by this factor at every step, and there is a wall. Drawn: E and |∇E| over the plane, a cut at w = 5, and
gradient descent from the same start with and without clipping the gradient's norm.
"""

import _study as study
import numpy as np
from scipy.optimize import brentq, root
from scipy.special import expit

import throughtime as tt

SIZES = {"points": 61, "cut": 401, "descent": 400}
FULL = {"points": 401, "cut": 2001, "descent": 400}
SMALL = {"points": 9, "cut": 401, "descent": 400}
STEPS, TARGET = 50, 0.7
RATE, MAX_NORM = 0.01, 1.0
START = (5.0, -2.3)
W, B = ("weight_hh_l0", (0, 0)), ("bias_hh_l0", 0)
HALF = expit(0.5)
EXACT = "closed form, rounded as in the table of references"


def network(w=0.0, b=0.0):
    net = tt.Network("sigmoid", 1, 1, seed=0)
    for value in net.parameters.values():
        value[...] = 0.0
    net.parameters[W[0]][...], net.parameters[B[0]][...] = w, b
    return net


def unroll(net, h=HALF, steps=STEPS):
    return net.unroll(np.zeros((steps, 1)), state=[[h]])


def loss(run):
    g = np.zeros((STEPS, 1))
    g[-1] = 2.0 * (run.output[-1] - TARGET)
    return (run.output[-1, 0] - TARGET) ** 2, g


def plane(w, b):
    return tt.analysis.loss_surface(network(), np.zeros((STEPS, 1)), loss, W, B, w, b, state=[[HALF]])


def wall(w):
    """b at which h_50 crosses the unstable fixed point, without use of its formula."""
    return brentq(lambda b: unroll(network(w, b)).output[-1, 0] - HALF, 0.2 - 0.7 * w, 1.0 - 0.6 * w, xtol=1e-13)


def slope(w, b, h):
    """dh_1/dh_0."""
    return unroll(network(w, b), h, 1).jacobian(1)[0, 0, 0]


def fold(w, h, b):
    """b at which a fixed point of slope 1 is found from the guess (h, b)."""

    def conditions(at):
        return unroll(network(w, at[1]), at[0], 1).output[0, 0] - at[0], slope(w, at[1], at[0]) - 1.0

    return root(conditions, (h, b), tol=1e-12).x[1]


def descend(steps, max_norm=None):
    """Gradient descent from START: the points (steps+1, 2) and the norms of the gradient there."""
    net, path, norms = network(*START), [START], []
    for _ in range(steps):
        run = unroll(net)
        grads = run.backprop(loss(run)[1]).parameters
        grads = {name: grads[name] for name in (W[0], B[0])}
        norms.append(tt.analysis.clip_by_norm(grads, np.finfo(float).max if max_norm is None else max_norm))
        for name, g in grads.items():
            net.parameters[name] -= RATE * g
        path.append((net.parameters[W[0]][0, 0], net.parameters[B[0]][0]))
    return np.array(path), np.array(norms)


def measure(points=61, cut=401, descent=400):
    checks = []

    def expect(name, measured, expected, tolerance, why=EXACT):
        checks.append(study.check(name, measured, expected, tolerance, why=why))

    for w in (4.5, 5.0, 6.0):
        expect(f"wall at w={w:g}: b", wall(w), 0.5 - 0.62245933 * w, 1e-7)
    least = brentq(lambda w: slope(w, 0.5 - w * HALF, HALF) - 1.0, 3.0, 6.0, xtol=1e-12)
    expect("w from which on there is a wall", least, 4.25525, 5e-6)
    b_wall = 0.5 - 5 * HALF
    run = unroll(network(5.0, b_wall))
    last = np.eye(STEPS)[:, -1:] / (run.output[-1] * (1 - run.output[-1]))
    expect("dx_50/db on the wall, w=5", run.backprop(last).parameters[B[0]][0], 18155.81, 0.005)
    for name, guess, value in (("upper", (0.3, -2.3), -2.3443897), ("lower", (0.7, -2.7), -2.6556103)):
        expect(f"{name} fold at w=5: b", fold(5.0, *guess), value, 1e-7)
    across = plane([5.0], b_wall + np.linspace(-1.0e-4, 1.0e-4, cut))
    best = int(np.argmax(across.gradient_norm))
    why = "references; tolerance: the grid of the cut"
    expect("largest |∇E| at w=5", across.gradient_norm[0, best], 6773, 1.0, why)
    expect("its place b − b_wall", across.second[best] - b_wall, -4.47e-5, 2.0e-4 / (cut - 1), why)
    for b, value in ((-4.0, 0.03), (-1.0, 0.017)):
        expect(f"|∇E| away from it, b={b:g}", plane([5.0], [b]).gradient_norm[0, 0], value, 0.001, "references")
    free, free_norms = descend(descent)
    held, held_norms = descend(descent, MAX_NORM)
    steps = [np.linalg.norm(np.diff(path, axis=0), axis=1) for path in (free, held)]
    why = "rate · max_norm: every step beyond is shortened to it"
    expect("longest step of the clipped descent", steps[1].max(), RATE * MAX_NORM, 1e-8, why)
    expect("clipped descent ends at the wall: b − b_wall", held[-1, 1], 0.5 - held[-1, 0] * HALF, 2 * RATE, why)
    jumps = free_norms.max() > 100 and np.linalg.norm(free[-1] - free[0]) > 1.0
    expect("unclipped descent is thrown off the plane", jumps, 1, 0, "its gradient passes 100, its end is 1 away")
    field = plane(np.linspace(3.5, 6.5, points), np.linspace(-3.6, -1.4, points))
    near = plane(np.linspace(4.65, 5.1, points), np.linspace(-2.75, -2.25, points))
    line = plane([5.0], b_wall + np.sign(s := np.linspace(-1, 1, 201)) * 10.0 ** (6.0 * np.abs(s) - 6.0))
    data = {
        "w": field.first, "b": field.second, "log10_gradient_norm": np.log10(field.gradient_norm),
        "near_w": near.first, "near_b": near.second, "near_log10_loss": np.log10(near.loss),
        "cut_distance": line.second - b_wall, "cut_gradient_norm": line.gradient_norm[0],
        "unclipped": free, "unclipped_norms": free_norms, "clipped": held, "clipped_norms": held_norms,
    }  # fmt: skip
    return {"checks": checks, "seeds": {}, "data": data}


def draw(result):
    data = {name: np.array(value) for name, value in result["data"].items()}
    fig, axes = study.figure(1, 3, height=2.5, width_ratios=[1.35, 1.25, 1])
    colours = tt.plots.COLOURS
    for ax, prefix, name, title, label in (
        (axes[0], "near_", "log10_loss", "loss $E$, two descents", r"$\log_{10}E$"),
        (axes[1], "", "log10_gradient_norm", r"steepness $|\nabla E|$", r"$\log_{10}|\nabla E|$"),
    ):
        w, b = data[prefix + "w"], data[prefix + "b"]
        image = ax.pcolormesh(w, b, data[prefix + name].T, cmap="Blues", shading="nearest", rasterized=True)
        fig.colorbar(image, ax=ax, pad=0.02, label=label)
        ax.set(xlabel="$w$", ylabel="$b$", title=title, xlim=(w[0], w[-1]), ylim=(b[0], b[-1]))
        wall = np.array([max(4.25525, w[0]), w[-1]])
        ax.plot(wall, 0.5 - HALF * wall, color=colours[0], linewidth=0.8, linestyle="--")
    axes[1].annotate("$b=.5-.62246\\,w$", (4.5, -2.2), fontsize=7)
    for name, colour, line, width in (("clipped", "white", "-", 2.0), ("unclipped", colours[3], "--", 1.2)):
        axes[0].plot(*data[name].T, line, color=colour, linewidth=width, label=name)
    axes[0].plot(*data["clipped"][-1], "o", color="white", markersize=4)
    axes[0].plot(*START, "*", color=colours[2], markersize=8, zorder=5)
    axes[0].annotate("start", START, xytext=(5, -3), textcoords="offset points", fontsize=7, color="white")
    axes[0].legend(loc="lower left", labelcolor="white", handlelength=1.8)
    distance, steep = data["cut_distance"], data["cut_gradient_norm"]
    for side, label, number in ((distance < 0, "below", 1), (distance > 0, "above", 3)):
        axes[2].loglog(np.abs(distance[side]), steep[side], label=label, **tt.plots.style(number))
    axes[2].axhline(6773, color="0.6", linewidth=0.8)
    look = {"textcoords": "offset points", "fontsize": 7, "ha": "right", "color": "0.4"}
    axes[2].annotate("6773", (1.0, 6773), xytext=(0, 2), **look)
    axes[2].set_xlabel(r"distance $|b-b_\mathrm{wall}|$")
    axes[2].set_ylabel(r"$|\nabla E|$")
    axes[2].set_title("the wall at $w=5$")
    axes[2].legend(loc="lower left", handlelength=1.6)
    axes[2].set_xticks([1e-6, 1e-4, 1e-2, 1])
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
