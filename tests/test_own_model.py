"""The page for those who bring a model of their own: every command and every snippet, in order."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "own_model.md").read_text()
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_file_is_as_short_as_the_page_says():
    assert len(BLOCKS[0][1].splitlines()) <= 82


@pytest.mark.slow
def test_every_command_and_snippet_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
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
            command = [sys.executable, *shlex.split(line)[1:]]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
            result = subprocess.run(command, capture_output=True, text=True, env=environment)
            assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr[-3000:]}"
            said[line] = result.stdout
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
