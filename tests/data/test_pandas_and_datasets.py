import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from disentangle.data.pandas_and_datasets import recordings_from_datasets, recordings_from_pandas
from disentangle.errors import DataError

pandas = pytest.importorskip("pandas")
datasets = pytest.importorskip("datasets")

relaxed = settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
FRAMES = np.arange(6, dtype=np.float32).reshape(3, 2)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.sampled_from([0.0, -1.5, 2.25, np.nan, np.inf])
READERS = {
    "pandas": lambda columns, **names: recordings_from_pandas(pandas.DataFrame(columns), **names),
    "datasets": lambda columns, **names: recordings_from_datasets(datasets.Dataset.from_dict(columns), **names),
}
readers = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@st.composite
def tables(draw):
    """Rows of any length, the first with frames; None where a modality or a text is missing."""
    n = draw(st.integers(1, 5))
    audio = [draw(hnp.arrays(np.float32, (draw(st.integers(0, 3)), 2), elements=VALUES)) for _ in range(n)]
    vision = [draw(st.none() | hnp.arrays(np.float32, (2, 3), elements=VALUES)) for _ in range(n)]
    audio[0], vision[0] = np.ones((1, 2), np.float32), np.ones((2, 3), np.float32)
    return {
        "id": draw(st.lists(TEXTS, min_size=n, max_size=n)),
        "text": draw(st.lists(st.none() | TEXTS, min_size=n, max_size=n)),
        "label": draw(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=n, max_size=n)),
        "a": audio,
        "v": vision,
    }


@readers
@relaxed
@given(table=tables())
def test_recordings_of_a_table(read, table):
    columns = {
        name: [each.tolist() if isinstance(each, np.ndarray) else each for each in c] for name, c in table.items()
    }
    # pandas has arrays in its cells; datasets has lists.
    given_ = table if read is READERS["pandas"] else columns
    got = read(given_, modalities={"audio": "a", "vision": "v"})
    assert got.ids == [each.strip() for each in table["id"]]
    assert got.text == [(each or "").strip() for each in table["text"]]
    assert got.labels.tolist() == table["label"]
    for name, column in (("audio", "a"), ("vision", "v")):
        wanted = [np.zeros((0, 3), np.float32) if each is None else each for each in table[column]]
        assert got.sequences[name].lengths == [len(each) for each in wanted]
        for x, y in zip(got.sequences[name], wanted, strict=True):
            assert x.dtype == np.float32
            np.testing.assert_array_equal(x, y)


@readers
def test_other_names_and_none(read):
    columns = {"words": ["so", "good"], "stars": [1, 2]}
    got = read(columns, text="words", label="stars", id=None)
    assert (got.text, got.ids, got.labels.tolist(), got.sequences) == (["so", "good"], ["0", "1"], [1, 2], {})
    got = read(columns, text=None, label=None, id="stars")
    assert (got.text, got.ids, got.labels) == (["", ""], ["1", "2"], None)


@readers
@pytest.mark.parametrize(
    ("labels", "wanted"),
    [([True, False], [1, 0]), ([None, None], None), ([float("nan")] * 2, None), ([3, -1], [3, -1])],
)
def test_labels(read, labels, wanted):
    got = read({"label": labels}, text=None, id=None)
    assert (None if got.labels is None else got.labels.tolist()) == wanted


@readers
@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"a": ["x"]}, ValueError, r"expected one column text, label, id, got a; text, label and id can be None$"),
        ({"id": ["x"], "text": ["x"]}, ValueError, r"expected one column label, got id, text; text, label and id can be None$"),
        ({"id": [], "text": [], "label": []}, DataError, r"the table: no recordings$"),
        ({"id": ["x"], "text": ["x"], "label": ["good"]}, DataError, "numbers, or the names of .*, got the text good$"),
        ({"id": ["x"], "text": ["x"], "label": [np.inf]}, DataError, r"the labels: 1 of 1 labels are NaN or infinite$"),
        ({"id": ["x", "y"], "text": ["x", "y"], "label": [1, None]}, DataError, "in all 2 rows or in none, got 1$"),
        ({"id": ["x"], "text": [1], "label": [1]}, DataError, r"the texts\[0\]: expected text, got int$"),
        ({"id": [1.5], "text": ["x"], "label": [1]}, DataError, r"the ids\[0\]: expected text, got float$"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used(read, columns, error, message):
    with pytest.raises(error, match=message):
        read(columns)


@readers
def test_an_absent_modality(read):
    with pytest.raises(ValueError, match=r"expected one column sound, got label; text, label and id can be None$"):
        read({"label": [1]}, text=None, id=None, modalities={"audio": "sound"})


@readers
@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[1.0, 2.0]], r"sound(\[0\])?: expected "),
        ([[[1.0, 2.0]], [[1.0]]], r"sound: expected frames of one size, got sizes \[1, 2\]$"),
        ([[[1.0], [1.0, 2.0]]], r"sound(\[0\])?: expected frames of one size, got (sizes \[1, 2\]|lists of several)$"),
        ([None, []], r"sound: expected "),
        ([[["x"]]], r"sound(\[0\])?: expected "),
    ],
)
def test_frames_that_cannot_be_used(read, cells, message):
    columns = {"label": [1] * len(cells), "sound": cells}
    with pytest.raises(DataError, match=message) as error:
        list(read(columns, text=None, id=None, modalities={"audio": "sound"}).sequences["audio"])
    assert "\n" not in str(error.value)


