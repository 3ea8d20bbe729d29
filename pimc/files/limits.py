"""How much a file may ask for before it is refused."""

from __future__ import annotations

import os

__all__ = ["memory_bytes"]

#: Where the system does not tell.
_UNKNOWN = 1 << 36


def memory_bytes() -> int:
    """Bytes of this machine's memory: what announces more than that cannot be read."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return _UNKNOWN
