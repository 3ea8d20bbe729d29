"""Versions of the image format, and how files of the older ones are read.

A change that a reader of the version before would misread takes a new version: add 1 to
:data:`VERSION`, and to :data:`STEPS` the function that makes of an older image what it would be
today. ``docs/image-format.md`` says which changes need none, and ``tests/released/README.md`` how
the files of the version before stay under test.
"""

from __future__ import annotations

from collections.abc import Mapping

from pimc.files.migrate import Step

__all__ = ["FORMAT", "STEPS", "VERSION"]

FORMAT = "pimc-image"
VERSION = 1

#: From each older version to the next: manifest and tensors → those of the next version.
STEPS: Mapping[int, Step] = {}
