"""How much the tests do: enough for every change by default, more in ``tox run -e thorough``.

The variable ``HYPOTHESIS_PROFILE`` decides: ``quick`` where only missing imports are looked for,
``thorough`` for everything. Tests that are marked ``thorough`` run in that profile alone.
"""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
THOROUGH = PROFILE == "thorough"
