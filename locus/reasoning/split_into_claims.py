"""Splits an answer into its claims: sentences, lines, rows of tables, or the scalars of JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from locus.reasoning.find_figures import has_figure
from locus.reasoning.find_word_stems import find_words, select_stems
from locus.reasoning.normalize_text import normalize_text

_SENTENCE_END: Final = re.compile(
    r"[.!?…\u061f\u06d4\u0964][\"'\u201d\u2019\u00bb)\]*_]*+(?=\s++(?![a-z0-9]))"
    r"|[\u3002\uff01\uff1f]"
)
_FENCE: Final = re.compile(r"\s*(?:```+|~~~+)\s*([\w+#.-]*)")
_FENCED_DOCUMENT: Final = re.compile(
    r"```(?:json\w*+)?[^\S\n]*+\n(.*)\n[^\S\n]*+```", re.DOTALL | re.IGNORECASE
)
_TEXTUAL_FENCES: Final = frozenset(
    """
    csv html json json5 jsonc jsonl log logs markdown md output plain plaintext text toml tsv txt
    xml yaml yml
    """.split()  # noqa: SIM905
)
"""What is fenced under these names is text, and under others it is program code."""
_HEADING: Final = re.compile(r"\s{0,3}#{1,6}\s")
_TABLE_RULE: Final = re.compile(r"\s*+\|?\s*+:?-++:?\s*+(?:\|\s*+:?-++:?\s*+)*+\|?\s*+")
_LIST_MARK: Final = re.compile(
    r"^\s*(?:(?:[-*+•>|]+|\(?\d{1,3}[.)]"
    r"|\W{0,3}(?:Step|Option|Item|Point|Part) \d{1,2}[.:)]\W{0,3})\s+)*(?:\[[ xX]\]\s+)?"
)
_MARKS_AROUND: Final = " \t*_`\"'\u201c\u201d\u2019\u00bb)]"
_ENDS_OF_NO_CLAIM: Final = ("?", "\uff1f", "\u061f", ":", "\uff1a")
_ADMISSION: Final = re.compile(
    r"""
    \b(?:(?:could|can|did|do|does|was|were|is|are|have|has)(?:[ ]not|n't)|cannot|unable[ ]to)[ ]
        (?:\w+[ ])?(?:find|found|locate|know|known|determine|have|contain|include|mention|mentioned
        |provide|provided|specify|specified|state|stated|say|tell|confirm|verify|available|able)\b
    |\b(?:no|not[ ]enough|insufficient|any)[ ](?:\w+[ ])?
        (?:information|data|details?|results?|records?|evidence|mention)\b
    |\b(?:unknown|unavailable|not[ ](?:available|known|stated|specified|given))\b
    """,
    re.VERBOSE,
)
_CONTRAST: Final = re.compile(r"\b(?:but|however|although|though|while|whereas|because|since)\b|;")


def split_into_claims(answer: str) -> tuple[str, ...]:
    """Split an answer into its claims.

    No claims are: questions, headings, program code, sentences without a significant word, such as
    courtesies, and those that only admit that something was not found.
    """
    document = _decode_json_document(answer)
    candidates = _iter_sentences(answer) if document is None else _iter_scalars(document, "")
    return tuple(claim for claim in candidates if _is_claim(claim, is_text=document is None))


def collect_member_names(answer: str) -> str:
    """Collect the names of the members of an answer in JSON; empty if it is not JSON.

    They come from the schema, so they are no part of what the answer claims.
    """
    return " ".join(_iter_member_names(_decode_json_document(answer)))


def _iter_member_names(value: Any) -> Iterator[str]:
    """Iterate over the names of the members of a JSON document, however deep."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield str(name)
            yield from _iter_member_names(member)
    elif isinstance(value, list):
        for member in value:
            yield from _iter_member_names(member)


def _decode_json_document(answer: str) -> Any:
    """Decode an answer that is a JSON object or array, bare or fenced; None if it is neither."""
    text = answer.strip()
    fenced = _FENCED_DOCUMENT.fullmatch(text)
    if fenced is not None:
        text = fenced[1].strip()
    if not text.startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _iter_scalars(value: Any, name: str) -> Iterator[str]:
    """Iterate over the scalars of a JSON document, each after the name of its member."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _iter_scalars(member, str(key))
    elif isinstance(value, list):
        for member in value:
            yield from _iter_scalars(member, name)
    elif isinstance(value, str):
        yield value
    elif value is not None and not isinstance(value, bool):
        yield f"{name}: {value}" if name else str(value)


def _iter_sentences(text: str) -> Iterator[str]:
    """Iterate over the sentences and the lines of a text, without the marks of lists."""
    for line in _iter_lines_with_claims(text.splitlines()):
        for sentence in _split_at_sentence_ends(_LIST_MARK.sub("", line)):
            if sentence and not sentence.rstrip(_MARKS_AROUND).endswith(_ENDS_OF_NO_CLAIM):
                yield sentence


def _split_at_sentence_ends(line: str) -> Iterator[str]:
    """Split a line after its sentences; one that begins with a small letter or digit is none."""
    start = 0
    for match in _SENTENCE_END.finditer(line):
        yield line[start : match.end()].strip()
        start = match.end()
    yield line[start:].strip()


def _iter_lines_with_claims(lines: list[str]) -> Iterator[str]:
    """Iterate over lines, without headings, fences, program code and the heads of tables."""
    is_fenced = is_code = False
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if fence is not None:
            is_fenced = not is_fenced
            is_code = is_fenced and bool(fence[1]) and fence[1].lower() not in _TEXTUAL_FENCES
        elif is_fenced:
            if not is_code:
                yield line
        elif not _HEADING.match(line) and not _is_head_of_table(lines, number):
            yield line


def _is_head_of_table(lines: list[str], number: int) -> bool:
    """Whether a line is the head of a table, or the rule below it."""
    line, below = lines[number], lines[number + 1] if number + 1 < len(lines) else ""
    if "|" not in line:
        return False
    return bool(_TABLE_RULE.fullmatch(line) or ("|" in below and _TABLE_RULE.fullmatch(below)))


def _is_claim(candidate: str, *, is_text: bool) -> bool:
    """Whether a sentence has a figure or a significant word, and says something by it.

    :param is_text: whether it is a sentence, and not a value in a JSON document.
    """
    normalized = normalize_text(candidate)
    if has_figure(normalized):
        return True
    if not select_stems(find_words(normalized)):
        return False
    return not is_text or not _ADMISSION.search(normalized) or bool(_CONTRAST.search(normalized))
