"""When does a product of slopes vanish or explode? The textbook chain of one-dimensional ReLU layers, exactly.

    h_1 = relu(w_1 x),   h_l = relu(w_l h_{l−1}),   ŷ = h_L,   x = 1,  all w_l = w

    ŷ = w^L,   ∂ŷ/∂w_1 = w^(L−1),   ∂(ŷ−1)²/∂w_1 = 2 (w^L − 1) w^(L−1);   a negative pre-activation gives exactly 0

A recurrent ReLU unit unrolled over L steps is this chain: the input weight is w_1, as only the first input is not zero,
and the recurrent weight is w_2 = … = w_L. So ∂ŷ/∂w_1 is the gradient of W_ih, by backpropagation through time.
Source: Bengio, Simard & Frasconi, IEEE Trans. Neural Netw. 5, 1994; Pascanu, Mikolov & Bengio, ICML 2013.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"depth": 20, "weights": [0.5, 0.9, 1.0, 1.1, 2.0]}
FULL = SIZES
SMALL = {"depth": 20}
EXACT = (  # w, L, ∂ŷ/∂w_1, ∂(ŷ−1)²/∂w_1: all exact in binary
    (0.5, 5, 0.0625, -0.12109375),
    (0.5, 20, 2.0**-19, 2.0**-38 - 2.0**-18),
    (2.0, 5, 16.0, 992.0),
    (2.0, 20, 524288.0, 2.0**40 - 2.0**20),
)


def chain(depth, w, x=1.0):
    """ŷ, ∂ŷ/∂w_1 and ∂(ŷ−1)²/∂w_1 of a chain of `depth` layers."""
    net = tt.Network("relu", 1, 1, bias=False)
    net.parameters["weight_ih_l0"][...] = net.parameters["weight_hh_l0"][...] = w
    inputs = np.zeros((depth, 1))
    inputs[0] = x
    run = net.unroll(inputs)
    top = np.zeros((depth, 1))
    top[-1] = 1.0
    y = run.output[-1, 0]
    slope = run.backprop(top).parameters["weight_ih_l0"].item()
    loss = run.backprop(2.0 * (y - 1.0) * top).parameters["weight_ih_l0"].item()
    return y, slope, loss


def measure(depth=20, weights=(0.5, 0.9, 1.0, 1.1, 2.0)):
    depths = np.arange(1, depth + 1)
    data, checks = {"depth": depths}, []
    for w in weights:
        y, slope, loss = np.transpose([chain(int(L), w) for L in depths])
        data[f"w={w:g}"] = {"y": y, "slope": slope, "loss_gradient": loss}
        # Powers of ½, 1 and 2 are exact in binary; the others are a product of L rounded factors.
        exact = float(np.log2(w)).is_integer()
        power = w ** (depths - 1.0)
        worst = np.max(np.abs(slope / power - 1.0))
        tolerance = 0.0 if exact else depth * np.finfo(float).eps
        checks.append(
            study.check(
                f"dy/dw_1 = w^(L-1), w={w:g}, L = 1..{depth}: largest relative error",
                worst,
                0.0,
                tolerance,
                why="closed form; exact for powers of two, L roundings otherwise",
            )
        )
    for w, L, slope, loss in EXACT:
        _, found, found_loss = chain(L, w)
        checks.append(study.check(f"dy/dw_1, w={w:g}, L={L}", found, slope, 0.0, why="w^(L-1): exact"))
        checks.append(
            study.check(f"d(y-1)^2/dw_1, w={w:g}, L={L}", found_loss, loss, 0.0, why="2 (w^L-1) w^(L-1): exact")
        )
    dead = max(abs(chain(int(L), 2.0, x=-1.0)[1]) for L in depths)
    checks.append(
        study.check(
            "dy/dw_1 behind a negative pre-activation", dead, 0.0, 0.0, why="the slope of relu is 0 there: exact"
        )
    )
    data["dead"] = {"w": 2.0, "x": -1.0, "largest_gradient": dead}
    return {"checks": checks, "seeds": None, "data": data}


def draw(result):
    data = result["data"]
    L = np.asarray(data["depth"])
    fig, axes = study.figure(1, 2, height=2.7, sharex=True)
    smooth = np.linspace(1, L[-1], 300)
    weights = [float(key[2:]) for key in data if key.startswith("w=")]
    for i, w in enumerate(weights):
        colour, marker = tt.plots.COLOURS[(i + 1) % 6], tt.plots.MARKERS[i % 6]
        points = {"linestyle": "none", "marker": marker, "markersize": 3.6, "color": colour, "zorder": 4}
        axes[0].semilogy(smooth, w ** (smooth - 1), linewidth=0.8, color="0.35")
        axes[0].semilogy(L, np.abs(data[f"w={w:g}"]["slope"]), **points)
        axes[0].annotate(
            f"$w={w:g}$",
            (L[-1], w ** (L[-1] - 1.0)),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colour,
        )
        if w != 1.0:
            theory = 2 * np.abs(w**smooth - 1) * w ** (smooth - 1)
            axes[1].semilogy(smooth, theory, linewidth=0.8, color="0.35")
            axes[1].semilogy(L, np.abs(data[f"w={w:g}"]["loss_gradient"]), **points)
            axes[1].annotate(
                f"$w={w:g}$", (L[-1], theory[-1]), xytext=(5, 0), textcoords="offset points", va="center", color=colour
            )
    for ax in axes:
        bottom = ax.get_xaxis_transform()
        ax.plot(L, np.full(L.size, 0.03), "x", color="0.45", markersize=3, transform=bottom, clip_on=False)
        ax.text(1, 0.06, "negative pre-activation: exactly 0", transform=bottom, color="0.35", fontsize=7, va="bottom")
        ax.set_xlabel("depth $L$ (layers = time steps)")
        ax.set_xticks([1, *range(5, L[-1] + 1, 5 if L[-1] <= 25 else 10)])
        ax.set_xlim(0.4, L[-1] * 1.14)
    axes[0].set_ylim(0.01 * 0.5 ** L[-1], 100 * 2.0 ** L[-1])  # room for the legend and the line of zeros
    axes[1].set_ylim(0.01 * 0.5 ** L[-1], None)
    axes[0].set_ylabel(r"$|\partial\hat y/\partial w_1|$")
    axes[1].set_ylabel(r"$|\partial(\hat y-1)^2/\partial w_1|$")
    axes[0].set_title(r"output: $w^{L-1}$")
    axes[1].set_title(r"squared error: $2\,|w^L-1|\,w^{L-1}$")
    handles = [
        axes[0].plot([], [], color="0.35", linewidth=0.8)[0],
        axes[0].plot([], [], "o", color="0.35", markersize=3.6)[0],
    ]
    axes[0].legend(handles, ["closed form", "backpropagation through time"], loc="upper left")
    study.letters(axes)
    return fig


if __name__ == "__main__":
    study.run(globals())
