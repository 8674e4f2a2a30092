"""Portability, for every wire format: the shipped suite."""

from locus.testing.formats.portability_suite import *
from tests.support.formats import FORMATS as FORMATS
