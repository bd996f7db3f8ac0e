"""Where do the eigenvalues and singular values of one step lie, and how do they move with the gain?

J = ∂h_{t+1}/∂h_t of h' = tanh(W h). At h = 0 it is W; in the chaotic state it is D W, D = diag(sech²(W h)).

    W Gaussian, W_ij ~ N(0, g²/N)   eigenvalues: circular law, P(|λ| < r) = r²/g², radius g;
                                    singular values: quarter circle √(4g²−s²)/(πg²) on [0, 2g]
    W = g·orthogonal                every |λ| and every singular value is g
    D W, W Gaussian                 modulus law: the fraction x of eigenvalues beyond r solves 1 = E[g²d²/(r² + xg²d²)],
                                    radius √χ, χ = g² E d²; singular values: mean square χ, and the density from
                                    m = −1/(z − E[τ/(1 + τm)]), τ = g²d², z = s², density of s² = Im m(s² + i0)/π

Source: Girko 1984; Ahmadian, Fumarola & Miller, PRE 91, 2015 (modulus law); Silverstein & Bai, J. Multivar. Anal. 54,
1995 (density).
"""

import functools

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 500, "steps": 4, "sweep": [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0]}
FULL = {"units": 1500, "steps": 10, "sweep": [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]}
SMALL = {"units": 120, "steps": 2, "sweep": [0.5, 2.0]}
GAINS = (0.5, 1.0, 1.5)
CHAOTIC = (1.5, 3.0)
SEED = 3


def network(units, init, seed=SEED):
    return tt.Network("tanh", 1, units, bias=False, init=init, seed=seed)


def at_zero(net):
    """The spectrum of the step from h = 0."""
    return tt.analysis.jacobian_spectrum(net.unroll(np.zeros((1, 1))), 1)


def in_chaos(net, steps, warmup=300, apart=20):
    """The spectra of `steps` steps, `apart` steps apart, on the attractor."""
    rng = np.random.default_rng(SEED)
    run = net.unroll(np.zeros((warmup + steps * apart, 1)), state=rng.uniform(-1, 1, (1, net.hidden_size)))
    return tt.analysis.jacobian_spectrum(run, warmup + apart * (1 + np.arange(steps)))


def singular_density(theory, s, height=1e-4):
    """Density of the singular values of D W at s; m is followed from high above the real axis down to `height` ≪ s²."""
    d, weights = theory.rule
    tau = (theory.gain * d)[:, None] ** 2
    m = np.full(s.shape, 1j)
    for above in np.geomspace(10.0, height, 15):
        for _ in range(60):
            m = 0.5 * (m - 1.0 / (s**2 + 1j * above - weights @ (tau / (1.0 + tau * m))))
    return 2.0 * s * m.imag / np.pi


def distance(values, law):
    """Largest distance between the distribution of `values` and P(< value) = law(value) (Kolmogorov, Smirnov)."""
    ordered = np.sort(np.ravel(values))
    below = np.arange(1, ordered.size + 1) / ordered.size
    return np.max(np.abs(below - law(ordered)))


def quarter_circle(s, g):
    """P(singular value < s) for W_ij ~ N(0, g²/N)."""
    u = np.clip(s / (2.0 * g), 0.0, 1.0)
    return 2.0 / np.pi * (u * np.sqrt(1.0 - u**2) + np.arcsin(u))


def gaussian(units, g, seed):
    """W itself against the circular law and the quarter circle."""
    found = at_zero(network(units, tt.init.gaussian(gain=g), seed=seed))
    eigenvalues, singular = found.eigenvalues[0], found.singular_values[0]
    modulus = np.abs(eigenvalues)
    far = distance(modulus, lambda r: np.clip(r / g, 0, 1) ** 2)
    near = distance(singular, lambda s: quarter_circle(s, g))
    # Eigenvalues repel, so their counts scatter little: 1/√N is for the √(2N/π) of them that a real matrix has on the
    # real axis. The largest one scatters by a few 1/√N.
    root = 1.0 / np.sqrt(units)
    name = f"W, g={g:g}"
    checks = [
        study.check(f"{name}: 3/2 mean |λ| / g", 1.5 * modulus.mean() / g, 1, 0.67 * root, why="circular law"),
        study.check(f"{name}: spectral radius / g", modulus[0] / g, 1, 2 * root, why="circular law"),
        study.check(f"{name}: largest P(|λ|<r) − r²/g²", far, 0, root, why="circular law"),
        study.check(f"{name}: mean σ / g", singular.mean() / g, 8 / (3 * np.pi), 5 / units, why="8/(3π)"),
        study.check(f"{name}: largest P(σ<s) − quarter circle", near, 0, 10 / units, why="quarter circle"),
    ]
    return checks, {"re": eigenvalues.real, "im": eigenvalues.imag, "singular_values": singular}


