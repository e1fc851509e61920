import dataclasses
import itertools
import json
import math
import re
import weakref
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.data import LazyFrames, Recordings
from disentangle.data.report import DataReport, describe
from disentangle.tasks import task_of

NAN, INF = float("nan"), float("inf")


def of(*texts: str, ids: str, seed: int = 0, labels=None, **parts) -> Recordings:
    """Recordings that share nothing with others: random frames of each."""
    draw = np.random.default_rng([seed, *ids.encode()])
    frames = [draw.normal(size=(3 + i, 2)).astype(np.float32) for i in range(len(texts))]
    labels = np.zeros(len(texts), np.float32) if labels is None else np.array(labels, np.float32)
    return Recordings(
        **{"text": list(texts), "sequences": {"audio": frames}, "labels": labels, "ids": ids.split(), **parts}
    )


def with_frames(*frames, **parts) -> Recordings:
    arrays = [np.array(each, np.float32).reshape(-1, 2) for each in frames]
    return Recordings(text=["so good"] * len(arrays), sequences={"audio": arrays}, **parts)


def audio(*frames, **parts):
    """What a report says of the audio of a split with these frames."""
    return describe({"train": with_frames(*frames, **parts)}).splits["train"].modalities["audio"]


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_lengths_and_missing_modalities():
    frames = [np.ones((length, 2)) for length in (4, 0, 1, 7, 2, 0)]
    found = audio(*frames)
    assert (found.size, found.missing) == (2, 2)
    assert (found.lengths.min, found.lengths.median, found.lengths.max, found.lengths.total) == (1, 3.0, 7, 14)
    split = describe({"train": Recordings(["so good", "", "so very bad"], {})}).splits["train"]
    assert (split.missing_text, split.words.min, split.words.median, split.words.max) == (1, 2, 2.5, 3)


def test_a_transcript_without_blanks_is_not_one_word():
    split = describe({"train": Recordings(["我喜欢这部电影", "很好", "so good"], {})}).splits["train"]
    assert (split.words.min, split.words.median, split.words.max, split.words.total) == (2, 2, 7, 11)


def test_a_modality_that_nobody_has():
    found = audio(np.ones((0, 2)), np.ones((0, 2)), padding={"audio": np.array([[0, 5], [0, 5]])})
    assert (found.missing, found.lengths, found.padding, found.constant) == (2, None, None, ())


@pytest.mark.parametrize(
    ("cut", "side"),
    [([[0, 0], [0, 0]], "none"), ([[3, 0], [0, 0]], "front"), ([[0, 0], [0, 2]], "back"), ([[3, 0], [1, 2]], "both")],
)
def test_side_of_padding_is_that_of_recordings_that_have_the_modality(cut, side):
    # A recording without frames is all padding, and says nothing about the side.
    found = audio([1, 1], [2, 2], [], padding={"audio": np.array([*cut, [0, 20]])})
    assert found.padding.side == side
    assert [found.padding.front, found.padding.back] == np.sum(cut, 0).tolist()
    assert [found.padding.front_max, found.padding.back_max] == np.max(cut, 0).tolist()
    assert audio([1, 1]).padding is None


def test_values_that_are_not_finite():
    found = audio([NAN, 1, INF, 2], [1, 2], [-INF, NAN, 3, NAN])
    assert (found.nan, found.infinite, found.nonfinite_recordings) == (3, 2, 2)


def test_constant_features():
    assert audio([1, 5, 1, 6], [1, 7]).constant == (0,)
    assert audio([1, 5], [2, 5]).constant == (1,)
    assert audio([NAN, 5, NAN, 6]).constant == (0,)
    assert audio([INF, 5, 1, 6, 1, 7]).constant == (0,)  # of what is finite
    assert audio([1, 5], [2, 6]).constant == ()


def test_frames_of_zeros_at_the_ends_count_as_data_and_are_warned_of():
    report = describe({"train": with_frames([0, 0, 1, 1], [1, 1, 0, 0, 1, 1], [1, 0], [1, 1, NAN, 0], [1, 1, -0.0, 0])})
    assert report.splits["train"].modalities["audio"].zero_ends == 2
    assert report.warnings[-1] == "audio: frames of zeros, which count as data, begin or end 2 recordings (train 2)"


