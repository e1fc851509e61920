"""Reports on files of every layout, `python -m disentangle.data`, its picture, and what it says of real recordings."""

import dataclasses
import hashlib
import itertools
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from disentangle.data import Recordings, read_recordings, read_unlabeled
from disentangle.data.__main__ import main
from disentangle.data.layouts.folder import write_folder
from disentangle.data.report import DataReport, describe
from disentangle.data.report.figures import plot_data
from disentangle.data.store import open_store, write_store
from tests.data.layouts.writers import LAYOUTS, example

POM = Path(os.environ.get("DISENTANGLE_POM") or Path(__file__).parents[3] / "shared" / "data" / "pom")


# -- reports do not depend on the layout -------------------------------------------------------------------------------


def without_padding(report: DataReport) -> DataReport:
    splits = {
        name: dataclasses.replace(
            split, modalities={m: dataclasses.replace(each, padding=None) for m, each in split.modalities.items()}
        )
        for name, split in report.splits.items()
    }
    return dataclasses.replace(report, splits=splits)


def splits_of(layout: str, counts: tuple[int, ...], seed: int) -> dict[str, Recordings]:
    """A set with all that a layout can hold, and a NaN in each split."""
    of = LAYOUTS[layout]
    splits = {}
    for i, name in enumerate(("train", "valid", "test")):
        full = example(counts[i], seed + i)
        full.sequences["vision"][0][0, 0] = np.nan
        splits[name] = Recordings(
            text=full.text if of.text else [""] * len(full),
            sequences={m: full.sequences[m] for m in of.sequences},
            labels=full.labels,
            ids=full.ids if of.ids else [],
            more_labels={label: full.more_labels[label] for label in of.more_labels},
        )
    return splits


COUNTS = st.tuples(*[st.integers(2, 4)] * 3)
few = settings(
    deadline=None, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=[Phase.generate]
)


@pytest.mark.parametrize("layout", LAYOUTS)
@few
@given(counts=COUNTS, seed=st.integers(0, 2**32))
def test_the_report_is_that_of_the_recordings_whatever_their_layout_and_padding(layout, tmp_path, counts, seed):
    splits = splits_of(layout, counts, seed)
    file, draw = tmp_path / "data.pkl", random.Random(seed)
    file.write_bytes(pickle.dumps({name: LAYOUTS[layout].write(draw, each)[0] for name, each in splits.items()}))
    assert without_padding(describe(read_recordings(file))) == without_padding(describe(splits))


@few
@given(counts=COUNTS, seed=st.integers(0, 2**32))
def test_the_report_is_the_same_of_frames_that_stay_in_their_files(counts, seed):
    splits = splits_of("mmsa", counts, seed)
    wanted = describe(splits)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(f"{folder}/plain", splits)
        write_store(f"{folder}/store", splits)
        assert describe(read_recordings(f"{folder}/plain")) == wanted
        assert describe(open_store(f"{folder}/store")) == wanted


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path) -> Path:
    """A file of MMSA's layout in which test has a recording of train."""
    file = tmp_path / "my set.pkl"
    draw, train, test = random.Random(0), example(5), example(3, seed=1).select([1, 2])
    test.ids[0] = train.ids[3]
    splits = {"train": train, "valid": example(2, seed=2).select([0]), "test": test}
    for i, each in enumerate(splits.values()):
        each.ids[-1] += f" last {i}"
    file.write_bytes(pickle.dumps({name: LAYOUTS["mmsa"].write(draw, each)[0] for name, each in splits.items()}))
    return file


