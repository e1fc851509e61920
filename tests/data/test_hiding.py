from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle import SequenceEncoder
from disentangle.data import RecordingDataset, Recordings, collate, draw_hidden, hide, noise_like
from disentangle.nn.backbones import tiny_backbone

TEXTS = ["a good film", "", "bad and long and loud", "good"]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_backbone(TEXTS * 5)[1]


def recordings():
    draw = np.random.default_rng(0)
    audio = [draw.normal(size=(n, 2)).astype(np.float32) for n in (3, 2, 0, 5)]
    return Recordings(
        text=TEXTS, sequences={"audio": audio, "vision": audio[::-1]}, labels=np.arange(4, dtype=np.float32)
    )


def batch_of(source, tokenizer):
    rows = RecordingDataset(source, tokenizer)
    return collate([rows[i] for i in range(len(rows))])


presences = st.integers(1, 4).flatmap(
    lambda m: st.lists(st.lists(st.booleans(), min_size=m, max_size=m), min_size=1, max_size=20)
)


@given(rows=presences, probability=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_row_loses_at_most_one_modality_that_it_has_and_never_its_last(rows, probability, seed):
    has = torch.tensor(rows)
    present = {f"m{i}": column for i, column in enumerate(has.unbind(1))}
    hidden = draw_hidden(present, probability, generator=torch.Generator().manual_seed(seed))
    assert list(hidden) == list(present)
    loses = torch.stack([*hidden.values()], 1)
    assert not (loses & ~has).any()
    assert (loses.sum(1) <= 1).all()
    assert ((has & ~loses).any(1) == has.any(1)).all()
    again = draw_hidden(present, probability, generator=torch.Generator().manual_seed(seed))
    assert all(torch.equal(again[name], rows) for name, rows in hidden.items())


def test_each_modality_that_a_row_has_is_hidden_as_often_as_the_probability_says():
    n = 40_000
    present = {"text": torch.ones(n).bool(), "audio": torch.ones(n).bool(), "vision": torch.arange(n) < n // 2}
    hidden = draw_hidden(present, 0.6, generator=torch.Generator().manual_seed(0))
    first = [float(rows[: n // 2].float().mean()) for rows in hidden.values()]
    second = [float(rows[n // 2 :].float().mean()) for rows in hidden.values()]
    assert first == pytest.approx([0.2, 0.2, 0.2], abs=0.012)  # four standard errors are 0.011
    assert second == pytest.approx([0.3, 0.3, 0.0], abs=0.014)
    assert not any(rows.any() for rows in draw_hidden(present, 0.0).values())
    certain = draw_hidden(present, 1.0)
    assert (torch.stack([*certain.values()]).sum(0) == 1).all()


def test_what_a_draw_cannot_be_made_of_is_said():
    with pytest.raises(ValueError, match="expected the rows of one modality or more, got none"):
        draw_hidden({}, 0.5)
    with pytest.raises(ValueError, match=r"expected a probability of 0 to 1, got 1\.5"):
        draw_hidden({"text": torch.ones(2).bool()}, 1.5)


def test_a_batch_in_which_something_is_hidden_is_that_of_recordings_without_it(tokenizer):
    source = recordings()
    batch = batch_of(source, tokenizer)
    hidden = {"text": torch.tensor([False, True, True, False]), "audio": torch.tensor([True, False, True, False])}
    none = np.zeros((0, 2), np.float32)
    without = replace(
        source,
        text=["" if gone else text for text, gone in zip(TEXTS, hidden["text"], strict=True)],
        sequences={
            **source.sequences,
            "audio": [none if gone else x for x, gone in zip(source.sequences["audio"], hidden["audio"], strict=True)],
        },
    )
    ours, expected = hide(batch, hidden), batch_of(without, tokenizer)
    for name, ids in expected.tokens.items():
        assert torch.equal(ours.tokens[name][:, : ids.shape[1]], ids)
    assert not ours.tokens["attention_mask"][:, expected.tokens["input_ids"].shape[1] :].any()
    for mine, theirs in [
        (ours.words, expected.words),
        *((ours.sequences[m], expected.sequences[m]) for m in source.sequences),
    ]:
        steps = theirs.mask.shape[1]
        assert torch.equal(mine.values[:, :steps], theirs.values)
        assert torch.equal(mine.mask[:, :steps], theirs.mask)
        assert not mine.mask[:, steps:].any()
    assert all(torch.equal(ours.present[name], rows) for name, rows in expected.present.items())
    assert torch.equal(ours.labels, expected.labels)
    assert torch.equal(ours.labeled, expected.labeled)
    assert (ours.lengths >= expected.lengths).all()


def test_hiding_leaves_the_batch_and_the_other_modalities_as_they_are(tokenizer):
    batch, untouched = (batch_of(recordings(), tokenizer) for _ in range(2))
    seen = hide(batch, {"audio": torch.ones(4).bool()})
    assert torch.equal(batch.sequences["audio"].mask, untouched.sequences["audio"].mask)
    assert torch.equal(batch.present["audio"], untouched.present["audio"])
    assert seen.sequences["vision"] is batch.sequences["vision"]
    assert seen.words is batch.words
    assert seen.tokens is batch.tokens
    assert not seen.sequences["audio"].mask.any()
    assert not seen.rows("audio").numel()
    with pytest.raises(
        ValueError, match=r"expected modalities of the batch, \['audio', 'text', 'vision'\], got \['smell'\]"
    ):
        hide(batch, {"smell": torch.ones(4).bool()})


def test_the_encoder_gets_no_gradient_from_what_is_hidden(tokenizer):
    batch = batch_of(recordings(), tokenizer)
    values = batch.sequences["audio"].values.requires_grad_()
    rows = torch.tensor([True, False, False, False])
    encoder = SequenceEncoder(2, 3)
    encoder(*hide(batch, {"audio": rows}).sequences["audio"]).sum().backward()
    assert not values.grad[rows].any()
    assert values.grad[~rows & batch.present["audio"]].any()


def test_noise_has_the_scale_of_the_latent_and_tells_nothing_of_it():
    torch.manual_seed(0)
    latent = (torch.tensor([3.0, -1.0]) + torch.tensor([2.0, 0.1]) * torch.randn(20_000, 2)).requires_grad_()
    noise = noise_like(latent)
    torch.testing.assert_close(noise.mean(0), torch.tensor([3.0, -1.0]), atol=0.08, rtol=0)
    torch.testing.assert_close(noise.std(0), torch.tensor([2.0, 0.1]), atol=0, rtol=0.04)
    assert torch.corrcoef(torch.cat([noise, latent.detach()], 1).T)[:2, 2:].abs().max() < 0.03  # four standard errors
    assert not noise.requires_grad


def test_noise_is_that_of_the_rows_which_have_the_latent():
    present = torch.arange(1000) % 5 == 0
    latent = torch.where(present[:, None], 5.0 + 0.5 * torch.randn(1000, 2), 0.0)
    noise = noise_like(latent, present)
    torch.testing.assert_close(noise.mean(0), torch.full((2,), 5.0), atol=0.2, rtol=0)
    torch.testing.assert_close(noise.std(0), torch.full((2,), 0.5), atol=0.1, rtol=0)


def test_noise_of_a_single_row_is_not_that_row():
    row = torch.randn(1, 2000)
    told = torch.corrcoef(torch.cat([noise_like(3.0 * row), row]))[0, 1]
    assert abs(told) < 0.1
    torch.testing.assert_close(noise_like(3.0 * row).std(), torch.tensor(3.0), rtol=0.2, atol=0)
    assert not noise_like(torch.zeros(2, 4), torch.zeros(2, dtype=torch.bool)).any()
