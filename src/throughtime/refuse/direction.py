"""Networks that read a sequence from both ends: what follows the state through time has no meaning for them."""

from __future__ import annotations

from typing import Any


def one_way(network: Any, what: str, instead: str = "") -> None:
    """ValueError if a network is bidirectional. `what` the caller computes begins the sentence, `instead` ends it."""
    if getattr(network, "bidirectional", False):
        raise ValueError(
            f"{what} has no meaning for a bidirectional network: its two directions "
            "run through time against each other, so states[t] is not a function "
            f"of states[t-1]. Build the network with `bidirectional=False`{instead}."
        )
