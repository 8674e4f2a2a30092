"""What an agent is given, checked when it is given: each error names the argument.

Nothing is imported for a check, and no schema is made: an agent may be built long before it runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_origin

import attrs

from locus.agent.merge_prompt import joined
from locus.core.conversation import conversation
from locus.core.errors import ConfigurationError
from locus.core.frozendict import frozen_dict
from locus.core.messages import Message
from locus.core.state import AgentState
from locus.core.termination import TerminationCondition
from locus.models.base import ModelProtocol
from locus.tools.decorator import as_tool

if TYPE_CHECKING:
    from locus.tools.function import FunctionTool


def model(_: Any, __: Any, value: Any) -> None:
    """``model``."""
    if isinstance(value, str):
        if ":" not in value:
            raise ConfigurationError(
                f"model is a model, or 'provider:model' such as 'openai:gpt-4o'; not {value!r}"
            )
    elif isinstance(value, type) or not isinstance(value, ModelProtocol):
        what = value.__name__ if isinstance(value, type) else type(value).__name__
        raise TypeError(f"model is a model or a registry string, not {what}")


def tools(value: Iterable[Any] | None) -> tuple[FunctionTool[..., Any], ...]:
    """``tools``, no two with the same name."""
    if value is None:
        return ()
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"tools is a sequence of tools, not {type(value).__name__}")
    given = tuple(as_tool(thing) for thing in value)
    names: set[str] = set()
    for tool in given:
        if tool.name in names:
            raise ConfigurationError(f"two tools are called {tool.name!r}; @tool(name=...) helps")
        names.add(tool.name)
    return given


def count_from(least: int) -> Any:
    """A whole number, ``least`` or more."""

    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigurationError(
                f"{attribute.name} must be a whole number from {least}; not {value!r}"
            )

    return check


def seconds(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Seconds that may be left out."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and 0 < value < math.inf):
        raise ConfigurationError(f"{attribute.name} is seconds above 0, or None; not {value!r}")


def condition(_: Any, __: Any, value: Any) -> None:
    """``termination``."""
    if value is not None and not isinstance(value, TerminationCondition):
        raise TypeError(f"termination is a condition of locus.core.termination, not {value!r}")


def text_or_none(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Text that may be left out."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{attribute.name} is text or None, not {type(value).__name__}")


def flag(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """True or False, and nothing that is merely true."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} is True or False, not {value!r}")


def forced_tool(choice: str | None, tools: Mapping[str, Any]) -> None:
    """``tool_choice``, which goes with the tools."""
    if choice is not None and not (choice in tools or (choice == "required" and tools)):
        raise ConfigurationError(
            f"tool_choice is 'required' or the name of a tool of this agent "
            f"({', '.join(tools) or 'which has none'}), not {choice!r}"
        )


def execution_mode(_: Any, __: Any, value: Any) -> None:
    """``tool_execution``."""
    if value not in ("concurrent", "sequential"):
        raise ConfigurationError(f"tool_execution is 'concurrent' or 'sequential', not {value!r}")


def having(what: str, *methods: str) -> Any:
    """An object with these methods, or None: whoever writes one need not subclass ours."""

    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None:
            return
        if isinstance(value, type):
            raise ConfigurationError(
                f"{attribute.name} is the class {value.__name__}: give an object of it"
            )
        missing = [name for name in methods if not callable(getattr(value, name, None))]
        if missing:
            raise ConfigurationError(
                f"{attribute.name} is {what}, not {type(value).__name__}, "
                f"which has no {', '.join(missing)}"
            )

    return check


def namespace(value: Any) -> Any:
    """``memory_namespace``; a list will do, too."""
    path = (value,) if isinstance(value, str) else value
    if not isinstance(path, (tuple, list)) or not path:
        raise ConfigurationError(f"memory_namespace is a name or several, not {value!r}")
    for part in path:
        if not isinstance(part, str) or not part:
            raise ConfigurationError(f"memory_namespace is made of names, not {part!r}")
    return value if isinstance(value, str) else tuple(path)


def a_type(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Something that may be a type. What a schema can be made of it, the first run says."""
    named = any(hasattr(value, name) for name in ("__supertype__", "__value__"))
    if value is None or isinstance(value, type) or get_origin(value) is not None or named:
        return
    raise ConfigurationError(
        f"{attribute.name} is a type, such as an attrs class or list[str]; not {value!r}"
    )


def options(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """``model_options``: keywords, but for what the agent passes itself."""
    given = frozen_dict(value, "model_options")
    for name in given:
        if not isinstance(name, str):
            raise ConfigurationError(f"model_options are keywords; {name!r} is not text")
        if name in ("messages", "tools"):
            raise ConfigurationError(
                f"model_options cannot have {name!r}, which the agent passes itself"
            )
    return given


def prompt_messages(prompt: Any, *, continues: bool) -> tuple[Message, ...]:
    """A prompt as messages.

    :param continues: whether it may go on with a conversation that has calls of its own.
    """
    if isinstance(prompt, (bytes, bytearray, Mapping)):
        raise TypeError(
            f"a prompt is a string, a Message, or several messages; not {type(prompt).__name__}"
        )
    if isinstance(prompt, Iterable) and not isinstance(prompt, str):
        prompt = tuple(prompt)
    messages = conversation(prompt, continues=continues)
    if not continues:
        joined(AgentState(), messages)
    return messages
