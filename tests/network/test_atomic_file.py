"""A file that is complete or not there at all."""

import os

import pytest

from throughtime.network.atomic_file import atomic_file


@pytest.mark.parametrize("durable", [True, False])
def test_the_file_takes_its_place_when_the_block_ends(tmp_path, durable):
    target = tmp_path / "file"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with atomic_file(target, durable=durable) as file:
        file.write(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_nothing_is_left_of_a_block_that_raises(tmp_path, error):
    target = tmp_path / "file"

    def half():
        with atomic_file(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        half()
    assert os.listdir(tmp_path) == []


def test_nothing_is_left_where_a_folder_is_in_the_way(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"), atomic_file(tmp_path / "file") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == ["file"]


def test_the_longest_name_that_a_file_may_have(tmp_path):
    with atomic_file(tmp_path / ("n" * 255)) as file:
        file.write(b"x")
    assert len(os.listdir(tmp_path)) == 1
