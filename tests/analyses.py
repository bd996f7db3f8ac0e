"""Every public analysis of a network or of a run, called in the simplest way; several test files go through these
lists. A new analysis joins them by the names of its arguments; one that needs others is written out here.
"""

from dataclasses import is_dataclass
from inspect import Parameter, isfunction, signature

import numpy as np

import throughtime as tt

analysis = tt.analysis
T, B, I, N = 30, 3, 2, 4
X = np.random.default_rng(0).standard_normal((T, B, I))


def network(**options):
    return tt.Network("tanh", I, N, seed=0, **options)


def ones(run):
    """dL/doutput of L = output.sum(), of a run or of the run of an ensemble."""
    return np.ones(run.output.shape[-3:])


def total(run):
    return run.output.sum(), ones(run)


# name -> the analysis of a network under the input x (T, B, I)
OF_NETWORK = {
    "lyapunov_spectrum": lambda net, x: analysis.lyapunov_spectrum(net, x, k=2, seed=0),
    "perturbed_twin": lambda net, x: analysis.perturbed_twin(net, x, seed=0),
    "covariant_vectors": lambda net, x: analysis.covariant_vectors(net, x, k=2, seed=0),
    "fixed_points": lambda net, x: analysis.fixed_points(net, x[20, 1], starts=4),
    "pascanu_bound": lambda net, x: analysis.pascanu_bound(net),
    "loss_surface": lambda net, x: analysis.loss_surface(
        net, x, total, ("weight_hh_l0", (0, 0)), ("weight_hh_l0", (0, 1)), [0.0, 0.1], [0.0]
    ),
}
OF_RUN = {
    "gradient_norms": lambda run: analysis.gradient_norms(run, ones(run)),
    "gradient_products": lambda run: analysis.gradient_products(run),
    "jacobian_spectrum": lambda run: analysis.jacobian_spectrum(run, [5, 25]),
    "product_singular_values": lambda run: analysis.product_singular_values(run, 2, 25),
    "gradient_by_lag": lambda run: analysis.gradient_by_lag(run, ones(run)),
    "truncation_bias": lambda run: analysis.truncation_bias(run, ones(run), [2]),
    "clip_per_step": lambda run: analysis.clip_per_step(run, ones(run), 1.0),
    "clipping_effect": lambda run: analysis.clipping_effect(run, ones(run), [1.0]),
    "non_normality": lambda run: analysis.non_normality(run, 3, t=25, sequence=1),
    "spectral_radius": lambda run: analysis.spectral_radius(run, t=25, sequence=1),
    "henrici_departure": lambda run: analysis.henrici_departure(run, t=25, sequence=1),
    "transient_growth": lambda run: analysis.transient_growth(run, 3, t=25, sequence=1),
    "kreiss_constant": lambda run: analysis.kreiss_constant(run, t=25, sequence=1),
    "pseudospectrum": lambda run: analysis.pseudospectrum(run, t=25, sequence=1, points=4),
}
# What arguments of these names are given, from the network or run that is analysed.
USUAL = {
    "x": lambda net: X, "grad_output": ones, "t": lambda _: 25, "start": lambda _: 2, "stop": lambda _: 25,
    "k": lambda _: 2, "sequence": lambda _: 1, "seed": lambda _: 0, "loss": lambda _: total,
}  # fmt: skip


def usual(function):
    """(list, call) of an analysis whose first argument is `net` or `run` and whose others, if required, are known."""
    first, *rest = signature(function).parameters.values()
    wanted = [p.name for p in rest if p.default is Parameter.empty and p.kind is not Parameter.VAR_KEYWORD]
    if first.name not in ("net", "run") or not set(wanted) <= set(USUAL):
        return None, None
    lists = OF_NETWORK if first.name == "net" else OF_RUN

    def call(subject, x=None):
        given = {name: USUAL[name](subject) for name in wanted}
        return function(subject, **(given | ({"x": x} if "x" in given and x is not None else {})))

    return lists, call


for _name in analysis.__all__:
    _function = getattr(analysis, _name)
    if isfunction(_function) and _name not in OF_NETWORK | OF_RUN:
        _list, _call = usual(_function)
        if _list is not None:
            _list[_name] = _call


def apply(name, net, x):
    """The analysis of a network, or of an ensemble, under the input x (T, B, I)."""
    return OF_NETWORK[name](net, x) if name in OF_NETWORK else OF_RUN[name](net.unroll(x))


def classes(base):
    """The names of all records below a class; what several of them share is no record itself."""
    own = {sub.__name__ for sub in base.__subclasses__() if is_dataclass(sub)}
    return own.union(*(classes(sub) for sub in base.__subclasses__()))
