"""The streaming law, for every wire format: the shipped suite."""

from hypothesis import settings

from locus.testing.formats import stream_suite
from locus.testing.formats.stream_suite import *
from tests.support.effort import THOROUGH
from tests.support.formats import FORMATS as FORMATS

if THOROUGH:
    many_examples = settings(max_examples=1000)
    test_any_split_gives_the_same_events = many_examples(
        stream_suite.test_any_split_gives_the_same_events
    )
    test_nothing_in_a_stream_makes_the_decoder_raise = many_examples(
        stream_suite.test_nothing_in_a_stream_makes_the_decoder_raise
    )
    test_no_bytes_make_the_decoder_raise = many_examples(
        stream_suite.test_no_bytes_make_the_decoder_raise
    )
