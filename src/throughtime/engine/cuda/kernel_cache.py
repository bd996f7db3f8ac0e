"""Compiled kernels on disk, as code/cache.py keeps the CPU's: what cannot be read or written is compiled again.

The name of a kernel's copy carries a digest of all that its machine code depends on (compiler.py). So the key leaves
out the classes among the types of its arguments: those of a script's `__main__` would never be found again.
"""

from functools import cache
from typing import Any

from ...code.cache import Files, not_kept
from .toolkit import disk_cache


@cache
def _cache_class() -> Any:
    Cache, Implementation, signature = disk_cache()

    class Kernels(Implementation):  # type: ignore[valid-type, misc]
        def reduce(self, kernel: Any) -> Any:
            return super().reduce(kernel) | {"signature": None}

    class KernelCache(Cache):  # type: ignore[valid-type, misc]
        _impl_class = Kernels

        def __init__(self, function: Any) -> None:
            super().__init__(function)
            stamp = self._impl.locator.get_source_stamp()
            self._cache_file = Files(self._cache_path, self._impl.filename_base, stamp)

        def _index_key(self, sig: Any, codegen: Any) -> Any:
            types, *rest = super()._index_key(sig, codegen)
            return (tuple(map(told, types)), *rest)

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                found = super().load_overload(sig, target_context)
            except Exception:  # as it was written, but not for this process
                return None
            if found is not None:
                found.signature = signature(sig)
            return found

        def save_overload(self, sig: Any, kernel: Any) -> None:
            try:
                super().save_overload(sig, kernel)
            except Exception as error:
                not_kept(self._cache_path, error)

    return KernelCache


def told(kind: Any) -> tuple:
    """A type by its name, and with the fields of classes in it: the name of one counts them and no more."""
    return str(kind), tuple(getattr(kind, "fields", ())), *map(told, getattr(kind, "types", ()))


def keep(kernel: Any) -> None:
    """Let the versions of a kernel be kept on disk, where there is a folder for them."""
    try:
        kernel._cache = _cache_class()(kernel.py_func)
    except (RuntimeError, OSError):
        pass
