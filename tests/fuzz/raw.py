"""Damage to bytes: what a bad cable, a full disk or an editor does to a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

__all__ = ["damaged"]

#: Whole numbers at which readers go wrong.
_EDGES = (0, 1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
#: Pieces that mean something in one of the text formats.
_WORDS = (
    b"nan", b"inf", b"-1", b"1e999", b"9" * 30, b"9" * 5000, b"[" * 3000, b"{\"a\":" * 3000,
    b"\0", b"\r", b"\n", b'"', b"'", b",", b"=", b"*", b"\xff\xfe", b"\xef\xbb\xbf",
    b"true", b"null", b"..", b"/", b"[[",
)  # fmt: skip


def damaged(rng: Random, data: bytes, words: Sequence[bytes] = ()) -> bytes:
    """``data`` after one to four acts of damage.

    Args:
        words: pieces that may be put in beside the usual ones.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_ACTS)(rng, data, (*_WORDS, *words))
    return data


def _place(rng: Random, data: bytes) -> int:
    """Anywhere, but the head of a file as often as all the rest."""
    return (
        rng.randrange(min(len(data), 256) + 1) if rng.random() < 0.5 else rng.randint(0, len(data))
    )


def _flip(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    for _flipped in range(rng.choice((1, 1, 2, 8))):
        changed[min(_place(rng, data), len(changed) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _number(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    value = rng.choice(_EDGES) % (1 << 8 * size)
    start = _place(rng, data)
    return data[:start] + value.to_bytes(size, order) + data[start + size :]  # type: ignore[arg-type]  # one of two words


def _cut(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _drop(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = _place(rng, data)
    return data[:start] + data[start + rng.choice((1, 2, 8, 64, 1024)) :]


def _repeat(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = _place(rng, data)
    end = start + rng.choice((1, 8, 64, 1024))
    return data[:end] + data[start:end] * rng.choice((1, 2, 50)) + data[end:]


def _splice(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, other = _place(rng, data), _place(rng, data)
    size = rng.choice((1, 8, 64, 1024))
    return data[:start] + data[other : other + size] + data[start + size :]


def _noise(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, size = _place(rng, data), rng.choice((1, 4, 16, 256))
    return data[:start] + rng.randbytes(size) + data[start + rng.choice((0, size)) :]


def _word(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:
    start, word = _place(rng, data), rng.choice(words)
    return data[:start] + word + data[start + rng.choice((0, 0, len(word), 1)) :]


def _digit(rng: Random, data: bytes, words: Sequence[bytes]) -> bytes:
    """Change a digit, of which texts have many."""
    places = [n for n, byte in enumerate(data[:4096]) if 48 <= byte <= 57]
    if not places:
        return _word(rng, data, words)
    at = rng.choice(places)
    return data[:at] + rng.choice((b"0", b"9", b"-", b".", b"e9", b"99999999999")) + data[at + 1 :]


_ACTS: Sequence[Callable[[Random, bytes, Sequence[bytes]], bytes]] = (
    _flip, _flip, _number, _number, _cut, _drop, _repeat, _splice, _noise, _word, _word, _digit,
)  # fmt: skip
