import os

import numpy as np
import pytest

from disentangle.data.opening import map_array, read_bytes, reading
from disentangle.errors import DataError


def refused(path, wanted="CSV"):
    with pytest.raises(DataError) as error, reading(path, wanted):
        pass
    return str(error.value).removeprefix(f"{path}: ")


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path):
    assert refused(tmp_path / "absent") == "no such file"
    assert refused(tmp_path) == "expected a file, got a directory"
    assert refused("a\0b") == "cannot be read: embedded null byte"
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == "not a regular file"
    assert refused(os.devnull) == "not a regular file"


def test_what_evidently_holds_something_else_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"%PDF-1.7")
    assert refused(tmp_path / "a.csv") == "expected CSV, got a PDF"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read: Permission denied"),
        (OSError("cut off"), "cannot be read: cut off"),
        (FileNotFoundError(2, "No such file"), "no such file"),
        (MemoryError(), "does not fit into memory"),
    ],
)
def test_what_happens_while_reading_is_said_in_a_line(tmp_path, error, message):
    path = tmp_path / "a.csv"
    path.touch()
    with pytest.raises(DataError) as raised, reading(path, "CSV"):
        raise error
    assert str(raised.value) == f"{path}: {message}"


def test_mistakes_in_a_block_are_left_alone(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(KeyError, match="own"), reading(tmp_path / "a.csv", "CSV"):
        raise KeyError("own")


def test_files_up_to_a_size_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id\na\n")
    assert read_bytes(tmp_path / "a.csv", "CSV", largest=5) == b"id\na\n"
    with pytest.raises(DataError, match=r"a.csv: expected CSV of at most 4 bytes, got 5$"):
        read_bytes(tmp_path / "a.csv", "CSV", largest=4)


def test_arrays_are_mapped_and_what_is_none_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    array = map_array(path)
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"a.npy: not an array of NumPy: mmap length is greater than file size$"):
        map_array(path)
    path.write_bytes(content[:8] + b"\xff\xff" + content[10:])
    with pytest.raises(DataError, match=r"not an array of NumPy: a head of 65,535 bytes in a file of 176$"):
        map_array(path)
    np.save(path, np.array([1, None], object), allow_pickle=True)
    with pytest.raises(DataError, match=r"not an array of NumPy: Array can't be memory-mapped: Python objects"):
        map_array(path)
