"""The tutorials that say "save this as a file": that file is a program, its commands run, and it does what is said of it."""

import os
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from disentangle import probe_numbers
from disentangle.data import synthetic_recordings, write_folder
from disentangle.experiments import open_trained

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"


def file_of(tutorial, until):
    """What stands above a heading, and the last block of Python that follows it: what makes it a program."""
    above, below = (TUTORIALS / f"{tutorial}.py").read_text().split(f"# %%\n# {until}\n")
    (last,) = [block for block in blocks(below, "python") if "__main__" in block]
    return above + last


def blocks(text, language):
    """The code in comments, without its indentation."""
    for block in re.findall(rf"^#( *)\.\. code-block:: {language}\n#\n((?:#\1   .*\n|#\n)+)", text, re.MULTILINE):
        yield "\n".join(line[len(block[0]) + 4 :] for line in block[1].splitlines()).strip() + "\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs `python FILE ...` in this process, since importing takes longer than most; returns what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))

    def command(line):
        python, *arguments = shlex.split(line)
        assert python == "python"
        monkeypatch.setattr(sys, "argv", arguments)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(arguments[0], run_name="__main__")
        out, err = capsys.readouterr()
        assert end.value.code == 0, f"{line}\n{out}{err[-3000:]}"
        return out

    return command


@pytest.mark.slow
def test_a_model_of_ones_own_is_a_program_and_its_latent_forgets_what_the_words_say(run, monkeypatch, tmp_path):
    tutorial = "6_your_own_multimodal_model"
    Path("said_and_shown.py").write_text(file_of(tutorial, "Training"))
    monkeypatch.syspath_prepend(str(tmp_path))
    from said_and_shown import SaidAndShown, recordings

    test = recordings()["test"]
    for name, modality in (("words", "words"), ("voice", "audio"), ("face", "vision")):
        np.save(f"{name}.npy", test.sequences[modality][0])
    (commands,) = blocks((TUTORIALS / f"{tutorial}.py").read_text(), "sh")
    said = [run(line) for line in commands.splitlines()]
    first, again, evaluated, predicted = said
    assert first.splitlines()[-3:] == again.splitlines()[-3:]  # above are metrics, of latents with noise
    assert " mae" in evaluated
    assert re.search(r"^vision +[+-]\d\.\d\d", predicted, re.MULTILINE)
    run("python said_and_shown.py --weight 0 --out runs/without")
    with_penalty, without = (
        {latent: probe_numbers(z, test.factors["shared"]).r2 for latent, z in latents.items() if latent != "words"}
        for latents in (open_trained(f"runs/{name}", SaidAndShown).encode(test) for name in ("first", "without"))
    )
    assert without["shown"] > 0.2
    assert with_penalty["shown"] < 0.1
    assert with_penalty["said"] > without["said"] - 0.1


@pytest.mark.slow
def test_a_paper_is_a_program(run):
    write_folder("my_set", synthetic_recordings((32, 8, 8)))
    Path("late_fusion.py").write_text(file_of("8_add_a_paper", "Does it learn?"))
    out = run("python late_fusion.py --data my_set --backbone tiny --epochs 1 --out runs/one")
    assert "learnt by squared error" in out
