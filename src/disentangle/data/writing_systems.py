"""Words of scripts with and without blanks between them: how they are counted, and how they are put together.

Chinese, Japanese, Thai, Lao, Khmer and Burmese have no blanks between words. Where their words end, only a dictionary tells,
so each of their letters counts as one, as word processors count Chinese; signs above and below a letter do not count.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

__all__ = ["count_words", "join_words", "letters_and_digits", "on_one_line", "without_blank"]

# Thai and Lao, Burmese, Khmer, and what Chinese and Japanese are written with. Korean has blanks.
BLANKLESS = (
    "\u0e00-\u0eff\u1000-\u109f\uaa60-\uaa7f\u1780-\u17ff\u19e0-\u19ff"
    "\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
ONE = re.compile(f"[{BLANKLESS}]")
PARTS = re.compile(f"[{BLANKLESS}]|[^{BLANKLESS}]+")
# Marks that are as wide as a letter, and hold the blank that is beside others.
WIDE_MARKS = re.compile("[\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]")


def count_words(text: str) -> int:
    """How many words a text has: those between blanks; of scripts without blanks, the letters.

    A mark between blanks counts as a word.

    Example:
        >>> count_words("a well-known 3.5"), count_words("我喜欢Python 3！"), count_words("ที่นี่ดี"), count_words("")
        (3, 5, 3, 0)
    """
    if not ONE.search(text):
        return len(text.split())
    return sum(
        max(1, sum(any(map(str.isalnum, part)) for part in PARTS.findall(between_blanks)))
        for between_blanks in text.split()
    )


def join_words(words: Iterable[str]) -> str:
    """Joins words with blanks, but without one between two words of a script that has none.

    Arguments:
        words: The words, or longer pieces of text; blank ones are passed over.

    Example:
        >>> join_words(["so", "good"]), join_words(["我", "喜欢", "Python", "，", "很"])
        ('so good', '我喜欢 Python，很')
    """
    words = [word for word in words if word]
    with_blanks = " ".join(words)
    if not ONE.search(with_blanks):
        return with_blanks
    blanks = ["" if without_blank(before, word) else " " for before, word in pairwise(words)]
    return "".join(part for pair in zip(["", *blanks], words, strict=True) for part in pair)


def on_one_line(text: str) -> str:
    """Text with one blank for whatever white space there is, and none where a line ends in a script without blanks."""
    return join_words(" ".join(line.split()) for line in text.splitlines())


def without_blank(before: str, after: str) -> bool:
    """Whether no blank belongs between two pieces of text, by the scripts of the letters that are next to it."""
    if WIDE_MARKS.match(before[-1]) or WIDE_MARKS.match(after[0]):
        return True
    last = next((c for c in reversed(before) if c.isalnum()), before[-1])
    first = next((c for c in after if c.isalnum()), after[0])
    return bool(ONE.match(last) and ONE.match(first))


def letters_and_digits(text: str) -> list[str]:
    """The words of a text without any marks in or around them; signs on a letter are part of it.

    Example:
        >>> letters_and_digits("so-so, (2)!"), letters_and_digits("दिल है")
        (['so', 'so', '2'], ['दिल', 'है'])
    """
    kept = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in text)
    return [word for word in kept.split() if any(map(str.isalnum, word))]
