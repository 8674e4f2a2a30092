"""Every test that a provider has to pass: import all of it into a test module with ``FORMATS``.

See ``docs/providers.md``.
"""

from __future__ import annotations

from locus.testing.formats.fault_suite import *
from locus.testing.formats.fixtures import *
from locus.testing.formats.model_suite import *
from locus.testing.formats.option_suite import *
from locus.testing.formats.part_suite import *
from locus.testing.formats.portability_suite import *
from locus.testing.formats.request_suite import *
from locus.testing.formats.response_suite import *
from locus.testing.formats.stream_suite import *
