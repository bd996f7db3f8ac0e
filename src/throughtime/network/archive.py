"""Networks on disk: a zip archive of plain JSON and .npy arrays, nothing in it that could run.

    header.json           {"format": "throughtime.network", "version": 1, "throughtime": "0.1.0",
                           "cell": {"name": "throughtime.leaky_tanh", "fields": {"leak": 0.1}},
                           "input_size": 8, "hidden_size": 64, "num_layers": 1, "bidirectional": false, "bias": true,
                           "batch_first": false, "dtype": "float64", "sha256": "…"}
    weight_ih_l0.npy, …   one array for each parameter, little-endian, by PyTorch's names

`numpy.load(path)` reads it too (an .npz is the same kind of archive). sha256 is taken over name and bytes of every
array in PyTorch's order. A cell of the library is throughtime.NAME, a user's own goes by the name of its
class. The members are stored uncompressed and without a date: the same network gives the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..cells import CELLS
from ..cells.base import registered
from ..refuse import arguments, words
from . import parameters
from .network import Network

FORMAT, VERSION = "throughtime.network", 1
ARGUMENTS = ("input_size", "hidden_size", "num_layers", "bidirectional", "bias", "batch_first")
LARGEST_HEADER = 1 << 20  # bytes; a real one has some hundred


class _Refused(ValueError):
    """Why a file is not taken; `load` puts its name in front."""


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write `network` to `path`: first to a file beside it, which then takes its place in one step.

    FileNotFoundError if there is no such folder.
    """
    path = arguments.path("path", path)
    if getattr(network, "device", "cpu") == "cuda":
        return network.save(path)  # which comes back here with what is on the device
    parameters.in_place(network.parameters, network.shapes, network.dtype)
    arrays = {name: network.parameters[name] for name in network.shapes}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "throughtime": _own_version(),
        "cell": {"name": _name(network.cell), "fields": _fields(network.cell)},
        **{name: getattr(network, name) for name in ARGUMENTS},
        "dtype": network.dtype.name,
        "sha256": _digest(arrays),
    }
    try:
        target = Path(path).resolve()  # through a symbolic link: the file is replaced, not the link
    except (OSError, RuntimeError) as error:
        raise ValueError(f'"{path}" is a symbolic link that leads back to itself; save to another name.') from error
    if not target.parent.is_dir():
        raise FileNotFoundError(f'There is no folder "{target.parent}" to save "{target.name}" in.')
    if target.is_dir():
        raise IsADirectoryError(f'"{target}" is a folder; name a file in it to save the network to.')
    if target.exists() and not target.is_file():  # a device or a pipe, which the file would replace
        raise ValueError(f'"{target}" is no ordinary file; save the network to the name of a file of its own.')
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            _write(file, header, arrays)
            file.flush()
            os.fsync(file.fileno())  # or a crash could leave the new name with no contents
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@words.explained
def load(path: str | os.PathLike[str]) -> Network:
    """The network that `Network.save` wrote to `path`, its parameters bit by bit.

    A user's own cell has to be registered before, by importing the module that defines it. ValueError, in words,
    for a file that is damaged, foreign, from a newer version, or of a cell unknown here;
    FileNotFoundError if there is none. TypeError if `path` is not a str or an os.PathLike: a number would be an open
    file of this process.

    >>> import os, tempfile, throughtime as tt
    >>> path = os.path.join(tempfile.mkdtemp(), "net.tt")
    >>> tt.Network("lstm", 3, 4, seed=0).save(path)
    >>> tt.load(path).cell
    LSTM()
    """
    path = arguments.path("path", path)
    if not os.path.exists(path):
        raise FileNotFoundError(f'There is no file "{path}".')
    if os.path.isdir(path):
        raise IsADirectoryError(f'"{path}" is a folder; throughtime.load reads a file that Network.save wrote.')
    if not os.path.isfile(path):  # a pipe, say, which nobody may ever write to
        raise ValueError(f'"{path}" is no ordinary file; throughtime.load reads a file that Network.save wrote.')
    try:
        with open(path, "rb") as file:
            return _read(file)
    except _Refused as reason:
        raise ValueError(f'"{path}" {reason}') from reason.__cause__


# ---------------------------------------------------------------------------------------------- the archive


def _write(file: IO[bytes], header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("header.json"), json.dumps(header, indent=1))
        for name, value in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _little(value), allow_pickle=False)


def _read(file: IO[bytes]) -> Network:
    start = file.read(4)
    if start != b"PK\x03\x04":
        what = "is empty" if not start else "is not a network saved by throughtime"
        raise _Refused(f"{what}; throughtime.load reads what Network.save wrote.")
    try:
        with zipfile.ZipFile(file) as archive:
            return _network(archive, _header(archive))
    except _Refused:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen different ones on broken bytes
        raise _Refused(f"is damaged or cut short ({error}); copy it again from where it was saved.") from error


