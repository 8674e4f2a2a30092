"""Each wire format does with each option of a call what its ``option_rules`` declare.

And what they declare is what the provider's documentation says: the record has that, in
``sent_options``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

import attrs
import pytest

from locus.core.call_options import CALL_KEYWORDS, CallOptions
from locus.core.errors import ConfigurationError
from locus.core.option_rules import (
    Carried,
    HandledByLocus,
    OptionRules,
    Refused,
    Translated,
    find_undeclared_options,
)
from locus.testing.formats.option_samples import LOOK_TOOL, SAMPLE_VALUES
from locus.testing.formats.parametrize import each_case
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import LoopbackServer

KEYWORDS: Final = [field.name for field in attrs.fields(CallOptions) if field.name in CALL_KEYWORDS]
"""The keywords, in the order of ``CallOptions``."""

HANDLED_BY_LOCUS: Final = ("timeout", "deadline", "extra_headers", "extra_body")
"""The keywords that no provider's documentation has."""

each_keyword = each_case("keyword", lambda wire: KEYWORDS)


def find_changes(before: Any, after: Any, path: str = "") -> set[str]:
    """Return the paths of the members that two bodies do not have in common."""
    if before == after:
        return set()
    if not isinstance(before, dict | None) or not isinstance(after, dict | None):
        return {path}
    before, after = before or {}, after or {}
    names = before.keys() | after.keys()
    changes = (
        find_changes(before.get(name), after.get(name), f"{path}.{name}".lstrip("."))
        for name in names
    )
    return set[str]().union(*changes)


def get_member(body: Any, path: str) -> Any:
    """Return the member at a path with dots; None if there is none."""
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body


def get_rules(wire: WireFormat) -> OptionRules:
    """Return what the format's builder declares about options."""
    rules = wire.rules
    assert rules is not None, f"{type(wire.builder).__name__} has no option_rules"
    return rules


def remove_expected(changes: set[str], paths: Any) -> set[str]:
    """Return the changes that are in none of the members with these paths."""
    return {
        change
        for change in changes
        if not any(f"{change}.".startswith(f"{path}.") for path in paths)
    }


def check_option(wire: WireFormat, keyword: str) -> None:
    """Check that the format does with an option what it declares, and nothing else."""
    rules = get_rules(wire)
    assert keyword in rules, f"{wire.title} says nothing about {keyword}"
    rule, value = rules[keyword], wire.get_sample(keyword)
    before = wire.build_request()
    if keyword not in {**wire.base_options, **wire.sampling_options}:
        without: dict[str, Any] = {keyword: None}
        assert wire.build_request(**without) == before
    if isinstance(rule, Refused):
        check_refusal(wire, keyword, rule)
        return
    after = wire.build_request(**{keyword: value})
    changes = find_changes(before, after)
    match rule:
        case Carried(member):
            assert get_member(after, member) == value, f"{keyword} is not sent as {member}"
            expected_members: tuple[str, ...] = (member,)
        case Translated(_, members):
            assert changes, f"{keyword} changes nothing"
            expected_members = members
        case HandledByLocus():
            check_handled_option(wire, keyword, before, after)
            return
    assert not remove_expected(changes, expected_members), f"{keyword} changes something else too"


def check_refusal(wire: WireFormat, keyword: str, rule: Refused) -> None:
    """Check that an option is refused, and that harmless values are left out."""
    value = wire.get_sample(keyword)
    with pytest.raises(ConfigurationError) as exc_info:
        wire.build_request(**{keyword: value})
    message = str(exc_info.value)
    assert message.startswith(f"{keyword}={value!r}: ")
    assert get_rules(wire).api in message
    assert rule.reason in message
    assert message.endswith(rule.remedy)
    default = {keyword: value}
    assert not get_rules(wire).remove_refused(default, has_tools=True, defaults=default)
    for harmless in rule.harmless:
        assert wire.build_request(**{keyword: harmless}) == wire.build_request()


