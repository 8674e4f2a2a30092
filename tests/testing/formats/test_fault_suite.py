"""Every fault of a server, for every wire format: the shipped suite."""

import pytest

from locus.testing.formats.fault_suite import *
from tests.support.effort import THOROUGH
from tests.support.formats import FORMATS as FORMATS

pytestmark = [pytest.mark.thorough] if THOROUGH else []  # there, on all runtimes