def test_labels():
    values = np.array([-3, 0, 0, 1, 2.5], np.float32)
    found = describe({"train": of(*"abcde", ids="1a 2a 3a 4a 5a", labels=values)}).splits["train"].labels
    assert (found.count, found.min, found.max, found.zeros) == (5, -3, 2.5, 2)
    assert found.mean == pytest.approx(0.1)
    assert found.sd == pytest.approx(math.sqrt(sum((v - 0.1) ** 2 for v in values.tolist()) / 5))
    edges = found.histogram.edges
    for i, count in enumerate(found.histogram.counts):
        last = i == len(edges) - 2
        assert count == sum(edges[i] <= v < edges[i + 1] or (last and v == edges[-1]) for v in values)


def test_absent_and_other_labels():
    recordings = of(
        "a", "b", "c", ids="1 2 3", labels=[1, NAN, 2], more_labels={"T": np.array([NAN, NAN, 5], np.float32)}
    )
    split = describe({"train": recordings, "more": of("d", ids="4")}).splits["train"]
    assert (split.unlabeled, split.labels.count, split.more_labels["T"].count, split.more_labels["T"].mean) == (
        1,
        2,
        1,
        5,
    )
    split = describe({"unlabeled": Recordings(["a", "b"], {})}).splits["unlabeled"]
    assert (split.unlabeled, split.labels, split.more_labels) == (2, None, {})


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(1, 500), max_size=20), min_size=1, max_size=3).filter(lambda each: any(each)))
def test_histograms_of_lengths_hold_every_recording_in_bins_of_as_many_lengths(lengths):
    sets = {
        f"split {i}": Recordings(
            [""] * len(each), {"audio": LazyFrames(lambda n: np.ones((n, 1), np.float32), each, each, 1)}
        )
        for i, each in enumerate(lengths)
    }
    report = describe(sets)
    edges = set()
    for name, recordings in sets.items():
        found = report.splits[name].modalities["audio"].lengths
        assert (found is None) == (len(recordings) == 0)
        if found:
            assert sum(found.histogram.counts) == len(recordings)
            edges.add(found.histogram.edges)
    (only,) = edges  # the same for all splits
    widths = {after - before for before, after in itertools.pairwise(only)}
    assert len(widths) == 1
    assert widths.pop() == int(only[1] - only[0]) > 0
    assert len(only) <= 25


# -- recordings that splits share --------------------------------------------------------------------------------------


def test_nothing_is_shared_and_nothing_wrong():
    report = describe({"train": of("so good", "bad", ids="a b"), "test": of("so, so", "well", ids="c d")})
    assert (report.leaks, report.warnings) == ((), ())
    assert "No warnings." in str(report)


def test_same_id():
    report = describe({"train": of("one", "two", ids="a b"), "test": of("three", "four", "five", ids="c b e")})
    (leak,) = report.leaks
    assert (leak.split, leak.other, leak.recordings, leak.by) == ("test", "train", 1, {"id": 1})
    assert leak.examples == (("b", "b"),)
    assert report.warnings == ("test: 1 of 3 recordings is also in train: same id 1; for example b = b",)


def test_numbers_that_stand_for_ids_are_not_compared():
    recordings = of("one", "two", ids="0 1"), of("three", "four", ids="0 1", seed=1)
    assert describe({"train": recordings[0], "test": recordings[1]}).leaks == ()
    ids = of("one", "two", ids="0 2"), of("three", "four", ids="0 2", seed=1)
    assert describe({"train": ids[0], "test": ids[1]}).leaks[0].by == {"id": 2}


def test_same_transcript_but_for_case_punctuation_and_spaces():
    train = of("So  GOOD!", "", "( ... )", "Ｎo", ids="a b c d")
    report = describe({"train": train, "valid": of("so, good", "", "?!", "no", "no no", ids="e f g h i")})
    (leak,) = report.leaks
    assert (leak.recordings, leak.by, leak.examples) == (2, {"transcript": 2}, (("e", "a"), ("h", "d")))


