"""Reads which parameter a server has refused by name, and what to send in its place.

Servers word such an error in many ways: OpenAI's ``param``, FastAPI's ``detail[].loc``, or a
sentence with the name in it, in camel case or not. Nobody can know the parameters of every model
behind every gateway, so what the caller did not choose may not make a request fail: it is left
out, or sent as the other one of two members. What the caller chose is never changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.core.errors import APIStatusError
from locus.core.frozendict import EMPTY
from locus.core.option_rules import Carried, OptionRule
from locus.core.structured_output_support import StructuredOutputSupport, get_lesser_support

_REFUSAL_STATUSES: Final = frozenset({400, 422})
_REFUSAL_PHRASES: Final = re.compile(
    r"not (?:\w+ )?(?:support|permit|allow|accept|available|compatible|enabled)|n't (?:\w+ )?"
    r"(?:support|permit|allow|accept)|unsupported|disallow|forbid|deprecat|removed|no longer"
    r"|un(?:recogni[sz]ed|known|expected)|extra (?:inputs|fields|parameters?|arguments?)"
    r"|additional propert|cannot find field|both|only (?:be|one|the default|support)|instead"
    r"|(?:invalid|illegal|bad) (?:parameter|argument|field|property|option|input)"
    r"|does not exist|not a valid|cannot be (?:used|set|specified)|can ?not use"
    r"|only \S+ (?:is|are) (?:allowed|supported|permitted|accepted)",
    re.I,
)
"""Words of an error that says that a parameter, or its value, is not accepted."""
_TOO_LARGE: Final = re.compile(
    r"too (?:large|long|high|big|many)|exceed|at most|maximum|greater", re.I
)
_MAXIMUM: Final = re.compile(
    r"(?:less than or equal to|at most|no more than|<=|maximum (?:value )?(?:is|of))"
    r"\s*[`'\"]?(\d{1,9})",
    re.I,
)
"""The largest value that an error names: Groq's "must be less than or equal to `8192`"."""
_BOTH: Final = re.compile(r"\bboth\b|only one of|mutually exclusive|either", re.I)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED_WORD: Final = re.compile(r"[`'\"]([A-Za-z_][A-Za-z0-9_.]*)[`'\"]")
_STREAM_USAGE_MEMBERS: Final = frozenset({"streamoptions", "includeusage", "isincludeusage"})


@attrs.frozen
class Refusals:
    """What a server has refused, and what is done about it in later requests.

    :param left_out: options that are not sent, unless the caller asks for them.
    :param renamed: options that are sent as their rule's ``other_member``.
    :param builder_changes: changed fields of the request builder.
    :param structured_output: to what extent responses can still be made to fit a schema.
    """

    left_out: frozenset[str] = frozenset()
    renamed: frozenset[str] = frozenset()
    builder_changes: Mapping[str, Any] = EMPTY
    structured_output: StructuredOutputSupport = "always"

    def merge(self, other: Refusals) -> Refusals:
        """Return the refusals of both."""
        return Refusals(
            self.left_out | other.left_out,
            self.renamed | other.renamed,
            {**self.builder_changes, **other.builder_changes},
            get_lesser_support(self.structured_output, other.structured_output),
        )

    def select_lasting(self, lasting_changes: Collection[str]) -> Refusals:
        """Return what holds for later requests as well.

        :param lasting_changes: the fields of the builder whose change concerns the model and not
            only one conversation.
        """
        changes = {
            name: value for name, value in self.builder_changes.items() if name in lasting_changes
        }
        return attrs.evolve(self, builder_changes=changes)

    def apply(self, options: Mapping[str, Any], droppable: Collection[str]) -> Mapping[str, Any]:
        """Return the options for a request: without those that are left out, and with the renamed.

        :param droppable: the options that the caller did not choose.
        """
        if not self.left_out and not self.renamed:
            return options
        dropped = self.left_out.intersection(droppable)
        applied = {name: value for name, value in options.items() if name not in dropped}
        if "stream_usage" in self.left_out:
            applied["stream_usage"] = False
        if self.renamed:
            applied["renamed_options"] = self.renamed
        return applied


NO_REFUSALS: Final = Refusals()


@attrs.frozen
class NamedParameters:
    """The parameters that an error names, in lower case and without underscores.

    :param certain: those that it names as parameters, not only as words of its text.
    :param text: what the server says.
    """

    certain: frozenset[str]
    mentioned: frozenset[str]
    text: str

    def mentions(self, names: Iterable[str]) -> bool:
        """Return whether the error names one of these."""
        return not self.mentioned.isdisjoint(map(_normalize, names))

    @property
    def is_refusal(self) -> bool:
        """Whether the text says that something is not accepted."""
        return bool(_REFUSAL_PHRASES.search(self.text))


def read_named_parameters(error: APIStatusError) -> NamedParameters | None:
    """Return the parameters that an error names; None if it is no error about the request."""
    if error.status_code not in _REFUSAL_STATUSES:
        return None
    text = error.explanation or error.body
    certain = {name for path in find_parameter_paths(error) for name in _WORD.findall(path)}
    certain.update(word for path in _QUOTED_WORD.findall(text) for word in path.split("."))
    return NamedParameters(
        certain=frozenset(map(_normalize, certain)),
        mentioned=frozenset(map(_normalize, _WORD.findall(text))),
        text=text,
    )


