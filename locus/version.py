"""Who Locus says it is."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
USER_AGENT: Final = f"locus-llm/{VERSION}"