def test_same_frames():
    shared = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
    other = shared.copy()
    other[3, 1] += 1e-6
    same = np.concatenate([shared[:1], [[0, NAN]]]), np.concatenate([shared[:1], [[-0.0, -NAN]]])
    dull = np.zeros((2, 2)), np.full((3, 2), 5.0), np.full((2, 2), NAN), np.zeros((0, 2))
    train = with_frames(shared, same[0], *dull, ids=list("abcdef"))
    report = describe(
        {
            "train": dataclasses.replace(train, text=[""] * 6),
            "test": dataclasses.replace(with_frames(other, same[1], shared, *dull, ids=list("ghijklm")), text=[""] * 7),
        }
    )
    (leak,) = report.leaks
    assert (leak.recordings, leak.by, leak.examples) == (2, {"audio": 2}, (("h", "b"), ("i", "a")))


def test_kinds_of_sharing_are_counted_together_and_each_two_splits_by_themselves():
    train = of("one", "two", "three", ids="a b c")
    valid = of("one", "four", ids="b d")
    test = Recordings(
        ["zero", "three"], {"audio": [train.sequences["audio"][1], valid.sequences["audio"][1]]}, None, ["e", "f"]
    )
    leaks = describe({"train": train, "valid": valid, "test": test}).leaks
    assert [(leak.split, leak.other, leak.recordings, leak.by) for leak in leaks] == [
        ("valid", "train", 1, {"id": 1, "transcript": 1}),
        ("test", "train", 2, {"transcript": 1, "audio": 1}),
        ("test", "valid", 1, {"audio": 1}),
    ]


def test_ids_that_come_twice_in_a_split():
    report = describe({"train": of(*"vwxyz", ids="a b a c b")})
    assert report.splits["train"].duplicate_ids == ("a", "b")
    assert report.warnings == ("train: 2 ids come more than once; for example a, b",)


# -- warnings ----------------------------------------------------------------------------------------------------------


def test_what_is_wrong_with_frames_and_modalities():
    frames = [[1, 2], [NAN, 1], [], []]
    train, test = with_frames(*frames, []), with_frames(*frames, [INF, 0])
    report = describe(
        {
            "train": dataclasses.replace(train, text=["a", "", "", "", "e"]),
            "test": dataclasses.replace(test, text=[*"vwxyz"]),
        }
    )
    assert report.warnings == (
        "test: 1 of 5 recordings is also in train: same audio 1; for example 0 = 0",
        "audio: 3 values are NaN or infinite, in 3 recordings (train 1, test 2)",
        "text: missing in more than half: train 60%",
        "audio: missing in more than half: train 60%",
    )


def test_half_is_not_more_than_half():
    half = Recordings(["so good", ""], {"audio": [np.ones((0, 2)), np.ones((1, 2))]})
    assert describe({"train": half}).warnings == ()


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({"train": [-3, 0, 3] * 4, "test": [-3.4, 4.5]}, None),
        (
            {"train": [-3, 0, 3] * 4, "test": [1, 4.6, 6]},
            "test: 2 labels (4.6 to 6) out of the range of the others, -3 to 3, those of train",
        ),
        (
            {"train": [0, 1] * 5, "valid": [0], "test": [0, 2]},
            "test: 1 label (2) out of the range of the others, 0 to 1, those of train",
        ),
        ({"train": [*range(20), -999], "test": [3]}, "train: 1 label (-999) out of the range of the others, 0 to 19"),
        ({"train": [*range(20), 99, 98]}, "train: 2 labels (98 to 99) out of the range of the others, 0 to 19"),
        ({"train": [0] * 50 + [1]}, None),
        ({"train": [0, 0.1, 0.2, 3]}, None),  # too few to tell
        ({"train": [0, 1, 2], "test": [9]}, None),
        ({"valid": [1], "test": [2]}, None),
        ({"train": [], "test": []}, None),
    ],
)
def test_labels_out_of_the_range_of_the_others(labels, wanted):
    splits = {
        name: Recordings([""] * max(len(each), 1), {}, np.array(each or [NAN], np.float32))
        for name, each in labels.items()
    }
    found = [line for line in describe(splits).warnings if "out of the range" in line]
    assert found == ([] if wanted is None else [wanted])


