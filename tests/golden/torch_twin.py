"""A model of tt.models in PyTorch: modules of the same pieces and names, and what they give for the same input."""

from __future__ import annotations

import throughtime as tt

m = tt.models


def module_of(torch, piece):
    """The torch.nn module of the same pieces, with the same parameters, in float64."""
    module = _made(torch, piece).double()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in piece.state_dict().items()})
    return module


def _made(torch, piece):
    if isinstance(piece, m.Embedding):
        return torch.nn.Embedding(piece.tokens, piece.size)
    if isinstance(piece, m.Readout):
        return torch.nn.Linear(piece.inputs, piece.outputs, bias=piece.bias)
    if isinstance(piece, m.LayerNorm):
        return torch.nn.LayerNorm(piece.size, piece.eps)
    if isinstance(piece, tt.Network):
        kind = {"Tanh": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}[type(piece.cell).__name__]
        options = {"num_layers": piece.num_layers, "bidirectional": piece.bidirectional, "bias": piece.bias}
        return kind(piece.input_size, piece.hidden_size, **options)
    if isinstance(piece, m.EncoderDecoder):
        return torch.nn.ModuleDict({name: _made(torch, getattr(piece, name)) for name in ("encoder", "decoder")})
    return torch.nn.Sequential(*(_made(torch, own) for own in piece.pieces if hasattr(own, "parameters")))


def output_of(torch, module, model, x, lengths):
    """What the module gives for arrays x, packed where sequences have lengths."""
    if isinstance(model, m.EncoderDecoder):
        source, inputs = (torch.from_numpy(part) for part in x)
        ends = [None if own is None else torch.from_numpy(own) for own in lengths or (None, None)]
        state = _run(torch, module["encoder"], model.encoder, source, ends[0])[2]
        return _run(torch, module["decoder"], model.decoder, inputs, ends[1], state)[0]
    return _run(torch, module, model, torch.from_numpy(x), None if lengths is None else torch.from_numpy(lengths))[0]


def _run(torch, module, piece, value, ends, state=None):
    """(output, lengths, the last state of a network in it)."""
    if isinstance(piece, tt.Network):
        full = torch.full((value.shape[1],), len(value))
        packed = torch.nn.utils.rnn.pack_padded_sequence(value, full if ends is None else ends, enforce_sorted=False)
        out, state = module(packed, state)
        return torch.nn.utils.rnn.pad_packed_sequence(out, total_length=len(value))[0], ends, state
    if not isinstance(piece, m.Chain):
        return module(value), ends, None
    modules, before, network, begin = iter(module), value, None, state
    for own in piece.pieces:
        if own is m.last:
            h = state[0] if isinstance(state, tuple) else state
            value = torch.cat(list(h[-2:]), dim=-1) if network.bidirectional else h[-1]
        elif own is m.mean:
            value = value.mean(dim=0) if ends is None else value.sum(dim=0) / ends[:, None]
        elif own is m.sum_directions:
            value = value[..., : value.shape[-1] // 2] + value[..., value.shape[-1] // 2 :]
        elif isinstance(own, m.Repeat):
            value = value[None].expand(own.steps, *value.shape)
        else:
            value, ends, given = _run(torch, next(modules), own, value, ends, begin)
            if given is not None:  # a recurrent piece: the first begins from the state that was given
                state, network, begin = given, own, None
    return (before + value if isinstance(piece, m.Residual) else value), ends, state
