import numpy as np
import pytest

from disentangle.data import synthetic_recordings


@pytest.fixture(scope="module")
def splits():
    return synthetic_recordings((3000, 20, 20), seed=3)


def test_the_default_has_the_splits_of_mosi():
    assert {name: len(split) for name, split in synthetic_recordings().items()} == {
        "train": 1284,
        "valid": 229,
        "test": 686,
    }


def test_everything_is_a_function_of_the_seed():
    first, again, other = (synthetic_recordings((5, 2, 2), seed=seed) for seed in (1, 1, 2))
    assert first["test"].text == again["test"].text
    assert all(map(np.array_equal, first["train"].sequences["audio"], again["train"].sequences["audio"]))
    assert not np.array_equal(first["train"].labels, other["train"].labels)


def test_the_factors_are_independent_and_standard_normal(splits):
    factors = np.hstack(list(splits["train"].factors.values()))
    assert factors.shape == (3000, 8)
    np.testing.assert_allclose(np.cov(factors.T), np.eye(8), atol=4 * np.sqrt(2 / 3000))


def test_the_label_is_the_stated_sum_up_to_the_stated_noise(splits):
    train = splits["train"]
    f = train.factors
    expected = f["shared"] @ [1, 0.5] + 0.6 * (f["text"][:, 0] + f["audio"][:, 0] + f["vision"][:, 0])
    inside = np.abs(train.labels) < 3
    assert np.std((train.labels - expected)[inside & (np.abs(expected) < 2)]) == pytest.approx(0.3, rel=0.1)
    assert np.abs(train.labels).max() <= 3


def test_lengths_are_in_their_ranges_and_independent(splits):
    train = splits["train"]
    words = [len(text.split()) for text in train.text]
    audio, vision = ([len(x) for x in train.sequences[m]] for m in ("audio", "vision"))
    assert (min(words), max(words)) == (12, 28)
    assert (min(audio), max(audio)) == (24, 56)
    assert abs(np.corrcoef(audio, vision)[0, 1]) < 4 / np.sqrt(3000)


@pytest.mark.parametrize("modality", ["audio", "vision"])
def test_a_modality_shows_its_own_factors_and_not_those_of_others(splits, modality):
    from disentangle import linear_decodability

    train = splits["train"]
    pooled = np.stack([x.mean(0) for x in train.sequences[modality]])
    for name, factor in train.factors.items():
        value = linear_decodability(pooled, factor)
        assert value > 0.5 if name in ("shared", modality) else value < 0.02


def test_other_sequences_are_made_as_the_first_ones_are():
    two, three = (
        synthetic_recordings((50, 2, 2), features=features)["train"]
        for features in ({"audio": 16}, {"audio": 16, "vision": 24, "motion": 12})
    )
    assert (two.feature_sizes, [*two.factors]) == ({"audio": 16}, ["shared", "text", "audio"])
    assert three.feature_sizes == {"audio": 16, "vision": 24, "motion": 12}
    assert three.factors["motion"].shape == (50, 2)


def test_private_factors_depend_on_the_shared_one_as_told_and_their_own_parts_do_not():
    factors = synthetic_recordings((3000, 20, 20), seed=3, dependence=0.6)["train"].factors
    assert [*factors] == ["shared", "text", "audio", "vision", "own text", "own audio", "own vision"]
    u, p, own = factors["shared"], factors["audio"], factors["own audio"]
    np.testing.assert_allclose(p, 0.6 * u + 0.8 * own, atol=1e-5)
    independent = np.hstack([u, *(factors[f"own {m}"] for m in ("text", "audio", "vision"))])
    np.testing.assert_allclose(np.cov(independent.T), np.eye(8), atol=4 * np.sqrt(2 / 3000))


def test_a_dependence_that_no_factor_can_have_is_refused():
    with pytest.raises(ValueError, match="expected a dependence from 0 to below 1, got 1"):
        synthetic_recordings((5, 2, 2), dependence=1.0)
