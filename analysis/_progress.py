"""How far a study is, while it works: one line on a terminal, or in a file for run_all, which shows it.

    gradient_by_lag: 1 min 12 s, about 3 min left; gradient_by_lag 1/2; pieces

What is left is the time on record less what has passed, or, where none is on record or it is over, what the loops that
the study runs through (`study.progress`) have done so far, scaled. The last word is the function at work.
"""

import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import tqdm

FILE = os.environ.get("THROUGHTIME_PROGRESS")  # set by run_all
LOG_EVERY = 60.0  # seconds between two lines where nobody watches


def duration(seconds):
    """0.4 s, 12 s, 3 min, 1 h 20 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Progress:
    """The loops and functions that a study is in, and how long it has worked and will."""

    def __init__(self, name, about=None, before=0.0):
        self.name, self.about, self.before = name, about, before
        self.began, self.loops, self.calls, self.owner = time.monotonic(), [], [], os.getpid()

    def seconds(self):
        """Worked so far, in earlier runs too."""
        return self.before + time.monotonic() - self.began

    def share(self):
        """Of all loops, the outer ones first: 1/3 and inside it 1/2 are 1/2; None outside of all."""
        share, part = 0.0, 1.0
        for loop in list(self.loops):
            if loop.total:
                share, part = share + part * min(loop.n / loop.total, 1.0), part / loop.total
        return share if self.loops else None

    def left(self):
        """Seconds, or None where nothing tells."""
        here, share = time.monotonic() - self.began, self.share()
        if self.about is not None and self.seconds() < self.about:
            return self.about - self.seconds()
        return here * (1 - share) / share if share else None

    def line(self):
        left = self.left()
        parts = [duration(self.seconds()) + (f", about {duration(left)} left" if left is not None else "")]
        parts += [f"{loop.desc} {loop.n}/{loop.total or '?'}".strip() for loop in list(self.loops)]
        parts += [f"{call}()" for call in list(self.calls)[-1:]]
        return "; ".join(parts)


CURRENT: list[Progress] = []


class Loop:
    """The things one by one, counted; or a count that `update` moves on. As much of a tqdm bar as is asked for."""

    def __init__(self, iterable=None, desc="", total=None, initial=0, **_):
        self.things, self.desc = iterable, desc
        self.total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
        self.n, self.watching = initial, CURRENT[-1] if CURRENT and CURRENT[-1].owner == os.getpid() else None
        if self.watching and iterable is None:
            self.watching.loops.append(self)

    def __iter__(self):
        if self.watching:
            self.watching.loops.append(self)
        try:
            for thing in self.things:
                yield thing
                self.update()
        finally:
            self.close()

    def update(self, steps=1):
        self.n += steps

    def close(self):
        if self.watching:
            self.watching.loops[:] = [other for other in self.watching.loops if other is not self]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def write(self, text):
        """A line that stays, above the one that shows how far it is."""
        print(f"\r\033[K{text}" if self.watching and not FILE and sys.stderr.isatty() else text, flush=True)

    def refresh(self, *_, **__):
        """Shown anyway, twice a second."""

    set_postfix_str = set_postfix = set_description = refresh


@contextmanager
def shown(progress, tick=lambda seconds: None):
    """Show it until the end; `tick` gets the seconds worked every half second. The library's bars are counted too."""
    ended, bar = threading.Event(), tqdm.tqdm

    def show():
        last = time.monotonic()
        while not ended.wait(0.5):
            tick(progress.seconds())
            text = f"{progress.name}: {progress.line()}"
            if FILE:
                with suppress(OSError):
                    part = Path(f"{FILE}.part")
                    part.write_text(progress.line(), encoding="utf-8")
                    part.replace(FILE)
            elif sys.stderr.isatty():
                print(f"\r\033[K{text[:118]}", end="", file=sys.stderr, flush=True)
            elif time.monotonic() - last > LOG_EVERY:
                last = time.monotonic()
                print(text, file=sys.stderr, flush=True)

    thread = threading.Thread(target=show, daemon=True)
    CURRENT.append(progress)
    tqdm.tqdm = Loop  # the library takes it from there when it shows a bar
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()
        CURRENT.remove(progress)
        tqdm.tqdm = bar
        tick(progress.seconds())
        if not FILE and sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