# -- pandas ------------------------------------------------------------------------------------------------------------


def test_paths_in_a_frame(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES.astype(np.float64))
    np.save(tmp_path / "b.npy", FRAMES[:0])
    frame = pandas.DataFrame({"label": [1] * 4, "sound": [str(tmp_path / "a.npy"), tmp_path / "b.npy", np.nan, FRAMES]})
    frame.index = [7, 7, 8, 9]  # names of rows play no part
    audio = recordings_from_pandas(frame, text=None, id=None, modalities={"audio": "sound"}).sequences["audio"]
    assert audio.lengths == [3, 0, 0, 3]
    np.testing.assert_array_equal(audio[0], FRAMES)
    np.save(tmp_path / "a.npy", FRAMES + 1)
    np.testing.assert_array_equal(audio[0], FRAMES + 1)
    frame.loc[8, "sound"] = str(tmp_path / "absent.npy")
    with pytest.raises(DataError, match=r"absent.npy: no such file$"):
        recordings_from_pandas(frame, text=None, id=None, modalities={"audio": "sound"})


def test_two_columns_of_one_name():
    with pytest.raises(ValueError, match=r"expected one column label, got label, label; "):
        recordings_from_pandas(pandas.DataFrame([[1, 2]], columns=["label", "label"]), text=None, id=None)


def test_missing_values_of_pandas():
    frame = pandas.DataFrame(
        {"text": pandas.array(["x", pandas.NA], "string"), "label": pandas.array([1, None], "Int64")}
    )
    assert recordings_from_pandas(frame, label=None, id=None).text == ["x", ""]
    with pytest.raises(DataError, match=r"expected one in all 2 rows or in none, got 1"):
        recordings_from_pandas(frame, id=None)


# -- datasets ----------------------------------------------------------------------------------------------------------


def stored(tmp_path, rows: int = 2500):
    """A data set on the disk, whose row i has i % 3 frames of i."""
    features = datasets.Features({"i": datasets.Value("int32"), "sound": datasets.Array2D((None, 4), "float32")})
    arrays = [np.full((i % 3, 4), i, np.float32) for i in range(rows)]
    made = datasets.Dataset.from_dict({"i": list(range(rows)), "sound": arrays}, features=features)
    made.save_to_disk(tmp_path / "set")
    return datasets.load_from_disk(tmp_path / "set")


@pytest.mark.filterwarnings("ignore")
def test_rows_chosen_and_shuffled_and_formatted(tmp_path):
    dataset = stored(tmp_path)
    for chosen in (dataset, dataset.shuffle(seed=1).select(range(100, 1400)), dataset.with_format("numpy")):
        got = recordings_from_datasets(chosen, text=None, label="i", id=None, modalities={"audio": "sound"})
        rows = got.labels.astype(int).tolist()
        assert len(rows) == len(chosen)
        assert got.sequences["audio"].lengths == [i % 3 for i in rows]
        for n in (0, 1, 2, 57, len(rows) - 1):
            np.testing.assert_array_equal(got.sequences["audio"][n], np.full((rows[n] % 3, 4), rows[n]))
    sent = pickle.loads(pickle.dumps(got.sequences["audio"]))
    np.testing.assert_array_equal(sent[5], np.full((2, 4), 5))


def test_null_frames_are_refused():
    dataset = datasets.Dataset.from_dict({"sound": [[[1.0, 2.0], None]]})
    with pytest.raises(DataError, match=r"sound: 1 frames are null$"):
        recordings_from_datasets(dataset, text=None, label=None, id=None, modalities={"audio": "sound"})


def test_labels_may_be_the_names_of_classes():
    words = ["joy", "anger", "joy", "fear"]
    for labels in (words, pandas.Categorical(words), pandas.array(words, "string")):
        got = recordings_from_pandas(pandas.DataFrame({"label": labels}), text=None, id=None)
        assert got.labels.tolist() == [2.0, 0.0, 2.0, 1.0]
        assert got.class_names == {"label": ["anger", "fear", "joy"]}
    got = recordings_from_datasets(datasets.Dataset.from_dict({"label": words}), text=None, id=None)
    assert got.class_names == {"label": ["anger", "fear", "joy"]}
    with pytest.raises(DataError, match=r"or the names of two classes or more, got the text 1$"):
        recordings_from_pandas(pandas.DataFrame({"label": ["1", "2"]}), text=None, id=None)


def test_one_row_of_numbers_is_refused_with_how_it_becomes_frames():
    with pytest.raises(
        DataError, match=r"sound\[0\]: expected .*, got float64 \(5,\); of features of a whole .* x\[None\] makes"
    ):
        recordings_from_pandas(
            pandas.DataFrame({"sound": [np.ones(5)]}), text=None, label=None, id=None, modalities={"audio": "sound"}
        )
