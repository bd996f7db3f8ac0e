"""What a study has computed so far, kept on disk, so that it can be interrupted and go on: the same for every study.

While `measure` runs, each function of the study's own file is looked after: what a call that took longer than a moment
returned is written to a folder, under its name and its arguments, and a call with the same name and arguments returns
it. So a study goes on where it stopped if what takes long is a function of its file, called with numbers, names, arrays
or networks. When the study is done the folder goes; what other code has left there is not used.

Not kept, and computed anew: calls that change one of their arguments (a random generator, say), and what cannot be
pickled (generators, functions, open files) or is very large.
"""

import functools
import hashlib
import inspect
import json
import os
import pickle
import shutil
import time
import types
from contextlib import contextmanager, suppress
from pathlib import Path

import _progress

ROOT = Path(__file__).resolve().parents[1]
MOMENT = 0.3  # seconds
LARGEST = 1 << 28  # bytes
COST = 0.02  # of the time worked: looking at arguments takes no more, or some calls are not looked at
FOLDERS: list[Path] = []  # of the study at work
NOT = ("measure", "draw", "pictures", "table", "about")


def code(path):
    """A digest of the library, of what the studies share and of this study: other code begins anew."""
    digest = hashlib.sha256()
    shared = [*(ROOT / "src").rglob("*.py"), *path.parent.glob("_*.py"), path]
    for file in sorted(set(shared)):
        digest.update(str(file.name).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


class Kept:
    """A folder of results of one study at one set of sizes."""

    def __init__(self, folder, what):
        self.folder, self.results, self.before, self.looking = folder, 0, 0.0, 0.0
        head = folder / "head.json"
        with suppress(OSError, ValueError):
            if json.loads(head.read_text(encoding="utf-8")) == what:
                self.results = sum(1 for _ in folder.glob("*.pickle"))
                with suppress(OSError, ValueError):
                    self.before = float((folder / "seconds").read_text())
                return
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        head.write_text(json.dumps(what), encoding="utf-8")

    def path(self, key):
        return self.folder / f"{hashlib.sha256(key).hexdigest()[:32]}.pickle"

    def get(self, key):
        """(result,) or None."""
        try:
            return (pickle.loads(self.path(key).read_bytes()),)
        except Exception:  # absent or damaged: computed again
            return None

    def put(self, key, result):
        with suppress(Exception):  # what cannot be pickled, a full disk: it is computed again next time
            data = pickle.dumps(result)
            if len(data) <= LARGEST:
                self.write(self.path(key), data)
                self.results += 1

    def spent(self, seconds):
        with suppress(OSError):
            self.write(self.folder / "seconds", f"{seconds:.1f}".encode())

    def write(self, path, data):
        """All or nothing: whoever is killed here leaves no half."""
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_bytes(data)
        part.replace(path)

    def done(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):
            self.folder.parent.rmdir()  # if it is empty


def looked_after(function, kept, progress):
    """The function, its long calls kept, and its name shown while it works."""

    def look(given, named):
        began = time.monotonic()
        if kept.looking > 1.0 + COST * progress.seconds():
            return None
        key = pickled((function.__qualname__, given, named))
        kept.looking += time.monotonic() - began
        return key

    @functools.wraps(function)
    def call(*given, **named):
        key = look(given, named)
        found = kept.get(key) if key is not None else None
        if found is not None:
            return found[0]
        mine = progress.owner == os.getpid()
        if mine:
            progress.calls.append(function.__name__)
        began = time.monotonic()
        try:
            result = function(*given, **named)
        finally:
            if mine:
                progress.calls.remove(function.__name__)
        if key is not None and time.monotonic() - began > MOMENT and look(given, named) == key:
            kept.put(key, result)
        return result

    return call


def pickled(value):
    try:
        return pickle.dumps(value)
    except Exception:
        return None


@contextmanager
def calls(module, kept, progress):
    """While this lasts the functions of the study's file are looked after."""
    own = {
        name: value
        for name, value in module.items()
        if isinstance(value, types.FunctionType)
        and value.__module__ == module["__name__"]
        and not inspect.isgeneratorfunction(value)
        and name not in NOT
    }
    module.update({name: looked_after(value, kept, progress) for name, value in own.items()})
    FOLDERS.append(kept.folder)
    try:
        with _progress.shown(progress, kept.spent):
            yield
    finally:
        FOLDERS.pop()
        module.update(own)
