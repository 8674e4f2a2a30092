"""A conversation as the JSON body of ``POST /responses``.

What the API has no parameter for: ``stop`` is refused, because an answer that runs on where it
should have ended is another answer; ``seed`` and the penalties, which only ever were wishes, are
left out, and so is the name of a user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.chat_completions.request import is_reasoning_model
from locus.wire.responses.items import holds_items
from locus.wire.responses.response import STATE
from locus.wire.responses.turns import input_items, plain

ENCRYPTED: Final = "reasoning.encrypted_content"
"""What ``include`` names to get reasoning that no server has to keep."""


class _Text(msgspec.Struct):
    format: Mapping[str, Any]


class _Request(msgspec.Struct, omit_defaults=True):
    model: str
    input: list[Any]
    store: bool | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: _Text | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    include: tuple[str, ...] = ()
    stream: bool | None = None


@attrs.frozen
class ResponsesBuilder:
    """The ``RequestBuilder`` of the responses format.

    :param store: whether the server keeps the conversation. Then ``provider_state`` says which
        answer comes before, and only the messages after the last one of the assistant are sent.
        Otherwise every request has the whole conversation, whatever ``provider_state`` says.
    :param sealed: whether encrypted reasoning is asked for and goes back to the server.
    """

    store: bool = True
    sealed: bool = True

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body, as plain dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The members of
            ``extra_body`` win over Locus's own; those of its ``text`` do so one by one, and its
            ``include`` is added to Locus's.
        :raises ConfigurationError: the format cannot carry something; says what and where.
        """
        said = CallOptions(**options)
        if said.stop:
            raise ConfigurationError(
                f"stop={list(said.stop)!r}: the responses API has no stop sequences"
            )
        extra = said.extra_body or {}
        store = bool(extra.get("store", self.store))
        if extra.get(STATE) and not store:
            raise ConfigurationError(
                f"extra_body[{STATE!r}] names an answer that the server keeps, and with "
                "store=False it keeps none: leave it out, the conversation is sent whole"
            )
        before = _previous(said.provider_state) if store else None
        turns = conversation(messages, holds_items, continues=before is not None)
        after = -1 if before is None else _last_answer(turns)
        offered = tuple(_tool(schema) for schema in tool_schemas(tools))
        reasoning = is_reasoning_model(said.model)
        wanted = said.response_format
        body: dict[str, Any] = msgspec.to_builtins(
            _Request(
                model=said.model,
                input=input_items(in_order(turns), after, sealed=self.sealed),
                store=store,
                previous_response_id=before,
                max_output_tokens=said.max_tokens,
                temperature=None if reasoning else said.temperature,
                top_p=None if reasoning else said.top_p,
                text=None if wanted is None else _Text(_format(wanted)),
                tools=offered,
                tool_choice=_tool_choice(said.tool_choice, offered) if offered else None,
                parallel_tool_calls=said.parallel_tool_calls if offered else None,
                include=(ENCRYPTED,) if reasoning and self.sealed and not store else (),
                stream=True if said.stream else None,
            ),
            enc_hook=plain,
        )
        return _merged(body, extra)


def _merged(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    both = {**body, **extra}
    ours, theirs = body.get("text"), extra.get("text")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        both["text"] = {**ours, **theirs}
    if "include" in body and isinstance(extra.get("include"), (list, tuple)):
        both["include"] = list(dict.fromkeys([*body["include"], *extra["include"]]))
    return both


# The conversation that the server keeps.


def _previous(state: Mapping[str, Any] | None) -> str | None:
    if not state:
        return None
    before = state.get(STATE)
    if not isinstance(before, str) or not before:
        raise ConfigurationError(
            f"provider_state is what an answer of this API had there, {{{STATE!r}: 'resp_…'}}; "
            f"not {dict(state)!r}"
        )
    return before


def _last_answer(turns: Sequence[Message]) -> int:
    """The position of the assistant's last message; what stands after it is new to the server."""
    positions = [at for at, turn in enumerate(turns) if turn.role is Role.ASSISTANT]
    last = positions[-1] if positions else -1
    if last == len(turns) - 1:
        raise ConfigurationError(
            f"messages[{last}] is the answer that provider_state= stands for, and nothing comes "
            "after it: there is nothing new to send"
        )
    return last


# Tools, and the shape of the answer.

_NOTHING: Final[Mapping[str, Any]] = {"type": "object", "properties": {}}


def _tool(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in OpenAI's older format as this one has it: flat. Other kinds are its own already."""
    kind = schema.get("type", "function")
    inner = schema.get(kind)
    if not isinstance(inner, Mapping):
        return dict(schema)
    flat = {"type": kind, **{name: value for name, value in inner.items() if value is not None}}
    if kind == "function":
        flat.setdefault("parameters", _NOTHING)
        flat.setdefault("strict", False)  # what the older format means where it says nothing
    grammar = flat.get("format")
    if isinstance(grammar, Mapping) and isinstance(grammar.get("grammar"), Mapping):
        flat["format"] = {"type": "grammar", **grammar["grammar"]}
    return flat


def _tool_choice(
    choice: str | Mapping[str, Any] | None, offered: Sequence[Mapping[str, Any]]
) -> str | Mapping[str, Any] | None:
    if isinstance(choice, Mapping):
        kind = choice.get("type")
        inner = choice.get(kind) if isinstance(kind, str) else None
        if not isinstance(inner, Mapping):
            return choice
        flat = {"type": kind, **inner}
        if isinstance(flat.get("tools"), (list, tuple)):  # of allowed_tools
            flat["tools"] = [_named(tool) for tool in flat["tools"]]
        return flat
    if choice is None or choice in ("auto", "none", "required"):
        return choice
    for tool in offered:
        if tool.get("name") == choice:
            return {"type": tool["type"], "name": choice}
    names = ", ".join(str(tool["name"]) for tool in offered if "name" in tool)
    raise ConfigurationError(
        f"tool_choice={choice!r} is neither 'auto', 'none' or 'required', nor the name of a "
        f"tool of this call ({names or 'there are none'})"
    )


def _named(tool: Any) -> Any:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    inner = tool.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, Mapping) else tool


def _format(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """``response_format`` as ``text.format``: what the older format nests is flat here."""
    if wanted.get("type") != "json_schema":
        return wanted
    inner = wanted.get("json_schema", wanted)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        raise ConfigurationError(
            'response_format lacks its schema: {"type": "json_schema", "json_schema": '
            '{"name": …, "schema": {…}}}'
        )
    known = ("name", "schema", "description", "strict")
    return {
        "type": "json_schema",
        **{name: inner[name] for name in known if inner.get(name) is not None},
    }
