"""Rules that compare the words and the figures of claims with the evidence: no model.

A claim is supported if every figure in it is in the evidence, in whatever notation, and enough of
its other significant words. So the rules see a wrong figure or an invented name; they do not see a
"not", nor a fact in other words. They are made for English, and compare the words of any language
that puts spaces between them, and the characters of Chinese.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable
from decimal import Context, Decimal
from functools import cached_property
from typing import Final

import attrs

from locus.reasoning.figure_items import Absence, Item, Quantity
from locus.reasoning.find_figures import iter_items, split_figures
from locus.reasoning.find_word_stems import (
    find_words,
    get_value,
    has_negative_word,
    is_negative_stem,
    iter_related_stems,
    select_stems,
    select_values,
)
from locus.reasoning.normalize_text import normalize_text
from locus.reasoning.split_into_claims import collect_member_names, split_into_claims

_JSON_ESCAPES: Final = re.compile(r"(?:\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4}))+")
_MAX_NESTED_ENCODINGS: Final = 3
_CITATION: Final = re.compile(r"\[([\w^.:-]{1,80}(?:, ?[\w^.:-]{1,80})*)\]|【[^】]{1,40}】")
_CONTEXT: Final = Context(prec=60, Emax=10**9, Emin=-(10**9))
_MAX_ROUNDED_DIGITS: Final = 30


@attrs.frozen(eq=False, slots=False)
class EvidenceIndex:
    """The words and figures of evidence, read once and then looked up for each claim.

    :param values: the numbers.
    :param parts: the numbers that are only parts of figures, such as the 1 of db1.
    :param marks: dates, times, and names with digits.
    :param stems: the stems of the significant words.
    :param labels: the labels of the items, which an answer may cite in brackets.
    :param is_negative: whether a word says that a number goes down, or below zero.
    """

    values: frozenset[Decimal]
    parts: frozenset[Decimal]
    marks: frozenset[str]
    stems: frozenset[str]
    labels: frozenset[str]
    is_negative: bool

    @cached_property
    def _sorted_values(self) -> list[Decimal]:
        return sorted(self.values)

    @cached_property
    def _has_negative_value(self) -> bool:
        return any(map(Decimal.is_signed, self.values))

    def has_item(self, item: Item, is_negative_claim: bool) -> bool:
        """Whether an item of a claim's figure is in the evidence.

        :param is_negative_claim: whether the words of the claim make its numbers negative.
        """
        if isinstance(item, Absence):
            return item.mark not in self.marks
        if isinstance(item, str):
            return item in self.marks or item in self.stems
        if self._has_value(item):
            return True
        is_negative = item.value.is_signed()
        if not (self.is_negative if is_negative else is_negative_claim):
            return False
        return self._has_value(attrs.evolve(item, value=item.value.copy_negate()))

    def has_stem(self, stem: str) -> bool:
        """Whether the stem of a word is in the evidence, or the number that it means."""
        if not self.stems.isdisjoint(iter_related_stems(stem)) or get_value(stem) in self.values:
            return True
        return is_negative_stem(stem) and (
            self.is_negative or any(map(Decimal.is_signed, self._sorted_values[:1]))
        )

    def _has_value(self, quantity: Quantity) -> bool:
        """Whether a number is in the evidence, or one that is rounded to it."""
        value, step = quantity.value, quantity.step
        if value in self.values or (not quantity.is_part and value in self.parts):
            return True
        digits = len(value.as_tuple().digits)
        is_exact = quantity.is_part or not step or (digits == 1 and step == 1)
        if is_exact or not value or digits > _MAX_ROUNDED_DIGITS:
            return False  # a count such as 1 is not 0.98
        half = _CONTEXT.divide(step, Decimal(2))
        position = bisect_left(self._sorted_values, _CONTEXT.subtract(value, half))
        return position < len(self._sorted_values) and (
            self._sorted_values[position] <= _CONTEXT.add(value, half)
        )


def index_evidence(text: str, labels: Iterable[str]) -> EvidenceIndex:
    """Read the words and figures of evidence.

    :param labels: the labels of its items, which are no part of the text.
    """
    normalized = normalize_text(resolve_json_escapes(text))
    words = find_words(normalized)
    values: set[Decimal] = {Decimal(value) for value in select_values(words)}
    parts: set[Decimal] = set()
    marks: set[str] = set()
    for item in iter_items(normalized):
        if isinstance(item, Quantity):
            (parts if item.is_part else values).add(item.value)
        else:
            marks.add(item.mark if isinstance(item, Absence) else item)
    return EvidenceIndex(
        frozenset(values),
        frozenset(parts),
        frozenset(marks),
        select_stems(words).union(mark for mark in marks if mark.isalpha()),
        frozenset(normalize_text(label) for label in labels),
        has_negative_word(words),
    )


def check_claims(
    answer: str, evidence: EvidenceIndex, question: str, min_overlap: float
) -> tuple[list[str], list[str]]:
    """Split an answer into its claims; return those that the evidence supports, and the others.

    :param question: its words count neither for a claim that repeats them nor against it, unless
        the claim has nothing else.
    :param min_overlap: the share of a claim's words that have to be there, from 0 to 1.
    """
    context = normalize_text(f"{question} {collect_member_names(answer)}")
    disregarded = select_stems(find_words(context)) - evidence.stems
    grounded: list[str] = []
    ungrounded: list[str] = []
    for claim in split_into_claims(answer):
        is_supported = _is_claim_supported(claim, evidence, disregarded, min_overlap)
        (grounded if is_supported else ungrounded).append(claim)
    return grounded, ungrounded


def _is_claim_supported(
    claim: str, evidence: EvidenceIndex, disregarded: frozenset[str], min_overlap: float
) -> bool:
    """Whether the evidence has every figure of a claim, and enough of its significant words."""
    normalized = _remove_citations(normalize_text(claim), evidence.labels)
    is_negative = has_negative_word(find_words(normalized))
    figures, rest = split_figures(normalized)
    for readings in figures:
        if not any(
            all(evidence.has_item(item, is_negative) for item in reading) for reading in readings
        ):
            return False
    all_stems = select_stems(find_words(rest))
    stems = all_stems - disregarded
    if not stems and not figures:
        stems = all_stems
    return sum(map(evidence.has_stem, stems)) >= min_overlap * len(stems)


def _remove_citations(normalized: str, labels: frozenset[str]) -> str:
    """Remove the labels of evidence that a claim cites in brackets, and marks of footnotes."""

    def remove(match: re.Match[str]) -> str:
        cited = re.split(", ?", match[1] or "")
        is_citation = all(label[:1] in ("", "^") or label in labels for label in cited)
        return "[]" if is_citation else match[0]

    return _CITATION.sub(remove, normalized)


def resolve_json_escapes(evidence: str) -> str:
    """Add the evidence without the escapes of JSON, such as ``\\n``, to the evidence as it is.

    The results of tools are JSON, or hold JSON, or JSON in JSON: without this, the word after an
    escaped line break would begin with an ``n``. The text as it is stays, because a backslash need
    not be an escape, as in a path of Windows.
    """
    texts = [evidence]
    for _ in range(_MAX_NESTED_ENCODINGS):
        resolved = _JSON_ESCAPES.sub(lambda match: json.loads(f'"{match[0]}"'), texts[-1])
        if resolved == texts[-1]:
            break
        texts.append(resolved)
    return "\n".join(texts)
