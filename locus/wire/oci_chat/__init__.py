"""Oracle's own chat format, ``POST /20231130/actions/chat``. Pure: JSON in, values out.

``envelope`` is what every request and answer is wrapped in. Inside stands one of several formats:
``generic`` for nearly all models. The model classes of the ``oci`` package
(``oci.generative_ai_inference.models``) are the source for every name on the wire.
"""

from locus.wire.oci_chat.envelope import chat_details

__all__ = ["chat_details"]
