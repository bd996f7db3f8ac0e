"""The same recurrent network here, in PyTorch, compiled by PyTorch, in JAX, and as a plain NumPy loop.

A side is {"forward": call, "forward+backward": call, "gradient": call}, of the same weights, input x (T, B, I) and
dL/doutput g (T, B, N); forward returns the output, forward+backward all gradients, "gradient" that of the input as a
NumPy array.
"""

import importlib.util

import numpy as np

import throughtime as tt

TORCH = {"tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}
PEERS = {"torch": "PyTorch", "compiled": "torch.compile", "jax": "JAX", "numpy": "NumPy loop"}
SEED = 1


def there_is(peer):
    package = {"compiled": "torch"}.get(peer, peer)
    return importlib.util.find_spec(package) is not None


def problem(cell, dtype, units, batch, steps, inputs):
    """(network, x, g)."""
    rng = np.random.default_rng(SEED)
    net = tt.Network(cell, inputs, units, dtype=dtype, seed=SEED)
    x = rng.standard_normal((steps, batch, inputs)).astype(dtype)
    return net, x, rng.standard_normal((steps, batch, units)).astype(dtype)


def kind_of(net):
    return type(net.cells[0]).__name__.lower()


def ours(net, x, g):
    return {
        "forward": lambda: net.unroll(x).output,
        "forward+backward": lambda: net.unroll(x).backprop(g),
        "gradient": lambda: net.unroll(x).backprop(g).input,
    }


def torch(net, x, g):
    """torch.nn's module as it is."""
    import torch

    module = getattr(torch.nn, TORCH[kind_of(net)])(net.input_size, net.hidden_size, dtype=getattr(torch, str(x.dtype)))
    module.load_state_dict({name: torch.from_numpy(value) for name, value in net.state_dict().items()})
    return sides_of_torch(torch, module, lambda value: module(value)[0], x, g)


def sides_of_torch(torch, module, output, x, g):
    there, back = torch.from_numpy(x.copy()), torch.from_numpy(g.copy())

    def forward():
        with torch.no_grad():
            return output(there)

    def both():
        module.zero_grad(set_to_none=True)
        leaf = there.detach().requires_grad_()
        output(leaf).backward(back)
        return leaf.grad

    return {"forward": forward, "forward+backward": both, "gradient": lambda: both().numpy()}


def compiled(net, x, g):
    """One step compiled by torch.compile, in a loop: of a whole torch.nn.LSTM, GRU or RNN it compiles nothing, and a
    loop over T = 50 steps, unrolled, takes minutes."""
    import torch

    torch._dynamo.reset()  # or it gives up after some shapes
    dtype = getattr(torch, str(x.dtype))
    kind, units = kind_of(net), net.hidden_size
    module = getattr(torch.nn, f"{TORCH[kind]}Cell")(net.input_size, units, dtype=dtype)
    module.load_state_dict({k.removesuffix("_l0"): torch.from_numpy(v) for k, v in net.state_dict().items()})
    step = torch.compile(module, dynamic=False)

    def output(value):
        h = torch.zeros(value.shape[1], units, dtype=dtype)
        state, found = (h, h.clone()) if kind == "lstm" else h, []
        for t in range(len(value)):
            state = step(value[t], state)
            found.append(state[0] if kind == "lstm" else state)
        return torch.stack(found)

    return sides_of_torch(torch, module, output, x, g)


def jax(net, x, g):
    """lax.scan over the steps, the input's product taken out of it, all under jit."""
    import jax

    jax.config.update("jax_enable_x64", True)
    np_, lax, kind = jax.numpy, jax.lax, kind_of(net)
    w = {name.removesuffix("_l0"): np_.asarray(value) for name, value in net.state_dict().items()}
    there, back = np_.asarray(x), np_.asarray(g)

    def output(w, x):
        entering, h = x @ w["weight_ih"].T + w["bias_ih"], np_.zeros((x.shape[1], net.hidden_size), x.dtype)

        def tanh(h, a):
            h = np_.tanh(a + h @ w["weight_hh"].T + w["bias_hh"])
            return h, h

        def gru(h, a):
            a_r, a_z, a_n = np_.split(a, 3, axis=1)
            b_r, b_z, b_n = np_.split(h @ w["weight_hh"].T + w["bias_hh"], 3, axis=1)
            r, z = jax.nn.sigmoid(a_r + b_r), jax.nn.sigmoid(a_z + b_z)
            n = np_.tanh(a_n + r * b_n)
            h = n + z * (h - n)
            return h, h

        def lstm(state, a):
            h, c = state
            i, f, g, o = np_.split(a + h @ w["weight_hh"].T + w["bias_hh"], 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * np_.tanh(g)
            h = jax.nn.sigmoid(o) * np_.tanh(c)
            return (h, c), h

        step = {"tanh": tanh, "gru": gru, "lstm": lstm}[kind]
        return lax.scan(step, (h, h) if kind == "lstm" else h, entering)[1]

    forward = jax.jit(output)
    both = jax.jit(lambda w, x, g: jax.vjp(output, w, x)[1](g))
    return {
        "forward": lambda: forward(w, there).block_until_ready(),
        "forward+backward": lambda: jax.block_until_ready(both(w, there, back)),
        "gradient": lambda: np.asarray(both(w, there, back)[1]),
    }


def numpy(net, x, g):
    """What one writes by hand: a loop over the steps forward and one back, the products over all steps outside."""
    w = {name.removesuffix("_l0"): value for name, value in net.state_dict().items()}
    passes = {"tanh": _tanh, "gru": _gru, "lstm": _lstm}[kind_of(net)]

    def both():
        h, saved = passes[0](w, x)
        da, db, before = passes[1](w, h, saved, g)
        flat = [value.reshape(-1, value.shape[-1]) for value in (da, db, x, before)]
        return {
            "weight_ih": flat[0].T @ flat[2], "weight_hh": flat[1].T @ flat[3], "bias_ih": flat[0].sum(axis=0),
            "bias_hh": flat[1].sum(axis=0), "input": da @ w["weight_ih"],
        }  # fmt: skip

    return {
        "forward": lambda: passes[0](w, x)[0],
        "forward+backward": both,
        "gradient": lambda: both()["input"],
    }


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


def _started(w, x):
    """(entering (T, B, gates N), output (T, B, N), h)."""
    units = w["weight_hh"].shape[1]
    return (
        x @ w["weight_ih"].T + w["bias_ih"],
        np.empty((*x.shape[:2], units), x.dtype),
        np.zeros_like(x, shape=(x.shape[1], units)),
    )


def _before(h):
    return np.concatenate([np.zeros_like(h[:1]), h[:-1]])


def _tanh_forward(w, x):
    entering, output, h = _started(w, x)
    for t in range(len(x)):
        output[t] = h = np.tanh(entering[t] + h @ w["weight_hh"].T + w["bias_hh"])
    return output, None


def _tanh_back(w, h, saved, g):
    da, dh = np.empty_like(h), np.zeros_like(h[0])
    for t in reversed(range(len(h))):
        da[t] = (g[t] + dh) * (1 - h[t] ** 2)
        dh = da[t] @ w["weight_hh"]
    return da, da, _before(h)


def _gru_forward(w, x):
    entering, output, h = _started(w, x)
    saved = []
    for t in range(len(x)):
        (a_r, a_z, a_n), (b_r, b_z, b_n) = (
            np.split(a, 3, axis=1) for a in (entering[t], h @ w["weight_hh"].T + w["bias_hh"])
        )
        r, z = _sigmoid(a_r + b_r), _sigmoid(a_z + b_z)
        n = np.tanh(a_n + r * b_n)
        output[t] = h = n + z * (h - n)
        saved.append((r, z, n, b_n))
    return output, saved


def _gru_back(w, h, saved, g):
    before, dh = _before(h), np.zeros_like(h[0])
    da = np.empty((*h.shape[:2], 3 * h.shape[2]), h.dtype)
    db = np.empty_like(da)
    for t in reversed(range(len(h))):
        r, z, n, b_n = saved[t]
        dh = g[t] + dh
        dn = dh * (1 - z) * (1 - n**2)
        dz, dr = dh * (before[t] - n) * z * (1 - z), dn * b_n * r * (1 - r)
        da[t], db[t] = np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz, dn * r], axis=1)
        dh = dh * z + db[t] @ w["weight_hh"]
    return da, db, before


