"""Where streams are cut: bytes into reads, text into fragments."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` cut anywhere, at times into single bytes; empty reads among them."""
    way = draw(st.sampled_from(["one", "bytes", "few", "even"]))
    if way == "one" or not data:
        return [data]
    if way == "bytes":
        return [data[at : at + 1] for at in range(len(data))]
    if way == "even":
        size = draw(st.integers(1, 64))
        return [data[at : at + size] for at in range(0, len(data), size)]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """``text`` as the fragments of a stream; at times an empty one among them."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
