import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disentangle.data.report.checks import normalized
from disentangle.data.writing_systems import count_words, join_words

with_blanks = st.text(st.characters(max_codepoint=0xDFF, blacklist_categories=["Cs"]))


@settings(deadline=None)
@given(with_blanks)
def test_scripts_with_blanks_are_counted_and_joined_by_them(text):
    assert count_words(text) == len(text.split())
    assert join_words(text.split()) == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("我喜欢这部电影", 7),
        ("我喜欢，但是不太长。", 8),  # marks are no letters
        ("我 喜欢 Python 3", 5),
        ("用Python写", 3),
        ("映画が好きです", 7),
        ("カメラ", 3),
        ("ฉันรักคุณ", 6),  # and three signs above and below
        ("영화가 좋아요", 2),  # Korean has blanks
        ("a well-known 3.5 !", 4),
        ("。", 1),  # as "." is
        (" \n", 0),
    ],
)
def test_words_are_counted(text, count):
    assert count_words(text) == count


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), min_size=1), st.data())
def test_chinese_is_one_word_a_letter_however_it_is_cut(text, data):
    assert count_words(text) == len(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert join_words(pieces) == text
    assert normalized(" ".join(pieces)) == normalized("，".join(pieces)) == unicodedata.normalize("NFKC", text)


def test_pieces_of_several_scripts():
    assert join_words(["我", "用", "Python", "，", "很", "好"]) == "我用 Python，很好"
    assert join_words(["ฉัน", "รัก", "คุณ"]) == "ฉันรักคุณ"
    assert join_words(["영화가", "좋아요"]) == "영화가 좋아요"
    assert join_words(["so", "", "good"]) == "so good"


def test_words_that_differ_in_a_sign_are_not_the_same_transcript():
    assert normalized("กิน") != normalized("กัน")
    assert normalized("की") != normalized("का")
