"""Parts of messages, for every form of requests: the shipped suite."""

from locus.testing.formats.part_suite import *
from tests.support.formats import PART_FORMATS

FORMATS = PART_FORMATS
