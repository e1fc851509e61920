"""Pickles that are none, or hold what other libraries made: the message names it, and the way out."""

import pickle
import re

import numpy as np
import pandas
import pytest
import scipy.sparse
import torch

from disentangle.data.pickles import load_pickle
from disentangle.errors import DataError
from tests.data.pickles.test_pickles import load


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.pkl"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"version https://git-lfs", "not a pickle, or a damaged one"),
        (b"a,b\n1,2\n", "not a pickle, or a damaged one"),
        (b"\x1f\x8b\x08\x00", "expected a pickle, got an archive that is to be unpacked first, of gzip$"),
        (b"<html>", "expected a pickle, got an HTML page: what was downloaded was not the file"),
    ],
)
def test_other_kinds_of_file(file, data, message):
    with pytest.raises(DataError, match=message):
        load(file, data)


@pytest.mark.parametrize(
    ("save", "kind"),
    [
        (lambda path: np.savez(path, a=np.ones(2)), "a zip archive, as numpy.savez and Excel write: unpack it"),
        (lambda path: torch.save({"a": 1}, path), "a file of torch.save: load it with torch.load"),
        (
            lambda path: torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False),
            "a file of torch.save: load it with torch.load",
        ),
    ],
)
def test_archives_of_arrays(tmp_path, save, kind):
    save(tmp_path / "file.npz")
    with pytest.raises(DataError, match=f"file.npz: expected a pickle, got {re.escape(kind)}"):
        load_pickle(tmp_path / "file.npz")


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize(
    ("value", "conversion"),
    [
        (torch.ones(2), "tensors of torch: convert each with .detach().cpu().numpy()"),
        ([torch.nn.Parameter(torch.ones(2, 3, dtype=torch.float16))], ".detach().cpu().numpy()"),
        (pandas.DataFrame({"a": [1.0]}), "convert each with .to_numpy()"),
        (scipy.sparse.eye(3, format="csr"), "convert each with .toarray()"),
    ],
    ids=["tensor", "parameter", "frame", "sparse"],
)
def test_arrays_of_other_libraries_are_named_with_the_conversion(file, value, conversion, protocol):
    with pytest.raises(DataError, match=f"file.pkl: expected NumPy arrays, got .*{re.escape(conversion)}") as error:
        load(file, pickle.dumps({"audio": value}, protocol))
    assert "\n" not in str(error.value)
