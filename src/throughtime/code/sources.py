"""The package's own source as a digest, from wherever it was imported: a folder, a zip archive, a frozen program."""

import hashlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

from .fingerprints import OWN, fingerprint


@cache
def digest(*names: str, without: str = "") -> str | None:
    """Of modules ("jit") and of folders with all that lies in them ("engine"), of the whole package by default.

    From their text where it can be read, otherwise from their code; None where neither can be had.
    """
    found = dict(_texts(resources.files(OWN))) or dict(_codes(OWN))
    if names:
        found = {name: text for name, text in found.items() if _inside(name, names) and not _inside(name, (without,))}
    if not found:
        return None
    whole = hashlib.sha256()
    for name, text in sorted(found.items()):
        whole.update(name.encode() + b"\0" + text + b"\0")
    return whole.hexdigest()


def _inside(name: str, places: tuple[str, ...]) -> bool:
    return any(f"{name}/".startswith(f"{place}/") for place in places)


def _texts(folder: Any, inside: str = "") -> Iterator[tuple[str, bytes]]:
    try:
        entries = list(folder.iterdir())
    except (OSError, ValueError, NotImplementedError):
        return
    for entry in entries:
        if entry.name.endswith(".py"):
            yield inside + entry.name.removesuffix(".py"), entry.read_bytes()
        elif entry.is_dir():
            yield from _texts(entry, f"{inside}{entry.name}/")


def _codes(package: str, inside: str = "", where: Any = None) -> Iterator[tuple[str, bytes]]:
    """Nothing is imported for it: this is asked while the package is being imported."""
    if where is None:
        spec = importlib.util.find_spec(package)
        where = spec.submodule_search_locations if spec else None
    for finder, name, is_package in pkgutil.iter_modules(where):
        spec = finder.find_spec(f"{package}.{name}", None)
        loader: Any = getattr(spec, "loader", None)
        code = loader.get_code(f"{package}.{name}") if hasattr(loader, "get_code") else None
        if code is not None:
            yield f"{inside}{name}", fingerprint(code).encode()
        if is_package and spec is not None:
            yield from _codes(f"{package}.{name}", f"{inside}{name}/", spec.submodule_search_locations)