def _network(archive: zipfile.ZipFile, header: dict[str, Any]) -> Network:
    try:
        name, fields = header["cell"]["name"], dict(header["cell"]["fields"])
        sizes = {key: header[key] for key in ARGUMENTS}
        for key in ("input_size", "hidden_size", "num_layers"):
            arguments.size(key, sizes[key])
        for key in ("bidirectional", "bias", "batch_first"):
            arguments.flag(key, sizes[key])
        dtype = arguments.float_type(header["dtype"])
        digest = header["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise _Refused(f"has a header that does not describe a network ({type(error).__name__}: {error}).") from error
    if sizes["num_layers"] > len(archive.namelist()):
        raise _Refused("lacks parameters: its header speaks of more layers than there are arrays.")
    cell = _cell(name, fields)
    wanted = parameters.shapes(cell, *(sizes[key] for key in ARGUMENTS[:5]))
    arrays = {key: _array(archive, key, shape, dtype) for key, shape in wanted.items()}
    if _digest(arrays) != digest:
        raise _Refused("is damaged: its parameters do not have the checksum in its header.")
    return Network(cell, **sizes, dtype=dtype, init=lambda network, rng: arrays)


def _header(archive: zipfile.ZipFile) -> dict[str, Any]:
    names = archive.namelist()
    if "header.json" not in names:
        cause = ""
        if any(name.endswith("data.pkl") for name in names):
            cause = " It looks like a file of torch.save: load it with torch and give the tensors to `load_state_dict`."
        elif any(name.endswith(".npy") for name in names):
            cause = " It looks like an .npz: if it holds parameters, give `np.load(path)` to `load_state_dict`."
        raise _Refused(f"is a zip archive, but not a network saved by throughtime (no header.json in it).{cause}")
    header = None
    if archive.getinfo("header.json").file_size <= LARGEST_HEADER:
        with contextlib.suppress(ValueError, RecursionError):
            header = json.loads(archive.read("header.json"))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise _Refused("is a zip archive, but not a network saved by throughtime (header.json is of something else).")
    number = header.get("version")
    if not isinstance(number, int) or not 1 <= number <= VERSION:
        raise _Refused(
            f"has format version {number}, written by throughtime {header.get('throughtime')}; this throughtime "
            f"({_own_version()}) reads versions up to {VERSION}. Upgrade it to read this file."
        )
    return header


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """One parameter; its size is compared before any memory is taken for it."""
    try:
        info = archive.getinfo(f"{name}.npy")
    except KeyError as error:
        raise _Refused(f"lacks the parameter {name}.") from error
    with archive.open(info) as member:
        np.lib.format.read_magic(member)
        found, fortran, kind = np.lib.format.read_array_header_1_0(member)
        if found != shape or kind.newbyteorder("=") != dtype:
            raise _Refused(f"has the parameter {name} as {kind} {found}; its header asks for {dtype} {shape}.")
        data = member.read()  # to the end, where zipfile compares the check sum
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, value in arrays.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(_little(value)).tobytes())
    return digest.hexdigest()


def _little(value: np.ndarray) -> np.ndarray:
    return value.astype(value.dtype.newbyteorder("<"), order="C", copy=False)


# ---------------------------------------------------------------------------------------------- the cell


def _name(cell: Any) -> str:
    """throughtime.lstm for a cell of the library, the name of its class for another."""
    return next((f"throughtime.{name}" for name, cls in CELLS.items() if type(cell) is cls), type(cell).__name__)


def _fields(cell: Any) -> dict[str, int | float]:
    return {name: value if type(value) is int else float(value) for name, value in cell._asdict().items()}


def _cell(name: str, fields: dict[str, Any]) -> Any:
    cls: Any = ({f"throughtime.{key}": value for key, value in CELLS.items()} | registered()).get(name)
    if cls is None:
        raise _Refused(
            f'holds a network of the cell "{name}", which is not registered here; import the module that defines it '
            "(its class with the decorator @throughtime.cell) before loading."
        )
    if set(fields) != set(cls._fields):
        raise _Refused(
            f'holds a cell "{name}" with the fields {_listed(fields)}, but the one registered here under this name has '
            f"{_listed(cls._fields)}; import the version of it that was saved."
        )
    return arguments.cell(cls(**fields))


def _listed(names: Iterable[str]) -> str:
    return f"({', '.join(names)})"


def _own_version() -> str:
    try:
        return version("throughtime")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