def test_command_line_in_a_process_of_its_own(data):
    command = [sys.executable, "-m", "disentangle.data", str(data)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    lines = done.stdout.splitlines()
    assert lines[0] == str(data)
    assert re.fullmatch(rf"pickle as of MMSA or the paper; [\d.]+ (bytes|kB); sha256 {digest}", lines[1])
    assert any(line.startswith("! test: ") and "also in train" in line for line in lines)


def test_json_of_the_command_line(data, capsys):
    assert main([str(data), "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert report["source"]["bytes"] == data.stat().st_size
    assert {name: each["recordings"] for name, each in report["splits"].items()} == {"train": 5, "valid": 1, "test": 2}
    assert set(report["splits"]["train"]["more_labels"]) == {"T", "A", "V", "classification"}


def test_conversion_keeps_the_content(data, tmp_path, capsys):
    assert main([str(data), "--json", "--to", str(tmp_path / "plain")]) == 0
    before = json.loads(capsys.readouterr().out)
    assert main([str(tmp_path / "plain"), "--json"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert (before["source"]["layout"], after["source"]["layout"]) == ("pickle as of MMSA or the paper", "plain folder")
    for name, split in before["splits"].items():
        assert after["splits"][name]["sha256"] == split["sha256"]
    listing = subprocess.run(
        "find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum",
        cwd=tmp_path / "plain", shell=True, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert listing.stdout.split()[0] == after["source"]["sha256"]
    assert main([str(data), "--to", str(tmp_path / "plain")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'plain'}: expected a new folder, got one that is not empty\n"


def test_unlabelled_files_and_folders_of_pickles(tmp_path, capsys):
    draw = random.Random(0)
    content, _ = LAYOUTS["paper"].write(draw, example(4))
    del content["labels"]
    (tmp_path / "flat.pkl").write_bytes(pickle.dumps(content))
    assert main([str(tmp_path / "flat.pkl"), "--json"]) == 0
    (name, split), *others = json.loads(capsys.readouterr().out)["splits"].items()
    assert (name, split["recordings"], split["unlabeled"], others) == ("unlabeled", 4, 4, [])
    (tmp_path / "misa").mkdir()
    for i, name in enumerate(("train", "dev", "test")):
        (tmp_path / "misa" / f"{name}.pkl").write_bytes(pickle.dumps(LAYOUTS["misa"].write(draw, example(i + 2))[0]))
    assert main([str(tmp_path / "misa"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["source"]["layout"], report["source"]["files"]) == ("folder of pickles", 3)
    assert [split["recordings"] for split in report["splits"].values()] == [2, 3, 4]


def test_stores_and_dialogues(tmp_path, capsys):
    write_store(tmp_path / "store", {"train": example(3)})
    (tmp_path / "said.json").write_text(json.dumps({"1": {"utterance": "Oh, great.", "sarcasm": True}}))
    for name, layout, count in (("store", "store", 3), ("said.json", "dialogues", 1)):
        assert main([str(tmp_path / name), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["source"]["layout"], report["splits"]["train"]["recordings"]) == (layout, count)


def test_splits_that_differ_in_their_features_are_refused(tmp_path, capsys):
    splits = {name: LAYOUTS["mag"].write(random.Random(0), example(2))[0] for name in ("train", "dev", "test")}
    splits["test"] = [((words, visual[:, :1], acoustic), *rest) for (words, visual, acoustic), *rest in splits["test"]]
    (tmp_path / "mag.pkl").write_bytes(pickle.dumps(splits))
    assert main([str(tmp_path / "mag.pkl")]) == 2
    wanted = f"error: {tmp_path / 'mag.pkl'}: test: expected 2 vision features as in the training data, got 1\n"
    assert capsys.readouterr().err == wanted


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("absent.pkl", None, "error: {path}: no such file"),
        ("empty.pkl", b"", "error: {path}: expected a pickle, got an empty file"),
        ("number.pkl", pickle.dumps(1), "error: {path}: expected a dictionary, got int"),
        ("words.json", b"[]", "error: {path}: expected a dictionary, got list"),
        ("flat.pkl", pickle.dumps({"raw_text": []}), "error: {path}: no recordings"),
    ],
)  # fmt: skip
def test_bad_files_are_told_in_a_line(tmp_path, capsys, name, content, wanted):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", wanted.format(path=path) + "\n")


# -- the picture -------------------------------------------------------------------------------------------------------


def test_figure(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([str(data), "--figure"]) == 0
    assert capsys.readouterr().err == "wrote my set.png\n"
    content = (tmp_path / "my set.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24])[0] > 1200
    assert main([str(data), "--figure", "picture.nothing"]) == 2
    assert "not supported" in capsys.readouterr().err


def drawn(report: DataReport, path: Path) -> list[str]:
    """What is written in an SVG picture: its letters are outlines, each text named in a comment before them."""
    plot_data(report, path)
    return re.findall("<!-- (.*?) -->", path.read_text())


def test_panels_of_the_figure(data, tmp_path):
    written = drawn(describe(read_recordings(data)), tmp_path / "all.svg")
    for text in ("Lengths: text", "Lengths: audio", "Lengths: vision", "Labels", "Missing", "Padding"):
        assert written.count(text) == 1
    for text in ("train (5)", "valid (1)", "words", "frames", "label", "in front", "behind", "audio, train"):
        assert text in written
    bare = drawn(describe({"a$b": Recordings(["", ""], {r"$\frac$": [np.ones((2, 1))] * 2})}), tmp_path / "bare.svg")
    assert not {"Lengths: text", "Labels", "Padding"} & set(bare)
    assert {"a$b (2)", r"Lengths: $\frac$"} <= set(bare)  # names, and not formulas, one of which is wrong


def test_what_is_missing_without_matplotlib(data, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main([str(data), "--figure"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(str(data))  # the report is there all the same
    assert err == "error: plots need matplotlib: pip install matplotlib\n"


# -- real recordings ---------------------------------------------------------------------------------------------------


def cut_ends(frames: np.ndarray) -> np.ndarray:
    """The frames of an array between those that are all zero."""
    real = [t for t in range(len(frames)) if np.abs(frames[t]).max() > 0]
    return frames[min(real) : max(real) + 1] if real else frames[:0]


@pytest.mark.skipif(not POM.is_dir(), reason=f"no recordings in {POM} (DISENTANGLE_POM)")
def test_real_recordings(capsys):
    with open(POM / "pom_unaligned.pkl", "rb") as stream:
        raw = pickle.load(stream)
    assert main([str(POM / "pom_unaligned.pkl"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["splits"]) == set(raw)
    for name, split in report["splits"].items():
        of = raw[name]
        words = [len(text.split()) for text in of["raw_text"]]
        labels = np.asarray(of["regression_labels"], np.float64)
        assert split["recordings"] == len(of["raw_text"])
        assert (split["words"]["min"], split["words"]["max"]) == (min(words), max(words))
        assert split["labels"]["zeros"] == int((labels == 0).sum())
        assert split["labels"]["mean"] == pytest.approx(labels.mean())
        for modality in ("audio", "vision"):
            found = split["modalities"][modality]
            cut = [cut_ends(frames) for frames in of[modality]]
            lengths = [len(frames) for frames in cut if len(frames)]
            front = [next(t for t in range(20) if frames[t].any()) for frames in of[modality] if frames.any()]
            back = [20 - length - before for length, before in zip(lengths, front, strict=True)]
            assert found["missing"] == len(cut) - len(lengths)
            assert [found["lengths"][key] for key in ("min", "median", "max")] == [
                min(lengths), np.median(lengths), max(lengths)
            ]  # fmt: skip
            assert [found["padding"][key] for key in ("front", "back")] == [sum(front), sum(back)]
            assert found["nan"] + found["infinite"] == int((~np.isfinite(of[modality])).sum())
            together = np.concatenate(cut)
            assert found["constant"] == [f for f in range(together.shape[1]) if len(set(together[:, f].tolist())) == 1]
    shared = {
        (split, other)
        for other, split in itertools.combinations(raw, 2)
        if set(raw[split]["id"]) & set(raw[other]["id"]) or set(raw[split]["raw_text"]) & set(raw[other]["raw_text"])
    }
    assert {(leak["split"], leak["other"]) for leak in report["leaks"]} == shared


@pytest.mark.skipif(not POM.is_dir(), reason=f"no recordings in {POM} (DISENTANGLE_POM)")
def test_real_unlabelled_recordings():
    with open(POM / "pom_unlabeled.pkl", "rb") as stream:
        raw = pickle.load(stream)
    splits = {**read_recordings(POM / "pom_unaligned.pkl"), "unlabeled": read_unlabeled(POM / "pom_unlabeled.pkl")}
    report = describe(splits)
    split = report.splits["unlabeled"]
    assert (split.recordings, split.unlabeled, split.missing_text, split.labels) == (600, 600, 600, None)
    assert split.modalities["vision"].missing == int((np.abs(raw["video"]).sum((1, 2)) == 0).sum())
    known = {
        frames.tobytes() for each in splits.values() if each.labels is not None for frames in each.sequences["audio"]
    }
    again = sum(frames.tobytes() in known for frames in splits["unlabeled"].sequences["audio"])
    assert sum(leak.by.get("audio", 0) for leak in report.leaks if leak.split == "unlabeled") >= again
    assert bool(again) == any("audio" in leak.by for leak in report.leaks if leak.split == "unlabeled")
