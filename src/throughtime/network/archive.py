"""Arrays on disk under a header: a zip archive of plain JSON and .npy arrays, nothing in it that could run.

    header.json     {"format": "throughtime.network", "version": 1, "throughtime": "0.1.0", …, "sha256": "…"}
    NAME.npy, …     one array each, little-endian

`numpy.load(path)` reads it too (an .npz is the same kind of archive). sha256 is taken over name and bytes of every
array, in their order. The members are stored uncompressed and without a date: the same arrays give the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..refuse import arguments
from .atomic_file import atomic_file

Header = dict[str, Any]
Arrays = dict[str, np.ndarray]
Layout = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]  # shape and type of each array, in their order
LARGEST_HEADER = 1 << 24  # bytes; a real one has some hundred, and twenty for each unit with a field of its own
READERS = {
    "throughtime.network": "throughtime.load",
    "throughtime.model": "throughtime.load",
    "throughtime.checkpoint": "throughtime.training.load_checkpoint",
}


class Format(NamedTuple):
    """What a file holds, and the words in which a refusal speaks of it."""

    name: str  # "throughtime.network"
    version: int  # the newest that is read
    holds: str  # "network"
    array: str  # "parameter"
    writer: str  # "Network.save"
    reader: str  # "throughtime.load"


class Refused(ValueError):
    """Why a file is not taken; `read` puts its name in front."""


def write(path: Any, form: Format, header: Header, arrays: Mapping[str, np.ndarray]) -> None:
    """Write header and arrays to `path`: first to a file beside it, which then takes its place in one step.

    FileNotFoundError if there is no such folder.
    """
    target = _target(arguments.path("path", path), form)
    whole = {"format": form.name, "version": form.version, "throughtime": _own_version(), **header}
    text = json.dumps(whole | {"sha256": _digest(arrays)}, indent=1)
    with atomic_file(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("header.json"), text)
        for name, value in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _little(value), allow_pickle=False)


def read(path: Any, form: Format, layout: Callable[[Header, list[str]], Layout] | None = None) -> tuple[Header, Arrays]:
    """Header and arrays of the file that `write` wrote to `path`.

    layout : from the header and the names of what is there, the arrays that there must be, each compared before any
    memory is taken for it; by default whatever is there. ValueError, in words, for a file that is damaged, foreign or
    from a newer version; FileNotFoundError if there is none.
    """
    path = arguments.path("path", path)
    if not os.path.exists(path):
        raise FileNotFoundError(f'There is no file "{path}".')
    if os.path.isdir(path):
        raise IsADirectoryError(f'"{path}" is a folder; {form.reader} reads a file that {form.writer} wrote.')
    if not os.path.isfile(path):  # a pipe, say, which nobody may ever write to
        raise ValueError(f'"{path}" is no ordinary file; {form.reader} reads a file that {form.writer} wrote.')
    try:
        with open(path, "rb") as file:
            return _read(file, form, layout)
    except Refused as reason:
        raise ValueError(f'"{path}" {reason}') from reason.__cause__


def format_of(path: Any) -> str:
    """The name of the format of a file that `write` wrote; empty for anything else, of which `read` says what it is."""
    try:
        path = arguments.path("path", path)
        if not os.path.isfile(path):  # to open a pipe waits for somebody who writes to it
            return ""
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            return str(_json(archive).get("format", ""))
    except Exception:  # no path, broken bytes
        return ""


def _target(path: str, form: Format) -> Path:
    """The file that is to be written or replaced."""
    try:
        target = Path(path).resolve()  # through a symbolic link: the file is replaced, not the link
    except (OSError, RuntimeError) as error:
        raise ValueError(f'"{path}" is a symbolic link that leads back to itself; save to another name.') from error
    if not target.parent.is_dir():
        raise FileNotFoundError(f'There is no folder "{target.parent}" to save "{target.name}" in.')
    if target.is_dir():
        raise IsADirectoryError(f'"{target}" is a folder; name a file in it to save the {form.holds} to.')
    if target.exists() and not target.is_file():  # a device or a pipe, which the file would replace
        raise ValueError(f'"{target}" is no ordinary file; save the {form.holds} to the name of a file of its own.')
    return target


def _read(file: IO[bytes], form: Format, layout: Callable[[Header, list[str]], Layout] | None) -> tuple[Header, Arrays]:
    start = file.read(4)
    if start != b"PK\x03\x04":
        what = "is empty" if not start else f"is not a {form.holds} saved by throughtime"
        raise Refused(f"{what}; {form.reader} reads what {form.writer} wrote.")
    try:
        with zipfile.ZipFile(file) as archive:
            header = _header(archive, form)
            there = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            wanted = dict.fromkeys(there) if layout is None else layout(header, there)
            arrays = {name: _array(archive, name, own, form) for name, own in wanted.items()}
    except Refused:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen different ones on broken bytes
        raise Refused(f"is damaged or cut short ({error}); copy it again from where it was saved.") from error
    if header.get("sha256") != _digest(arrays):
        raise Refused(f"is damaged: its {form.array}s do not have the checksum in its header.")
    return header, arrays


def _header(archive: zipfile.ZipFile, form: Format) -> Header:
    names, foreign = archive.namelist(), f"is a zip archive, but not a {form.holds} saved by throughtime"
    if "header.json" not in names:
        cause = ""
        if any(name.endswith("data.pkl") for name in names):
            cause = " It looks like a file of torch.save: load it with torch and give the tensors to `load_state_dict`."
        elif any(name.endswith(".npy") for name in names):
            cause = " It looks like an .npz: if it holds parameters, give `np.load(path)` to `load_state_dict`."
        raise Refused(f"{foreign} (no header.json in it).{cause}")
    header = _json(archive)
    if header.get("format") != form.name:
        reader = READERS.get(str(header.get("format")))
        cause = f"it is a {header['format']}, which {reader} reads" if reader else "header.json is of something else"
        raise Refused(f"{foreign} ({cause}).")
    number = header.get("version")
    if not isinstance(number, int) or not 1 <= number <= form.version:
        raise Refused(
            f"has format version {number}, written by throughtime {header.get('throughtime')}; this throughtime "
            f"({_own_version()}) reads versions up to {form.version}. Upgrade it to read this file."
        )
    return header


def _json(archive: zipfile.ZipFile) -> Header:
    """What is written in header.json, of any format; empty where that is no dict."""
    header = None
    if archive.getinfo("header.json").file_size <= LARGEST_HEADER:
        with contextlib.suppress(ValueError, RecursionError):
            header = json.loads(archive.read("header.json"))
    return header if isinstance(header, dict) else {}


def _array(archive: zipfile.ZipFile, name: str, wanted: Any, form: Format) -> np.ndarray:
    """One array; its size is compared before any memory is taken for it."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise Refused(f"lacks the {form.array} {name}.") from error
    with archive.open(info) as member:
        np.lib.format.read_magic(member)
        shape, fortran, kind = np.lib.format.read_array_header_1_0(member)
        if wanted is not None and (shape, kind.newbyteorder("=")) != wanted:
            asked = f"{wanted[1]} {wanted[0]}"
            raise Refused(f"has the {form.array} {name} as {kind} {shape}; its header asks for {asked}.")
        if kind.hasobject:
            raise Refused(f"has the {form.array} {name} as Python objects, which are not read.")
        data = member.read()  # to the end, where zipfile compares the check sum
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, value in arrays.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(_little(value)).tobytes())
    return digest.hexdigest()


def _little(value: np.ndarray) -> np.ndarray:
    return value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)


def _own_version() -> str:
    try:
        return version("throughtime")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
