"""BLAS and LAPACK of SciPy, while which other threads of Python go on.

SciPy's own functions of these names hold Python's lock: the networks of an ensemble, a thread each, then wait for one
another at the end of every block of steps. The routines behind them, as SciPy offers them to Cython, are called by
ctypes, which lets go of the lock. Matrices are of float64 and in Fortran's order: the transpose of an array of NumPy.
"""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

Array = np.ndarray
KINDS: dict[type, Any] = {str: lambda x: ctypes.c_char(x.encode()), int: ctypes.c_int, float: ctypes.c_double}


@cache
def _routine(name: str) -> Any:
    """A routine as a function of ctypes; all of Fortran's arguments are pointers."""
    module: Any = next(place for place in (cython_blas, cython_lapack) if name in place.__pyx_capi__)
    capsule, python = module.__pyx_capi__[name], ctypes.pythonapi
    python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    python.PyCapsule_GetPointer.restype = ctypes.c_void_p
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    signature = python.PyCapsule_GetName(capsule)  # void (char *, int *, ...)
    kinds = [ctypes.c_void_p] * (signature.count(b",") + 1)
    return ctypes.CFUNCTYPE(None, *kinds)(python.PyCapsule_GetPointer(capsule, signature))


def _call(name: str, *arguments: str | int | float | Array) -> int:
    """With letters, whole numbers, numbers and matrices; what LAPACK says at the end, 0 if all is well."""
    said = ctypes.c_int(0)
    held = [x if isinstance(x, np.ndarray) else KINDS[type(x)](x) for x in arguments]
    pointers = [x.ctypes.data if isinstance(x, np.ndarray) else ctypes.addressof(x) for x in held]
    routine = _routine(name)
    if len(pointers) < len(routine.argtypes):
        pointers.append(ctypes.addressof(said))
    routine(*pointers)
    return said.value


def _fortran(a: Array) -> Array:
    """In Fortran's order and float64, a copy only where it is not."""
    return np.asarray(a, np.float64, order="F")


def gram(a: Array, onto: Array | None = None) -> Array:
    """a a' (n, n) of a (n, k), or added to `onto`, in place: the upper triangle, below it what was there."""
    a = _fortran(a)
    n, k = a.shape
    out = np.zeros((n, n), order="F") if onto is None else _fortran(onto)
    _call("dsyrk", "U", "N", n, k, 1.0, a, max(1, n), 0.0 if onto is None else 1.0, out, max(1, n))
    return out


def upper_gram(u: Array) -> Array:
    """u u' of the upper triangle of u (n, n), in its place: the upper triangle."""
    u = _fortran(u)
    _call("dlauum", "U", len(u), u, max(1, len(u)))
    return u


def cholesky(a: Array) -> tuple[Array, bool]:
    """R with R'R = a of the upper triangle of a (n, n), in its place, and whether there is one."""
    a = _fortran(a)
    return a, _call("dpotrf", "U", len(a), a, max(1, len(a))) == 0


def divided(r: Array, b: Array, transposed: bool = False) -> Array:
    """R⁻¹ b, or R'⁻¹ b, of the upper triangle of r (n, n) and b (n, m)."""
    r, out = _fortran(r), np.array(b, np.float64, order="F")
    n, m = out.shape
    _call("dtrsm", "L", "U", "T" if transposed else "N", "N", n, m, 1.0, r, max(1, n), out, max(1, n))
    return out
