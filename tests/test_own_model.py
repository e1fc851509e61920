"""The page for those who bring a model of their own: every command and every snippet, in order."""

import os
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "own_model.md").read_text()
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_file_is_as_short_as_the_page_says():
    assert len(BLOCKS[0][1].splitlines()) <= 82


@pytest.mark.slow
def test_every_command_and_snippet_runs(tmp_path, monkeypatch, capsys):
    """The commands in this process, since importing takes longer than most; the seeds are processes of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.syspath_prepend(str(tmp_path))
    (language, file), *rest = BLOCKS
    assert language == "python"
    Path("voices.py").write_text(file)
    said, namespace = {}, {}
    for language, block in rest:
        if language == "python":
            exec(compile(block, "docs/own_model.md", "exec"), namespace)
            continue
        for line in block.splitlines():
            python, *arguments = shlex.split(line)
            assert python == "python"
            monkeypatch.setattr(sys, "argv", arguments)
            capsys.readouterr()
            with pytest.raises(SystemExit) as end:
                runpy.run_path(arguments[0], run_name="__main__")
            said[line], err = capsys.readouterr()
            assert end.value.code == 0, f"{line}\n{said[line]}{err[-3000:]}"
    trained, test = namespace["trained"], namespace["test"]
    outcomes = trained.outcomes(test)
    assert trained.task.metrics(outcomes, test.labels)["acc"] > 0.95
    nats = {(row.x, row.y): row.information.value for row in namespace["report"].rows}
    assert nats["content", "digit said"] > 2.1  # of log 10
    assert nats["content", "who"] < 0.6  # of log 4
    digit = trained.task.said(outcomes[:1])[0]
    assert said["python voices.py predict --run runs/voices --audio sound.npy"].startswith(f"prediction {digit}; ")
    assert (
        "2 seeds, mean ± sample standard deviation" in said["python voices.py --epochs 2 --seeds 0 1 --out runs/seeds"]
    )
    assert (
        said["python voices.py --resume runs/voices"].splitlines()[-5:]
        == (said["python voices.py --lr 3e-3 --out runs/voices"].splitlines()[-5:])
    )
