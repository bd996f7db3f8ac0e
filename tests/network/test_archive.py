"""Files: what is saved comes back bit by bit; what is damaged or foreign is refused in words; nothing gets lost."""

import hashlib
import io
import json
import os
import pickle
import zipfile
from typing import NamedTuple

import numpy as np
import pytest
from archives import rewritten

import throughtime as tt
from throughtime.cells import CELLS, base
from throughtime.network import archive as of_arrays

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def bits(net):
    return {name: (value.dtype, value.shape, value.tobytes()) for name, value in net.parameters.items()}


def saved(path, **options):
    net = tt.Network(options.pop("cell", "tanh"), 2, 3, seed=0, **options)
    net.save(path)
    return net


# ------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}, {"num_layers": 3, "bias": False}]
)
def test_round_trip(tmp_path, cell, dtype, options):
    net = saved(tmp_path / "net.tt", cell=cell, dtype=dtype, **options)
    back = tt.load(tmp_path / "net.tt")
    assert repr(back) == repr(net)
    assert back.cell == net.cell
    assert type(back.cell) is type(net.cell)
    assert bits(back) == bits(net)
    assert back.batch_first is net.batch_first
    assert all(value.flags.writeable for value in back.parameters.values())


def test_every_bit_of_a_float_survives(tmp_path):
    net = tt.Network("linear", 2, 4)
    payload_nan = np.array([0x7FF8_0000_DEAD_BEEF], np.uint64).view(float)[0]
    net.parameters["bias_ih_l0"][:] = [payload_nan, -np.inf, -0.0, 5e-324]
    net.save(tmp_path / "net")
    assert bits(tt.load(tmp_path / "net")) == bits(net)


def test_fields_of_the_cell_come_back(tmp_path):
    for leak in (0.1, 1, np.float32(0.1), np.float64(1 / 3)):
        tt.Network(CELLS["rate"](leak), 2, 3).save(tmp_path / "net")
        assert tt.load(tmp_path / "net").cell.leak == leak


def test_the_result_of_a_run_comes_back(tmp_path):
    net, x = saved(tmp_path / "net", cell="gru"), np.random.default_rng(0).normal(size=(6, 2, 2))
    np.testing.assert_array_equal(tt.load(tmp_path / "net").unroll(x).output, net.unroll(x).output)


def test_fortran_ordered_and_read_only_parameters_can_be_saved(tmp_path):
    net = tt.Network("tanh", 2, 3, seed=0)
    before = bits(net)
    net.parameters["weight_hh_l0"] = np.asfortranarray(net.parameters["weight_hh_l0"])
    net.parameters["weight_hh_l0"].flags.writeable = False
    net.save(tmp_path / "net")
    assert bits(tt.load(tmp_path / "net")) == before


