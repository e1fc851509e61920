import json
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disentangle.data.layouts.dialogues import read
from disentangle.errors import DataError, DataWarning
from tests.data.layouts.text_writers import example, mutated, npy_bytes, write

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
FRAMES = np.arange(6, dtype=np.float32).reshape(3, 2)


def fill(folder, content: object, **files: bytes):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return write(folder, {"sarcasm_data.json": data, **files})


def said(text: str = "Oh, great.", sarcasm: object = True, **others) -> dict:
    return {"utterance": text, "speaker": "A", "context": ["Hello?"], "sarcasm": sarcasm, **others}


UTTERANCES = st.tuples(TEXTS, st.sampled_from([None, True, False, 0, 1]), st.sampled_from(["", "train", "dev", "test"]))


@relaxed
@given(content=st.dictionaries(TEXTS, UTTERANCES, min_size=1, max_size=6), escaped=st.booleans())
def test_what_is_written_is_read(tmp_path_factory, content, escaped):
    utterances = {name: said(text, sarcasm, split=split) for name, (text, sarcasm, split) in content.items()}
    path = fill(tmp_path_factory.mktemp("json"), json.dumps(utterances, ensure_ascii=escaped).encode())
    wanted: dict[str, list] = {}
    for name, (text, sarcasm, split) in content.items():
        where = {"": "unlabeled" if sarcasm is None else "train", "dev": "valid"}.get(split, split)
        wanted.setdefault(where, []).append((name, text.strip(), sarcasm))
    some = [rows for rows in wanted.values() if len({row[2] is None for row in rows}) > 1]
    if some:
        with pytest.raises(DataError, match=r"expected labels of all . recordings or of none"):
            read(path)
        return
    got = read(path)
    assert got.keys() == wanted.keys()
    for where, rows in wanted.items():
        names, texts, labels = (list(each) for each in zip(*rows, strict=True))
        assert (got[where].ids, got[where].text) == (names, texts)
        assert (got[where].labels is None) if labels[0] is None else got[where].labels.tolist() == labels


def test_features_beside_the_file(tmp_path):
    files = {"audio/1_60.npy": npy_bytes(FRAMES), "vision/1_70.npy": npy_bytes(FRAMES[:, :1])}
    got = read(fill(tmp_path, {"1_60": said(), "1_70": said("Thanks.", False)}, **files))
    assert list(got) == ["train"]
    assert (got["train"].text, got["train"].labels.tolist()) == (["Oh, great.", "Thanks."], [1, 0])
    assert got["train"].feature_sizes == {"audio": 2, "vision": 1}
    assert got["train"].missing == {"text": 0, "audio": 1, "vision": 1}
    np.testing.assert_array_equal(got["train"].sequences["audio"][0], FRAMES)


def test_splits(tmp_path):
    content = {"a": said(), "b": said(split="valid"), "c": said(), "d": said(split="")}
    files = {"splits.json": json.dumps({"a": "test", "b": "train", "d": None}).encode()}
    got = read(fill(tmp_path, content, **files))
    assert {name: split.ids for name, split in got.items()} == {"valid": ["b"], "test": ["a"]}
    (tmp_path / "splits.json").unlink()
    assert {name: split.ids for name, split in read(tmp_path / "sarcasm_data.json").items()} == {
        "train": ["a", "c", "d"], "valid": ["b"]
    }  # fmt: skip


def test_splits_of_no_recording_are_named(tmp_path):
    files = {"splits.csv": b"id,split\na,train\n1-4,test\n"}
    with pytest.warns(DataWarning, match=r"splits.csv: of no recording: 1-4; 1 of 2 recordings are in a split$"):
        read(fill(tmp_path, {"a": said(), "1_4": said()}, **files))


@pytest.mark.parametrize(
    ("labels", "wanted", "names"),
    [
        (["joy", " anger ", "joy"], [1, 0, 1], ["anger", "joy"]),
        ([2.5, -1, True], [2.5, -1, 1], None),
        (["2.5", "-1", "0"], [2.5, -1, 0], None),
    ],
)
def test_labels_of_other_dialogues(tmp_path, labels, wanted, names):
    content = {f"u{i}": {"utterance": "Thanks.", "speaker": "A", "label": label} for i, label in enumerate(labels)}
    content["none"] = {"utterance": "Hello?", "label": "", "split": "unlabeled"}
    got = read(fill(tmp_path, content))
    assert got["train"].labels.tolist() == wanted
    assert got["train"].class_names == ({"label": names} if names else {})
    assert (got["unlabeled"].ids, got["unlabeled"].labels) == (["none"], None)


