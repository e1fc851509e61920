"""What a program says, and how."""

import os
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest

from disentangle.closed_pipe import ends_with_its_reader
from disentangle.data.layouts.folder import write_folder
from disentangle.errors import DataWarning, EstimatorWarning
from disentangle.experiments import run_program
from disentangle.experiments.program import _warnings_in_a_line
from tests.experiments.test_training import PAPER


def said(kind: type[Warning]) -> str:
    return warnings.formatwarning(kind("look here"), kind, "fit.py", 7)


def test_the_librarys_own_warnings_are_a_line_and_others_as_ever():
    usual = said(UserWarning)
    with _warnings_in_a_line():
        assert said(DataWarning) == said(EstimatorWarning) == "warning: look here\n"
        assert said(UserWarning) == usual
    assert "fit.py:7" in said(DataWarning)


PRINTS = """
from disentangle.closed_pipe import ends_with_its_reader

@ends_with_its_reader()
def main():
    for _ in range({lines}):
        print("a line of the table")

main()
"""


@pytest.mark.parametrize("lines", [1, 10**5], ids=["less than a buffer", "more"])
def test_a_program_whose_reader_is_gone_ends_quietly(lines):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", PRINTS.format(lines=lines)]
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (result.returncode, result.stderr) == (141, "")


def test_another_pipe_that_breaks_is_an_error():
    with pytest.raises(BrokenPipeError), ends_with_its_reader():
        raise BrokenPipeError


@pytest.mark.parametrize("several", [[], ["--seeds", "0", "1"]], ids=["one run", "seeds"])
@pytest.mark.parametrize(
    ("out", "message"),
    [("full", "exists and is not empty"), ("full/file/run", "cannot be made into an output folder: Not a directory")],
)
def test_a_folder_that_cannot_be_had_is_refused_before_anything_is_read(tmp_path, capsys, out, message, several):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    unread = replace(PAPER, data=lambda: pytest.fail("the data were read"))
    assert run_program(unread, ["--out", str(tmp_path / out), *several]) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / out}: {message}")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_data_that_have_moved_are_named_with_the_way_on(tmp_path, capsys):
    write_folder(tmp_path / "data", {name: each for name, each in PAPER.data().items() if name != "unlabeled"})
    arguments = ["--data", str(tmp_path / "data"), "--lr", "1e-2", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert run_program(PAPER, arguments) == 0
    (tmp_path / "data").rename(tmp_path / "moved")
    told = "got nothing here: put it back, or a link to it; evaluate also takes --data FILE\n"
    for command in (["--resume", str(tmp_path / "run")], ["evaluate", "--run", str(tmp_path / "run")]):
        assert run_program(PAPER, command) == 2
        assert capsys.readouterr().err.endswith(told)
    assert run_program(PAPER, ["evaluate", "--run", str(tmp_path / "run"), "--data", str(tmp_path / "moved")]) == 0