def test_parameters_that_do_not_fit_are_not_saved(tmp_path):
    net = saved(tmp_path / "net")
    net.parameters["weight_hh_l0"] = np.zeros((2, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 2\); expected \(3, 3\)"):
        net.save(tmp_path / "net")
    tt.load(tmp_path / "net")


def test_the_same_network_gives_the_same_file(tmp_path):
    for name in "ab":
        saved(tmp_path / name, cell="lstm")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_what_the_documentation_says(tmp_path):
    net = saved(tmp_path / "net", cell="leaky_tanh")
    with np.load(tmp_path / "net", allow_pickle=False) as archive:
        assert list(archive) == ["header.json", *net.parameters]
        header = json.loads(archive["header.json"])
        digest = hashlib.sha256()
        for name, value in net.parameters.items():
            np.testing.assert_array_equal(archive[name], value)
            digest.update(name.encode() + archive[name].tobytes())
    version = header.pop("throughtime")
    assert isinstance(version, str)
    assert header == {
        "format": "throughtime.network",
        "version": 1,
        "cell": {"name": "throughtime.leaky_tanh", "fields": {"leak": 0.1}},
        "input_size": 2,
        "hidden_size": 3,
        "num_layers": 1,
        "bidirectional": False,
        "bias": True,
        "batch_first": False,
        "dtype": "float64",
        "sha256": digest.hexdigest(),
    }


# ------------------------------------------------------------------------------------- a user's own cell


@pytest.fixture
def own_cell():
    @tt.cell()
    class Drift(NamedTuple):
        speed: float = 0.5
        bound: int = 2

        def forward(cell, x, r, s):
            u = x[0] + r[0]
            return (s[0] + cell.speed * u,), (u,)

        def backward(cell, ds, s, s_next, saved):
            d = (cell.speed * ds[0],)
            return d, d, ds

    yield Drift
    base._registered.pop("Drift", None)


def test_a_users_cell_is_found_by_the_name_of_its_class(tmp_path, own_cell):
    net = tt.Network(own_cell(0.25, 7), 2, 3, seed=0)
    net.save(tmp_path / "net")
    back = tt.load(tmp_path / "net")
    assert back.cell == own_cell(0.25, 7)
    assert type(back.cell) is own_cell
    assert bits(back) == bits(net)


def test_a_cell_that_is_not_registered_here(tmp_path, own_cell):
    tt.Network(own_cell(), 2, 3).save(tmp_path / "net")
    del base._registered["Drift"]
    with pytest.raises(
        ValueError, match=r'cell "Drift", which is not registered here; import the module that defines it'
    ):
        tt.load(tmp_path / "net")


def test_a_cell_whose_fields_have_changed(tmp_path, own_cell):
    tt.Network(own_cell(), 2, 3).save(tmp_path / "net")

    @tt.cell()
    class Drift(NamedTuple):
        pace: float = 0.5
        forward, backward = own_cell.forward, own_cell.backward
        speed = 0.5

    with pytest.raises(ValueError, match=r"fields \(speed, bound\), but the one registered here .* has \(pace\)"):
        tt.load(tmp_path / "net")


def test_a_users_cell_does_not_pass_for_the_librarys_of_the_same_name(tmp_path):
    library = base._registered["Tanh"]
    try:

        @tt.cell()
        class Tanh(NamedTuple):
            forward, backward = CELLS["linear"].forward, CELLS["linear"].backward

        saved(tmp_path / "library")
        tt.Network(Tanh(), 2, 3).save(tmp_path / "own")
        assert type(tt.load(tmp_path / "library").cell) is CELLS["tanh"]
        assert type(tt.load(tmp_path / "own").cell) is Tanh
    finally:
        base._registered["Tanh"] = library


# ------------------------------------------------------------------------------------- damaged and foreign files


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    saved(tmp_path / "net")
    whole = (tmp_path / "net").read_bytes()
    for length in (0, 1, 3, 4, 30, 100, *range(200, len(whole), 97), len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r'cut" is (empty|not a network saved|damaged or cut short)'):
            tt.load(tmp_path / "cut")


def test_a_changed_byte_never_changes_a_parameter(tmp_path):
    """Wherever one byte is wrong, either the load is refused or, where zip ignores the byte, nothing differs."""
    net = saved(tmp_path / "net")
    whole = (tmp_path / "net").read_bytes()
    refused = 0
    for position in range(0, len(whole), 5):
        broken = bytearray(whole)
        broken[position] ^= 0xFF
        (tmp_path / "broken").write_bytes(broken)
        try:
            back = tt.load(tmp_path / "broken")
        except ValueError:
            refused += 1
        else:
            assert bits(back) == bits(net), position
    assert refused > 0.5 * len(whole) / 5


def test_a_parameter_exchanged_with_its_check_sum_is_noticed(tmp_path):
    net = saved(tmp_path / "net")
    rewritten(tmp_path / "net", weight_hh_l0=net.parameters["weight_hh_l0"] + 1e-9)
    with pytest.raises(ValueError, match=r"is damaged: its parameters do not have the checksum"):
        tt.load(tmp_path / "net")


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/").replace("_", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (PNG, "is not a network saved by throughtime"),
        (b"some text\n" * 100, "is not a network saved by throughtime"),
        (pickle.dumps({"weight_ih_l0": 1}), "is not a network saved by throughtime"),
        (pickle.dumps(Bomb()), "is not a network saved by throughtime"),
        (npz(), "no header.json in it.*looks like an .npz.*load_state_dict"),
        (archive(net__data_pkl=pickle.dumps(Bomb())), "looks like a file of torch.save.*load_state_dict"),
        (archive(readme_txt="hello"), "is a zip archive, but not a network saved by throughtime"),
        (archive(header_json="{"), "header.json is of something else"),
        (archive(header_json="[1]"), "header.json is of something else"),
        (archive(header_json='{"format": "other", "version": 1}'), "header.json is of something else"),
        (archive(header_json=" " * (2 << 20)), "header.json is of something else"),
        (archive(header_json="[" * 100_000), "header.json is of something else"),
    ],
)
def test_foreign_files(tmp_path, content, words):
    (tmp_path / "file.tt").write_bytes(content)
    with pytest.raises(ValueError, match=f'file.tt" .*{words}'):
        tt.load(tmp_path / "file.tt")


