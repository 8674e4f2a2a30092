"""``OptionRules``: what a wire format does with each option of a call.

A request builder has such rules as ``option_rules``. Each keyword of
:class:`~locus.core.call_options.CallOptions` is carried, translated, refused, or handled by Locus
itself. A keyword without a rule is refused, so none is ever left out in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

import attrs

from locus.core.call_options import INTERNAL_OPTIONS
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY, FrozenDict

_MAX_SHOWN_CHARACTERS: Final = 80
"""Up to how many characters of a refused value an error message shows."""


@attrs.frozen
class Carried:
    """The value is sent unchanged as one member of the JSON body.

    :param member: the path of the member, with dots: ``"options.num_predict"``.
    :param note: for which models or values something else happens.
    :param other_member: a second member that some models want in place of the first.
    :param required: whether the API, or what the model promises, cannot do without the member.
    """

    member: str
    note: str = ""
    other_member: str = ""
    required: bool = False

    def describe(self) -> str:
        """Describe the rule, for a cell of the table in the documentation."""
        return f"`{self.member}`" + (f"; {self.note}" if self.note else "")


@attrs.frozen
class Translated:
    """The value is sent in another form. A builder may refuse values that it cannot translate.

    :param how: the form, for readers of the documentation.
    :param members: the paths of the members that depend on it, with dots.
    """

    how: str
    members: tuple[str, ...]

    def describe(self) -> str:
        """Describe the rule, for a cell of the table in the documentation."""
        return self.how


@attrs.frozen
class Refused:
    """The format cannot express the option. It is left out if it is only a config's default.

    :param reason: what the API lacks, as a predicate: ``"has no such parameter"``.
    :param harmless: values that ask for what the API does anyway. They are left out.
    :param remedy: what to do instead.
    :param by_model: whether it is the model that lacks the option, and not the API. Then all that a
        config says of it is only a default, since a config outlives a change of the model.
    """

    reason: str
    harmless: tuple[Any, ...] = ()
    remedy: str = "leave it out"
    by_model: bool = False

    def describe(self) -> str:
        """Describe the rule, for a cell of the table in the documentation."""
        values = " and ".join(f"`{value!r}`" for value in self.harmless)
        return f"refused: {self.reason}" + (f"; {values} is left out" if values else "")


@attrs.frozen
class HandledByLocus:
    """Locus acts on the option itself; the format has no member for it.

    :param how: what Locus does with it.
    """

    how: str

    def describe(self) -> str:
        """Describe the rule, for a cell of the table in the documentation."""
        return self.how


OptionRule: TypeAlias = Carried | Translated | Refused | HandledByLocus

TIMEOUT_RULE: Final = HandledByLocus("limits how long the server may send nothing")
EXTRA_HEADERS_RULE: Final = HandledByLocus("HTTP headers")
EXTRA_BODY_RULE: Final = HandledByLocus("its members replace those of the body")
DEADLINE_RULE: Final = HandledByLocus("limits the whole call, retries included")

NO_SUCH_PARAMETER: Final = Refused("has no such parameter")
NO_PENALTIES: Final = Refused("has no such parameter", harmless=(0,))
NO_FLAG: Final = Refused("has no such parameter", harmless=(False,))
ONE_RESPONSE: Final = Refused("returns one response", harmless=(1,))
TEXT_ONLY: Final = Refused("returns text only", harmless=(("text",),))
NOT_WHILE_REASONING: Final = Refused(
    "accepts none for a reasoning model",
    remedy="leave it out, or pass it in extra_body to send it all the same",
    by_model=True,
)
NO_STORED_CONVERSATION: Final = Refused(
    "stores no conversation", remedy="leave it out, and send the complete conversation"
)
_UNDECLARED: Final = Refused("does not declare what it does with this option")

COMMON_RULES: Final[Mapping[str, OptionRule]] = FrozenDict(
    {
        "timeout": TIMEOUT_RULE,
        "deadline": DEADLINE_RULE,
        "extra_headers": EXTRA_HEADERS_RULE,
        "extra_body": EXTRA_BODY_RULE,
    }
)
"""The rules that are the same for every format: Locus handles these options itself."""

ABSENT_OPTION_RULES: Final[Mapping[str, OptionRule]] = FrozenDict(
    {
        "reasoning_effort": NO_SUCH_PARAMETER,
        "verbosity": NO_SUCH_PARAMETER,
        "n": ONE_RESPONSE,
        "logprobs": NO_FLAG,
        "top_logprobs": NO_SUCH_PARAMETER,
        "logit_bias": NO_SUCH_PARAMETER,
        "modalities": TEXT_ONLY,
        "prediction": NO_SUCH_PARAMETER,
        "service_tier": NO_SUCH_PARAMETER,
        "store": NO_FLAG,
        "metadata": NO_SUCH_PARAMETER,
        "user": NO_SUCH_PARAMETER,
        "prompt_cache_key": NO_SUCH_PARAMETER,
        "safety_identifier": NO_SUCH_PARAMETER,
        "provider_state": NO_STORED_CONVERSATION,
    }
)
"""The rules of an API that has none of these options; a format replaces those that it has."""


@attrs.frozen(init=False)
class OptionRules(Mapping[str, OptionRule]):
    """What a wire format does with each option of a call: a rule for each keyword.

    :param api: the API's name in error messages: ``"Anthropic's API"``.
    :param rules: the rules, by keyword.
    """

    api: str
    rules: Mapping[str, OptionRule]
    accepted: frozenset[str] = attrs.field(repr=False)
    """The keywords that are not refused."""

    def __init__(self, api: str, /, **rules: OptionRule) -> None:
        accepted = (name for name, rule in rules.items() if not isinstance(rule, Refused))
        self.__attrs_init__(api, FrozenDict(rules), INTERNAL_OPTIONS.union(accepted))

    def evolve(self, api: str | None = None, /, **rules: OptionRule) -> OptionRules:
        """Return a copy with other rules for some keywords, for a format that differs in them."""
        return OptionRules(self.api if api is None else api, **{**self.rules, **rules})

    def __getitem__(self, name: str) -> OptionRule:
        return self.rules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.rules)

    def __len__(self) -> int:
        return len(self.rules)

    def remove_refused(
        self,
        options: Mapping[str, Any],
        *,
        has_tools: bool,
        defaults: Collection[str] = (),
        configured: Collection[str] = (),
        sources: Mapping[str, str] = EMPTY,
    ) -> Mapping[str, Any]:
        """Return the options without the refused ones. None of these may have been requested.

        An option was not requested if it has no value, if its value is harmless, or if it concerns
        tools and there are none.

        :param has_tools: whether the request has tools.
        :param defaults: the options whose value is the config's default: nobody chose it.
        :param configured: the options whose value is the config's, default or not.
        :param sources: where values come from, for error messages, if not from the call.
        :raises ConfigurationError: if a refused option was requested; the message names it.
        """
        if options.keys() <= self.accepted:
            return options
        refused_names = options.keys() - self.accepted
        for name in sorted(refused_names):
            rule = self.rules.get(name, _UNDECLARED)
            unchosen = configured if isinstance(rule, Refused) and rule.by_model else defaults
            if name not in unchosen and self._is_requested(name, options, has_tools):
                raise self._make_error(name, options[name], sources.get(name))
        return {name: value for name, value in options.items() if name not in refused_names}

    def _is_requested(self, name: str, options: Mapping[str, Any], has_tools: bool) -> bool:
        """Return whether a refused option asks for something that the API does not do anyway."""
        value = options[name]
        if value is None or (isinstance(value, (str, tuple, list, Mapping)) and not value):
            return False
        rule = self.rules.get(name)
        value = tuple(value) if isinstance(value, list) else value
        if isinstance(rule, Refused) and value in rule.harmless:
            return False
        if name == "tool_choice":
            return has_tools
        if name == "parallel_tool_calls":
            return has_tools and options.get("tool_choice") != "none"
        return True

    def _make_error(self, name: str, value: Any, source: str | None) -> ConfigurationError:
        rule = self.rules.get(name, _UNDECLARED)
        refused = rule if isinstance(rule, Refused) else _UNDECLARED
        shown = repr(value)
        if len(shown) > _MAX_SHOWN_CHARACTERS:
            shown = f"{shown[:_MAX_SHOWN_CHARACTERS]}…"
        origin = f" ({source})" if source else ""
        return ConfigurationError(
            f"{name}={shown}{origin}: {self.api} {refused.reason}; {refused.remedy}"
        )


def find_undeclared_options(
    rules: Mapping[str, OptionRule] | None, keywords: frozenset[str]
) -> frozenset[str]:
    """Return the keywords that ``rules`` say nothing about: all of them if there are no rules."""
    return keywords - (rules or EMPTY).keys()
