"""Machine code on disk: Numba's cache, which here is a convenience and never the end of a computation.

Numba unpickles what it finds. Here every file begins with a checksum of the rest, and of what is damaged, cut short or
of another version nothing is read: the code is compiled again and written in its place. A file that cannot be read or
written (a full disk, a folder without permission) is named in one warning per process, and the work goes on.
"""

import hashlib
import os
import pickle
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from numba.core import config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.runtime import rtsys
from numba.misc.appdirs import AppDirs

locks: Any = None  # on Windows, where a folder has none
with suppress(ImportError):
    import fcntl as locks

MAGIC = b"throughtime machine code 1\n"
_said: set[str] = set()


def _say(what: str, reason: object) -> None:
    if what not in _said:
        _said.add(what)
        warnings.warn(f"throughtime: {what} ({reason}).", RuntimeWarning, stacklevel=2)


def not_kept(path: str, error: Exception) -> None:
    """The warning where a file cannot be written."""
    reason = getattr(error, "strerror", None) or error
    _say("machine code could not be kept for the next process, which compiles it again", f"{path}: {reason}")


def _unreadable(path: str, reason: object) -> None:
    _say("kept machine code was damaged or could not be read; it is compiled again", f"{path}: {reason}")


def user_folder() -> str:
    """The user's folder for what is compiled, or as NUMBA_CACHE_DIR says."""
    return config.CACHE_DIR or AppDirs(appname="numba", appauthor=False).user_cache_dir


class _Elsewhere(_CacheLocator):
    """A folder of the user's, for code whose file is not in a folder: in a zip archive or a frozen program."""

    def __init__(self, file: str) -> None:
        self.path = os.path.join(user_folder(), self.get_suitable_cache_subpath(file))

    def get_cache_path(self) -> str:
        return self.path

    def get_source_stamp(self) -> str:
        return ""  # the names of our functions carry the digest of their source

    def get_disambiguator(self) -> str:
        return "0"

    @classmethod
    def from_function(cls, function: Any, file: str) -> "_Elsewhere | None":
        found = cls(file)
        try:
            found.ensure_cache_path()
        except OSError:
            return None
        return found


class _Implementation(CompileResultCacheImpl):
    _locator_classes: ClassVar = [*CompileResultCacheImpl._locator_classes[:3], _Elsewhere]


class Files(IndexDataCacheFile):
    """Numba's index and data files, each behind a checksum; what a file holds says itself which function it is."""

    def save(self, key: Any, data: Any) -> None:
        with self._alone():  # two processes that add to one index at once would lose what one of them adds
            super().save(key, (key, data))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While other processes that write into the folder wait: for a second, as one of them may have been stopped
        in the middle. Without locks, of a system or of a file system, all go on at once."""
        if locks is None:
            yield
            return
        folder = os.open(self._cache_path, os.O_RDONLY)
        try:
            for _ in range(100):
                try:
                    locks.flock(folder, locks.LOCK_EX | locks.LOCK_NB)
                except BlockingIOError:
                    time.sleep(0.01)
                    continue
                except OSError:
                    pass
                break
            yield
        finally:
            os.close(folder)

    def load(self, key: Any) -> Any:
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

    def _load_index(self) -> dict:
        data = self._read(self._index_path)
        if data is None:
            return {}
        version, stamp, overloads = pickle.loads(data)
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict) -> None:
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        data = self._read(self._data_path(name))
        return None if data is None else pickle.loads(data)

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _read(self, path: str) -> bytes | None:
        """The contents, if they are what was written; None otherwise."""
        try:
            with open(path, "rb") as file:
                whole = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            _unreadable(path, error.strerror or error)
            return None
        start = len(MAGIC) + 32
        data = whole[start:]
        if whole[:start] != MAGIC + hashlib.sha256(data).digest():
            _unreadable(path, "its checksum is not that of its contents" if whole else "it is empty")
            return None
        return data

    def _write(self, path: str, value: Any) -> None:
        data = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(MAGIC + hashlib.sha256(data).digest() + data)


class CodeCache(FunctionCache):
    """The cache of one function; made only where there is a folder to write to (RuntimeError or OSError otherwise)."""

    _impl_class = _Implementation

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = Files(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """What was kept, None for what has to be compiled.

        Numba's own begins by loading all that its compiler knows, 0.2 s in every process; kept code needs nothing of
        it but the functions that count references.
        """
        try:
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception:  # as it was written, but not for this process: of a module that cannot be imported here, say
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        if data.library.has_dynamic_globals:
            return  # the address of a large array: for this process alone
        try:
            super().save_overload(sig, data)
        except Exception as error:
            not_kept(self._cache_path, error)