def test_a_file_of_torch(tmp_path, torch):
    torch.save(torch.nn.GRU(2, 3).state_dict(), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"looks like a file of torch\.save: load it with torch"):
        tt.load(tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (
            lambda h: h | {"version": 9, "throughtime": "9.1"},
            r"format version 9, written by throughtime 9.1; .*Upgrade it",
        ),
        (lambda h: h | {"version": "1"}, "has format version 1"),
        (lambda h: h | {"format": "throughtime.ensemble"}, "is of something else"),
        (lambda h: {k: v for k, v in h.items() if k != "bias"}, "does not describe a network.*'bias'"),
        (lambda h: h | {"hidden_size": "3"}, "does not describe a network.*`hidden_size` is '3'"),
        (lambda h: h | {"hidden_size": -3}, "does not describe a network.*`hidden_size` is -3"),
        (lambda h: h | {"bias": 1}, "does not describe a network.*`bias` is 1"),
        (lambda h: h | {"dtype": "O"}, "does not describe a network.*`dtype` is 'O'"),
        (lambda h: h | {"cell": "tanh"}, "does not describe a network"),
        (lambda h: h | {"hidden_size": 10**12}, r"has the parameter weight_ih_l0 as float64 \(3, 2\)"),
        (lambda h: h | {"num_layers": 10**12}, "speaks of more layers than there are arrays"),
        (lambda h: h | {"num_layers": 2}, "lacks the parameter weight_ih_l1"),
        (lambda h: h | {"hidden_size": [2, 2]}, "does not describe a network.*hidden_size has 2 entries for 1 layers"),
        (lambda h: h | {"cell": [h["cell"]] * 3}, "does not describe a network.*cell has 3 entries for 1 layers"),
        (lambda h: h | {"cell": []}, "does not describe a network"),
        (lambda h: h | {"hidden_size": []}, "does not describe a network"),
        (lambda h: h | {"dtype": "float32"}, "as float64 .*its header asks for float32"),
        (lambda h: h | {"cell": {"name": "os.system", "fields": {}}}, 'cell "os.system", which is not registered here'),
        (
            lambda h: h | {"cell": {"name": "throughtime.tanh", "fields": {"a": 1}}},
            r"fields \(a\), but the one registered",
        ),
        (
            lambda h: h | {"cell": {"name": "throughtime.rate", "fields": {"leak": "x"}}},
            "field `leak` of the cell Rate is 'x'",
        ),
    ],
)
def test_headers_that_do_not_fit(tmp_path, header, words):
    saved(tmp_path / "net")
    rewritten(tmp_path / "net", header)
    with pytest.raises(ValueError, match=f'net" .*{words}'):
        tt.load(tmp_path / "net")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"weight_hh_l0": None}, "lacks the parameter weight_hh_l0"),
        ({"weight_hh_l0": np.zeros((2, 2))}, r"weight_hh_l0 as float64 \(2, 2\); its header asks for float64 \(3, 3\)"),
        ({"weight_hh_l0": np.zeros((3, 3), "float32")}, r"weight_hh_l0 as float32 \(3, 3\)"),
        ({"weight_hh_l0": np.array([[Bomb()] * 3] * 3)}, r"weight_hh_l0 as object \(3, 3\)"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, arrays, words):
    saved(tmp_path / "net")
    rewritten(tmp_path / "net", **arrays)
    with pytest.raises(ValueError, match=f'net" .*{words}'):
        tt.load(tmp_path / "net")


