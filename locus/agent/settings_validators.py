"""attrs validators and converters for the settings of an agent. Each error names the argument.

No check imports anything or builds a schema: an agent may be created long before it runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, get_origin

import attrs

from locus.agent.output_modes import OUTPUT_MODES
from locus.agent.prompt_context import takes_prompt_context
from locus.core.build_tool_schemas import is_server_tool
from locus.core.errors import ConfigurationError
from locus.core.frozendict import to_frozen_dict
from locus.core.termination import TerminationCondition
from locus.models.protocols import ModelProtocol
from locus.tools.decorator import convert_to_tool


def validate_model(_: Any, __: Any, value: Any) -> None:
    """Check ``model``: a model, or a registry string."""
    if isinstance(value, str):
        if ":" not in value:
            raise ConfigurationError(
                f"model is a model, or 'provider:model' such as 'openai:gpt-4o'; not {value!r}"
            )
    elif isinstance(value, type) or not isinstance(value, ModelProtocol):
        name = value.__name__ if isinstance(value, type) else type(value).__name__
        raise TypeError(f"model is a model or a registry string, not {name}")


def to_agent_tools(value: Iterable[Any] | None) -> tuple[Any, ...]:
    """Convert ``tools``, which may contain functions, to a tuple of tools.

    A mapping that is not a function's schema is a tool of the provider's server, such as
    ``{"type": "web_search_20250305", "name": "web_search"}``: it stays a mapping.

    :raises ConfigurationError: if two of them have the same name.
    """
    if value is None:
        return ()
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"tools is a sequence of tools, not {type(value).__name__}")
    tools = tuple(_to_agent_tool(tool_like) for tool_like in value)
    names: set[str] = set()
    for tool in tools:
        if isinstance(tool, Mapping):
            continue
        if tool.name in names:
            raise ConfigurationError(f"two tools are called {tool.name!r}; @tool(name=...) helps")
        names.add(tool.name)
    return tools


def _to_agent_tool(tool_like: Any) -> Any:
    """Convert a function to a tool, and freeze the schema of a server's tool."""
    if isinstance(tool_like, Mapping) and is_server_tool(tool_like):
        return to_frozen_dict(tool_like, "tools")
    return convert_to_tool(tool_like)


def make_minimum_integer_validator(minimum: int) -> Any:
    """Make a validator of integers that are at least ``minimum``."""

    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise ConfigurationError(
                f"{attribute.name} must be an integer from {minimum}; not {value!r}"
            )

    return validate


