"""Pieces of work in several processes, one of which at a time has the device to itself; and what is kept of them.

Compiling kernels takes far longer than running them, so many processes compile side by side; a piece that times
something asks for its turn, and has the device and the host alone: turns begin when all pieces in work have come as far
or are done, and new pieces when no turn is left. A piece that raises, ends its process or does not answer is a result
too, {"error": ...}, and costs its process only: after a fault on a device its context is of no more use.
"""

import importlib
import json
import multiprocessing
import signal
import time
from collections import deque
from contextlib import contextmanager, suppress
from multiprocessing import connection


def serve(pipe, module):
    """A worker: pieces come through the pipe, results go back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who gave the work is interrupted, and ends it
    pieces = importlib.import_module(module)

    @contextmanager
    def turn():
        pipe.send(("turn", None))
        pipe.recv()
        try:
            yield
        finally:
            pipe.send(("free", None))

    with suppress(EOFError, OSError):  # who gave the work is gone
        while (order := pipe.recv()) is not None:
            function, arguments = order
            try:
                result = getattr(pieces, function)(turn=turn, **arguments)
            except Exception as error:
                pipe.send(("result", {"error": f"{type(error).__name__}: {error}"[:400]}))
                return
            pipe.send(("result", result))


class Worker:
    def __init__(self, module):
        context = multiprocessing.get_context("spawn")  # a forked process cannot use the device of its parent
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, module), daemon=True)
        self.process.start()
        theirs.close()
        self.key, self.busy_since = None, None

    def give(self, piece):
        self.key, function, arguments = piece
        self.busy_since = time.monotonic()
        with suppress(OSError):  # it has ended: its pipe says so when it is read
            self.pipe.send((function, arguments))

    def end(self, patience=0.0):
        """In good order if it can do so within `patience` seconds."""
        with suppress(OSError):
            self.pipe.send(None)
        self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run(pieces, module, *, workers, until=float("inf"), patience=120.0, fresh=False):
    """(key, result) of each piece (key, function, arguments) as they come; none is begun after `until`.

    function: the name of one in `module`, called with turn= and the arguments. patience: seconds for one piece, without
    its wait for the device. fresh: each piece in a process of its own.
    """
    waiting, staff, asking, alone, timing = deque(pieces), [], deque(), None, False
    try:
        while True:
            timing = timing and any(worker.key is not None for worker in staff)
            begin = waiting and time.monotonic() < until and not timing
            for worker in [w for w in staff if w.key is None]:
                if begin and waiting:
                    worker.give(waiting.popleft())
            while begin and waiting and len(staff) < workers:
                staff.append(Worker(module))
                staff[-1].give(waiting.popleft())
            if all(worker.key is None for worker in staff) and not (waiting and time.monotonic() < until):
                return
            ready = connection.wait([w.pipe for w in staff if w.key is not None], timeout=0.2)
            for worker in list(staff):
                found = None
                if worker.pipe in ready:
                    try:
                        what, value = worker.pipe.recv()
                    except (EOFError, OSError):
                        worker.process.join()
                        what, value = "result", {"error": f"its process ended ({worker.process.exitcode})"}
                    if what == "turn":
                        asking.append(worker)
                        worker.busy_since, timing = None, True  # until all that are in work have had their turn
                    elif what == "free":
                        alone = None
                    else:
                        found = value
                elif worker.busy_since is not None and time.monotonic() - worker.busy_since > patience:
                    found = {"error": f"no answer within {patience:g} s"}
                if found is not None:
                    key, worker.key, worker.busy_since = worker.key, None, None
                    if fresh or "error" in found:
                        alone = None if alone is worker else alone
                        asking = deque(other for other in asking if other is not worker)
                        staff.remove(worker)
                        worker.end(patience=0.0 if "error" in found else 5.0)
                    yield key, found
            quiet = all(worker.key is None or worker in asking for worker in staff)
            if alone is None and asking and quiet:
                alone = asking.popleft()
                alone.busy_since = time.monotonic()
                alone.pipe.send("go")
    finally:
        for worker in staff:
            worker.end(patience=10.0 if worker.key is None else 0.0)


class Record:
    """Results on disk as they come, one line of JSON each, under a first line that says what they belong to.

    A file of another head is begun again; `unlike` names what of the head may differ, and is then taken from the file.
    Half a line, of a process that was killed, is left out, and so are pieces that failed: those are done again.
    """

    def __init__(self, path, head, unlike=()):
        self.path, self.head, self.results = path, head, {}
        lines = []
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    lines.append(json.loads(line))
                except json.JSONDecodeError:
                    continue

        def fixed(what):
            return {key: value for key, value in what.items() if key not in unlike}

        if lines and isinstance(lines[0], dict) and fixed(lines[0]) == fixed(json.loads(json.dumps(head))):
            self.head = lines[0]
            self.results = {key: result for key, result in lines[1:] if not failed(result)}
        if path is not None:
            kept = [self.head, *([key, result] for key, result in self.results.items())]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def add(self, key, result):
        self.results[key] = result
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, result]) + "\n")


def failed(result):
    return "error" in result or not all(item["pass"] for item in result.get("checks", []))