def test_a_compressed_or_big_endian_file_of_another_program_is_read(tmp_path):
    net = saved(tmp_path / "net")
    with (
        zipfile.ZipFile(tmp_path / "net") as archive,
        zipfile.ZipFile(tmp_path / "other", "w", zipfile.ZIP_DEFLATED) as other,
    ):
        other.writestr("header.json", archive.read("header.json"))
        for name, value in net.parameters.items():
            buffer = io.BytesIO()
            np.save(buffer, np.asfortranarray(value.astype(">f8")))
            other.writestr(f"{name}.npy", buffer.getvalue())
    assert bits(tt.load(tmp_path / "other")) == bits(net)


# ------------------------------------------------------------------------------------- the file system


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    net = saved(tmp_path / "net")
    before = (tmp_path / "net").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    with pytest.raises(OSError, match="No space left"):
        net.save(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]


def test_save_replaces_and_leaves_nothing_else(tmp_path):
    saved(tmp_path / "net", cell="gru")
    (tmp_path / "net").chmod(0o640)
    (tmp_path / "link").symlink_to("net")
    net = saved(tmp_path / "link", cell="lstm")
    assert repr(tt.load(os.fspath(tmp_path / "net"))) == repr(net)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "net").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "net"]


def test_a_new_file_has_the_usual_rights(tmp_path):
    saved(tmp_path / "net")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "net").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_paths_that_lead_nowhere(tmp_path):
    net = tt.Network("tanh", 2, 3)
    with pytest.raises(FileNotFoundError):
        tt.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r'There is no folder ".*none" to save "net.tt" in'):
        net.save(tmp_path / "none" / "net.tt")
    with pytest.raises(IsADirectoryError):
        tt.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        net.save(tmp_path)
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------------- any arrays under a header

CHECKPOINT = of_arrays.Format("throughtime.checkpoint", 3, "checkpoint", "array", "save_it", "load_it")


def test_any_arrays_under_a_header(tmp_path):
    arrays = {
        "net/weight_ih_l0": np.arange(6.0).reshape(2, 3),
        "moment": np.asfortranarray(np.ones((2, 2), "float32")),
        "step": np.array(7),
        "none": np.empty((0, 4), bool),
    }
    of_arrays.write(tmp_path / "file", CHECKPOINT, {"rate": 0.1, "done": [1, 2]}, arrays)
    header, found = of_arrays.read(tmp_path / "file", CHECKPOINT)
    assert (header["rate"], header["done"], header["version"]) == (0.1, [1, 2], 3)
    assert list(found) == list(arrays)
    for name, value in arrays.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


def test_each_format_reads_its_own(tmp_path):
    of_arrays.write(tmp_path / "file", CHECKPOINT, {}, {"a": np.ones(3)})
    with pytest.raises(ValueError, match="not a network saved by throughtime"):
        tt.load(tmp_path / "file")
    saved(tmp_path / "net")
    with pytest.raises(ValueError, match="not a checkpoint saved by throughtime"):
        of_arrays.read(tmp_path / "net", CHECKPOINT)
    with pytest.raises(ValueError, match=r"has format version 3.* reads versions up to 2"):
        of_arrays.read(tmp_path / "file", CHECKPOINT._replace(version=2))


def test_objects_and_changed_arrays_are_refused_without_a_layout(tmp_path):
    of_arrays.write(tmp_path / "file", CHECKPOINT, {}, {"a": np.ones(3)})
    rewritten(tmp_path / "file", a=np.array([Bomb()]))
    with pytest.raises(ValueError, match="has the array a as Python objects"):
        of_arrays.read(tmp_path / "file", CHECKPOINT)
    rewritten(tmp_path / "file", a=np.zeros(3))
    with pytest.raises(ValueError, match="its arrays do not have the checksum"):
        of_arrays.read(tmp_path / "file", CHECKPOINT)
    with pytest.raises(ValueError, match="allow_pickle"):
        of_arrays.write(tmp_path / "other", CHECKPOINT, {}, {"a": np.array([Bomb()])})
