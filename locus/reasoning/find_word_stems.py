"""Finds the significant words of a text, each in a form that its endings do not change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_HAN: Final = "㐀-䶿一-鿿"
_KATAKANA: Final = "ァ-ヺー"
_WORD: Final = re.compile(rf"[{_HAN}]|[{_KATAKANA}]+|[^\W\d_ぁ-ゖ{_HAN}{_KATAKANA}]+")
_SHORT_WORD: Final = re.compile(rf"[{_HAN}]|[\u0900-\uffff]{{2}}")
"""A word that is not too short to be significant: in some scripts a letter is a syllable."""
_CONTRACTION: Final = re.compile(r"(?:n't|'(?:s|ll|re|ve|d|m))(?![^\W_])")
_MIN_WORD_LENGTH: Final = 3
_STEM_LENGTH: Final = 5
_FUNCTION_WORDS: Final = frozenset(
    """
    a about above absolutely according after again all also although always am an and answer any
    anything are around as ask asking assist assistant at back based be because been before being
    below between both but by can cannot certainly cheers come conclusion consist consists contain
    contained contains could currently day detail details did do does doing done down during each
    either else enjoy even every everything feel few finally find follow following follows for found
    free from further get give given glad go going got great had happy has have having he hello help
    helped helpful helping helps hence her here hers hesitate hi him his hope how however i if in
    include included includes including indeed information into is it its just know let like likely
    list listed lists made make many may me mention mentioned might more moreover most much must my
    need needed needs new next no nor not note nothing now of off ok okay on once one only or other
    our out over overall own per perhaps please possible possibly probably provide provided question
    questions quite rather really regarding reply request requested result results said same say
    says search see seems shall she should show showed showing shown shows since so some something
    sorry specific still such summary sure than thank thanks that the their them then there
    therefore these they thing things think this those though through thus to today together too
    tool tools under unfortunately until up upon us use used using very was we welcome well were
    what when where whether which while who whom whose why will wish with within without would yes
    yet you your
    的 了 是 在 有 和 与 也 不 这 那 我 你 您 他 她 们 吗 呢 吧 就 都 而 及 其 之 为 于 被 把 以 到
    """.split()  # noqa: SIM905
)
_NUMBER_WORDS: Final = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen twenty
    """.split()  # noqa: SIM905
_VALUES_OF_NUMBER_WORDS: Final = {word: value for value, word in enumerate(_NUMBER_WORDS)}
_NEGATIVE_WORDS: Final = frozenset(
    """
    below cut debt decline declined declining decrease decreased deficit down drop dropped drops
    fall fallen falls fell less loses losing loss losses lost lower minus negative overdraft
    overdrawn owe owed owes reduced reduction shrank short shrink under
    """.split()  # noqa: SIM905
)


def find_words(normalized: str) -> frozenset[str]:
    """Find the words of a normalized text. In a script without spaces a character may be one."""
    return frozenset(_WORD.findall(_CONTRACTION.sub("", normalized)))


def select_stems(words: frozenset[str]) -> frozenset[str]:
    """Select the significant ones of some words, and return the stem of each."""
    return frozenset(
        stem_word(word)
        for word in words - _FUNCTION_WORDS
        if len(word) >= _MIN_WORD_LENGTH or _SHORT_WORD.fullmatch(word)
    )


def select_values(words: frozenset[str]) -> frozenset[int]:
    """Select the words that are numbers, and return these."""
    return frozenset(value for word, value in _VALUES_OF_NUMBER_WORDS.items() if word in words)


def has_negative_word(words: frozenset[str]) -> bool:
    """Whether some words say that a number goes down, or below zero."""
    return not words.isdisjoint(_NEGATIVE_WORDS)


def get_value(stem: str) -> int | None:
    """Return the value of a stem that is a number; None if it is none."""
    return _VALUES_OF_NUMBER_WORDS.get(stem)


def iter_related_stems(stem: str) -> Iterator[str]:
    """Iterate over a stem and its beginnings, which may be a short form or another ending of it.

    Such as ``temp`` in the name of a member in JSON.
    """
    shortest = _STEM_LENGTH - 1 if stem.isascii() else max(_MIN_WORD_LENGTH, len(stem) - 2)
    for length in range(len(stem), min(shortest, len(stem)) - 1, -1):
        yield stem[:length]


def is_negative_stem(stem: str) -> bool:
    """Whether a stem is one of a word that a negative number stands for."""
    return stem in _NEGATIVE_STEMS


def stem_word(word: str) -> str:
    """Return the beginning of a word, without the endings of English plurals and verbs."""
    if word in _VALUES_OF_NUMBER_WORDS:
        return word
    if word.isascii():
        word = _remove_endings(word)
    return word[:_STEM_LENGTH]


def _remove_endings(word: str) -> str:
    """Remove the endings, as far as a short word needs it: ``rooms``, ``cities``, ``used``."""
    if len(word) > 4 and word.endswith("ies"):
        word = f"{word[:-3]}y"
    elif len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
        word = word[:-2]
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    if len(word) > 5 and word.endswith("ing"):
        word = word[:-3]
    elif len(word) > 4 and word.endswith("ed"):
        word = word[:-2]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    if len(word) > 3 and word[-1] == "e":
        word = word[:-1]
    return f"{word[:-1]}i" if word.endswith("y") else word


_NEGATIVE_STEMS: Final = frozenset(map(stem_word, _NEGATIVE_WORDS)) | {"zero"}