def find_parameter_paths(error: APIStatusError) -> tuple[str, ...]:
    """Return what the JSON of an error names as a parameter, such as ``text.format.schema``."""
    try:
        body = msgspec.json.decode(error.body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ()
    return tuple(_iter_paths_named_in_error(body))


def _iter_paths_named_in_error(body: Any) -> Iterator[str]:
    """Yield what a JSON error names as a parameter: ``param``, or ``loc`` of a validation error."""
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if not isinstance(body, Mapping):
        return
    for holder in (body, body.get("error"), body.get("detail")):
        if isinstance(holder, Mapping) and isinstance(holder.get("param"), str):
            yield holder["param"]
    details = body.get("detail")
    for detail in details if isinstance(details, list) else ():
        path = detail.get("loc") if isinstance(detail, Mapping) else None
        if isinstance(path, list) and path and isinstance(path[-1], str):
            yield path[-1]


def _normalize(name: str) -> str:
    return name.replace("_", "").lower()


def find_refusals_in_error(
    error: APIStatusError,
    rules: Mapping[str, OptionRule],
    options: Mapping[str, Any],
    droppable: Collection[str],
    builder_changes: Mapping[str, Any],
) -> Refusals | None:
    """Return what to do without after a status error; None if there is nothing.

    If the server names an option that the caller chose, the error gets a hint.

    :param rules: what the wire format does with each option.
    :param options: the options of the refused request.
    :param droppable: the options that the caller did not choose.
    :param builder_changes: what the request builder changes after this error.
    """
    named = read_named_parameters(error)
    if named is None:
        return Refusals(builder_changes=builder_changes) if builder_changes else None
    found = attrs.evolve(
        find_refusals(named, rules, options, droppable), builder_changes=builder_changes
    )
    if found != NO_REFUSALS:
        return found
    chosen = find_chosen_parameters(named, rules, options, droppable)
    if chosen:
        names = " and ".join(f"{name}=" for name in chosen)
        error.args = (f"{error.args[0]} ({names} was set for this call: leave it out)",)
    return None


def find_refusals(
    named: NamedParameters,
    rules: Mapping[str, OptionRule],
    options: Mapping[str, Any],
    droppable: Collection[str],
) -> Refusals:
    """Return what to do about the parameters that an error names: nothing if all were chosen.

    :param rules: what the wire format does with each option.
    :param options: the options of the refused request.
    :param droppable: the options that the caller did not choose.
    """
    sent_names = {
        name: _get_member_names(name, rules.get(name))
        for name, value in options.items()
        if value is not None
    }
    # A word of the text may only be a word: it counts where the text refuses something.
    candidates = named.certain | named.mentioned if named.is_refusal else named.certain
    refused = [
        name
        for name, members in sent_names.items()
        if members & candidates
        or (members & named.mentioned and _is_value_too_large(options[name], named.text))
    ]
    left_out: set[str] = set()
    renamed: set[str] = set()
    for name in refused:
        rule = rules.get(name)
        if not isinstance(rule, Carried):
            continue
        can_rename = bool(rule.other_member) and name not in options.get("renamed_options", ())
        if can_rename and not _TOO_LARGE.search(named.text):
            renamed.add(name)
        # A limit that was refused under both of its names is not the problem; its value may be.
        elif (
            name in droppable
            and not rule.required
            and (not rule.other_member or _is_value_too_large(options[name], named.text))
        ):
            left_out.add(name)
    limit = options.get("max_tokens")
    if "max_tokens" in droppable and f"{limit} in the completion" in named.text:
        left_out.add("max_tokens")  # OpenAI's words for a limit beyond the context window
    if (
        _BOTH.search(named.text)
        and {"temperature", "top_p"} <= set(refused)
        and "top_p" in left_out
    ):
        left_out.discard("temperature")  # the server accepts either of the two
    if (
        options.get("stream")
        and options.get("stream_usage", True)
        and _STREAM_USAGE_MEMBERS & (named.certain | named.mentioned)
    ):
        left_out.add("stream_usage")
    return Refusals(frozenset(left_out), frozenset(renamed))


def _is_value_too_large(value: Any, text: str) -> bool:
    """Return whether an error says that a value is too large, or names a smaller maximum."""
    if _TOO_LARGE.search(text) and str(value) in text:
        return True
    maximum = _MAXIMUM.search(text)
    return maximum is not None and isinstance(value, int) and int(maximum[1]) < value


def find_chosen_parameters(
    named: NamedParameters,
    rules: Mapping[str, OptionRule],
    options: Mapping[str, Any],
    droppable: Collection[str],
) -> list[str]:
    """Return the options that the caller chose and that the error names, for a hint."""
    if not named.is_refusal:
        return []
    return sorted(
        name
        for name, value in options.items()
        if value not in (None, ())
        and name not in droppable
        and name in rules
        and named.certain & _get_member_names(name, rules[name])
    )


def _get_member_names(name: str, rule: OptionRule | None) -> frozenset[str]:
    """Return the names under which a server may know an option."""
    names = {name}
    if isinstance(rule, Carried):
        names.update(path.rpartition(".")[2] for path in (rule.member, rule.other_member) if path)
    return frozenset(map(_normalize, names))
