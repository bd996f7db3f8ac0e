"""Models in files: every kind comes back bit by bit; what is damaged or foreign is refused in words."""

from __future__ import annotations

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from archives import rewritten

sys.path.insert(0, str(Path(__file__).parent))

from every_piece import NAMES, B, I, N, T, V, examples, net

import throughtime as tt
from throughtime.models.kinds import KINDS

m = tt.models
EVERY = pytest.mark.parametrize("name", NAMES)


def there_and_back(model, path):
    model.save(path)
    return tt.load(path)


def described(model):
    """What repr does not say: every argument of every piece."""
    own = {name: value for name, value in vars(model).items() if isinstance(value, (int, float, str, bool))}
    inner = getattr(model, "pieces", ()) or [getattr(model, k) for k in ("encoder", "decoder") if hasattr(model, k)]
    return own, [described(piece) if isinstance(piece, m.Model) else repr(piece) for piece in inner]


@EVERY
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_round_trip(name, dtype, tmp_path):
    """Everything that it is made of, its parameters, and the draws of its dropouts from here on."""
    model, x, lengths = examples(dtype)[name]
    back = there_and_back(model, tmp_path / "model.tt")
    assert type(back) is type(model)
    assert repr(back) == repr(model)
    assert described(back) == described(model)
    assert back.dtype == model.dtype
    assert list(back.shapes.items()) == list(model.shapes.items())
    assert back.flat.tobytes() == model.flat.tobytes()
    assert all(np.shares_memory(view, back.flat) or not view.size for view in back.parameters.values())
    assert np.array_equal(back.predict(x, lengths=lengths), model.predict(x, lengths=lengths))
    for _ in range(2):
        ours, theirs = (one._run(x, None, lengths, training=True).output for one in (model, back))
        assert np.array_equal(ours, theirs)


PATTERNS = {
    "one_to_one": (("tanh", 3, 2), {}),
    "one_to_many": (("gru", 3, 2), {"steps": 4}),
    "many_to_one": (("lstm", V, 2), {"embedding": 4, "pool": "mean", "classes": True, "bidirectional": True}),
    "many_to_many": ((tt.LeakyTanh(0.25), 3, 2), {"num_layers": 2, "bias": False}),
    "language_model": (("gru", V), {"embedding": 4, "dtype": "float32"}),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern(name, tmp_path):
    args, options = PATTERNS[name]
    model = getattr(m, name)(*args, hidden_size=5, seed=0, **options)
    back = there_and_back(model, tmp_path / "model.tt")
    assert repr(back) == repr(model)
    assert repr(back.pieces) == repr(model.pieces)
    assert [getattr(piece, "cell", None) for piece in back.pieces] == [
        getattr(piece, "cell", None) for piece in model.pieces
    ]
    assert back.flat.tobytes() == model.flat.tobytes()


def test_it_says_what_it_is():
    assert repr(m.Readout(3, 2, bias=False)).startswith("Readout(inputs=3, outputs=2, bias=False; dtype=")
    own = Twice("gru", 4, inner=m.LayerNorm(4))
    assert repr(own) == 'Twice(Network, LayerNorm, Readout; dtype="float64", 148 parameters)'
    both = m.EncoderDecoder(net(0), net(1))
    assert repr(both).startswith("EncoderDecoder(encoder=Network(GRU(), input_size=6")


def test_every_bit_of_a_float_survives(tmp_path):
    model = m.Readout(1, 4, bias=False)
    model.flat[...] = [np.array([0x7FF8_0000_DEAD_BEEF], np.uint64).view(float)[0], -np.inf, -0.0, 5e-324]
    assert there_and_back(model, tmp_path / "model").flat.tobytes() == model.flat.tobytes()


def test_the_file_is_what_the_documentation_says(tmp_path):
    chain = m.Chain([m.Embedding(V, I, seed=0), net(1, I), m.last, m.Dropout(0.5, seed=1), m.Readout(N, 5, seed=2)])
    chain.save(tmp_path / "model")
    with np.load(tmp_path / "model", allow_pickle=False) as archive:
        assert list(archive) == ["header.json", *chain.parameters]
        header = json.loads(archive["header.json"])
        assert all(np.array_equal(archive[name], value) for name, value in chain.parameters.items())
    assert header["format"] == "throughtime.model"
    assert header["version"] == 1
    generator = chain.pieces[3].generator.bit_generator.state
    assert header["generators"] == [generator]
    network = {
        "cell": {"name": "throughtime.gru", "fields": {}}, "input_size": I,
        "hidden_size": N, "num_layers": 1, "bidirectional": False, "bias": True, "batch_first": False,
        "dtype": "float64",
    }  # fmt: skip
    pieces = [
        {"throughtime.Embedding": {"tokens": V, "size": I, "dtype": "float64"}},
        {"throughtime.Network": network},
        {"throughtime.last": {}},
        {"throughtime.Dropout": {"rate": 0.5, "seed": {"numpy.Generator": 0}}},
        {"throughtime.Readout": {"inputs": N, "outputs": 5, "bias": True, "dtype": "float64"}},
    ]
    assert header["model"] == {"throughtime.Chain": {"pieces": pieces, "classes": False}}
    chain.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "SFC64", "Philox"])
