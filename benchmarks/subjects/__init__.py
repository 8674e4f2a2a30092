"""The subjects: each has a module that says how it is installed and how its user calls it.

A module has

- ``NAME``, and ``REQUIREMENTS``, what its user installs (and trio, to use it with trio);
- ``FORMATS``, the wire formats that it is measured with, each a module of ``canned``. Modules with
  the same name share an environment and a row, each with its own formats;
- ``make_blocking_calls(url, wire)`` and ``make_async_calls(url, wire)``, for one of these formats.
  They return two functions: one requests a complete response and returns its text, the other
  requests a stream, reads the text of every chunk, and returns the number of characters. If the
  package has no such API, the function is missing;
- ``RUNTIMES``, the runtimes that it supports;
- with OpenAI's format, ``IMPORT``, the import statement that is measured, and ``COLD``, a program
  that prints one response, with ``{url}`` for the base URL.

``locus_oci`` has none of these functions: only the cost of signing is measured with it.

The subject's own package is imported only inside the functions, because the parent process, which
reads the rest, has none of them installed. Each subject is used as its documentation says, with one
client for all calls.
"""

from __future__ import annotations

from types import ModuleType

from . import (
    anthropic_sdk,
    any_llm_sdk,
    bare_httpx,
    floor,
    litellm_,
    locus_,
    locus_oci,
    locus_sdk,
    ollama_sdk,
    openai_sdk,
)

ALL: tuple[ModuleType, ...] = (
    floor,
    bare_httpx,
    locus_,
    locus_oci,
    openai_sdk,
    anthropic_sdk,
    ollama_sdk,
    locus_sdk,
    any_llm_sdk,
    litellm_,
)
NAMES: tuple[str, ...] = tuple(dict.fromkeys(module.NAME for module in ALL))
