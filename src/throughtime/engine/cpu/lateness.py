"""Workers that do not get their processors, because another program has them: the caller then works alone for a while.

A team waits for its last member. Where one takes turns with another program, every pass waits for that program's turns
of some milliseconds: two threads took 4 times as long as one (a GRU of 128 units, 32 sequences, beside a compiler).
"""

import time

LEAST = 3e-4  # seconds lost that count: waking a sleeping processor of a virtual machine takes up to a third of that
# Of a worker's time. Of two threads one alone takes as long where the other loses half, and more gain by a worker that
# loses more; with a quarter, a virtual machine whose host is busy was left to one thread for seconds.
SHARE = 0.4
# Seconds from the beginning of the first late pass to the end of one after which the caller works alone. PyTorch's
# threads spin for some 6 ms after their work (GNU OpenMP), and the first pass behind it is late. When that was enough,
# training in turns with PyTorch's was left to one thread for most of a turn: .6 to 1.2 of PyTorch's speed, by chance.
BORNE = 0.01
APART = 0.05  # seconds between two passes that have nothing to do with each other
PAUSE, LONGEST = 0.02, 1.0  # seconds alone after the first time, doubled each time that follows
TIMES = 10  # as long alone as such a pass took, at least, from the second time in a row on


class Lateness:
    """What a team knows of its workers' processors.

    >>> late = Lateness()
    >>> late.judge(taken=2e-2, ran=1.9e-2, now=5.0)
    >>> late.alone(5.0)
    False
    >>> late.judge(taken=2e-2, ran=1e-2, now=5.0)
    >>> late.alone(5.01), late.alone(5.05)
    (True, False)
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._pause = PAUSE
        self._since: float | None = None  # when the first of the passes that were late began
        self._last = 0.0  # when the last of them ended

    def alone(self, now: float | None = None) -> bool:
        """Whether to work alone now."""
        return self._until > 0.0 and (time.monotonic() if now is None else now) < self._until

    def judge(self, taken: float, ran: float, now: float | None = None) -> None:
        """A worker's part was over `taken` seconds after it was given out, and ran for `ran` of them."""
        if taken - ran <= max(LEAST, SHARE * taken):
            self._until, self._pause, self._since = 0.0, PAUSE, None
            return
        now = time.monotonic() if now is None else now
        began = now - taken
        if self._since is None or began > max(self._last, self._until) + APART:
            self._since, self._pause = began, PAUSE
        self._last = now
        if now - self._since < BORNE:
            return
        least = taken if self._pause == PAUSE else TIMES * taken
        self._until = now + max(self._pause, least)
        self._pause = min(2 * self._pause, LONGEST)