def test_fields_that_are_not_read_are_named_once(tmp_path):
    content = {f"u{i}": {"utterance": "Thanks.", "emotion": "joy", "label": i} for i in range(3)}
    with pytest.warns(DataWarning) as caught:
        assert read(fill(tmp_path, content))["train"].labels.tolist() == [0, 1, 2]
    assert [str(each.message) for each in caught] == [f"{tmp_path / 'sarcasm_data.json'}: not read: emotion"]
    content = {"a": said(context_speakers=["B"], show="BBT"), "b": said(label=3, season=1)}
    with pytest.warns(DataWarning, match=r"sarcasm_data.json: not read: label, season$"):
        assert read(fill(tmp_path, content))["train"].labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no recordings$"),
        ([], "expected a dictionary, got list$"),
        (b"", "not JSON: Expecting value: line 1 column 1"),
        (b"[" * 100_000, "not JSON of data: nested too deep$"),
        (b"9" * 5000, "not JSON: Exceeds the limit"),
        (b'{"a": 1, "a": 2}', "not JSON: a key that comes twice in one object$"),
        (b'\xff{"a": 1}', "expected UTF-8, got byte 0xff at 0; save it as UTF-8$"),
        ({"a": "Thanks."}, "a: expected a dictionary, got str$"),
        ({"a": {"text": "Thanks."}}, "a: expected an utterance, got text$"),
        ({"a": said(["Thanks."])}, "a: utterance: expected text, got list$"),
        ({"a": said(sarcasm=2)}, "a: sarcasm: expected true or false, got 2$"),
        ({"a": said(sarcasm="yes")}, "a: sarcasm: expected a number, got yes$"),
        ({"a": said(sarcasm="no"), "b": said(sarcasm="yes")}, "a: sarcasm: expected a number, got no$"),
        ({"a": {"utterance": "a", "label": "joy"}}, "a: label: expected a number, got joy$"),
        ({"a": {"utterance": "a", "label": ["joy"]}}, "a: label: expected a number, got list$"),
        (
            {"a": {"utterance": "a", "label": "joy"}, "b": {"utterance": "b", "label": 1}},
            "a: label: expected a number, got joy$",
        ),
        ({"a": said(sarcasm=[1])}, "a: sarcasm: expected a number, got list$"),
        ({"a": said(sarcasm=float("nan"))}, "a: sarcasm: expected a number, or blank where there is none, got nan$"),
        ({"a": said(sarcasm=10**400)}, "a: sarcasm: expected a number, got int$"),
        ({"a": said(split="all")}, "a: split: expected train, valid, test or unlabeled, got all$"),
        ({"a": said(split=1)}, "a: split: expected text, got int$"),
        ({"a\nb": said(split="all")}, r"a\\nb: split: expected train"),
    ],
)
@pytest.mark.filterwarnings("ignore::disentangle.errors.DataWarning")
def test_a_file_that_cannot_be_used(tmp_path, content, message):
    with pytest.raises(DataError, match=f"sarcasm_data.json: {message}") as error:
        read(fill(tmp_path, content))
    assert "\n" not in str(error.value)


def test_other_files_that_cannot_be_used(tmp_path):
    with pytest.raises(DataError, match=r"absent.json: no such file$"):
        read(tmp_path / "absent.json")
    with pytest.raises(DataError, match=r": expected a file, got a directory$"):
        read(tmp_path)
    path = fill(tmp_path, {"../a": said()}, **{"audio/a.npy": npy_bytes(FRAMES)})
    with pytest.raises(DataError, match=r"audio: expected ids that are plain names of files, got \.\./a$"):
        read(path)
    for text, message in (
        ("[]", r"splits.json: expected a dictionary, got list$"),
        ('{"a": ["train"]}', r"splits.json: a: expected text, got list$"),
        ('{"a": "elsewhere"}', r"splits.json: a: expected train, valid, test or unlabeled, got elsewhere$"),
        ('{"b": "train"}', r"sarcasm_data.json: no recordings$"),
    ):
        with pytest.raises(DataError, match=message):
            read(fill(tmp_path, {"a": said()}, **{"splits.json": text.encode()}))


def test_a_file_too_large_for_transcripts(tmp_path):
    path = tmp_path / "sarcasm_data.json"
    with open(path, "wb") as file:
        file.truncate(2**28 + 1)  # of no blocks on the disk
    with pytest.raises(DataError, match=r"expected JSON of at most 268,435,456 bytes, got 268,435,457$"):
        read(path)


@pytest.mark.filterwarnings("ignore")  # of Python's parser, over the heads of damaged arrays
def test_damaged_files_are_refused_or_read(tmp_path):
    files = example("dialogues")
    outcomes = []
    for number in range(200):
        path = write(tmp_path, mutated(random.Random(f"dialogues {number}"), files))
        try:
            for split in read(path).values():
                outcomes.append([array.shape for sequence in split.sequences.values() for array in sequence])
        except DataError as error:
            outcomes.append(str(error))
    refused = [each for each in outcomes if isinstance(each, str)]
    assert 0 < len(refused) < len(outcomes)
    assert not any("\n" in each for each in refused)
