"""How far do eigenvalues mislead? Powers of non-normal matrices grow before they shrink, and products need not shrink.

    A = [[a, b], [0, a]]:   ‖A^k‖ = (|q| + √(q² + 4p²))/2,   p = a^k,   q = k a^(k−1) b
    B = [[.5, 2], [0, .5]]: B and Bᵀ in turn grow by ½ ln ρ(BᵀB) per step, though each has spectral radius ½
    W_ij ~ N(0, 1/N):       ‖W^t‖ → √((t+1)^(t+1)/t^t),   Henrici²/‖W‖²_F → ½

A linear network h' = A h hands the transpose of these powers to its gradient: after k steps it is (Aᵀ)^k δ, of constant
norm where A is orthogonal, and late of slope ln ρ where A is symmetric. The last panel shows where the transients of
a tanh network come from: the pseudospectra of one Jacobian reach beyond the unit circle where its eigenvalues do not.
Source: Trefethen & Embree, Spectra and Pseudospectra, 2005; ‖W^t‖ is the edge of the Fuss–Catalan law.
"""

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"steps": 60, "units": 1000, "powers": 6, "jacobian_units": 60, "points": 60}
FULL = {"steps": 60, "units": 1000, "powers": 10, "jacobian_units": 200, "points": 120}
SMALL = {"steps": 40, "units": 200, "powers": 3, "jacobian_units": 20, "points": 20}
SEED = 0
JORDAN = np.array([[0.9, 1.0], [0.0, 0.9]])
SWITCHED = np.array([[0.5, 2.0], [0.0, 0.5]])
GROWTH = 0.75049  # ½ ln 4.48607


def jordan_power(k, a=0.9, b=1.0):
    """‖[[a, b], [0, a]]^k‖ in closed form, k ≥ 1."""
    p, q = a**k, k * a ** (k - 1) * b
    return (q + np.sqrt(q * q + 4 * p * p)) / 2


def ginibre_law(t):
    """The largest singular value of W^t for N → ∞: √((t+1)^(t+1)/t^t)."""
    return np.exp(0.5 * ((t + 1) * np.log(t + 1) - t * np.log(np.maximum(t, 1))))


def through_a_network(matrix, steps):
    """‖A^t‖ as a gradient sees it: the singular values of the Jacobian of a linear network over t steps."""
    net = tt.Network("linear", 1, 2, bias=False)
    net.parameters["weight_hh_l0"][...] = matrix
    run = net.unroll(np.zeros((steps, 1)))
    return np.array([np.linalg.norm(run.vjp(np.eye(2)[None], 0, t)[0], 2) for t in range(steps + 1)])


def linear(matrix, state=None, steps=200):
    """A linear network without input, and its run."""
    net = tt.Network("linear", 1, len(matrix), bias=False)
    net.parameters["weight_hh_l0"][...] = matrix
    return net.unroll(np.zeros((steps, 1)), state=state)


def gradients(units=64, steps=200):
    """ln of the gradient's norm against lag for orthogonal, 0.9·orthogonal and symmetric W; its error after 30."""
    rng = np.random.default_rng(SEED)
    q = np.linalg.qr(rng.standard_normal((units, units)))[0]
    symmetric = q @ np.diag(np.linspace(-0.9, 0.95, units)) @ q.T
    end, curves = rng.standard_normal((1, units)), {}
    for name, matrix in (("orthogonal", q), ("0.9 orthogonal", 0.9 * q), ("symmetric", (symmetric + symmetric.T) / 2)):
        norms = tt.analysis.gradient_norms(linear(matrix, steps=steps), grad_final_state=end)
        curves[name] = norms.log_norm[::-1, 0] - norms.log_norm[-1, 0]
    w = rng.standard_normal((units, units)) / np.sqrt(units)
    exact = np.linalg.matrix_power(w.T, 30) @ end[0]
    error = np.abs(linear(w, steps=30).vjp(end, 0, 30)[0] - exact).max() / np.abs(exact).max()
    return curves, error


def scalar_slope(w, steps=50):
    """dx_t/dw of x_t = w x_(t−1), x_0 = ½, by backpropagation through time."""
    run = linear(np.full((1, 1), w), np.full((1, 1), 0.5), steps)
    return run.backprop(grad_final_state=np.ones((1, 1))).parameters["weight_hh_l0"].item()


def switching(steps):
    """ln‖… Bᵀ B Bᵀ B‖ after each step."""
    product, scale, log_norm = np.eye(2), 0.0, [0.0]
    for t in range(steps):
        product = (SWITCHED if t % 2 == 0 else SWITCHED.T) @ product
        largest = np.abs(product).max()
        product, scale = product / largest, scale + np.log(largest)
        log_norm.append(scale + np.log(np.linalg.norm(product, 2)))
    return np.array(log_norm)


