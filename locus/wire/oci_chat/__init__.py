"""Oracle's chat API (``POST /20231130/actions/chat``): request bodies, responses, streams. No I/O.

``envelope`` has the JSON that wraps every request and response. Inside it is one of three formats,
each with the modules ``…_request``, ``…_response``, ``…_stream`` and
``…_response_parser``:

- ``generic`` for nearly all models.
- ``cohere_v1`` (``apiFormat`` ``COHERE``), Cohere's first format, for ``cohere.command-r*``: text
  only, tool calls without ids.
- ``cohere_v2`` (``COHEREV2``), Cohere's second format: images, thinking, tool calls with ids.

``cohere_common`` and ``cohere_stream_base`` have what Cohere's two formats share. The names of all
JSON members are from the model classes of the ``oci`` package
(``oci.generative_ai_inference.models``).
"""

from locus.wire.oci_chat.cohere_v1_parser_and_decoder import CohereV1ChatParser
from locus.wire.oci_chat.cohere_v1_request import CohereV1ChatBuilder
from locus.wire.oci_chat.cohere_v1_stream import CohereV1ChatDecoder
from locus.wire.oci_chat.cohere_v2_parser_and_decoder import CohereV2ChatParser
from locus.wire.oci_chat.cohere_v2_request import CohereV2ChatBuilder
from locus.wire.oci_chat.cohere_v2_stream import CohereV2ChatDecoder
from locus.wire.oci_chat.generic_parser_and_decoder import GenericChatParser
from locus.wire.oci_chat.generic_request import GenericChatBuilder
from locus.wire.oci_chat.generic_stream import GenericChatDecoder

__all__ = [
    "CohereV1ChatBuilder",
    "CohereV1ChatDecoder",
    "CohereV1ChatParser",
    "CohereV2ChatBuilder",
    "CohereV2ChatDecoder",
    "CohereV2ChatParser",
    "GenericChatBuilder",
    "GenericChatDecoder",
    "GenericChatParser",
]