def orthogonal(units, g):
    """g·Q: every modulus and every singular value is g."""
    found = at_zero(network(units, tt.init.orthogonal(gain=g)))
    roundoff, checks = 50 * np.finfo(float).eps * np.sqrt(units), []
    for what, values in (("|λ|", np.abs(found.eigenvalues)), ("σ", found.singular_values)):
        worst = np.max(np.abs(values / g - 1))
        checks.append(study.check(f"orthogonal, g={g:g}: largest | {what}/g − 1 |", worst, 0, roundoff, why="exact"))
    return checks, {"re": found.eigenvalues[0].real, "im": found.eigenvalues[0].imag}


def chaotic(units, steps, g):
    """D W in the chaotic state against mean field."""
    theory = tt.analysis.mean_field.tanh(g)
    found = in_chaos(network(units, tt.init.gaussian(gain=g)), steps)
    square = (found.singular_values**2).mean()
    fourth = (found.singular_values**4).mean() / square**2
    rank = (np.arange(units) + 0.5) / units
    beyond = functools.partial(np.interp, xp=np.exp(theory.spectrum(rank))[::-1], fp=1 - rank[::-1])
    far = max(distance(np.abs(values), beyond) for values in found.eigenvalues[:, 0])
    radius = found.spectral_radius.mean() / np.sqrt(theory.chi)
    scatter = np.sqrt((theory.kappa - 1.0) / (units * steps))  # of the mean of d² over units and steps, relative
    wide = 10 * theory.kappa / np.sqrt(units * steps)  # high powers of d scatter more
    root, name = 1.0 / np.sqrt(units), f"D W, g={g:g}"
    checks = [
        study.check(f"{name}: mean σ² / χ", square / theory.chi, 1, 5 * scatter + 5 / units, why="5 scatters of d²"),
        study.check(f"{name}: ⟨σ⁴⟩/⟨σ²⟩² − 1", fourth - 1, theory.kappa, wide, why="κ = E d⁴/(E d²)²"),
        study.check(f"{name}: spectral radius / √χ", radius, 1, 3 * root, why="one step scatters by 1/√N"),
        study.check(f"{name}: modulus law, largest distance", far, 0, 1.5 * root, why="one step scatters by 1/√N"),
    ]
    s = np.linspace(0.06, 1.02 * found.norm.max(), 150)
    first = found.eigenvalues[0, 0]
    data = {"re": first.real, "im": first.imag, "radius": np.sqrt(theory.chi)}
    data |= {"singular_values": found.singular_values.ravel(), "s": s, "density": singular_density(theory, s)}
    return checks, data


def measure(units=500, steps=4, sweep=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)):
    parts = {}
    for i, g in enumerate(GAINS):
        parts[f"gaussian g={g:g}"] = gaussian(units, g, SEED + i)
        parts[f"orthogonal g={g:g}"] = orthogonal(units, g)
    for g in CHAOTIC:
        parts[f"chaotic g={g:g}"] = chaotic(units, steps, g)
    data = {name: numbers for name, (_, numbers) in parts.items()}
    data["sweep"] = radii(units, steps, sweep)
    checks = [item for found, _ in parts.values() for item in found]
    return {"checks": checks, "seeds": {"weights": list(range(SEED, SEED + 3)), "state": SEED}, "data": data}


