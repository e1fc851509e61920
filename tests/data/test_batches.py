import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader

from disentangle.data import DataError, LazyFrames, RecordingDataset, Recordings, collate, loader
from disentangle.data.samplers import MixedBatchSampler
from disentangle.nn.backbones import tiny_backbone

TEXTS = ["a good film", "", "bad and long and loud", "good"]


def recordings(labels=True):
    lengths = [3, 2, 0, 5]
    audio = [np.arange(1, n * 2 + 1, dtype=np.float32).reshape(n, 2) for n in lengths]
    return Recordings(
        text=TEXTS,
        sequences={"audio": audio, "vision": [a[:, :1] for a in audio[::-1]]},
        labels=np.array([1.0, -2.0, 0.0, 3.0], dtype=np.float32) if labels else None,
    )


def test_without_frames_and_tokens_there_is_nothing_to_read():
    with pytest.raises(
        ValueError, match=r"^expected frames, or a tokenizer that makes tokens of transcripts, got neither$"
    ):
        RecordingDataset(Recordings(["a"], {}))


def test_a_further_label_that_is_not_there_is_refused_by_its_name(tokenizer):
    labels = {name: np.ones(4, np.float32) for name in "TA"}
    (batch,) = loader(RecordingDataset(replace(recordings(), more_labels=labels), tokenizer), batch_size=4)
    for each in (batch, batch.to("cpu"), pickle.loads(pickle.dumps(batch))):
        assert list(each.more_labels) == ["T", "A"]
        with pytest.raises(
            DataError, match=r"^expected one of the further labels, T, A, got 'domain': recordings to be"
        ):
            each.more_labels["domain"]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_backbone(TEXTS * 5)[1]


def test_a_batch_holds_every_recording_left_aligned_behind_its_mask(tokenizer):
    source = recordings()
    (batch,) = loader(RecordingDataset(source, tokenizer), batch_size=4)
    assert len(batch) == 4
    for name, sequence in batch.sequences.items():
        for i, frames in enumerate(source.sequences[name]):
            assert sequence.mask[i].tolist() == [t < len(frames) for t in range(sequence.mask.shape[1])]
            assert torch.equal(sequence.values[i, : len(frames)], torch.from_numpy(frames))
            assert not sequence.values[i, len(frames) :].any()
        assert batch.rows(name).tolist() == [i for i, frames in enumerate(source.sequences[name]) if len(frames)]
        assert batch.present[name].tolist() == [len(frames) > 0 for frames in source.sequences[name]]
    for i, text in enumerate(TEXTS):
        words = batch.words.values[i][batch.words.mask[i]]
        assert words.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = batch.tokens["input_ids"][i][batch.tokens["attention_mask"][i].bool()]
        assert ids.tolist() == tokenizer(text)["input_ids"]
        assert batch.lengths[i] == len(ids)
    assert batch.present["text"].tolist() == [True, False, True, True]
    assert torch.equal(batch.labels, torch.from_numpy(source.labels))
    assert batch.labeled.tolist() == [1, 1, 1, 1]


def test_special_tokens_and_padding_are_marked_and_an_unknown_word_is_not(tokenizer):
    data = Recordings(text=["good zzzz", "bad"], sequences={"audio": [np.ones((1, 1), np.float32)] * 2})
    batch = collate([RecordingDataset(data, tokenizer)[i] for i in range(2)])
    words = (~batch.tokens["special_tokens_mask"].bool()).sum(1)
    assert words.tolist() == batch.words.lengths.tolist()
    assert words[0] >= 2


