"""Results on disk, one file each: what is damaged, of another version or of another piece is computed again.

    b"throughtime result 1\\n", sha256 of all that follows (32 bytes), sha256 of the key (32 bytes), the pickled result

Nothing is unpickled before its checksum is found right. Pickle runs what it is told to: only folders of one's own.
"""

import hashlib
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

from ..network.atomic_file import atomic_file
from ..refuse import arguments

MAGIC = b"throughtime result 1\n"


def folder(save: Any, name: str = "save", hint: str = "pass the path of a folder for the results") -> Path:
    """The folder for the results, made if need be; ValueError, about the argument `name`, if it cannot be."""
    path = Path(save)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f'`{name}` is "{path}", and no folder can be made there ({error.strerror or error}); {hint}.'
        ) from error
    return path


def checked(save: Any) -> Any:
    """`save` if it is None or a path of a folder, TypeError or ValueError otherwise."""
    if save is None:
        return None
    if not isinstance(save, (str, os.PathLike)):
        raise TypeError(
            f"`save` is {arguments.kind(save)}; expected the path of a folder for the results, a str or "
            'os.PathLike: save="results".'
        )
    text = os.fspath(save)
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError(
            f'`save` is {save!r}; expected the path of a folder for the results: save="results", or save="." for the '
            "current folder."
        )
    return save


def read(file: Path, key: str) -> tuple | None:
    """(result,), or None if there is no file that holds just what was written for this key."""
    try:
        whole = file.read_bytes()
        start = len(MAGIC) + 32
        if whole[:start] != MAGIC + hashlib.sha256(whole[start:]).digest():
            return None
        if whole[start : start + 32] != _digest(key):
            return None
        return (pickle.loads(whole[start + 32 :]),)
    except Exception:  # not readable, or of classes that are no longer there
        return None


def write(file: Path, key: str, value: Any) -> str | None:
    """Complete or not at all; returns why it could not be kept, for a result that has been computed is given back."""
    try:
        data = _digest(key) + pickle.dumps(value, protocol=5)
        with atomic_file(file, durable=False) as stream:
            stream.write(MAGIC + hashlib.sha256(data).digest() + data)
    except Exception as error:
        return f"{file}: {getattr(error, 'strerror', None) or error}"
    return None


def warn(reason: str) -> None:
    """Of the first result that could not be kept; the others will hardly fare better."""
    warnings.warn(
        f"A result could not be kept ({reason}). It is returned all the same, and the sweep goes on; what is not in "
        "the folder of `save` will be computed again when the same call is made.",
        RuntimeWarning,
        stacklevel=4,
    )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
