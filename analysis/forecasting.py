"""How far ahead can the sunspot cycle be forecast, by an autoregression, a reservoir and a trained network?

Yearly mean sunspot numbers x_t, as z = √x, standardised. All models see 1700 to 1920; from every year after it each
forecasts the next eleven, hearing its own forecasts (closed loops, all years at once as a batch).

    naive                  x_{t+h} = x_t; and the same year of the last cycle, x_{t+h−11}
    autoregression AR(p)   a linear network that is a delay line, its readout by least squares; p by Akaike's criterion
    reservoir              a random tanh network, its readout by ridge regression, penalty and radius by validation
    GRU                    trained by backpropagation, the best parameters by validation

The closed loop of AR(p) is its companion matrix: its Lyapunov exponents are ln|roots| of z^p − Σ a_k z^{p−k}.
Errors are squared differences of √x, over their variance in the years to be forecast: 1 is the mean of these.

Data: analysis/sunspots.csv, National Geophysical Data Center (NOAA), public domain.
Source: Yule, Phil. Trans. R. Soc. A 226, 267, 1927; Weigend, Huberman & Rumelhart, Int. J. Neural Syst. 1, 193, 1990
(the years 1700–1920 for training); Jaeger & Haas, Science 304, 78, 2004.

Deviations from the papers: √x in place of x, since the swings of the cycle grow with its height; the years until 2008
in one, where Weigend et al. have 1921–1955 and 1956–1979 apart.
"""

from pathlib import Path

import _study as study
import numpy as np

import throughtime as tt

SIZES = {"units": 100, "reservoirs": 10, "grus": 3, "updates": 600}
FULL = {"units": 300, "reservoirs": 50, "grus": 10, "updates": 3000}
SMALL = {"units": 40, "reservoirs": 2, "grus": 1, "updates": 20}
LAST, AHEAD, CYCLE = 1920, 11, 11
ORIGIN = 1964  # of the forecast that is drawn
PENALTIES = 10.0 ** np.arange(-4, 4)


def series():
    """years, √numbers standardised by those up to LAST, and the two numbers that take them back."""
    years, numbers = np.loadtxt(Path(__file__).parent / "sunspots.csv", delimiter=",").T
    root = np.sqrt(numbers)
    seen = root[years <= LAST]
    return years.astype(int), ((root - seen.mean()) / seen.std())[:, None], (seen.mean(), seen.std())


def delay_line(order):
    """h_t = (x_t, x_{t−1}, …): a linear network that keeps what it heard."""
    net = tt.Network("linear", 1, order, bias=False)
    net.parameters["weight_ih_l0"][...] = np.eye(order, 1)
    net.parameters["weight_hh_l0"][...] = np.eye(order, k=-1)
    return net


def autoregression(z):
    """The AR(p) of least ln(error) + 2(p + 1)/n, all fitted to the same years."""
    orders = range(1, 16)
    fits = [tt.training.ridge(delay_line(p), z[:-1], z[1:], 0.0, warmup=max(orders) - 1) for p in orders]
    scores = [np.log(fit.error) + 2 * (p + 1) / fit.steps for p, fit in zip(orders, fits, strict=True)]
    return fits[int(np.argmin(scores))].model


def reservoir(z, units, seed):
    """Of four radii and eight penalties those that forecast the last quarter of the years best."""
    fits = []
    for radius in (0.3, 0.6, 0.9, 1.1):
        model = tt.models.reservoir(
            1, units, 1, radius=radius, leak=0.7, input_scaling=0.5, bias_scaling=0.5, seed=seed
        )
        fits.append(tt.training.ridge(model, z[:-1], z[1:], PENALTIES, warmup=20, validation=0.25))
    return min(fits, key=lambda fit: fit.validation_errors.min()).model


def gru(z, updates, seed):
    """Eight units; a quarter of the years held out, after the others, from which the state goes on."""
    model = tt.models.many_to_many("gru", 1, 1, hidden_size=8, seed=seed)
    cut = 3 * len(z) // 4
    inputs, targets = z[:-1, None], z[1:, None]

    def held_out(model):
        return float(np.mean((model.predict(inputs)[cut:] - targets[cut:]) ** 2))

    batches = [(inputs[:cut], targets[:cut])] * updates
    optimiser = tt.training.Adam(0.01, transforms=(tt.training.ClipNorm(1.0),))
    tt.training.fit(
        model, batches, "mean_squared_error", optimiser, steps=updates, validation=held_out, validate_every=10
    )
    return model


def ahead(model, z, origins):
    """(AHEAD, origins): forecasts of the AHEAD years after each origin, from the state of the model there."""
    run = model.unroll(z[:, None])
    states = run.networks["0"].states[1:, 0]
    return model.closed_loop().unroll(AHEAD - 1, state=states[origins]).output[:, :, 0]


def mean_error(values):
    """Standard error of the mean of values that are correlated over a cycle (Newey & West 1987, lags up to 11)."""
    d = values - values.mean()
    n = len(d)
    terms = [(1 - k / (CYCLE + 1)) * 2 * (d[k:] * d[:-k]).sum() / n for k in range(1, CYCLE + 1)]
    return np.sqrt(max((d * d).mean() + sum(terms), (d * d).mean()) / n)