def test_max_words_counts_word_pieces_and_not_special_tokens(tokenizer):
    dataset = RecordingDataset(recordings(), tokenizer, max_words=2)
    (batch,) = loader(dataset, batch_size=4)
    assert batch.words.lengths.max() == 2
    assert batch.tokens["attention_mask"].sum(1).max() == 4
    with pytest.raises(ValueError, match="expected max_words of at least 1, got 0"):
        RecordingDataset(recordings(), tokenizer, max_words=0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_transcripts_are_cut_on_the_side_of_the_tokenizer_and_counted(tokenizer, side):
    tokenizer = deepcopy(tokenizer)
    tokenizer.truncation_side = side
    dataset = RecordingDataset(recordings(), tokenizer, max_words=2)
    (batch,) = loader(dataset, batch_size=4)
    wholes = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    kept = [whole[:2] if side == "right" else whole[-2:] for whole in wholes]
    assert [words[mask].tolist() for words, mask in zip(batch.words.values, batch.words.mask, strict=True)] == kept
    assert dataset.full == sum(len(whole) >= 2 for whole in wholes)


def test_unlabelled_rows_weigh_nothing(tokenizer):
    both = ConcatDataset([RecordingDataset(recordings(labels), tokenizer) for labels in (True, False)])
    sampler = MixedBatchSampler(4, 4, batch_size=4, unlabeled_rate=1.0)
    (batch,) = DataLoader(both, batch_sampler=sampler, collate_fn=collate)
    assert batch.labeled.tolist() == [1] * 4 + [0] * 4
    assert not batch.labels[4:].any()


def test_a_batch_moves_whole_but_for_presence(tokenizer):
    (batch,) = loader(RecordingDataset(recordings(), tokenizer), batch_size=4)
    moved = batch.to("meta")
    assert {t.device.type for t in (*moved.tokens.values(), *moved.words, moved.labels, moved.labeled)} == {"meta"}
    assert {t.device.type for m in moved.sequences.values() for t in m} == {"meta"}
    assert {t.device.type for t in (*moved.present.values(), moved.lengths)} == {"cpu"}


def test_a_batch_can_be_pinned(cuda, tokenizer):
    data = DataLoader(RecordingDataset(recordings(), tokenizer), batch_size=4, collate_fn=collate, pin_memory=True)
    (pinned,) = data
    batch = pinned.to(cuda, non_blocking=True)
    assert all(t.is_pinned() for t in (*pinned.tokens.values(), *pinned.words, pinned.labels, pinned.labeled))
    assert all(t.is_pinned() for sequence in pinned.sequences.values() for t in sequence)
    for name, sequence in batch.sequences.items():
        assert torch.equal(sequence.values.cpu(), pinned.sequences[name].values)


MODALITIES = st.dictionaries(st.text("abcXYZ_", min_size=1, max_size=5), st.integers(1, 9), max_size=4)


@given(MODALITIES, st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_any_number_of_modalities_of_any_size(tokenizer, sizes, lengths, seed):
    draw = np.random.default_rng(seed)
    frames = {
        name: [draw.normal(size=(n, size)).astype(np.float32) for n in draw.permutation(lengths)]
        for name, size in sizes.items()
    }
    source = Recordings(text=[TEXTS[i % 4] for i in range(len(lengths))], sequences=frames)
    dataset = RecordingDataset(source, tokenizer)
    batch = collate([dataset[i] for i in range(len(dataset))])
    assert set(batch.sequences) == set(sizes)
    assert set(batch.present) == {"text", *sizes}
    for name, size in sizes.items():
        values, mask = batch.sequences[name]
        assert values.shape == (len(lengths), max(1, *lengths), size)
        assert values.dtype == torch.float32
        assert torch.equal(values[mask], torch.from_numpy(np.concatenate(frames[name])))  # the real ones, in order
        assert not values[~mask].any()
        assert mask.sum(1).tolist() == [len(each) for each in frames[name]]
        assert batch.present[name].tolist() == [len(each) > 0 for each in frames[name]]


def test_a_modality_that_a_whole_batch_lacks_is_one_masked_step(tokenizer):
    source = Recordings(text=["", ""], sequences={"audio": [np.zeros((0, 7), np.float32)] * 2})
    (batch,) = loader(RecordingDataset(source, tokenizer))
    assert batch.sequences["audio"].values.shape == (2, 1, 7)
    assert not batch.sequences["audio"].mask.any()
    assert not batch.words.mask.any()
    assert not batch.present["audio"].any()


def test_lengths_are_those_of_the_tokens_and_nothing_reads_frames_for_them(tokenizer):
    reads = []

    def read(key):
        reads.append(key)
        return np.full((key + 1, 2), key, np.float32)

    source = Recordings(text=TEXTS, sequences={"audio": LazyFrames(read, range(4), [1, 2, 3, 4], size=2)})
    reads.clear()
    dataset = RecordingDataset(source, tokenizer)
    assert dataset.lengths.tolist() == [len(tokenizer(text)["input_ids"]) for text in TEXTS]
    assert not reads
    assert dataset[2].sequences["audio"].tolist() == [[2, 2]] * 3
    assert reads == [2]


def test_transcripts_are_tokenised_the_same_in_parts(tokenizer, monkeypatch):
    source = Recordings(text=TEXTS * 3, sequences={})
    whole = RecordingDataset(source, tokenizer)
    monkeypatch.setattr("disentangle.data.batches.AT_ONCE", 5)
    parts = RecordingDataset(source, tokenizer)
    assert len(whole) == len(parts) == 12
    for a, b in zip(whole, parts, strict=True):
        assert a.ids.tolist() == b.ids.tolist()
        assert a.is_word.tolist() == b.is_word.tolist()


def test_a_row_is_found_from_both_ends(tokenizer):
    dataset = RecordingDataset(recordings(), tokenizer)
    last = dataset[-1]
    assert last.label == 3.0
    assert last.ids.tolist() == tokenizer(TEXTS[-1])["input_ids"]
    with pytest.raises(IndexError):
        dataset[4]


def test_a_pickled_data_set_is_the_same(tokenizer):
    dataset = RecordingDataset(recordings(), tokenizer)
    again = pickle.loads(pickle.dumps(dataset))
    for batch, copy in zip(loader(dataset), loader(again), strict=True):
        assert torch.equal(batch.tokens["input_ids"], copy.tokens["input_ids"])
        assert all(torch.equal(batch.sequences[name].values, copy.sequences[name].values) for name in batch.sequences)


def test_rows_carry_their_place_and_further_labels():
    more = {"T": np.array([0.5, np.nan, 1.0, 2.0], np.float32)}
    data = RecordingDataset(replace(recordings(), more_labels=more))
    batch = collate([data[3], data[1]])
    assert batch.index.tolist() == [3, 1]
    assert batch.more_labels["T"].values.tolist() == [2.0, 0.0]
    assert batch.more_labels["T"].weights.tolist() == [1.0, 0.0]
    mixed = collate([data[0], RecordingDataset(recordings(labels=False))[1]])
    assert mixed.more_labels["T"].weights.tolist() == [1.0, 0.0]
    assert {t.device.type for t in (mixed.to("meta").index, *mixed.to("meta").more_labels["T"])} == {"meta"}


def test_without_a_tokenizer_there_are_no_tokens():
    data = RecordingDataset(recordings())
    batch = collate([data[i] for i in range(4)])
    assert batch.tokens == {}
    assert not batch.words.mask.any()
    assert batch.present.keys() == {"audio", "vision"}
    assert data.lengths.tolist() == [5, 2, 2, 5]


def test_several_labels_at_once_are_those_of_a_row_that_has_them_all():
    more = {"joy": np.array([1.0, 0.0, np.nan, 1.0]), "fear": np.array([0.0, 1.0, 1.0, 0.0])}
    chosen = replace(recordings(), more_labels=more).with_labels("joy", "fear")
    batch = collate([RecordingDataset(chosen)[i] for i in range(4)])
    assert batch.labels.tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]
    assert batch.labeled.tolist() == [1, 1, 0, 1]
    assert chosen.more_labels["label"].tolist() == recordings().labels.tolist()
    with pytest.raises(ValueError, match="expected labels of label, joy, fear, got 'anger'"):
        chosen.with_labels("anger")
    with pytest.raises(ValueError, match="expected recordings as they were read, got ones whose labels were chosen"):
        chosen.with_labels("label")


def test_rows_of_other_modalities_are_not_one_batch(tokenizer):
    heard = recordings()
    alone = replace(heard, sequences={"audio": heard.sequences["audio"]})
    for other in (RecordingDataset(alone), RecordingDataset(heard, tokenizer)):
        rows = [RecordingDataset(heard)[0], other[1]]
        for each in (rows, rows[::-1]):
            with pytest.raises(ValueError, match="expected rows of the same modalities, got"):
                collate(each)


def test_a_mask_selects_as_its_indices_do():
    mask = np.array([True, False, True, True])
    assert recordings().select(mask).ids == recordings().select(mask.tolist()).ids == recordings().select([0, 2, 3]).ids
    with pytest.raises(ValueError, match="expected a mask of 4 recordings, got 3"):
        recordings().select(mask[1:])
