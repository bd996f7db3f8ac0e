"""Tasks to train on, with what there is to be reached: inputs, targets, exact baselines, and what counts as solved.

    task = tt.tasks.Adding(length=100)         settings; the defaults are those of the paper
    batch = task.batch(32, seed=0)             x, targets, lengths, mask: time first, (T, B, …)
    for batch in task.batches(32, seed=0):     fresh sequences without end; `.state` for a checkpoint
    task.baseline, task.optimum                the loss of a model without memory, and the least there can be
    task.solved(output, batch)                 what the paper counts as solved; .wrong, .share_wrong

    Adding, Multiplication         two marked numbers among many: their sum, their product
    CopyMemory, SelectiveCopying   give symbols again after a delay, or without the noise between them
    Reversal                       symbols in, the opposite order out; for one network, or an encoder and a decoder
    TemporalOrder                  which of two symbols came first, 4 or 8 classes
    TemporalXor, DelayedXor        XOR of the two bits before (Elman), or of two bits far back (Engelken)
    ElmanLetters                   ba, dii, guuu: which bits of the next letter can be known, and which cannot
    FlipFlop                       bits of memory, set by pulses: fixed points to count
    BernoulliAdd                   coins with known entropies: the loss says which lags were found (Marschall)
    EmbeddedReber, CountingGrammar a grammar with a far choice; aⁿbⁿ and aⁿbⁿcⁿ
    NegationSentiment              small English sentences with "not" and "but"
    SpokenDigits                   "double seven three" to 773, for an encoder and a decoder; where each digit is known
    Lorenz, Rossler, MackeyGlass, Henon
                                   chaos to forecast, with known exponents; .trajectory gives states alone
    TASKS                          name -> class of all of them
    text_stream, windows, length_buckets
                                   data of your own: a file by bytes, a series to forecast, sequences of any lengths;
                                   held-out parts, and batches that resume as those of the tasks do
    Batch, Batches                 what a task hands out, and an endless row of it
    Task, Flow                     bases for a task, or a dynamical system, of your own

Tokens are whole numbers (T, B); for a network without an embedding write `batch.one_hot(task.inputs)`. One target for a
sequence becomes one at its last step by `batch.aligned()`; `batch.pieces(50)` are pieces for truncated BPTT. Losses are
means over the steps that count: cross-entropies in nats, of logits; squared errors.

>>> import throughtime as tt
>>> task = tt.tasks.CopyMemory(delay=20)
>>> batch = task.batch(32, seed=0).one_hot(task.inputs)
>>> run = tt.Network("gru", task.inputs, 64, seed=0).unroll(batch.x)
>>> run.output.shape, round(task.baseline, 4)
((40, 32, 64), 0.5199)
"""

from .adding import Adding
from .batch import Batch
from .bernoulli_add import BernoulliAdd
from .copy_memory import CopyMemory
from .counting_grammar import CountingGrammar
from .delayed_xor import DelayedXor
from .elman_letters import ElmanLetters
from .epochs import Batches
from .flip_flop import FlipFlop
from .flow import Flow
from .henon import Henon
from .length_buckets import LengthBuckets, length_buckets
from .lorenz import Lorenz
from .mackey_glass import MackeyGlass
from .multiplication import Multiplication
from .reber import EmbeddedReber
from .reversal import Reversal
from .rossler import Rossler
from .selective_copying import SelectiveCopying
from .sentiment import NegationSentiment
from .spoken_digits import SpokenDigits
from .task import Task
from .temporal_order import TemporalOrder
from .temporal_xor import TemporalXor
from .text_stream import TextStream, text_stream
from .windows import Windows, windows

__all__ = [
    "TASKS",
    "Adding",
    "Batch",
    "Batches",
    "BernoulliAdd",
    "CopyMemory",
    "CountingGrammar",
    "DelayedXor",
    "ElmanLetters",
    "EmbeddedReber",
    "FlipFlop",
    "Flow",
    "Henon",
    "LengthBuckets",
    "Lorenz",
    "MackeyGlass",
    "Multiplication",
    "NegationSentiment",
    "Reversal",
    "Rossler",
    "SelectiveCopying",
    "SpokenDigits",
    "Task",
    "TemporalOrder",
    "TemporalXor",
    "TextStream",
    "Windows",
    "length_buckets",
    "text_stream",
    "windows",
]

TASKS: dict[str, type[Task]] = {
    "adding": Adding,
    "multiplication": Multiplication,
    "copy_memory": CopyMemory,
    "selective_copying": SelectiveCopying,
    "reversal": Reversal,
    "temporal_order": TemporalOrder,
    "temporal_xor": TemporalXor,
    "elman_letters": ElmanLetters,
    "delayed_xor": DelayedXor,
    "flip_flop": FlipFlop,
    "bernoulli_add": BernoulliAdd,
    "embedded_reber": EmbeddedReber,
    "counting_grammar": CountingGrammar,
    "negation_sentiment": NegationSentiment,
    "spoken_digits": SpokenDigits,
    "lorenz": Lorenz,
    "rossler": Rossler,
    "mackey_glass": MackeyGlass,
    "henon": Henon,
}