def check_handled_option(
    wire: WireFormat, keyword: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Check what Locus does with an option; the models' part is tested below."""
    match keyword:
        case "timeout" | "deadline" | "extra_headers":
            assert after == before
        case "extra_body":
            assert find_changes(before, after) == {f"{wire.extra_body_path}.zq.deep".lstrip(".")}
        case _:
            pytest.fail(f"no test knows how Locus handles {keyword} itself")


@each_keyword
def test_an_option_is_treated_as_declared(wire: WireFormat, keyword: str) -> None:
    check_option(wire, keyword)


@each_keyword
def test_an_option_is_sent_as_the_provider_documents_it(wire: WireFormat, keyword: str) -> None:
    rule = get_rules(wire).get(keyword)
    documented = wire.sent_options.get(keyword)
    if documented is None:
        refused_or_own = isinstance(rule, Refused) or keyword in HANDLED_BY_LOCUS
        assert refused_or_own, (
            f"{keyword}: the record's sent_options say that {wire.title} has none"
        )
        return
    assert rule is not None, f"{wire.title} says nothing about {keyword}"
    assert not isinstance(rule, Refused), f"{wire.title} has {keyword}, and the builder refuses it"
    value = json.loads(json.dumps(wire.get_sample(keyword)))
    members: Mapping[str, Any] = {documented: value} if isinstance(documented, str) else documented
    before, after = wire.build_request(), wire.build_request(**{keyword: value})
    for path, expected in members.items():
        found = get_member(after, path)
        if expected is ...:
            assert found != get_member(before, path), f"{keyword} does not change {path}"
        else:
            assert found == expected, f"{keyword} is not sent as the provider documents {path}"
    assert not remove_expected(find_changes(before, after), members), f"{keyword} sends more"


def test_the_record_knows_only_options_that_there_are(wire: WireFormat) -> None:
    assert wire.sent_options.keys() <= CALL_KEYWORDS
    assert wire.option_samples.keys() <= CALL_KEYWORDS


@attrs.frozen(kw_only=True)
class FutureOptions(CallOptions):
    """The options of a call, and one more."""

    zq_effort: str | None = None


def test_a_new_option_is_refused_until_the_format_declares_it(
    wire: WireFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_keywords = CALL_KEYWORDS | {"zq_effort"}
    assert find_undeclared_options(wire.rules, new_keywords) == {"zq_effort"}
    # The test above fails by the format's name and the keyword's …
    with pytest.raises(AssertionError, match=f"{wire.title} says nothing about zq_effort"):
        check_option(wire, "zq_effort")
    # … and until the format declares something, a call is refused rather than sent without it.
    for module in list(sys.modules.values()):
        if vars(module).get("CallOptions") is CallOptions and module.__name__ != __name__:
            monkeypatch.setattr(module, "CallOptions", FutureOptions)
    with pytest.raises(ConfigurationError, match=r"zq_effort='high': .* does not declare"):
        wire.build_request(zq_effort="high")
    assert wire.build_request(zq_effort=None) == wire.build_request()


def test_every_keyword_is_declared_and_no_other(wire: WireFormat) -> None:
    assert not find_undeclared_options(wire.rules, CALL_KEYWORDS)
    assert set(get_rules(wire)) == CALL_KEYWORDS


def test_every_keyword_has_a_sample() -> None:
    assert set(SAMPLE_VALUES) == CALL_KEYWORDS


@each_keyword
def test_the_model_keeps_to_the_rules_of_its_format(
    wire: WireFormat, keyword: str, server: LoopbackServer
) -> None:
    model = wire.make_model(server)
    rules, value = get_rules(wire), wire.get_sample(keyword)
    if isinstance(rules[keyword], Refused):
        for ask in (model.request, lambda _, tools, **options: model.bind_tools(tools, **options)):
            with pytest.raises(ConfigurationError, match=f"^{keyword}=") as exc_info:
                ask("x", [LOOK_TOOL], **{keyword: value})
            assert rules.api in str(exc_info.value)
        assert model.request("x", **{keyword: None})
        return
    bound = model.bind_tools([LOOK_TOOL], **{keyword: value})
    body = model.request("x", [LOOK_TOOL], **{keyword: value})
    rule = rules[keyword]
    if isinstance(rule, Carried):
        assert get_member(body, rule.member) == json.loads(json.dumps(value))
    assert bound.request("x") == body
    server.always(wire.build_reply())
    bound.complete_sync("x")
    assert server.requests[-1].json() == body
    if keyword == "extra_headers":
        assert server.requests[-1].headers["x-zq"] == "1"


def test_a_stream_s_request_differs_in_nothing_else(wire: WireFormat) -> None:
    rules = get_rules(wire)
    options = {
        keyword: wire.get_sample(keyword)
        for keyword in KEYWORDS
        if not isinstance(rules.get(keyword, Refused("")), Refused)
        and keyword not in ("provider_state", "response_format")
    }
    for one_option in (*({keyword: options[keyword]} for keyword in options), options, {}):
        complete = wire.build_request(**one_option, stream=False)
        streamed = wire.build_request(**one_option, stream=True)
        changes = find_changes(complete, streamed)
        assert not remove_expected(changes, wire.stream_members), (
            f"a stream's request differs from that of a complete response, for {one_option}"
        )
        for path, expected in wire.stream_members.items():
            assert get_member(streamed, path) == expected