def test_generators_of_every_sort_go_on_where_they_were(bits, tmp_path):
    rng = np.random.Generator(getattr(np.random, bits)(3))
    rng.random(5)
    pieces = [net(0), m.Dropout(0.5, seed=rng), net(1), m.Dropout(0.2, seed=rng), m.Readout(N, 2, seed=0)]
    back = there_and_back(m.Chain(pieces), tmp_path / "model")
    assert back.pieces[1].generator is back.pieces[3].generator, "two pieces that draw from one go on doing so"
    assert np.array_equal(back.pieces[1].generator.random(700), rng.random(700))


def test_training_goes_on_to_the_same_bits(tmp_path):
    """A model that was saved in the middle, beside one that was not; dropout and all."""
    model, x, lengths = examples()["residual"]
    loss, targets = tt.training.mean_squared_error, np.zeros((T, B, N))

    def learn(model):
        for _ in range(3):
            model.flat -= 0.1 * model.value_and_gradient(x, targets, loss, lengths)[1]

    learn(model)
    back = there_and_back(model, tmp_path / "model")
    learn(model)
    learn(back)
    assert np.array_equal(back.flat, model.flat)


# ------------------------------------------------------------------------------------- classes of a user's own


class Twice(m.Chain):
    """A model of a user's own: a network on a network, told by its arguments."""

    def __init__(self, cell, size, *, slope=1.0, names=("a", "b"), inner=None):
        self.cell, self.size, self.slope, self.names, self.inner = cell, size, slope, names, inner
        super().__init__([tt.Network(cell, size, size, seed=0), *([inner] if inner else []), m.Readout(size, size)])


def test_a_class_of_ones_own_is_found_by_its_name(tmp_path):
    model = Twice("gru", 4, slope=np.float32(0.5), names=("c", None, True), inner=m.LayerNorm(4))
    back = there_and_back(model, tmp_path / "model")
    assert type(back) is Twice
    assert (back.cell, back.size, back.slope, back.names) == ("gru", 4, 0.5, ["c", None, True])
    assert isinstance(back.inner, m.LayerNorm)
    assert np.array_equal(back.flat, model.flat)


def test_a_class_that_is_not_known_here(tmp_path):
    Twice("gru", 4).save(tmp_path / "model")
    del KINDS["Twice"]
    try:
        with pytest.raises(ValueError, match=r'kind "Twice", which is not known here; import the module that defines'):
            tt.load(tmp_path / "model")
    finally:
        KINDS["Twice"] = Twice


def forgetful(self, size, weight):
    m.Chain.__init__(self, [tt.Network("tanh", size, size)])
    self.size = size


def random(self):
    sizes = np.random.default_rng().integers(1, 10**6, 2)
    m.Chain.__init__(self, [tt.Network("tanh", 1, 1), m.Readout(1, int(sizes[0]))])


def of_a_function(self, of):
    self.of = of
    m.Chain.__init__(self, [tt.Network("tanh", 1, 1)])


@pytest.mark.parametrize(
    ("init", "args", "words"),
    [
        (forgetful, (3, 0.5), r"takes the argument `weight` and does not keep it: .*`self\.weight = weight`"),
        (
            lambda self, *sizes: forgetful(self, 3, 1),
            (3,),
            "takes any number of `sizes`; .*names its arguments",
        ),
        (random, (), "made again with the same arguments has other parameters"),
        (of_a_function, (len,), r"`Own\.of` is .*; a file takes numbers, words, pieces"),
    ],
)
def test_a_model_that_does_not_follow_from_its_arguments(init, args, words, tmp_path):
    own = type("Own", (m.Chain,), {"__init__": init, "__module__": "mine"})
    try:
        with pytest.raises(TypeError, match=words):
            own(*args).save(tmp_path / "model")
    finally:
        del KINDS["Own"]
    assert os.listdir(tmp_path) == []


def test_a_cell_of_ones_own_that_is_not_registered(tmp_path):
    m.many_to_one("gru", 3, 2, hidden_size=4).save(tmp_path / "model")
    rewritten(tmp_path / "model", lambda h: json.loads(json.dumps(h).replace("throughtime.gru", "NobodysOwn")))
    with pytest.raises(ValueError, match='cell "NobodysOwn", which is not registered here'):
        tt.load(tmp_path / "model")


# ------------------------------------------------------------------------------------- damaged and foreign files


@pytest.fixture
def saved(tmp_path):
    model = m.Chain([net(0), m.Dropout(0.5, seed=0), m.Readout(N, 2, seed=1)])
    model.save(tmp_path / "model")
    return model, tmp_path / "model"


