"""Options, for every form of requests: the shipped suite."""

from locus.testing.formats.option_suite import *
from tests.support.formats import REQUEST_FORMATS

FORMATS = REQUEST_FORMATS
