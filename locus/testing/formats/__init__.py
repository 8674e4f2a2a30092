"""The tests that every provider has to pass, ours and yours, and the record that they need.

Write one record of a wire format (:class:`WireFormat`), and run the suites on it::

    from locus.testing.formats.suite import *
    from acme_record import AcmeFormat

    FORMATS = [AcmeFormat()]

Needs ``pytest`` and ``hypothesis``; nothing else of Locus imports them. How to write a provider
with its record is in ``docs/providers.md``.
"""

# ruff: noqa: E402

from pkgutil import iter_modules

try:
    import hypothesis  # noqa: F401
    import pytest
except ImportError as exc:
    raise ImportError(
        f"locus.testing.formats needs {exc.name}: pip install pytest hypothesis trio"
    ) from exc

# So that a failure shows the values, as in any other test.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in iter_modules(__path__)))

from locus.testing.formats.decoded_messages import (
    ReadCall,
    ReadImage,
    ReadMessage,
    ReadThinking,
    check_call_results,
    decode_base64,
    join_texts,
    parse_json_object,
    read_image_url,
)
from locus.testing.formats.framing import interleave
from locus.testing.formats.hang_guard import FOREVER
from locus.testing.formats.option_samples import SAMPLE_VALUES
from locus.testing.formats.spoken_format import (
    ERROR_TEXT,
    TEXT,
    THOUGHT,
    Example,
    Frame,
    Split,
)
from locus.testing.formats.strategies.response_contents import (
    CallContent,
    CandidateContent,
    ResponseContent,
)
from locus.testing.formats.wire_format import WireFormat

__all__ = [
    "ERROR_TEXT",
    "FOREVER",
    "SAMPLE_VALUES",
    "TEXT",
    "THOUGHT",
    "CallContent",
    "CandidateContent",
    "Example",
    "Frame",
    "ReadCall",
    "ReadImage",
    "ReadMessage",
    "ReadThinking",
    "ResponseContent",
    "Split",
    "WireFormat",
    "check_call_results",
    "decode_base64",
    "interleave",
    "join_texts",
    "parse_json_object",
    "read_image_url",
]