def test_a_file_cut_short_anywhere_is_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    for length in (0, 1, 3, 4, 30, 100, *range(200, len(whole), 197), len(whole) - 1):
        path.with_name("cut").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r'cut" is (empty|not a network saved|damaged or cut short)'):
            tt.load(path.with_name("cut"))


def test_a_changed_byte_never_changes_a_parameter(saved):
    model, path = saved
    whole, refused, positions = path.read_bytes(), 0, 0
    for position in range(0, len(whole), 37):
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        path.with_name("broken").write_bytes(broken)
        positions += 1
        try:
            back = tt.load(path.with_name("broken"))
        except ValueError:
            refused += 1
        else:
            assert back.flat.tobytes() == model.flat.tobytes(), position
            assert repr(back) == repr(model)
    assert refused > 0.5 * positions


def piece(**changed):
    """A change of the readout's words."""

    def header(h):
        pieces = h["model"]["throughtime.Chain"]["pieces"]
        kind = changed.pop("kind", "throughtime.Readout")
        pieces[2] = {kind: pieces[2].popitem()[1] | changed}
        return h

    return header


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (lambda h: h | {"version": 9, "throughtime": "9.1"}, "format version 9, written by throughtime 9.1; .*Upgrade"),
        (lambda h: {k: v for k, v in h.items() if k != "model"}, "does not describe a model .*'model'"),
        (lambda h: {k: v for k, v in h.items() if k != "generators"}, "does not describe a model .*'generators'"),
        (lambda h: h | {"model": {}}, "does not describe a model"),
        (lambda h: h | {"model": 3}, "does not describe a model"),
        (lambda h: h | {"generators": []}, "does not describe a model"),
        (lambda h: h | {"generators": [{"bit_generator": "os"}]}, "does not describe a model"),
        (piece(kind="os.system"), 'holds a piece of the kind "os.system", which is not known here'),
        (piece(kind="throughtime.Composite"), "does not describe a model"),
        (piece(outputs="3"), "does not describe a model .*`outputs` is '3'"),
        (piece(outputs=-3), "does not describe a model .*`outputs` is -3"),
        (piece(inputs=5), "does not describe a model .*takes 5 numbers at a step"),
        (piece(more=5), "does not describe a model .*has no argument `more`"),
        (piece(outputs=10**15), "does not describe a model .*A readout of 6 inputs and 10+ outputs"),
        (piece(outputs=3), r"has the parameter 1.weight as float64 \(2, 6\); its header asks for float64 \(3, 6\)"),
        (piece(bias=False), "do not have the checksum"),
        (lambda h: json.loads(json.dumps(h).replace("float64", "float32")), "float64 .*asks for float32"),
    ],
)  # fmt: skip
def test_headers_that_do_not_fit(saved, header, words):
    rewritten(saved[1], header)
    with pytest.raises(ValueError, match=f'model" .*{words}'):
        tt.load(saved[1])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"1.weight": None}, "lacks the parameter 1.weight"),
        ({"1.weight": np.zeros((2, 2))}, r"1.weight as float64 \(2, 2\); its header asks for float64 \(2, 6\)"),
        ({"1.bias": np.zeros(2)}, "is damaged: its parameters do not have the checksum"),
    ],
)
def test_arrays_that_do_not_fit(saved, arrays, words):
    rewritten(saved[1], **arrays)
    with pytest.raises(ValueError, match=words):
        tt.load(saved[1])


def test_each_file_is_read_by_its_own(saved, tmp_path):
    """A checkpoint is no model, a model no checkpoint, and either refusal says who reads the file."""
    task, path = tt.tasks.Adding(length=5), tmp_path / "checkpoint"
    model = m.many_to_one("tanh", task.inputs, task.outputs, hidden_size=4, seed=0)
    optimiser = tt.training.SGD(0.1)
    tt.training.fit(model, task.batches(4, seed=0), task.loss, optimiser, steps=1, checkpoint=path)
    with pytest.raises(ValueError, match=r"a throughtime\.checkpoint, which throughtime\.training\.load_checkpoint"):
        tt.load(path)
    for other in (saved[1], tmp_path / "net"):
        tt.Network("tanh", 2, 3).save(tmp_path / "net")
        with pytest.raises(ValueError, match=r"a throughtime\.(model|network), which throughtime\.load reads"):
            tt.training.load_checkpoint(other, model)
    pickled = tmp_path / "pickled"
    pickled.write_bytes(pickle.dumps(model))
    with pytest.raises(ValueError, match=r"throughtime\.load reads what Network\.save or Model\.save wrote"):
        tt.load(pickled)


def test_pieces_that_have_been_replaced_are_not_saved(tmp_path):
    model = m.many_to_one("tanh", 2, 3, hidden_size=4, seed=0)
    model.pieces[0].parameters["bias_hh_l0"] = np.ones(4)
    with pytest.raises(ValueError, match='"bias_hh_l0" of piece 0 has been replaced'):
        model.save(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r'There is no folder ".*none" to save "model" in'):
        m.Readout(2, 3).save(tmp_path / "none" / "model")
    assert os.listdir(tmp_path) == []
