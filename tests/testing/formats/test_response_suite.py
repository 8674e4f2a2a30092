"""Complete responses, for every wire format: the shipped suite."""

from locus.testing.formats.response_suite import *
from tests.support.formats import FORMATS as FORMATS