def jacobian(units):
    """One Jacobian of a tanh network of gain 1.2 driven by noise: eigenvalues inside the circle, transients outside."""
    rng = np.random.default_rng(SEED)
    net = tt.Network("tanh", 1, units, bias=False, init=tt.init.gaussian(1.2), seed=SEED)
    net.parameters["weight_ih_l0"][...] = rng.standard_normal((units, 1))
    return net.unroll(rng.standard_normal((50, 1)))


def measure(steps=60, units=1000, powers=6, jacobian_units=60, points=60):
    report = tt.analysis.non_normality(JORDAN, steps)
    power = np.exp(report.log_norm)
    k = np.arange(1, steps + 1)
    net = through_a_network(JORDAN, steps)
    turns = switching(steps)
    ginibre = np.random.default_rng(SEED).standard_normal((units, units)) / np.sqrt(units)
    norms = np.exp(tt.analysis.transient_growth(ginibre, powers))
    departure = tt.analysis.henrici_departure(ginibre) / np.linalg.norm(ginibre)
    run = jacobian(jacobian_units)
    picture = tt.analysis.pseudospectrum(run, t=50, points=points, half_width=1.6)
    state = tt.analysis.non_normality(run, steps, t=50)
    t = np.arange(1, powers + 1)
    eps = np.finfo(float).eps

    def check(name, measured, expected, tolerance, why):
        return study.check(name, measured, expected, tolerance, why=why)

    curves, error = gradients()
    lag = np.arange(201)
    second = (scalar_slope(1.1 + 1e-5) - scalar_slope(1.1 - 1e-5)) / 2e-5
    checks = [
        check("gradient after 30 steps against (W^T)^30 d", error, 0, 1e-13, "exact; rounding of 30 products, N = 64"),
        check(
            "orthogonal W: largest |ln norm|, 200 steps", np.abs(curves["orthogonal"]).max(), 0, 200 * eps, "constant"
        ),
        check(
            "0.9 orthogonal W: largest |ln norm − t ln 0.9|",
            np.abs(curves["0.9 orthogonal"] - lag * np.log(0.9)).max(),
            0,
            400 * eps,
            "0.9^t",
        ),
        check(
            "symmetric W: late slope, nats per step",
            curves["symmetric"][200] - curves["symmetric"][199],
            np.log(0.95),
            1e-3,
            "ln of the spectral radius; the next eigenvalue is 3 % smaller",
        ),
        check("scalar: dx_50/dw at 1.1", scalar_slope(1.1), 2667.974, 5e-4, "t x_0 w^(t−1), three decimals"),
        check(
            "scalar: its second derivative", second, 118846.11, 2e-2, "two decimals; central difference of step 1e-5"
        ),
        check("A: peak of |A^k|", report.peak, 3.91257, 5e-6, "closed form, five decimals"),
        check("A: step of the peak", report.peak_step, 9, 0, "closed form"),
        check("A: |A^20|", power[20], 2.707163351, 5e-10, "closed form, nine decimals"),
        check(
            "A: largest relative error of |A^k|, k ≥ 1",
            np.abs(power[1:] / jordan_power(k) - 1).max(),
            0,
            4 * steps * eps,
            "closed form; some four roundings a step",
        ),
        check(
            "A: largest relative error through a linear network",
            np.abs(net[1:] / jordan_power(k) - 1).max(),
            0,
            4 * steps * eps,
            "the same closed form for the adjoint of the network",
        ),
        check("A: Kreiss constant", report.kreiss, 2.6, 1e-9, "references: 2.6000"),
        check("A: Henrici departure", report.henrici, 1.0, 4 * eps, "‖A‖²_F − Σ|λ|² = 1"),
        check("B, B^T in turn: spectral radius of each", tt.analysis.spectral_radius(SWITCHED), 0.5, eps, "triangular"),
        check(
            "B, B^T in turn: growth, nats per step",
            (turns[-1] - turns[steps // 2]) / (steps - steps // 2),
            GROWTH,
            1e-5,
            "½ ln 4.48607, five decimals",
        ),
        check("W: Henrici²/|W|²_F", departure**2, 0.5, 4 / units, "½ for N → ∞; a fluctuation of a few 1/N"),
        *(
            check(
                f"W: |W^{n}|",
                norms[n],
                ginibre_law(n),
                ginibre_law(n) * (1 + n) * 0.75 * units ** (-2 / 3),
                "law for N → ∞; edges lie N^(-2/3) off, the more the higher the power",
            )
            for n in (1, 2, 3)
        ),
    ]
    data = {
        "power": power,
        "normal": 0.9 ** np.arange(steps + 1),
        "kreiss": report.kreiss,
        "switching": turns,
        "ginibre": norms,
        "ginibre_law": ginibre_law(np.arange(powers + 1)),
        "ginibre_errors": norms[1:] / ginibre_law(t) - 1,
        "henrici_squared_over_norm": departure**2,
        "jacobian": {
            "spectral_radius": state.spectral_radius,
            "norm": state.norm,
            "kreiss": state.kreiss,
            "eigenvalues": [picture.eigenvalues.real, picture.eigenvalues.imag],
            "side": picture.real,
            "log10_sigma_min": np.log10(picture.sigma_min).round(3),
        },
    }
    return {"checks": checks, "seeds": {"weights": SEED, "inputs": SEED}, "data": data}


def draw(result):
    data = result["data"]
    fig, axes = study.figure(2, 2, height=5.2)
    colours = tt.plots.COLOURS
    powers_of_a(axes[0, 0], data, colours)
    turns = np.asarray(data["switching"])
    t = np.arange(turns.size)
    ax = axes[0, 1]
    ax.plot(t, GROWTH * t, color="0.75", linewidth=3.5, label=f"{GROWTH} per step")
    ax.plot(t, turns, "--", color=colours[3], label=r"$\ln\Vert\cdots B^{\mathsf{T}}B\,B^{\mathsf{T}}B\Vert$")
    ax.plot(t, np.log(0.5) * t, "-.", color=colours[1], label=r"$t\,\ln\rho(B)=t\,\ln\rho(B^{\mathsf{T}})$")
    ax.set_xlabel("time $t$ (steps)")
    ax.set_ylabel("logarithm of the norm (nats)")
    ax.set_title(r"each factor has $\rho=\frac{1}{2}$, the product grows")
    ax.legend()
    norms = np.asarray(data["ginibre"])
    t = np.arange(norms.size)
    ax = axes[1, 0]
    ax.plot(t, data["ginibre_law"], color="0.35", linewidth=0.9, label=r"$\sqrt{(t+1)^{t+1}/t^{\,t}}$")
    ax.plot(t, norms, "o", color=colours[3], markersize=4, label=r"$\Vert W^t\Vert$")
    ax.plot(t, np.ones(t.size), "-.", color=colours[1], label=r"$\rho(W)^t\to 1$")
    ax.set_ylim(0, None)
    ax.set_xlabel("power $t$ (time steps)")
    ax.set_ylabel("norm (factor)")
    ax.set_title("a Gaussian matrix of gain 1")
    ax.legend()
    pseudospectra(fig, axes[1, 1], data["jacobian"], colours)
    study.letters(axes)
    return fig


def powers_of_a(ax, data, colours):
    """‖A^k‖, its closed form, what the eigenvalue says, and the Kreiss constant below the peak."""
    power = np.asarray(data["power"])
    k = np.arange(power.size)
    fine = np.linspace(0.0, k[-1], 300)
    ax.semilogy(fine, jordan_power(fine), color="0.75", linewidth=3.5, label="closed form")
    ax.semilogy(k, power, ".", color=colours[3], label=r"$\Vert A^k\Vert$")
    ax.semilogy(k, data["normal"], "-.", color=colours[1], label=r"$\rho(A)^k=0.9^k$")
    ax.axhline(data["kreiss"], linestyle=":", color=colours[0], linewidth=0.9)
    ax.text(k[-1], data["kreiss"] * 1.06, f"Kreiss constant {data['kreiss']:.4f}", ha="right", va="bottom", fontsize=7)
    ax.set_xlabel("power $k$ (time steps)")
    ax.set_ylabel("norm (factor)")
    ax.set_title(r"$A=[[0.9,\,1],[0,\,0.9]]$: up before down")
    ax.legend(loc="lower left")


def pseudospectra(fig, ax, data, colours):
    """Contours of log10 ε of one Jacobian, its eigenvalues and the unit circle."""
    side, decades = np.asarray(data["side"]), np.asarray(data["log10_sigma_min"])
    levels = [-2.5, -2.0, -1.5, -1.0, -0.5, 0.0]
    shown = ax.contour(side, side, decades, levels=levels, cmap="cividis", linewidths=1.1)
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), "--", color=colours[0], linewidth=1.0)
    ax.plot(*np.asarray(data["eigenvalues"]), ".", color=colours[3], markersize=3)
    ax.set_aspect("equal")
    ax.set_xlabel(r"Re $z$ (factor per step)")
    ax.set_ylabel(r"Im $z$ (factor per step)")
    ax.set_title(rf"one Jacobian: $\rho={data['spectral_radius']:.2f}$, norm {data['norm']:.2f}")
    bar = fig.colorbar(shown, ax=ax, shrink=0.85)
    bar.set_label(r"$\log_{10}\varepsilon$", fontsize=7)


if __name__ == "__main__":
    study.run(globals())
