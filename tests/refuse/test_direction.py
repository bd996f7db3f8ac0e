"""The one refusal of networks that read a sequence from both ends."""

import numpy as np
import pytest

import throughtime as tt
from throughtime.refuse import direction


def test_the_sentence_begins_with_what_was_asked_and_ends_with_what_to_do():
    network = tt.Network("tanh", 2, 3, bidirectional=True, seed=0)
    words = r"^A lag has no meaning for a bidirectional network: .*`bidirectional=False`, or leave it out\.$"
    with pytest.raises(ValueError, match=words):
        direction.one_way(network, "A lag", ", or leave it out")
    with pytest.raises(ValueError, match=r"^A Jacobian has no meaning.*or use `run.backprop`\.$"):
        network.unroll(np.ones((4, 2))).jacobian(1)


def test_networks_of_one_direction_pass():
    direction.one_way(tt.Network("tanh", 2, 3, seed=0), "A lag")
    direction.one_way(object(), "A lag")  # what is no network is refused elsewhere
