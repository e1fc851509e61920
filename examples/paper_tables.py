"""The tables and figures of the paper on MIRD that are made of finished runs: which runs each of them needs.

    from paper_tables import Setting, table1

    print(table1(Setting(data="FILE", seeds=(0, 1, 2), out="study")).run(at_once=2))

Each function makes a `Study`, which trains, compares, draws and records. All studies with one `Setting` share their runs. What
learns from unlabelled recordings needs some: in `data`, or in a file of their own. `examples/study.py` is the command line.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import mird_mosi

from disentangle.data import read_recordings, synthetic_recordings, write_folder
from disentangle.experiments import Experiment, Study, Variant
from disentangle.experiments.studies.runs import flag_of

__all__ = ["Setting", "experiment_of", "figure6", "figure7", "small", "systems", "table1", "table4", "table5", "table6"]

HERE = Path(__file__).parent
BASELINE = "text_only"  # what all systems of table 1 are compared with
MIRD, WITH_UNLABELED = "MIRD", "MIRD, unlabeled data"
WITHOUT = ("--unlabeled-rate", "0")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all tables of a study share.

    Arguments:
        data: The data set, a file or a folder; `None` for the embedded one.
        unlabeled: Recordings without labels, in a file of their own.
        seeds: The seeds.
        out: The folder of everything.
        more: Further options of every run, such as `("--backbone", "./my-bert")`.
        own: Further options of single systems of table 1, by name.
        systems: The systems of table 1, by the names of their files; all by default.
        rates: How many unlabelled rows there are for each labelled one in Figure 6.
        alphas: The weights of the penalty in Figure 7.
        split: The split that Figures 6 and 7 show; what is chosen by them is chosen on "valid".
    """

    data: str | None = None
    unlabeled: str | None = None
    seeds: Sequence[int] = (0,)
    out: str = "study"
    more: Sequence[str] = ()
    own: Mapping[str, Sequence[str]] = field(default_factory=dict)
    systems: Sequence[str] = ()
    rates: Sequence[str] = ("0", "1", "2", "3", "4", "5")
    alphas: Sequence[str] = ("0.001", "0.01", "0.1", "1")  # the paper leaves out 10, at which it fails
    split: str = "valid"

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options of every run."""
        return (*(("--data", self.data) if self.data else ()), *self.more)

    @property
    def has_unlabeled(self) -> bool:
        """Whether there is anything to learn from beside labelled recordings."""
        return self.unlabeled is not None or self.data_has_unlabeled

    @cached_property
    def data_has_unlabeled(self) -> bool:
        """Whether the data set has recordings without labels beside its splits."""
        return self.data is not None and "unlabeled" in read_recordings(self.data)


def small(out: str = "small", seeds: Sequence[int] = (0, 1)) -> Setting:
    """A fourth of the embedded set, shallow systems, few epochs and values: to see everything at work."""
    folder = Path(out) / "data"
    if not folder.exists():
        write_folder(folder, synthetic_recordings((320, 80, 240), unlabeled=320))
    shallow = dict.fromkeys(("mult", "graphcage", "lmr_cbt"), ("--layers", "1")) | {"pmr": ("--cycles", "1")}
    return Setting(
        data=str(folder),
        seeds=seeds,
        out=out,
        more=("--backbone", "tiny", "--recipe", "paper", "--lr", "2e-3", "--epochs", "10"),
        own=shallow,
        rates=("0", "1", "2"),
        alphas=("0.01", "0.1", "1"),
    )


def table1(setting: Setting) -> Study:
    """All systems side by side, by the names of their files, from labelled data; MIRD with unlabelled data as well."""
    names = setting.systems or systems()
    lines = {name: variant(setting, experiment_of(name), *setting.own.get(name, ()), use=False) for name in names}
    if "mird_mosi" in lines:
        lines = {name: each for name, each in lines.items() if name != "mird_mosi"} | {MIRD: mird(setting, use=False)}
        lines |= {WITH_UNLABELED: mird(setting)} if setting.has_unlabeled else {}
    return study("table1", lines, setting, BASELINE if BASELINE in lines else None)


def table4(setting: Setting) -> Study:
    """MIRD, each line without one more part than the one above. The paper's last line is WSA-BERT, which table 1 has."""
    lines = {WITH_UNLABELED: mird(setting)} if setting.has_unlabeled else {}
    lines |= {
        "1. no unlabeled data": mird(setting, use=False),
        "2. and no penalty on inputs": mird(setting, "--no-input-mi", use=False),
        "3. and none on latents": mird(setting, "--penalty", "none", use=False),
        "4. and no reconstruction": mird(setting, "--penalty", "none", "--no-reconstruction", use=False),
    }
    return study("table4", lines, setting)


