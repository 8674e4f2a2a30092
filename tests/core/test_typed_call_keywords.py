"""The keywords that type checkers know are those that calls take."""

from __future__ import annotations

import typing

from locus.core.call_options import CALL_KEYWORDS, STOP_ALIAS
from locus.core.typed_call_keywords import CallKeywords


def test_each_keyword_of_a_call_has_a_type() -> None:
    assert typing.get_type_hints(CallKeywords).keys() == CALL_KEYWORDS | {STOP_ALIAS}
