"""Locus's version, and the user agent that it sends."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
USER_AGENT: Final = f"locus-llm/{VERSION}"