def validate_optional_seconds(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a number of seconds above 0, or None."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value < math.inf):
        raise ConfigurationError(f"{attribute.name} is seconds above 0, or None; not {value!r}")


def validate_optional_termination(_: Any, __: Any, value: Any) -> None:
    """Check ``termination``: a condition, or None."""
    if value is not None and not isinstance(value, TerminationCondition):
        raise TypeError(f"termination is a condition of locus.core.termination, not {value!r}")


def validate_optional_text(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a string or None."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{attribute.name} is text or None, not {type(value).__name__}")


def validate_system_prompt(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is a string, a function of a context or of nothing, or None."""
    if callable(value) and not isinstance(value, type):
        takes_prompt_context(value)
    if value is not None and not isinstance(value, str) and not callable(value):
        raise TypeError(
            f"{attribute.name} is text or None, or a function of the run that returns it, "
            f"not {type(value).__name__}"
        )


def validate_bool(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value is True or False; other values do not count as such."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{attribute.name} is True or False, not {value!r}")


def check_tool_choice(choice: str | None, tools: Mapping[str, Any]) -> None:
    """Check that ``tool_choice`` fits the tools.

    :param tools: the agent's tools by name.
    """
    if choice is not None and not (choice in tools or (choice == "required" and tools)):
        raise ConfigurationError(
            f"tool_choice is 'required' or the name of a tool of this agent "
            f"({', '.join(tools) or 'which has none'}), not {choice!r}"
        )


def validate_tool_execution(_: Any, __: Any, value: Any) -> None:
    """Check that ``tool_execution`` is ``"concurrent"`` or ``"sequential"``."""
    if value not in ("concurrent", "sequential"):
        raise ConfigurationError(f"tool_execution is 'concurrent' or 'sequential', not {value!r}")


def validate_output_mode(_: Any, __: Any, value: Any) -> None:
    """Check that ``output_mode`` is one of the mechanisms that there are."""
    if value not in OUTPUT_MODES:
        modes = ", ".join(map(repr, OUTPUT_MODES[:-1]))
        raise ConfigurationError(f"output_mode is {modes} or {OUTPUT_MODES[-1]!r}, not {value!r}")


def validate_tool_error_policy(_: Any, __: Any, value: Any) -> None:
    """Check that ``on_tool_error`` is ``"report"`` or ``"raise"``."""
    if value not in ("report", "raise"):
        raise ConfigurationError(f"on_tool_error is 'report' or 'raise', not {value!r}")


def make_required_methods_validator(description: str, *method_names: str) -> Any:
    """Make a validator of objects that have these methods, or None.

    So a user's class need not be a subclass of Locus's.

    :param description: what the object should be, for the error.
    """

    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None:
            return
        if isinstance(value, type):
            raise ConfigurationError(
                f"{attribute.name} is the class {value.__name__}: give an object of it"
            )
        missing = [name for name in method_names if not callable(getattr(value, name, None))]
        if missing:
            raise ConfigurationError(
                f"{attribute.name} is {description}, not {type(value).__name__}, "
                f"which has no {', '.join(missing)}"
            )

    return validate


def to_reflexion_setting(value: Any) -> Any:
    """Check ``reflexion``: True or a ``Reflector``. False becomes None."""
    return _to_reasoning_setting(value, "reflexion", "Reflector", "reflect_in_steps")


def to_grounding_setting(value: Any) -> Any:
    """Check ``grounding``: True or a ``GroundingEvaluator``. False becomes None."""
    return _to_reasoning_setting(value, "grounding", "GroundingEvaluator", "max_retries")


def to_gsar_setting(value: Any) -> Any:
    """Check ``gsar``: True or a ``GSAREvaluator``. False becomes None."""
    return _to_reasoning_setting(value, "gsar", "GSAREvaluator", "look_in_steps")


def _to_reasoning_setting(value: Any, name: str, class_name: str, member: str) -> Any:
    """Check a setting that is True or an object of ``locus.reasoning``, without importing that.

    :param name: the name of the setting.
    :param class_name: the class of the object.
    :param member: a member that objects of the class have, and those of the others have not.
    """
    if value is None or value is True:
        return value
    if value is False:
        return None
    if isinstance(value, type) or not hasattr(value, member):
        raise ConfigurationError(
            f"{name} is True or an object of locus.reasoning.{class_name}, not {value!r:.80}"
        )
    return value


def check_memory_namespace(value: Any) -> Any:
    """Check ``memory_namespace``, and return it as a string or a tuple of strings."""
    path = (value,) if isinstance(value, str) else value
    if not isinstance(path, (tuple, list)) or not path:
        raise ConfigurationError(f"memory_namespace is a name or several, not {value!r}")
    for name in path:
        if not isinstance(name, str) or not name:
            raise ConfigurationError(f"memory_namespace is made of names, not {name!r}")
    return value if isinstance(value, str) else tuple(path)


def validate_output_type(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check that a value may be a type. The first run finds out whether it has a schema."""
    is_alias = any(hasattr(value, name) for name in ("__supertype__", "__value__"))
    if value is None or isinstance(value, type) or get_origin(value) is not None or is_alias:
        return
    raise ConfigurationError(
        f"{attribute.name} is a type, such as an attrs class or list[str]; not {value!r}"
    )


def normalize_model_options(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Check ``model_options``, and return them as an immutable mapping.

    :raises ConfigurationError: if one of them is no keyword, or one that the agent passes itself.
    """
    options = to_frozen_dict(value, "model_options")
    for name in options:
        if not isinstance(name, str):
            raise ConfigurationError(f"model_options are keywords; {name!r} is not text")
        if name in ("messages", "tools"):
            raise ConfigurationError(
                f"model_options cannot have {name!r}, which the agent passes itself"
            )
    return options
