"""``python -m tests.fuzz --count 100000 --jobs 2``; CONTRIBUTING.md says more."""

from __future__ import annotations

import sys

from tests.fuzz.campaign import main

if __name__ == "__main__":
    sys.exit(main())
