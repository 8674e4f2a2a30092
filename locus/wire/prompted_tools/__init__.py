"""Tools for a model that was never taught to call them: told in words, held to by a grammar.

The chat template of such a model has no place for tools, so nothing of the ``tools`` in a request
would reach it. ``request`` writes tools, calls and results into the text of the conversation,
``grammar`` lets the model answer in words or with a call, and no third thing, and ``answer`` reads
the calls out of the text again. What is between them is chat completions.

A call is written ``<tool_call>`` … ``</tool_call>`` around its JSON, as Hermes, Qwen and SmolLM2
1.7B were taught it: who has seen calls at all has most likely seen these.

The grammar is one of `llguidance <https://github.com/guidance-ai/llguidance>`_, with which
llama.cpp reads a ``grammar`` that begins with ``%llguidance``.
"""

from locus.wire.prompted_tools.request import InWords, in_words
from locus.wire.prompted_tools.response import CallsInText, with_calls

__all__ = ["CallsInText", "InWords", "in_words", "with_calls"]
