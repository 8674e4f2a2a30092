"""Run the command line: ``python -m locus``. The program is in :mod:`locus.command_line`."""

from __future__ import annotations

import sys

from locus.command_line import main

if __name__ == "__main__":
    sys.exit(main())
