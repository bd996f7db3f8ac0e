"""Arrays of other libraries that NumPy does not read as real numbers: what they are, and the call that helps."""

from __future__ import annotations

from typing import Any

import numpy as np

NARROW = ("bfloat16", "float8_", "float6_", "float4_")  # floats that NumPy does not have; their names begin so


def unreadable(name: str, value: Any, error: Exception) -> Exception:
    """The error for what `np.asarray` failed to read."""
    own = type(value).__name__
    kind = f"{type(value).__module__.partition('.')[0]}.{own}"
    if own == "PackedSequence":
        return TypeError(
            f"`{name}` is a {kind}; unpack it and pass its lengths: `padded, lengths = "
            f"torch.nn.utils.rnn.pad_packed_sequence({name})`, then `net.unroll(padded, lengths=lengths)`."
        )
    if _is_tensor(value) and value.device.type == "meta":
        return TypeError(f"`{name}` is a {kind} without numbers (its device is meta); pass one that holds some.")
    if calls := _torch(value):
        why = "requires grad, and gradients do not pass through NumPy" if value.requires_grad else _what(value)
        own_way = " throughtime has its own: `run.backprop(grad_output)`." if value.requires_grad else ""
        return TypeError(f"`{name}` is a {kind} that {why}; pass `{name}{calls}`.{own_way}")
    if isinstance(value, (list, tuple)) and value:
        for i, part in enumerate(value):
            if _is_tensor(part) and _torch(part):
                return unreadable(f"{name}[{i}]", part, error)
    for method in ("get", "copy_to_host"):  # CuPy, Numba
        if hasattr(value, "__cuda_array_interface__") and hasattr(value, method):
            return TypeError(f"`{name}` is a {kind} on the GPU; pass `{name}.{method}()`.")
    if not hasattr(value, "__array__") and "inhomogeneous" in str(error):
        return ValueError(
            f"`{name}` is a ragged list: its rows have different lengths. Pad them to one array "
            "(time, batch, inputs) and pass the true lengths as `lengths=[…]`."
        )
    return TypeError(f"`{name}` is a {kind} that NumPy cannot read ({error}); pass a NumPy array on the CPU.")


def unusual(name: str, found: np.ndarray, value: Any) -> str:
    """What is said of an array of a dtype that holds no real numbers: nothing else about it is known."""
    dtype = found.dtype
    if dtype.names:
        first = dtype.names[0]
        return (
            f"`{name}` has dtype {dtype}; expected an array of real numbers. Pass one of its fields, "
            f'`{name}["{first}"]`, or all, `numpy.lib.recfunctions.structured_to_unstructured({name})`.'
        )
    if dtype.kind in "mM":
        origin = f"({name} - {name}[0])" if dtype.kind == "M" else name
        return (
            f"`{name}` has dtype {dtype}; expected an array of real numbers. For times in seconds pass "
            f"`{origin} / np.timedelta64(1, 's')`."
        )
    if dtype.name.startswith(NARROW) or (dtype.kind == "V" and dtype.type is not np.void):  # of ml_dtypes
        return f"`{name}` has dtype {dtype.name}, which NumPy does not compute with; pass `{name}.astype(np.float32)`."
    for method in ("toarray", "todense", "to_numpy"):  # scipy.sparse, sparse, pandas
        if found.ndim == 0 and hasattr(value, method):
            return f"`{name}` is an object of type {type(value).__name__}; pass `{name}.{method}()`."
    return ""


def _torch(value: Any) -> str:
    """The calls that make a NumPy array of a torch tensor, in their order; empty for anything else."""
    if not _is_tensor(value):
        return ""
    calls = ".detach()" if value.requires_grad else ""
    if getattr(value, "is_nested", False):
        return f"{calls}.to_padded_tensor(0.0)"
    if str(value.layout) != "torch.strided":
        calls += ".to_dense()"
    if value.is_quantized:
        calls += ".dequantize()"
    if value.device.type != "cpu":
        calls += ".cpu()"
    if value.is_conj():
        calls += ".resolve_conj()"
    if value.is_neg():
        calls += ".resolve_neg()"
    if str(value.dtype).removeprefix("torch.").startswith(NARROW):
        calls += ".float()"
    return calls


def _what(value: Any) -> str:
    dtype = str(value.dtype)
    if value.device.type != "cpu":
        return f"is on the device {value.device}"
    if str(value.layout) != "torch.strided" or value.is_quantized or getattr(value, "is_nested", False):
        return f"is {'quantised' if value.is_quantized else 'nested' if value.is_nested else 'sparse'}"
    return f"NumPy cannot read, of dtype {dtype}"


def _is_tensor(value: Any) -> bool:
    return type(value).__module__.startswith("torch") and hasattr(value, "requires_grad") and hasattr(value, "layout")
