"""Folds the spellings of a text that mean the same: case, accents, digits, dashes, fractions."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_FRACTION: Final = re.compile(r"(?:(\d+) ?)?([¼-¾⅐-⅞])")
_POWER_OF_TEN: Final = re.compile(r"(?<=10)([⁺⁻]?[⁰¹²³⁴-⁹]+)")
_SUPERSCRIPT: Final = re.compile(r"[⁰¹²³⁴-⁹]+")
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_REPLACEMENTS: Final = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63", "-"),
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        "\u2044": "/",  # what the compatibility form of a fraction has
        "\u066b": ".",  # what is written beside Arabic digits
        "\u066c": ",",
        "\u066a": "%",
    }
)


def normalize_text(text: str) -> str:
    """Fold a text so that its words and numbers can be compared.

    Case and accents are dropped, and so are characters that nobody sees, and raised digits, which
    are footnotes or units (``m²``), except in powers of ten (``10^6``). Digits of any script become
    those of ASCII, ``1½`` becomes ``1.5``, and every dash, quote and space the plain one.
    """
    if text.isascii():
        return text.lower()
    text = _FRACTION.sub(_write_out_fraction, text)
    text = _POWER_OF_TEN.sub(lambda match: f"^{unicodedata.normalize('NFKC', match[1])}", text)
    text = _SUPERSCRIPT.sub(" ", text)
    return _NOT_ASCII.sub(_fold_run, text.casefold().translate(_REPLACEMENTS))


def _write_out_fraction(match: re.Match[str]) -> str:
    """Write a fraction that is one character as a decimal number, if it is one."""
    whole, fraction = match[1] or "0", unicodedata.numeric(match[2])
    if (fraction * 8).is_integer() or (fraction * 10).is_integer():
        return f"{int(whole[-15:]) + fraction}" if len(whole) <= 15 else match[0]
    return f"{match[1] or ''} {unicodedata.normalize('NFKC', match[2])}"


def _fold_run(match: re.Match[str]) -> str:
    """Fold a run of characters that are not ASCII."""
    decomposed = unicodedata.normalize("NFKD", match[0])
    if decomposed != match[0]:
        decomposed = decomposed.casefold().translate(_REPLACEMENTS)
    return "".join(map(_fold_character, decomposed))


def _fold_character(char: str) -> str:
    """Fold one character, which may become nothing."""
    if char.isascii():
        return char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    if category == "Cf" or category.startswith("M"):
        return ""
    return " " if category == "Zs" else char
