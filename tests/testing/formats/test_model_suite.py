"""Addresses, credentials, capabilities and calls, for every wire format: the shipped suite."""

from locus.testing.formats.model_suite import *
from tests.support.formats import FORMATS as FORMATS