def radii(units, steps, sweep):
    """Spectral radius and norm against the gain, at h = 0 and in the chaotic state."""
    out = {"gain": list(sweep), "radius": [], "norm": [], "chaotic_gain": [], "chaotic_radius": [], "chaotic_norm": []}
    for g in study.progress(sweep, "jacobian_spectra"):
        net = network(max(units // 2, 2), tt.init.gaussian(gain=g), seed=SEED + 1)
        zero = at_zero(net)
        out["radius"].append(zero.spectral_radius[0])
        out["norm"].append(zero.norm[0])
        if g > 1.2:  # between 1 and 1.2 finite networks are mostly not chaotic
            chaos = in_chaos(net, steps)
            out["chaotic_gain"].append(g)
            out["chaotic_radius"].append(chaos.spectral_radius.mean())
            out["chaotic_norm"].append(chaos.norm.mean())
    return out


def draw(result):
    data, plots = result["data"], tt.plots
    fig, axes = study.figure(2, 3, height=4.7)
    (disc, ring, cloudy), (circle, sweep, heavy) = axes
    for i, g in reversed(list(enumerate(GAINS))):
        cloud(disc, data[f"gaussian g={g:g}"], i, g, f"$g={g:g}$")
        cloud(ring, data[f"orthogonal g={g:g}"], i, g, f"$g={g:g}$", every=11)
        values = np.array(data[f"gaussian g={g:g}"]["singular_values"])
        s = np.linspace(0, 2 * g, 300)
        circle.plot(s, np.sqrt(4 * g**2 - s**2) / (np.pi * g**2), color="0.1", linewidth=1.1, linestyle=plots.STYLES[i])
        density(circle, values, np.linspace(0, 2 * g, 17), i, f"$g={g:g}$")
    for i, g in reversed(list(enumerate(CHAOTIC))):
        item = data[f"chaotic g={g:g}"]
        cloud(cloudy, item, i, item["radius"], f"$g={g:g}$")
        heavy.semilogy(item["s"], item["density"], color="0.1", linewidth=1.1, linestyle=plots.STYLES[i])
        density(heavy, np.array(item["singular_values"]), np.linspace(item["s"][0], item["s"][-1], 25), i, f"$g={g:g}$")
    heavy.set_ylim(0.02, None)
    sweep_panel(sweep, data["sweep"])
    titles = ("$h=0$, Gaussian $W$", r"$h=0$, orthogonal: $|\lambda|=\sigma=g$", r"chaotic state, radius $\sqrt{\chi}$")
    for ax, title in zip(axes.flat, (*titles, "$h=0$, Gaussian $W$", "against the gain", "chaotic state"), strict=True):
        ax.set_title(title)
    for ax in (circle, heavy):
        ax.set_xlabel(r"singular value $\sigma$ (per step)")
        ax.set_ylabel("probability density")
        handles, names = ax.get_legend_handles_labels()
        theory = ax.plot([], [], color="0.1", linewidth=1.1)[0]
        ax.legend([*handles[::-1], theory], [*names[::-1], "theory"], loc="upper right")
    study.letters(axes)
    return fig


def cloud(ax, item, i, radius, name, every=1):
    """Eigenvalues with the circle of theory and its name on it; `every`: only each so-manieth is drawn."""
    values = (np.array(item["re"]) + 1j * np.array(item["im"]))[::every]
    found = tt.plots.eigenvalues(values, ax=ax, radius=radius, index=i, legend=False)
    found["points"].set(sizes=[5.0 if every == 1 else 14.0], zorder=4)
    found["circle"].set(linewidth=0.9, zorder=5)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
    ax.text(0, radius, name, ha="center", va="center", fontsize=7, bbox=box, zorder=6)
    ax.set_xlabel(r"Re $\lambda$ (per step)")
    ax.set_ylabel(r"Im $\lambda$ (per step)")


def density(ax, values, bins, i, name):
    """A histogram as points at the middles of its bins."""
    counts, edges = np.histogram(values, bins=bins)
    counts = counts / (values.size * np.diff(edges))  # of all values: the bins may leave some out
    middle = 0.5 * (edges[1:] + edges[:-1])
    shown = counts > 0
    look = {"linestyle": "none", "marker": tt.plots.MARKERS[i], "color": tt.plots.COLOURS[i + 1]}
    ax.plot(middle[shown], counts[shown], markersize=3.6, label=name, **look)


def sweep_panel(ax, sweep):
    """Spectral radius and norm against the gain, with the radius of mean field."""
    g = np.linspace(1.001, max(sweep["gain"]), 60)
    chaotic = [np.sqrt(tt.analysis.mean_field.tanh(float(x)).chi) for x in g]
    colours = tt.plots.COLOURS
    ax.plot([0, g[-1]], [0, g[-1]], color="0.1", linewidth=1.1)
    ax.plot([0, g[-1]], [0, 2 * g[-1]], color="0.1", linewidth=1.1, linestyle="--")
    ax.plot(g, chaotic, color="0.1", linewidth=1.1, linestyle="-.")
    ax.plot(sweep["gain"], sweep["norm"], "s", color=colours[2], markersize=3.6, label=r"largest $\sigma$: $2g$")
    ax.plot(sweep["gain"], sweep["radius"], "o", color=colours[1], markersize=3.6, label="radius: $g$")
    ax.plot(
        sweep["chaotic_gain"],
        sweep["chaotic_radius"],
        "^",
        color=colours[3],
        markersize=4,
        label=r"radius, chaotic: $\sqrt{\chi}$",
    )
    ax.set_xlabel("gain $g$")
    ax.set_ylim(0, 2.5 * g[-1])  # room for the legend
    ax.set_ylabel("factor per time step")
    ax.legend(loc="upper left")


if __name__ == "__main__":
    study.run(globals())
