"""The mechanisms by which a model gives an answer of the caller's type."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

OutputMode: TypeAlias = Literal["auto", "native", "tool", "prompted"]
"""``"native"`` is the provider's own, as ``response_format`` is; with ``"tool"`` the answer is the
arguments of a call; with ``"prompted"`` the model is only asked for it; ``"auto"`` is the strongest
that the server accepts."""
OUTPUT_MODES: Final[tuple[OutputMode, ...]] = ("auto", "native", "tool", "prompted")