@pytest.mark.parametrize(
    ("labels", "kind", "wanted"),
    [
        ({"train": [0, 1] * 5, "test": [1, 0]}, "binary", None),
        ({"train": [0, 1] * 5, "test": [1] * 10}, "binary", "test: every label is 1, where training has 0, 1;"),
        ({"train": [-3, 0.5, 3] * 4, "test": [0, 1] * 5}, "sentiment", "test: its labels are 0, 1 only,"),
        ({"train": [-0.8, 0, 1] * 4, "test": [0.2, 1.2]}, "sims", "test: 1 of 2 labels (1.2) is beyond -0.8 to 1,"),
        ({"train": [1, 2, 5] * 4, "test": [4]}, "ratings", "test: 1 of 1 label (4) is none of 1, 2, 5,"),
        ({"train": [1] * 10, "test": [1, 1]}, None, "train: every label is 1, which leaves nothing to learn"),
        ({"train": [1], "test": [1, 0]}, None, None),
        ({"test": [1, 0]}, None, None),
    ],
)
def test_labels_and_the_metrics_that_follow_from_those_of_train(labels, kind, wanted):
    splits = {name: Recordings([""] * len(each), {}, np.array(each, np.float32)) for name, each in labels.items()}
    report = describe(splits)
    assert (report.scale.kind if report.scale else None) == kind
    found = [line for line in report.warnings if "label" in line]
    assert [line[: len(wanted or "")] for line in found] == ([] if wanted is None else [wanted])
    said = [line for line in str(report).splitlines() if line.startswith("labels: ")]
    assert said == ([] if kind is None else [f"labels: {task_of(splits['train'].labels)}"])  # as a run says


# -- one pass, and checksums -------------------------------------------------------------------------------------------


def test_frames_are_read_once_and_let_go():
    read, alive = Counter(), [0, 0]

    def array(key: int) -> np.ndarray:
        read[key] += 1
        alive[0] += 1
        alive[1] = max(alive)
        frames = np.random.default_rng(key).normal(size=(5, 3)).astype(np.float32)
        weakref.finalize(frames, lambda: alive.__setitem__(0, alive[0] - 1))
        return frames

    n = 200
    lazy = LazyFrames(array, range(n), [5] * n, 3)
    report = describe({"train": Recordings([""] * n, {"audio": lazy})})
    assert report.splits["train"].modalities["audio"].lengths.total == 5 * n
    assert set(read) == set(range(n))
    assert sum(read.values()) <= n + 3  # checks of types at run time, which tests make, look at one or the other
    assert alive[1] <= 3


def test_whatever_changes_changes_the_checksum():
    recordings = of("one", "two", ids="a b", more_labels={"T": np.array([1, 2], np.float32)})
    frames = recordings.sequences["audio"]
    changed = [
        recordings,
        recordings.select([1, 0]),
        recordings.select([0]),
        dataclasses.replace(recordings, text=["one", "Two"]),
        dataclasses.replace(recordings, ids=["a", "c"]),
        dataclasses.replace(recordings, labels=np.array([0, 1], np.float32)),
        dataclasses.replace(recordings, labels=None),
        dataclasses.replace(recordings, more_labels={"A": np.array([1, 2], np.float32)}),
        dataclasses.replace(recordings, sequences={"vision": frames}),
        dataclasses.replace(recordings, sequences={"audio": [frames[0], frames[1][:-1]]}),
        dataclasses.replace(recordings, sequences={"audio": [frames[0], frames[1][::-1]]}),
        dataclasses.replace(recordings, sequences={"audio": [each.reshape(2 * len(each), 1) for each in frames]}),
        dataclasses.replace(recordings, sequences={"audio": [frames[0], np.nextafter(frames[1], np.float32(9))]}),
    ]
    checksums = [describe({"train": each}).splits["train"].sha256 for each in changed]
    assert len(set(checksums)) == len(changed)
    # Nor does it change with what is no content: how often it is asked, and how the same values are written.
    same = dataclasses.replace(
        recordings, sequences={"audio": [np.asfortranarray(each.astype(">f4")) for each in frames]}
    )
    assert [describe({"test": each}).splits["test"].sha256 for each in (recordings, same)] == checksums[:1] * 2


# -- text and JSON -----------------------------------------------------------------------------------------------------


