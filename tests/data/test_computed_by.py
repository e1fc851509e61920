"""Records of what features were computed by: kept by what is written, said by the report, refused where they differ."""

import numpy as np
import pytest

from disentangle.data import DataError, Recordings, check_same_features, open_store, read_recordings, write_folder
from disentangle.data.__main__ import main
from disentangle.data.computed_by import RECORD, read_record, record
from disentangle.data.report import describe
from disentangle.data.store import write_store
from tests.data.layouts.text_writers import csv_bytes, npy_bytes, write


def recordings(**computed_by):
    frames = {"audio": [np.ones((2, 3), np.float32)], "vision": [np.ones((1, 2), np.float32)]}
    return Recordings(["a"], frames, np.ones(1, np.float32), computed_by=computed_by)


def test_what_is_written_is_read(tmp_path):
    splits = {"train": recordings(audio="mmsa"), "test": recordings(audio="mmsa")}
    write_folder(tmp_path / "folder", splits)
    write_store(tmp_path / "store", splits)
    for read in (read_recordings(tmp_path / "folder"), open_store(tmp_path / "store")):
        assert [split.computed_by for split in read.values()] == [{"audio": "mmsa"}] * 2
        assert read["train"].select([0, 0]).computed_by == {"audio": "mmsa"}


def test_what_is_known_of_a_part_only_is_not_recorded_for_all(tmp_path):
    write_folder(tmp_path / "folder", {"train": recordings(audio="mmsa"), "test": recordings()})
    assert read_recordings(tmp_path / "folder")["train"].computed_by == {}
    with pytest.raises(
        ValueError, match=r"expected audio computed alike in all splits, got (mmsa, paper|paper, mmsa)$"
    ):
        write_folder(tmp_path / "other", {"train": recordings(audio="mmsa"), "test": recordings(audio="paper")})
    assert not (tmp_path / "other").exists()


def test_different_records_are_refused():
    check_same_features(recordings(audio="mmsa"), recordings(), "a.pkl")
    check_same_features(recordings(), recordings(audio="mmsa"), "a.pkl")
    with pytest.raises(DataError, match=r"^a.pkl: expected audio features computed by mmsa, .* got those by paper: "):
        check_same_features(recordings(audio="mmsa"), recordings(audio="paper", vision="openface"), "a.pkl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "expected a dictionary, got list"),
        (b"{}", "computed_by: expected text, got NoneType"),
        (b'{"computed_by": 3}', "computed_by: expected text, got int"),
        (b'{"computed_by": " "}', "computed_by: expected a short name, got"),
        (b'{"computed_by": "a\\nb"}', "computed_by: expected a short name, got"),
    ],
)
def test_a_record_that_cannot_be_used(tmp_path, content, message):
    files = {"index.csv": csv_bytes(["id"], ["a"]), "audio/a.npy": npy_bytes(np.ones((2, 3)))}
    write(tmp_path, {**files, f"audio/{RECORD}": content})
    with pytest.raises(DataError, match=f"audio/{RECORD}: {message}") as error:
        read_recordings(tmp_path)
    assert "\n" not in str(error.value)


def test_no_record_is_none(tmp_path):
    assert read_record(tmp_path) is None
    (tmp_path / RECORD).write_text(record("my own", ["a", "b"]))
    assert read_record(tmp_path) == "my own"


# -- what the report says ----------------------------------------------------------------------------------------------


def sound(kind):
    frames = np.zeros((4, 33), np.float32)
    frames[:, 0] = {"mmsa": np.arange(1, 5) / 16, "paper": [np.nan, 5, 5.1, 4.9], "neither": -np.arange(4)}[kind]
    frames[:, 1], frames[:, 21] = -300, 1
    return frames


def report_of(*kinds, **computed_by):
    splits = zip(("train", "valid", "test"), kinds, strict=False)
    return describe(
        {name: Recordings(["a"], {"audio": [sound(kind)]}, computed_by=computed_by) for name, kind in splits}
    )


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (report_of("mmsa", "mmsa"), "audio: looks like the 33 features of CH-SIMS and MMSA, which the zero-crossing rate"),
        (report_of("paper"), "audio: looks like the paper's 33 features, which log F0 begins; what computed it is not"),
        (report_of("neither"), "audio: looks neither like the paper's 33 features nor like those of CH-SIMS and MMSA"),
        (report_of("neither", audio="covarep"), "audio: computed by covarep, as is recorded"),
        (report_of("mmsa", audio="paper"), "! train: audio: recorded as computed by paper, and looks like mmsa"),
        (report_of("mmsa", "paper"), "! audio: of different kinds: train mmsa, valid paper"),
    ],
)  # fmt: skip
def test_what_the_report_says(report, line):
    assert any(each.startswith(line) for each in str(report).splitlines())


def test_other_audio_is_not_spoken_of(tmp_path, capsys):
    write_folder(tmp_path / "set", {"train": recordings()})
    assert main([str(tmp_path / "set")]) == 0
    assert "looks" not in capsys.readouterr().out