def measure(units=100, reservoirs=10, grus=3, updates=600):
    years, z, (centre, scale) = series()
    seen = z[years <= LAST]
    origins = np.flatnonzero((years >= LAST) & (years <= years[-1] - AHEAD))
    horizons = np.arange(1, AHEAD + 1)
    truth = z[origins + horizons[:, None], 0]
    autoregressive = autoregression(seen)
    order = autoregressive.pieces[0].hidden_size
    forecasts = {
        "last value": [np.repeat(z[origins].T, AHEAD, axis=0)],
        "last cycle": [z[origins + horizons[:, None] - CYCLE, 0]],
        f"AR({order})": [ahead(autoregressive, z, origins)],
        "reservoir": [ahead(reservoir(seen, units, seed), z, origins) for seed in range(reservoirs)],
        "GRU": [ahead(gru(seen, updates, seed), z, origins) for seed in study.progress(range(grus), "forecasting")],
    }
    wrong = {name: np.array([(one - truth) ** 2 for one in each]) for name, each in forecasts.items()}
    variance = truth.var()
    data = {
        "horizons": horizons, "order": order, "years": years, "numbers": ((z[:, 0] * scale + centre) ** 2).round(1),
        "errors": {name: each.mean(axis=2) / variance for name, each in wrong.items()},
        "standard_errors": {
            name: [mean_error(row) / variance for row in each.mean(axis=0)] for name, each in wrong.items()
        },
    }  # fmt: skip
    shown = int(np.flatnonzero(years[origins] == ORIGIN)[0])
    data["shown"] = {
        name: (np.maximum(each[0][:, shown] * scale + centre, 0) ** 2).round(1) for name, each in forecasts.items()
    }
    checks = checked(autoregressive, seen, wrong, order)
    seeds = {"reservoirs": list(range(reservoirs)), "GRUs": list(range(grus)), "frame": 0}
    return {"checks": checks, "seeds": seeds, "data": data}


def checked(autoregressive, seen, wrong, order):
    weight, bias = (autoregressive.parameters[name] for name in ("1.weight", "1.bias"))
    lags = np.stack([seen[14 - k : len(seen) - 1 - k, 0] for k in range(order)] + [np.ones(len(seen) - 15)], axis=1)
    direct = np.linalg.lstsq(lags, seen[15:, 0])[0]
    why = "the readout of a delay line is the autoregression on a matrix of lags; rounding"
    gap = np.abs(np.append(weight[0], bias) - direct).max()
    checks = [study.check(f"coefficients of AR({order}), largest gap to least squares", gap, 0, 1e-10, why=why)]
    steps = 20000
    loop = autoregressive.closed_loop()
    found = tt.analysis.lyapunov_spectrum(loop, steps=steps, seed=0).exponents
    roots = np.sort(np.log(np.abs(np.roots(np.append(1.0, -weight[0])))))[::-1]
    why = "companion matrix; a complex pair turns, and leaves ln of its condition, some nats, over 18 000 steps"
    gap = np.abs(found - roots).max()
    checks.append(
        study.check(f"exponents of AR({order}) − ln|roots|, largest, nats per year", gap, 0, 10 / steps, why=why)
    )
    why = (
        "a forecast that knows the cycle beats the last value: three standard errors of the paired difference, or more"
    )
    for name in (f"AR({order})", "reservoir"):
        gain = (wrong["last value"][0] - wrong[name].mean(axis=0))[[0, 4]]
        for row, horizon in zip(gain, (1, 5), strict=True):
            certain = row.mean() / mean_error(row)
            label = f"{name} better than the last value, {horizon} years ahead, in standard errors, at most 3"
            checks.append(study.check(label, min(certain, 3), 3, 1e-9, why=why))
    return checks


def draw(result):
    data = result["data"]
    fig, (errors, shown) = study.figure(1, 2, height=2.9, width_ratios=[1, 1.15])
    horizons, looks = np.array(data["horizons"]), {}
    for k, name in enumerate(data["errors"]):
        looks[name] = tt.plots.style(k)
        each = np.array(data["errors"][name], float)
        count = f" ({len(each)})" if len(each) > 1 else ""
        mean, around = each.mean(axis=0), np.array(data["standard_errors"][name], float)
        shifted = horizons + 0.07 * (k - 2)
        errors.errorbar(shifted, mean, around, capsize=1.5, elinewidth=0.7, label=f"{name}{count}", **looks[name])
    errors.axhline(1, color="0.6", linewidth=0.7, zorder=0, label="mean of these years")
    errors.set_xlabel("years ahead")
    errors.set_ylabel(r"mean squared error of $\sqrt{x}$ / variance")
    errors.set_yscale("log")
    errors.set_ylim(0.04, 6)
    errors.set_title("forecasts from 1920 to 1997, ± 1 SE")
    errors.legend(loc="lower right", ncols=2)
    years, numbers = np.array(data["years"]), np.array(data["numbers"])
    here = (years >= ORIGIN - 22) & (years <= ORIGIN + 11)
    shown.plot(years[here], numbers[here], "o-", color="black", markersize=2.5, linewidth=0.8, label="observed")
    for name in list(data["shown"])[1:]:
        shown.plot(ORIGIN + horizons, data["shown"][name], label=name, **looks[name])
    shown.axvline(ORIGIN + 0.5, color="0.6", linestyle=":", linewidth=0.9)
    shown.set_xlabel("year")
    shown.set_ylabel("sunspot number")
    shown.set_ylim(0, 260)
    shown.set_title(f"one forecast, from the end of {ORIGIN}")
    shown.legend(loc="upper left", ncols=2)
    study.letters([errors, shown])
    return fig


if __name__ == "__main__":
    study.run(globals())
