"""Sequence models: a network with what stands before and behind it, as one run and one vector of parameters.

    Chain                pieces one after another, as torch.nn.Sequential; .flat, .parameters, .unroll, .predict
    Embedding, Readout   a vector for each token; a linear map of every step
    LayerNorm, Residual, Dropout, sum_directions
                         what enters a layer normalised; a skip around pieces; dropout between; two directions added
    last, mean, Repeat   one output for each sequence, what it ends with or the mean over its steps; one vector for many

    EncoderDecoder       one model reads, another goes on from its last state, and may look back at all that was read
    Attention            for every query a weighted mean of a memory, with the way back to both; AttentionRun
    InputFeeding         where such a decoder hears, step by step, what it has seen

    one_to_one, one_to_many, many_to_one, many_to_many, language_model
                         the patterns of the textbooks, each one call that returns such a chain; .predict
    sequence_to_sequence translation: an encoder and a decoder of tokens, with attention or without
    reservoir            an echo state network: random, of which `tt.training.ridge` fits the readout
    generate, beam_search
                         a language model writes, or a decoder from a source: greedy, at a temperature, of the top k, or
                         by beam search; Generated

    model.unroll(x, state=None, lengths=None)            a run: .output, .final_state, .networks, .backprop(grad_output)
    model.value_and_gradient(x, targets, loss)           the loss, and its gradient as one vector
    model.objective(x, targets, loss)                    the same as a function of the vector, for scipy.optimize
    model.forward_backward(x, targets, loss, state=…)    with the final state, for truncated BPTT
    model.to("cuda")                                     a chain of networks, Embedding, Readout, LayerNorm, Residual,
                                                         Dropout, last and mean on the GPU, also for `tt.training.fit`

    ClosedLoop, ClosedLoopRun
                         a model that hears what it says, as a dynamical system: model.closed_loop()

    Model                base of a model of your own
    ModelRun, ModelGradients, PooledRun, Evaluation      what the calls give

Time is first; tokens are whole numbers (T, B). What every analysis takes is in a model too: `run.networks["1"]` is the
run of the network that is piece 1, `model.pieces[1]` the network with the parameters as they are now.

>>> import numpy as np, throughtime as tt
>>> model = tt.models.Chain([tt.Network("gru", 3, 8, seed=0), tt.models.last, tt.models.Readout(8, 2, seed=1)])
>>> run = model.unroll(np.ones((20, 4, 3)))
>>> run.output.shape, run.backprop(np.ones((4, 2))).parameters["0.weight_hh_l0"].shape
((4, 2), (24, 8))
"""

from .attention import Attention, AttentionRun
from .beam import beam_search
from .chain import Chain
from .closed_loop import ClosedLoop
from .closed_loop_run import ClosedLoopRun
from .decoding import generate
from .directions import SummedRun, sum_directions
from .dropout import Dropout
from .embedding import Embedding
from .encoder_decoder import EncoderDecoder
from .input_feeding import InputFeeding
from .layer_norm import LayerNorm
from .model import Model
from .model_run import Evaluation, ModelGradients, ModelRun
from .patterns import language_model, many_to_many, many_to_one, one_to_many, one_to_one
from .pooling import PooledRun, last, mean
from .readout import Readout
from .repeat import Repeat
from .reservoir import reservoir
from .residual import Residual
from .sequence_to_sequence import sequence_to_sequence
from .writer import Generated

__all__ = [
    "Attention", "AttentionRun", "Chain", "ClosedLoop", "ClosedLoopRun", "Dropout", "Embedding", "EncoderDecoder",
    "Evaluation", "Generated", "InputFeeding", "LayerNorm", "Model", "ModelGradients", "ModelRun", "PooledRun",
    "Readout", "Repeat", "Residual", "SummedRun", "beam_search", "generate", "language_model", "last",
    "many_to_many", "many_to_one", "mean", "one_to_many", "one_to_one", "reservoir",
    "sequence_to_sequence", "sum_directions",
]  # fmt: skip
