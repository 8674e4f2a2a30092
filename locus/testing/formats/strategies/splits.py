"""Random splits: of bytes into reads, of text into deltas."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def byte_splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` split anywhere, sometimes into single bytes or with empty reads."""
    style = draw(st.sampled_from(["one", "bytes", "few", "even"]))
    if style == "one" or not data:
        return [data]
    if style == "bytes":
        return [data[index : index + 1] for index in range(len(data))]
    if style == "even":
        size = draw(st.integers(1, 64))
        return [data[index : index + size] for index in range(0, len(data), size)]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@st.composite
def text_splits(draw: st.DrawFn, text: str) -> list[str]:
    """``text`` split into the deltas of a stream, of which some may be empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
