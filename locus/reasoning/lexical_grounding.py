"""Rules that find the claims of an answer and compare their words with the evidence: no model.

A claim is a sentence, a line of a list, or a scalar of an answer in JSON. It is supported if every
number in it is in the evidence, and enough of its other significant words. So the rules see a wrong
figure or an invented name; they do not see a "not", nor a fact in other words. They are made for
English, and compare the words of any language that puts spaces between them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

_SENTENCE_END: Final = re.compile(r"(?<=[.!?…])[\"')\]*]*\s+(?![a-z0-9])|(?<=[\u3002\uff01\uff1f])")
_LIST_MARK: Final = re.compile(r"^\s*(?:[-*+•#>|]+|\(?\d{1,3}[.)])\s+")
_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")
_WORD: Final = re.compile(r"[^\W\d_]+")
_JSON_ESCAPES: Final = re.compile(r"(?:\\(?:[\"\\/bfnrt]|u[0-9a-fA-F]{4}))+")
_MAX_NESTED_ENCODINGS: Final = 3
_MIN_WORD_LENGTH: Final = 3
_STEM_LENGTH: Final = 5
_FUNCTION_WORDS: Final = frozenset(
    """
    a about above according after again all also although am an and answer any are around as at
    back based be because been before being below between both but by can cannot come could
    currently did do does doing done down during each either else even every few for found from
    further get give given go going got had has have having he hello help hence her here hers him
    his how however i if in indeed information into is it its just know let like made make may me
    might more most much must my need new next no nor not now of off ok okay on once one only or
    other our out over own per please provide provided question really result results said same
    say says see seems shall she should show shown shows since so some still such sure than thank
    thanks that the their them then there these they thing things this those though through thus
    to today together too tool tools under until up upon us use used using very was we welcome
    well were what when where whether which while who whom whose why will with within without
    would yes yet you your
    """.split()  # noqa: SIM905
)


def split_into_claims(answer: str) -> tuple[str, ...]:
    """Split an answer into its claims.

    Questions and sentences without a significant word, such as courtesies, are no claims.
    """
    document = _decode_json_document(answer)
    candidates = _iter_sentences(answer) if document is None else _iter_scalars(document, "")
    return tuple(claim for claim in candidates if _has_content(claim))


def is_claim_supported(claim: str, evidence: str, context: str, min_overlap: float) -> bool:
    """Whether the evidence has every number of a claim, and enough of its significant words.

    :param context: the question. Words that a claim repeats of it count neither for it nor against
        it, unless the claim has nothing else.
    :param min_overlap: the share of the words that have to be there, from 0 to 1.
    """
    numbers = _find_numbers(claim)
    if not numbers <= _find_numbers(evidence):
        return False
    all_words, evidence_words = _find_word_stems(claim), _find_word_stems(evidence)
    words = all_words - (_find_word_stems(context) - evidence_words)
    if not words and not numbers:
        words = all_words
    return len(words & evidence_words) >= min_overlap * len(words)


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
    """Decode an answer that is a JSON object or array; None if it is neither."""
    text = answer.strip()
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
    for line in text.splitlines():
        for sentence in _SENTENCE_END.split(_LIST_MARK.sub("", line)):
            sentence = sentence.strip()
            if sentence and not sentence.endswith(("?", "\uff1f", ":")):
                yield sentence


def _has_content(sentence: str) -> bool:
    """Whether a sentence has a number or a significant word."""
    return bool(_find_numbers(sentence) or _find_word_stems(sentence))


def _find_numbers(text: str) -> frozenset[str]:
    """Find the numbers of a text, in a form that is the same for 1,000 and 1000, 2.50 and 2.5."""
    return frozenset(_normalize_number(match[0]) for match in _NUMBER.finditer(_normalize(text)))


def _normalize_number(number: str) -> str:
    """Remove separators of thousands, leading zeros, and zeros at the end of a decimal fraction."""
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", number):
        number = number.replace(",", "")
    whole, point, decimals = number.partition(".")
    if point and decimals.isdigit():
        decimals = decimals.rstrip("0")
        number = f"{whole}.{decimals}" if decimals else whole
    return number.lstrip("0") or "0"


def _find_word_stems(text: str) -> frozenset[str]:
    """Find the significant words of a text, each by its beginning, so that endings do not count."""
    words = (match[0] for match in _WORD.finditer(_normalize(text)))
    return frozenset(
        word[:_STEM_LENGTH]
        for word in words
        if word not in _FUNCTION_WORDS and (len(word) >= _MIN_WORD_LENGTH or not word.isascii())
    )


def _normalize(text: str) -> str:
    """Fold the case and the compatibility forms of a text, and drop accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char))