def described() -> DataReport:
    cut = {"audio": np.array([[2, 0]] * 4)}
    train = of("one", "two", "", "four", ids="a b c d", labels=[-3, 0, 0.5, 3], padding=cut)
    train.sequences["audio"][2][0, 0] = NAN
    test, unlabeled = of("five", "two", ids="e f", labels=[1, 1]), of("g", ids="g", labels=[NAN])
    return describe({"train": train, "test": test, "unlabeled": unlabeled})


def test_json_says_what_the_report_says():
    report = described()
    as_lists = json.loads(json.dumps(dataclasses.asdict(report)))
    text = report.to_json()
    assert json.loads(text, parse_constant=pytest.fail) == as_lists
    assert json.loads(text)["splits"]["train"]["modalities"]["audio"]["nan"] == 1


def test_text():
    lines = str(described()).splitlines()
    assert lines[0] == "! test: 1 of 2 recordings is also in train: same transcript 1; for example f = b"
    rows = [line.split() for line in lines]
    assert [
        "audio",
        "train",
        "2",
        "0",
        "(0%)",
        "3",
        "4.5",
        "6",
        "front",
        "2.0",
        "≤",
        "2",
        "0",
        "1",
        "0",
        "1",
        "0",
    ] in rows
    assert ["text", "train", "words", "1", "(25%)", "1", "1", "1"] in rows
    (labels,) = (row for row in rows if row[:2] == ["label", "train"])
    assert labels[2:8] == ["4", "0.12", "2.13", "−3.00", "3.00", "1"]
    assert max(len(line) for line in lines if not line.startswith("labels: ")) <= 120
    assert len(lines) <= 40


def test_bars_show_every_bin_that_holds_anything_and_the_largest_in_full():
    labels = np.repeat(np.linspace(-3, 3, 13), [1, 0, 80, 40, 0, 10, 0, 0, 0, 0, 0, 0, 1])
    text = str(describe({"train": Recordings([""] * len(labels), {}, labels.astype(np.float32))}))
    assert re.findall("│(.*)│", text) == ["▁ █▄ ▁      ▁"]


def test_names_cannot_command_a_terminal():
    recordings = of("a", "b", ids="x\x1b[2J x\x1b[2J", more_labels={"T\x1b[31m\n": np.ones(2, np.float32)})
    text = str(describe({"train\r": recordings}))
    assert not any(ord(c) < 32 and c != "\n" for c in text)
    assert [line.split()[:2] for line in text.splitlines() if "T?" in line] == [["T?[31m?", "train?"]]


def test_named_classes_are_named_and_those_that_training_lacks_are_warned_of():
    names = {"label": [f"emotion {c}" for c in range(12)]}
    train = of(*"abcdefghijkl", ids=" ".join("abcdefghijkl"), labels=np.arange(12.0).clip(max=10), class_names=names)
    valid = of(*"abcdefghijkl", ids=" ".join("mnopqrstuvwx"), labels=np.arange(12.0), class_names=names, seed=1)
    report = describe({"train": train, "valid": valid})
    task = task_of(np.arange(11.0), names=names["label"][:11])
    assert report.task == str(task)
    assert f"labels: {task}" in str(report).splitlines()
    some = ", ".join(f"emotion {c}" for c in range(7))
    assert f"valid: 1 of 12 labels (emotion 11) is none of {some}, ..., those of training" in report.warnings
    same = describe({"train": dataclasses.replace(train, labels=np.full(12, 3.0))})
    assert "train: every label is emotion 3, which leaves nothing to learn" in same.warnings


def test_several_labels_at_once_are_refused():
    both = of(*"ab", ids="a b", labels=np.ones(2), more_labels={"joy": np.zeros(2)}).with_labels("label", "joy")
    with pytest.raises(ValueError, match="train: expected one label per recording, got 2: describe them before"):
        describe({"train": both})


def test_labels_that_are_all_one_large_number_have_a_histogram():
    report = describe({"train": of(*"ab", ids="a b", labels=np.full(2, 1.7e18))})
    assert sum(report.splits["train"].labels.histogram.counts) == 2


def test_labels_that_a_run_refuses_are_warned_of():
    names = {"label": [f"emotion {c}" for c in range(101)]}
    report = describe({"train": Recordings([""] * 101, {}, np.arange(101, dtype=np.float32), class_names=names)})
    assert any(line.startswith("train: expected 2 to 100 classes, got 101") for line in report.warnings)
    assert report.task == ""
