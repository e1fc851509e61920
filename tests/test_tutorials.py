"""What the documentation's build does not run of the tutorials: files to be saved, with their commands, and Lightning."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from disentangle import estimate_mutual_information, probe_numbers
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


@pytest.mark.slow
def test_style_forgets_in_lightning(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    above, below = (TUTORIALS / "4_club_in_your_loop.py").read_text().split("# %%\n# Your loop\n")
    (block,) = [block for block in blocks(below, "python") if block.startswith("import lightning")]
    names = {"__name__": "tutorial"}
    exec(above + block, names)
    model, runner = names["lit"].model.eval(), names["runner"]
    assert runner.global_step == model.penalty.iteration == 120
    assert runner.callback_metrics["CLUB(content;style)"].isfinite()
    with torch.no_grad():
        z = model(*names["held_out"])
    left = estimate_mutual_information(z["content"], z["style"], method="nearest neighbors")
    assert left.value < 0.35  # 0.7 without a penalty


@pytest.mark.slow
def test_the_penalty_is_called_in_each_step_of_two_processes(tmp_path):
    tutorial = "4_club_in_your_loop"
    script = file_of(tutorial, "Your loop")
    assert "range(15)" in script
    (tmp_path / "train.py").write_text(script.replace("range(15)", "range(2)"))
    (command,) = blocks((TUTORIALS / f"{tutorial}.py").read_text(), "sh")
    torchrun, *arguments = shlex.split(command)
    assert torchrun == "torchrun"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", *arguments]
    hosts = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(launch, cwd=tmp_path, env=hosts, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    steps, left = result.stdout.splitlines()  # by one of the two
    assert steps == "2 processes, 16 steps"
    assert "nats" in left