def table5(setting: Setting) -> Study:
    """Mutual information, orthogonality or nothing between the same six pairs of latents, none of them of inputs."""
    return study("table5", constraints(setting), setting)


def constraints(setting: Setting) -> dict[str, Variant]:
    """MIRD with each penalty that Table 5 and Figures 4 and 8 compare, from labelled data: "MIM" is line 2 of Table 4."""
    return {
        "MIM": mird(setting, "--no-input-mi", use=False),
        "OC": mird(setting, "--penalty", "orthogonal", use=False),
        "none": mird(setting, "--penalty", "none", use=False),
    }


def table6(setting: Setting) -> Study:
    """What unlabelled data are used for: the penalty, reconstruction, both, or nothing."""
    need_unlabeled(setting, "table6")
    lines = {
        "1. penalty and reconstruction": mird(setting),
        "2. penalty": mird(setting, "--unlabeled-for", "penalty"),
        "3. reconstruction": mird(setting, "--unlabeled-for", "reconstruction"),
        "4. nothing": mird(setting, use=False),
    }
    return study("table6", lines, setting)


def figure6(setting: Setting) -> Study:
    """Against the number of unlabelled rows for each labelled one."""
    need_unlabeled(setting, "figure6")
    return against_option(setting, "figure6", "--unlabeled-rate", setting.rates, 1.0)


def figure7(setting: Setting) -> Study:
    """Against the weight of the penalty."""
    return against_option(setting, "figure7", "--alpha", setting.alphas, mird_mosi.EXPERIMENT.defaults["alpha"])


def against_option(setting: Setting, name: str, flag: str, values: Sequence[str], default: float) -> Study:
    """MIRD at several values of an option; at its default it is the run that other tables have."""
    for taken in (flag, "--preset"):  # which would decide on the value that is the default
        if taken in map(flag_of, setting.arguments):
            raise ValueError(f"{name}: expected options of every run without {taken}, got {' '.join(setting.more)}")
    try:
        given = {value: () if float(value) == default else (flag, value) for value in values}
    except ValueError:
        raise ValueError(f"{name}: expected numbers, got {', '.join(values)}") from None
    none = {value for value in values if flag == "--unlabeled-rate" and float(value) == 0}
    lines = {
        value: mird(setting, use=False) if value in none else mird(setting, *option) for value, option in given.items()
    }
    return study(name, lines, setting, split=setting.split, option=flag.removeprefix("--").replace("-", " "))


def mird(setting: Setting, *arguments: str, use: bool = True) -> Variant:
    """MIRD with options of its own, with unlabelled data if there are any and they shall be used."""
    return variant(setting, mird_mosi.EXPERIMENT, *arguments, use=use)


def variant(setting: Setting, experiment: Experiment, *arguments: str, use: bool) -> Variant:
    """An experiment with options of its own, and with unlabelled data or without."""
    if not experiment.unlabeled:
        return Variant(experiment, arguments)
    if use:
        return Variant(experiment, (*(("--unlabeled", setting.unlabeled) if setting.unlabeled else ()), *arguments))
    return Variant(experiment, (*(WITHOUT if setting.data_has_unlabeled else ()), *arguments))


def systems() -> list[str]:
    """The examples that have an experiment with a text encoder, the baseline first and MIRD last."""
    named = [
        path
        for path in HERE.glob("*.py")
        if re.search(r"^EXPERIMENT\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    found = sorted(path.stem for path in named if experiment_of(path.stem).reads_text)
    return [BASELINE, *(name for name in found if name not in (BASELINE, "mird_mosi")), "mird_mosi"]


def experiment_of(name: str) -> Experiment:
    """The experiment of an example; raises `ValueError` where it has none."""
    module = importlib.import_module(name) if (HERE / f"{name}.py").exists() else None
    if not hasattr(module, "EXPERIMENT"):
        raise ValueError(f"expected the name of an example with an experiment, such as mird_mosi, got {name}")
    return module.EXPERIMENT  # type: ignore[union-attr]  # just looked at


def study(
    name: str,
    lines: dict[str, Variant],
    setting: Setting,
    against: str | None = None,
    *,
    split: str = "test",
    option: str | None = None,
) -> Study:
    """A study in this setting."""
    return Study(name, lines, setting.seeds, setting.out, setting.arguments, against, split, option)


def need_unlabeled(setting: Setting, what: str) -> None:
    """Refuses what is about unlabelled recordings where there are none."""
    if not setting.has_unlabeled:
        raise ValueError(f"{what}: expected unlabelled recordings, by --unlabeled FILE or in --data, got none")
