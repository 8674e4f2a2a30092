"""The streaming law, for every wire format: the shipped suite."""

from locus.testing.formats.stream_suite import *
from tests.support.formats import FORMATS as FORMATS
