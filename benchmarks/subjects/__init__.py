"""The subjects: one module each says how it is installed and how its user calls it.

A module has

- ``NAME``, and ``REQUIREMENTS``, what its user installs (and trio, to use it with trio);
- ``FORMATS``, the wire formats it is measured on, each a module of ``canned``. Modules with the
  same name share an environment and a row, each on formats of its own;
- ``blocking(url, wire)`` and ``nonblocking(url, wire)``, for one of these formats, which return two
  callables: one asks for a whole answer and returns its text, the other asks for a stream, looks
  at the text of every chunk, and returns how many characters came. Where the package has no such
  API, the function is missing;
- ``RUNTIMES``, what it runs under;
- where it speaks OpenAI's format, ``IMPORT``, the import statement whose cost is measured, and
  ``COLD``, a whole program that prints one answer, with ``{url}`` for the base URL.

``locus_oci`` has none of these callables: it is measured for what signing costs, and nothing else.

The subject's own package is imported inside the functions only, so that the parent process, which
has none of them installed, can read the rest. Each subject is used as its documentation says, with
one client for all calls.
"""

from __future__ import annotations

from types import ModuleType

from . import (
    anthropic_sdk,
    any_llm_sdk,
    floor,
    floor_anthropic,
    floor_ollama,
    litellm_,
    locus_,
    locus_oci,
    locus_sdk,
    ollama_sdk,
    openai_sdk,
)

ALL: tuple[ModuleType, ...] = (
    floor,
    floor_anthropic,
    floor_ollama,
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