def _lstm_forward(w, x):
    entering, output, h = _started(w, x)
    c, saved = np.zeros_like(h), []
    for t in range(len(x)):
        i, f, g, o = np.split(entering[t] + h @ w["weight_hh"].T + w["bias_hh"], 4, axis=1)
        i, f, g, o, last = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o), c
        c = f * c + i * g
        shown = np.tanh(c)
        output[t] = h = o * shown
        saved.append((i, f, g, o, last, shown))
    return output, saved


def _lstm_back(w, h, saved, grad):
    dh, dc = np.zeros_like(h[0]), np.zeros_like(h[0])
    da = np.empty((*h.shape[:2], 4 * h.shape[2]), h.dtype)
    for t in reversed(range(len(h))):
        i, f, g, o, last, shown = saved[t]
        dh = grad[t] + dh
        dc = dc + dh * o * (1 - shown**2)
        each = dc * g * i * (1 - i), dc * last * f * (1 - f), dc * i * (1 - g**2), dh * shown * o * (1 - o)
        da[t] = np.concatenate(each, axis=1)
        dc, dh = dc * f, da[t] @ w["weight_hh"]
    return da, da, _before(h)


_tanh, _gru, _lstm = (_tanh_forward, _tanh_back), (_gru_forward, _gru_back), (_lstm_forward, _lstm_back)
SIDES = {"torch": torch, "compiled": compiled, "jax": jax, "numpy": numpy}
