"""The tables and figures of the paper on MIRD that look into models: their size, their latents, what they say of recordings.

    from paper_pictures import figure4
    from paper_tables import Setting

    print(figure4(Setting(data="FILE", out="study")).run(at_once=2))

As in paper_tables.py, each function makes a `Study`, but for `table2`, which needs no runs and no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import mird_mosi
import numpy as np
from mird_mosi import LATENT_PAIRS, MIRD
from paper_tables import MIRD as WITHOUT_UNLABELED
from paper_tables import (
    WITH_UNLABELED,
    Setting,
    constraints,
    experiment_of,
    mird,
    need_unlabeled,
    study,
    systems,
    table5,
)

from disentangle.data import Recordings, read_recordings
from disentangle.data.recordings import have_label
from disentangle.experiments import Study, open_trained
from disentangle.experiments.studies.cases import Cases, spread
from disentangle.experiments.studies.embedding import Embedding, embed
from disentangle.experiments.studies.finished_runs import read_finished
from disentangle.experiments.studies.information_curves import InformationCurves, information_curves
from disentangle.experiments.studies.runs import trained_by
from disentangle.experiments.studies.sizes import Shape, Sizes, size_of

__all__ = ["figure4", "figure5", "figure8", "table2"]

SHAPE = Shape(50, {"audio": (375, 33), "vision": (500, 709)})  # padded lengths of CMU-MOSI, features of the paper
PUBLISHED = {  # Table 2: parameters, multiply-accumulates
    "misa": (123e6, 5.0e9),
    "self_mm": (112e6, 4.6e9),
    "wsa_bert": (115e6, 4.7e9),
    "mfsa_style": (138e6, 5.6e9),
    "mird_mosi": (121e6, 4.9e9),
}
CASES = 6


def table2(setting: Setting) -> Sizes:
    """Parameters and multiply-accumulates of all systems with the shape of bert-base, beside those in the paper."""
    from transformers import BertConfig

    bert_base = BertConfig().to_dict()
    names = setting.systems or systems()
    return Sizes({name: size_of(experiment_of(name), SHAPE, bert_base) for name in names}, PUBLISHED)


def figure4(setting: Setting) -> Study:
    """The four latents of the test split under each constraint, by t-SNE; of the first seed."""

    def make(runs: Study) -> Embedding:
        recordings = whole(splits(setting)["test"])
        encoded = {name: open_trained(first(runs, name), MIRD).encode(recordings) for name in runs.systems}
        return embed({name: {m: own[m] for m in latents(own)} for name, own in encoded.items()})

    return replace(table5(setting), name="figure4", make=make)


def figure5(setting: Setting) -> Study:
    """The information between latents over the epochs, by the penalty and by a meter, without and with unlabelled data."""
    need_unlabeled(setting, "figure5")
    lines = {
        WITHOUT_UNLABELED: mird(setting, "--keep-variables", use=False),
        WITH_UNLABELED: mird(setting, "--keep-variables"),
    }

    def make(runs: Study) -> InformationCurves:
        rows = has_all(splits(setting)["valid"])
        return information_curves({name: first(runs, name) for name in runs.systems}, LATENT_PAIRS, rows)

    return replace(study("figure5", lines, setting), make=make)


def figure8(setting: Setting) -> Study:
    """Words, truth and predictions of a few recordings of the test split, chosen by their labels alone."""

    def make(runs: Study) -> Cases:
        systems = {name: read_finished(name, runs.folder_of(name), runs.seeds) for name in runs.systems}
        kept = {name: list(each.predictions.values()) for name, each in systems.items()}
        if any(each.task.kind != "regression" for own in kept.values() for each in own):
            raise ValueError("figure8: expected labels that are one number each, got classes or several labels")
        labels = next(iter(kept.values()))[0].labels  # those that were learnt, of the rows that have one
        test, chosen = splits(setting)["test"], trained_by(mird_mosi.EXPERIMENT, setting.arguments).label
        if chosen:
            test = test.with_labels(*chosen)
        there = np.flatnonzero(have_label(np.asarray(test.labels)))
        if len(there) != len(labels):
            raise ValueError(
                f"figure8: expected the {len(labels)} labelled rows that the runs were tested on, got {len(there)}"
            )
        said = {name: np.mean([each.outcomes[:, 0] for each in own], axis=0) for name, own in kept.items()}
        places = spread(labels, CASES)
        rows = [int(there[place]) for place in places]
        return Cases(
            rows,
            [test.text[row] for row in rows],
            [float(labels[place]) for place in places],
            {name: [float(own[place]) for place in places] for name, own in said.items()},
        )

    return replace(study("figure8", constraints(setting), setting), make=make)


def splits(setting: Setting) -> dict[str, Recordings]:
    """The data set."""
    return read_recordings(setting.data) if setting.data else mird_mosi.EXPERIMENT.data()


def first(runs: Study, name: str) -> Path:
    """The folder of a system's first seed."""
    return runs.folder_of(name) / f"seed-{runs.seeds[0]}"


def has_all(recordings: Recordings) -> np.ndarray:
    """Which recordings have all modalities, `(N,)`."""
    parts = (recordings.text, *recordings.sequences.values())
    return np.array([all(len(part[i]) > 0 for part in parts) for i in range(len(recordings))])


def whole(recordings: Recordings) -> Recordings:
    """The recordings that have all modalities."""
    rows = [int(i) for i in np.flatnonzero(has_all(recordings))]
    frames: dict[str, Sequence[np.ndarray]] = {
        name: [own[i] for i in rows] for name, own in recordings.sequences.items()
    }
    return Recordings([recordings.text[i] for i in rows], frames, computed_by=recordings.computed_by)


def latents(variables) -> list[str]:
    """The names of latents among the variables."""
    return [name for name in variables if not name.startswith(("X_", "_"))]
