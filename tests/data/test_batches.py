import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader

from disentangle.data import MixedBatchSampler, RecordingDataset, Recordings, collate, loader
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


@given(
    labeled=st.integers(1, 70),
    unlabeled=st.integers(1, 40),
    batch_size=st.integers(1, 33),
    rate=st.floats(0, 3),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_is_one_pass_over_the_labelled_rows_with_its_share_of_others(
    labeled, unlabeled, batch_size, rate, seed
):
    sampler = MixedBatchSampler(labeled, unlabeled, batch_size=batch_size, unlabeled_rate=rate, seed=seed)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    ours = [i for batch in batches for i in batch if i < labeled]
    assert sorted(ours) == list(range(labeled))
    others = [i - labeled for batch in batches for i in batch if i >= labeled]
    assert all(0 <= i < unlabeled for i in others)
    for batch in batches:
        n = sum(i < labeled for i in batch)
        assert len(batch) - n == round(rate * n)
    whole = len(others) // unlabeled * unlabeled
    for start in range(0, whole, unlabeled):  # drawn without replacement until all are used
        assert sorted(others[start : start + unlabeled]) == list(range(unlabeled))
    assert list(sampler) == batches
    sampler.set_epoch(1)
    again = MixedBatchSampler(labeled, unlabeled, batch_size=batch_size, unlabeled_rate=rate, seed=seed)
    again.set_epoch(1)
    assert list(again) == list(sampler)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = []
    for seed, epoch in [(0, 0), (0, 1), (1, 0)]:
        sampler = MixedBatchSampler(50, seed=seed)
        sampler.set_epoch(epoch)
        orders.append([i for batch in sampler for i in batch])
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labeled": 0}, "labeled >= 1, unlabeled >= 0, batch_size >= 1 and unlabeled_rate >= 0, got 0, 0, 32 and 0.0"),
        ({"labeled": 3, "unlabeled_rate": 1.0}, "expected unlabelled rows for a rate of 1.0, got none"),
    ],
)
def test_sizes_out_of_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MixedBatchSampler(**arguments)
