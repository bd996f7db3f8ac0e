"""What a user hands in: looked at before anything is computed, and refused in a sentence.

    arguments   single values: sizes, flags, numbers, names, seeds, devices, paths
    numeric     anything as an array of real numbers; foreign: what arrays of other libraries need first
    checks      sequences, lengths, states and gradients of a network whose sizes are given
    in_place    the arrays that stand in `network.parameters`
    finite      NaN and infinity, and where they come from
    direction   networks that read a sequence from both ends
    room        sizes that this machine cannot hold
    expected    what a public function takes, by the names and annotations of its arguments
    called      by what name sentences speak of an object
    words       what people write who come from other libraries

Nothing here imports what stands above it: networks come as sizes and arrays.
"""
