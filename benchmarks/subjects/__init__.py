"""The subjects: one module each says how it is installed and how its user calls it.

A module has

- ``NAME``, and ``REQUIREMENTS``, what its user installs (and trio, to use it with trio);
- ``IMPORT``, the import statement whose cost is measured;
- ``COLD``, a whole program that prints one answer, with ``{url}`` for the base URL;
- ``blocking(url)`` and ``nonblocking(url)``, which return two callables: one asks for a whole
  answer and returns its text, the other asks for a stream, looks at the text of every chunk, and
  returns how many characters came. Where the package has no such API, the function is missing;
- ``RUNTIMES``, what it runs under.

The subject's own package is imported inside the functions only, so that the parent process, which
has none of them installed, can read the rest. Each subject is used as its documentation says, with
one client for all calls.
"""

from __future__ import annotations

from types import ModuleType

from . import any_llm_sdk, floor, litellm_, locus_, locus_sdk, openai_sdk

ALL: dict[str, ModuleType] = {
    module.NAME: module for module in (floor, locus_, openai_sdk, locus_sdk, any_llm_sdk, litellm_)
}
