"""Oracle's own chat format, ``POST /20231130/actions/chat``. Pure: JSON in, values out.

``envelope`` is what every request and answer is wrapped in. Inside stands one of several formats:
``generic`` for nearly all models, ``cohere`` for Cohere's. The model classes of the ``oci`` package
(``oci.generative_ai_inference.models``) are the source for every name on the wire.
"""

from locus.wire.oci_chat.cohere_formats import (
    CohereChatBuilder,
    CohereChatDecoder,
    CohereChatParser,
    CohereV2ChatBuilder,
    CohereV2ChatDecoder,
    CohereV2ChatParser,
)
from locus.wire.oci_chat.generic_request import GenericChatBuilder
from locus.wire.oci_chat.generic_response import GenericChatParser
from locus.wire.oci_chat.generic_stream import GenericChatDecoder

__all__ = [
    "CohereChatBuilder",
    "CohereChatDecoder",
    "CohereChatParser",
    "CohereV2ChatBuilder",
    "CohereV2ChatDecoder",
    "CohereV2ChatParser",
    "GenericChatBuilder",
    "GenericChatDecoder",
    "GenericChatParser",
]
