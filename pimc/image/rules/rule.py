"""What a rule of an image is.

Types, shapes and ranges stand in the descriptions of keys and tensors. A rule says what these
cannot: how parts of an image belong together. It is a function that yields a sentence for what
breaks it, beginning with the key or tensor; later rules rely on earlier ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pimc.image.content import ImageContent

__all__ = ["Rule"]

Rule = Callable[[ImageContent], Iterator[str]]
