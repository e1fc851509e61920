import csv
import os
import re
import time

import numpy as np
import pytest

from disentangle.data import DataError
from disentangle.features.openface import GROUPS, OPENFACE_FEATURES, openface_features

META = ["frame", "face_id", "timestamp", "confidence", "success"]


def write(path, rows: int = 3, names=(*META, *OPENFACE_FEATURES), **columns):
    """A CSV file as OpenFace writes it, spaces after commas; `columns` are cells that differ from random ones."""
    draw = np.random.default_rng(0).normal(scale=100, size=(rows, len(names)))
    lines = [", ".join(names)]
    for i in range(rows):
        cells = dict(zip(names, (f"{value:.3f}" for value in draw[i]), strict=True))
        cells |= {"frame": str(i + 1), "face_id": "0", "success": "1"}
        cells |= {name: values[i] for name, values in columns.items()}
        lines.append(", ".join(cells[name] for name in names))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def file(tmp_path):
    return tmp_path / "clip.csv"


def message(path) -> str:
    with pytest.raises(DataError) as caught:
        openface_features(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_the_papers_709_features():
    sizes = {option: len(names) for option, names in GROUPS.items()}
    assert sizes == {"-gaze": 288, "-pose": 6, "-2Dfp": 136, "-3Dfp": 204, "-pdmparams": 40, "-aus": 35}
    assert len(set(OPENFACE_FEATURES)) == 709
    ends = {names[0]: names[-1] for names in GROUPS.values()}
    assert ends == {
        "gaze_0_x": "eye_lmk_Z_55",
        "pose_Tx": "pose_Rz",
        "x_0": "y_67",
        "X_0": "Z_67",
        "p_scale": "p_33",
        "AU01_r": "AU45_c",
    }
    assert sum(name.endswith("_r") and name.startswith("AU") for name in OPENFACE_FEATURES) == 17


def test_reads_what_the_csv_module_reads(file):
    write(file, 5)
    features = openface_features(file)
    assert features.dtype == np.float32
    with open(file, newline="") as opened:
        rows = list(csv.DictReader(opened, skipinitialspace=True))
    expected = np.array([[row[name] for name in OPENFACE_FEATURES] for row in rows], np.float32)
    np.testing.assert_array_equal(features, expected)


def test_columns_are_found_by_name(file, tmp_path):
    names = [*OPENFACE_FEATURES, *META, "something_else"]
    np.random.default_rng(1).shuffle(names)
    features = openface_features(write(file, names=names))
    lines = file.read_text().split("\n")
    index = [name.strip() for name in lines[0].split(",")].index("eye_lmk_X_7")
    wanted = [float(line.split(",")[index]) for line in lines[1:4]]
    np.testing.assert_allclose(features[:, OPENFACE_FEATURES.index("eye_lmk_X_7")], wanted)


@pytest.mark.parametrize("change", [("\n", "\r\n"), (", ", ","), (", ", " ,\t"), ("frame", "\ufeffframe")])
def test_line_ends_spaces_and_marks_do_not_matter(file, change):
    wanted = openface_features(write(file))
    file.write_bytes(file.read_text().replace(*change).encode())
    np.testing.assert_array_equal(openface_features(file), wanted)


def test_frames_without_a_face_keep_their_place(file):
    whole = openface_features(write(file, 4))
    features = openface_features(write(file, 4, success=["1", "0", "0", "1"]))
    assert np.isnan(features[1:3]).all()
    np.testing.assert_array_equal(features[[0, 3]], whole[[0, 3]])


def test_frames_that_are_not_there_keep_their_place_too(file):
    whole = openface_features(write(file, 4))
    features = openface_features(write(file, 4, frame=["3", "4", "7", "9"], success=["1", "1", "0", "1"]))
    assert features.shape == (7, 709)
    np.testing.assert_array_equal(features[[0, 1, 6]], whole[[0, 1, 3]])
    assert np.isnan(features[2:6]).all()


@pytest.mark.parametrize("cell", ["nan", "-nan", "-nan(ind)", "nan(snan)", "1e39", "inf"])
def test_values_that_are_no_numbers_stay_unusual(file, cell):
    features = openface_features(write(file, gaze_angle_x=["0", cell, "0"]))
    wrong = np.argwhere(~np.isfinite(features))
    assert wrong.tolist() == [[1, OPENFACE_FEATURES.index("gaze_angle_x")]]


def test_files_of_something_else_are_told_in_one_line(file, tmp_path):
    assert message(file) == "no such file"
    file.touch()
    assert message(file) == "expected a CSV file of OpenFace, got an empty one"
    file.write_text("word,start,end\nso,0,1\n")
    assert message(file) == "not a CSV file of OpenFace's FeatureExtraction: no frame among its columns"
    file.write_bytes(b"frame\xff")
    assert message(file) == "expected UTF-8, got byte 0xff at 5; save it as UTF-8"
    write(file, 0)
    assert message(file) == "no frames, only a header"
    write(file, 3, success=["0"] * 3)
    assert message(file) == "no face in any of its 3 frames (success is 0)"
    video = tmp_path / "clip.MP4"
    video.write_bytes(os.urandom(64))
    assert message(video) == (
        "expected the CSV file that OpenFace 2.0 writes for a video, got the video: run FeatureExtraction first "
        "(https://github.com/TadasBaltrusaitis/OpenFace)"
    )


def test_missing_columns_name_the_options_that_write_them(file):
    missing = {*GROUPS["-3Dfp"], "p_33"}
    write(file, names=[name for name in (*META, *OPENFACE_FEATURES) if name not in missing])
    assert message(file) == (
        "205 of 709 columns are missing (X_0, X_1, X_2, ...); run FeatureExtraction with -3Dfp -pdmparams as well"
    )
    write(file, names=[name for name in (*META, *OPENFACE_FEATURES) if name != "AU28_c"])
    assert message(file) == "1 of 709 columns are missing (AU28_c); run FeatureExtraction with -aus as well"


def test_damaged_rows_are_told_by_line(file):
    write(file, pose_Tx=["0", "0", "far"])
    assert message(file) == "line 4: 'far' is not a number"
    write(file)
    file.write_text(file.read_text()[:-20])  # a run that was cut off
    assert re.fullmatch(r"line 4: expected 714 values as in the header, got 71[0-9]", message(file))
    header, *rows = write(file).read_text().split("\n")
    file.write_text("\n".join([header, *(row + ", 1" for row in rows if row)]))
    assert message(file) == "line 2: expected 714 values as in the header, got 715"


@pytest.mark.parametrize("frames", ["1122", "1234", "1212"])
@pytest.mark.parametrize("faces", ["0101", "0011"])
def test_several_faces_are_refused(file, frames, faces):
    write(file, 4, frame=frames, face_id=faces)
    assert message(file) == "expected one face, got 2 (face_id 0, 1); write the rows of each face to a separate file"


def test_rows_without_a_face_are_nobody(file):
    write(file, 4, face_id="0710", success="1001")
    assert np.isnan(openface_features(file)).all(1).tolist() == [False, True, True, False]


@pytest.mark.parametrize("frames", ["1212", "1123", "1132"])
def test_several_videos_are_refused(file, frames):
    write(file, 4, frame=frames)
    assert re.fullmatch(r"expected one face and frames in order, got frame \d after frame \d", message(file))
    names = [name for name in (*META, *OPENFACE_FEATURES) if name != "face_id"]  # as OpenFace 1 writes
    write(file, 4, names=names, frame=frames)
    assert re.fullmatch(r"expected one face and frames in order, got frame \d after frame \d", message(file))


@pytest.mark.parametrize("cell", ["clip", "", "a b", '"one, two"', "'"])
def test_further_columns_can_be_text(file, cell):
    wanted = openface_features(write(file))
    columns = {"video": [cell] * 3, "input": ["C:\\clip.mp4"] * 3}
    write(file, names=[*META, *OPENFACE_FEATURES, "video", "input"], **columns)
    features = openface_features(file)
    assert features.shape == wanted.shape
    assert np.isfinite(features).all()
    with open(file, newline="") as opened:
        rows = list(csv.DictReader(opened, skipinitialspace=True))
    np.testing.assert_array_equal(features, np.array([[r[n] for n in OPENFACE_FEATURES] for r in rows], np.float32))


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC, csv.QUOTE_MINIMAL])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_other_programs_write_anew(file, quoting, separator):
    wanted = openface_features(write(file))
    with open(file, newline="") as opened:
        names, *rows = csv.reader(opened, skipinitialspace=True)
    with open(file, "w", newline="", encoding="utf-8-sig") as opened:
        writer = csv.writer(opened, delimiter=separator, quoting=quoting)
        writer.writerow(names)
        writer.writerows([cell.replace(".", ",") if separator == ";" else float(cell) for cell in row] for row in rows)
    np.testing.assert_array_equal(openface_features(file), wanted)


def test_names_in_quotes_and_blanks(file):
    wanted = openface_features(write(file))
    header, rows = file.read_text().split("\n", 1)
    file.write_text(", ".join(f'"{name}"' for name in header.split(", ")) + "\n" + rows)
    np.testing.assert_array_equal(openface_features(file), wanted)


def test_a_column_twice_is_refused(file):
    write(file)
    header, *rows = file.read_text().split("\n")
    file.write_text("\n".join([f"{header}, p_3", *(row + ", 1" for row in rows if row)]))
    assert message(file) == "two columns p_3"


@pytest.mark.slow
def test_ten_thousand_frames_take_seconds(file):
    write(file, 2)
    header, row = file.read_text().split("\n")[:2]
    rows = (row.replace("1, 0", f"{i}, 0", 1) for i in range(10_000))
    file.write_text("\n".join([header, *rows]))
    start = time.perf_counter()
    assert openface_features(file).shape == (10_000, 709)
    assert time.perf_counter() - start < 20
