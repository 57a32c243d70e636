"""`python -m benchmarks [name ...] [--rounds N] [--json FILE]`."""

from __future__ import annotations

import sys

from benchmarks.runner import main

if __name__ == "__main__":
    sys.exit(main())
