"""Token numbers of texts, made by a file of the library tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pimc.errors import DataError, UsageError
from pimc.files.strict import Rule, setting, settle

__all__ = ["Text", "Tokens", "tokenizer_of", "windows_of"]

#: What fills up where a tokenizer's file does not say.
_PADS = ("[PAD]", "<pad>", "<|endoftext|>")


@dataclass(frozen=True)
class Text:
    """How lines of text become token numbers."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("stride", lambda t: t.stride is None or t.window is not None, "needs a window"),
        Rule(
            "stride",
            lambda t: None in (t.stride, t.window) or t.stride <= t.window,
            "must not be larger than the window",
        ),
        Rule(
            "window",
            lambda t: t.window is None or t.max_length is None,
            "excludes max_length: windows hold the whole text",
        ),
    )

    tokenizer: str = setting(
        "tokenizer.json", "str", "file of the library tokenizers, beside data.toml"
    )
    key: str = setting("text", "str", "key of a line's text")
    pair: str = setting("text_pair", "str", "key of a second text of the same sample")
    label: str = setting("label", "str", "key of what becomes `y`; `y` itself serves, too")
    max_length: int | None = setting(
        None, "int", "tokens of a sample at most; else as the tokenizer's file says", above=0
    )
    window: int | None = setting(
        None, "int", "long texts are cut into windows of so many tokens", above=1
    )
    stride: int | None = setting(
        None, "int", "tokens from one window to the next; else as many as a window has", above=0
    )
    special_tokens: bool = setting(
        True, "bool", "whether what the tokenizer's file puts around a text is added"
    )
    ids: str = setting("input_ids", "str", "input that takes token numbers, or the only one")
    types: str = setting("token_type_ids", "str", "input that says which text a token is of")
    positions: str = setting("position_ids", "str", "input that takes the places of tokens")

    def __post_init__(self) -> None:
        if problems := settle(self):
            raise DataError("; ".join(problems), where="text")


@dataclass(frozen=True)
class Tokens:
    """Token numbers of one sample, and which text each is of.

    Attributes:
        known: how many of the first ones an earlier window has told.
    """

    ids: npt.NDArray[np.int32]
    types: npt.NDArray[np.int32]
    known: int = 0


def windows_of(found: Tokens, text: Text) -> Iterator[Tokens]:
    """Windows of a long text; the last one ends with it. One token alone tells nothing."""
    count, size = len(found.ids), text.window or 0
    step, told = text.stride or size, 0
    last = max(count - size, 0)
    for start in [*range(0, last, step), last] if count > 1 else []:
        part = slice(start, start + size)
        yield Tokens(found.ids[part], found.types[part], told - start)
        told = min(start + size, count)


def tokenizer_of(
    path: Path, text: Text, longest: int | None
) -> tuple[Callable[[str, str | None, str], Tokens], int]:
    """What makes tokens of one text or two, and the number of what they are filled up with.

    Raises:
        DataError: the file cannot be read.
        UsageError: the library is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as cause:
        raise UsageError(
            "text needs the package tokenizers", hint="pip install 'pimc[text]'"
        ) from cause
    if not path.is_file():
        hint = "name the tokenizer's file in data.toml: [text], tokenizer"
        raise DataError("no such file", str(path), hint)
    with _library(str(path), "is no tokenizer's file", "it is written by Tokenizer.save"):
        tokenizer = Tokenizer.from_file(str(path))
        pad = _pad_of(tokenizer)
        tokenizer.no_padding()
        if text.window is not None:
            tokenizer.no_truncation()
        elif longest is not None:
            tokenizer.enable_truncation(longest)

    def encode(first: str, second: str | None, where: str) -> Tokens:
        with _library(where, "its text cannot be made into tokens", "mend or leave it out"):
            found = tokenizer.encode(first, second, add_special_tokens=text.special_tokens)
            tokens = Tokens(np.array(found.ids, np.int32), np.array(found.type_ids, np.int32))
        if text.window is None and not len(tokens.ids):
            raise DataError("its text has no tokens", where, "leave the line out")
        return tokens

    return encode, pad


def _pad_of(tokenizer: Any) -> int:
    """The number of the token that fills up: as the file says, else by its usual name, else 0."""
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    found = (tokenizer.token_to_id(token) for token in _PADS)
    return next((number for number in found if number is not None), 0)


@contextmanager
def _library(where: str, what: str, hint: str) -> Iterator[None]:
    """Whatever the library ends with; a panic of its Rust code is no Exception."""
    try:
        yield
    except BaseException as cause:
        if not isinstance(cause, Exception) and type(cause).__name__ != "PanicException":
            raise
        raise DataError(f"{what}: {cause}", where, hint) from cause
