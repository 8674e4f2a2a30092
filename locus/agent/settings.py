"""The settings of an agent: its model, its tools, and everything that shapes a run. Immutable."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from locus.agent import settings_validators
from locus.agent.output_modes import OutputMode
from locus.agent.prompt_context import PromptFunction
from locus.core.build_tool_schemas import build_tool_schemas
from locus.core.frozendict import EMPTY
from locus.core.termination import TerminationCondition
from locus.hooks.method_table import HookMethodTable, normalize_hooks
from locus.models.protocols import ModelProtocol

if TYPE_CHECKING:
    from locus.memory.checkpointers.base import BaseCheckpointer
    from locus.memory.managers.base import ConversationManager
    from locus.memory.stores.base import MemoryStore
    from locus.reasoning.grounding_evaluator import GroundingEvaluator
    from locus.reasoning.gsar_evaluator import GSAREvaluator
    from locus.reasoning.reflector import Reflector
    from locus.tools.function_tool import FunctionTool
    from locus.tools.schema_tool import SchemaTool

RunnableTool: TypeAlias = "FunctionTool[..., Any] | SchemaTool"
ToolExecutionMode: TypeAlias = Literal["concurrent", "sequential"]
ToolErrorPolicy: TypeAlias = Literal["report", "raise"]


class _ModelCache:
    """The model of a registry string, after the first lookup."""

    __slots__ = ("lock", "model")

    def __init__(self) -> None:
        self.model: Any = None
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[type[_ModelCache], tuple[()]]:
        return _ModelCache, ()


@attrs.frozen
class AgentSettings:
    """The arguments of an :class:`~locus.agent.Agent`, which describes each of them.

    :ivar tool_schemas: the schemas of the tools, as the model is sent them.
    :ivar hook_methods: the methods of the hooks, in the order in which they are called.
    """

    model: ModelProtocol | str = attrs.field(
        validator=settings_validators.validate_model, hash=False
    )
    tools: tuple[RunnableTool | Mapping[str, Any], ...] = attrs.field(
        default=(), converter=settings_validators.to_agent_tools
    )
    system_prompt: str | PromptFunction | None = attrs.field(
        default=None, validator=settings_validators.validate_system_prompt, hash=False
    )
    max_iterations: int = attrs.field(
        default=20, validator=settings_validators.make_minimum_integer_validator(1)
    )
    # Objects of the user's classes may have no hash. The other fields are enough for one.
    hooks: tuple[Any, ...] = attrs.field(
        default=(), converter=normalize_hooks, hash=False, kw_only=True
    )
    termination: TerminationCondition | None = attrs.field(
        default=None,
        validator=settings_validators.validate_optional_termination,
        hash=False,
        kw_only=True,
    )
    checkpointer: BaseCheckpointer | None = attrs.field(
        default=None,
        validator=settings_validators.make_required_methods_validator(
            "a checkpointer of locus.memory", "claim", "load", "save"
        ),
        hash=False,
        kw_only=True,
    )
    conversation_manager: ConversationManager | None = attrs.field(
        default=None,
        validator=settings_validators.make_required_methods_validator(
            "a conversation manager of locus.memory", "apply", "reduce"
        ),
        hash=False,
        kw_only=True,
    )
    memory: MemoryStore | None = attrs.field(
        default=None,
        validator=settings_validators.make_required_methods_validator(
            "a memory store of locus.memory", "render"
        ),
        hash=False,
        kw_only=True,
    )
    memory_namespace: str | tuple[str, ...] = attrs.field(
        default="default", converter=settings_validators.check_memory_namespace, kw_only=True
    )
    output_schema: Any = attrs.field(
        default=None, validator=settings_validators.validate_output_type, hash=False, kw_only=True
    )
    output_schema_retries: int = attrs.field(
        default=2, validator=settings_validators.make_minimum_integer_validator(0), kw_only=True
    )
    output_mode: OutputMode = attrs.field(
        default="auto", validator=settings_validators.validate_output_mode, kw_only=True
    )
    reflexion: Reflector | bool | None = attrs.field(
        default=None,
        converter=settings_validators.to_reflexion_setting,
        hash=False,
        kw_only=True,
    )
    grounding: GroundingEvaluator | bool | None = attrs.field(
        default=None,
        converter=settings_validators.to_grounding_setting,
        hash=False,
        kw_only=True,
    )
    gsar: GSAREvaluator | bool | None = attrs.field(
        default=None,
        converter=settings_validators.to_gsar_setting,
        hash=False,
        kw_only=True,
    )
    tool_choice: str | None = attrs.field(
        default=None, validator=settings_validators.validate_optional_text, kw_only=True
    )
    tool_execution: ToolExecutionMode = attrs.field(
        default="concurrent", validator=settings_validators.validate_tool_execution, kw_only=True
    )
    final_answer: bool = attrs.field(
        default=False, validator=settings_validators.validate_bool, kw_only=True
    )
    max_concurrency: int = attrs.field(
        default=10, validator=settings_validators.make_minimum_integer_validator(1), kw_only=True
    )
    tool_timeout: float | None = attrs.field(
        default=None, validator=settings_validators.validate_optional_seconds, kw_only=True
    )
    on_tool_error: ToolErrorPolicy = attrs.field(
        default="report", validator=settings_validators.validate_tool_error_policy, kw_only=True
    )
    stream: bool = attrs.field(
        default=True, validator=settings_validators.validate_bool, kw_only=True
    )
    model_options: Mapping[str, Any] = attrs.field(
        default=EMPTY,
        converter=settings_validators.normalize_model_options,
        hash=False,
        kw_only=True,
    )
    tool_schemas: tuple[Mapping[str, Any], ...] = attrs.field(init=False, eq=False, repr=False)
    hook_methods: HookMethodTable = attrs.field(init=False, eq=False, repr=False)
    _tools_by_name: Mapping[str, RunnableTool] = attrs.field(init=False, eq=False, repr=False)
    _model_cache: _ModelCache = attrs.field(init=False, eq=False, repr=False, factory=_ModelCache)

    def __attrs_post_init__(self) -> None:
        set_field = object.__setattr__  # the class is frozen
        set_field(self, "tool_schemas", build_tool_schemas(self.tools))
        set_field(self, "hook_methods", HookMethodTable.collect_from_hooks(self.hooks))
        set_field(self, "_tools_by_name", {tool.name: tool for tool in self.runnable_tools})
        settings_validators.check_tool_choice(self.tool_choice, self._tools_by_name)

    @property
    def runnable_tools(self) -> tuple[RunnableTool, ...]:
        """The tools that the agent runs; those of the provider's server are left out."""
        return tuple(tool for tool in self.tools if not isinstance(tool, Mapping))

    def find_tool(self, name: str) -> RunnableTool | None:
        """Return the tool of that name, or None."""
        return self._tools_by_name.get(name)

    def resolve_model(self) -> Any:
        """Return the model; a registry string is looked up once.

        :raises ConfigurationError: if the registry does not know it.
        """
        if not isinstance(self.model, str):
            return self.model
        with self._model_cache.lock:
            if self._model_cache.model is None:
                from locus.models.registry import get_model

                self._model_cache.model = get_model(self.model)
            return self._model_cache.model
