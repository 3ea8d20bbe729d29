"""Data files whose inside was changed and whose outside still fits: archives, checksums."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random

from tests.fuzz.raw import damaged

__all__ = ["gzipped", "npy_head", "png_chunks", "zipped"]

#: What heads of arrays may say.
_HEADS = (
    b"(10,)", b"(-1, 3)", b"(99999999999, 99999999999)", b"(1000000000, 3)", b"(0,)", b"()",
    b"'|O'", b"'<f8'", b"'<U9'", b"'<M8[s]'", b"'<c16'", b"'<f2'", b"[('a', '<f4')]", b"'>i8'",
    b"True", b"None", b"'<V8'", b"9" * 6000, b"(" * 500, b"__import__('os')",
)  # fmt: skip


def npy_head(rng: Random, data: bytes) -> bytes:
    """A .npy file with another text in its head, of the length that the head states."""
    (size,) = struct.unpack("<H", data[8:10])
    text = damaged(rng, data[10 : 10 + size].rstrip(), _HEADS)
    if rng.random() < 0.5:
        old = rng.choice((b"(20, 4)", b"(20,)", b"'<f4'", b"'<i8'", b"False"))
        text = data[10 : 10 + size].rstrip().replace(old, rng.choice(_HEADS))
    text += b" " * (-len(text) % 64) + b"\n"
    length = struct.pack("<H", min(len(text), 65535))
    return data[:8] + length + text + data[10 + size :]


def zipped(rng: Random, data: bytes) -> bytes:
    """An archive with one member changed, or stored in another way."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        chosen = rng.choice(names)
        with zipfile.ZipFile(out, "w") as written:
            for name in names:
                content = archive.read(name)
                if name == chosen:
                    content = rng.choice(_MEMBERS)(rng, content)
                    name = rng.choice((name, name, name, "x", "../x.npy", "X.NPY", "a\0b.npy"))
                how = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
                written.writestr(name, content, how)
    found = out.getvalue()
    if rng.random() < 0.1:  # encrypted, or packed in a way that nobody knows
        place = found.index(b"PK\x01\x02") + rng.choice((8, 10))
        found = found[:place] + bytes([rng.choice((1, 14, 99))]) + found[place + 1 :]
    return found


def _bomb(rng: Random, data: bytes) -> bytes:
    """A head that announces much, and zeros that pack well."""
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 4), }" % rng.choice(
        (10**5, 10**6, 10**9, 10**12)
    )
    head += b" " * (53 - len(head) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(1 << 20)


_MEMBERS: tuple[Callable[[Random, bytes], bytes], ...] = (damaged, npy_head, _bomb)


def gzipped(rng: Random, data: bytes) -> bytes:
    """A gzip file of changed content; its checksum fits."""
    content = gzip.decompress(data)
    if rng.random() < 0.2:
        count = rng.choice((10**5, 10**7, 2**31, 2**32 - 1))
        content = content[:4] + struct.pack(">I", count) + content[8:] + bytes(1 << 20)
    else:
        content = damaged(rng, content)
    return gzip.compress(content, compresslevel=1, mtime=0)


def png_chunks(rng: Random, data: bytes) -> bytes:
    """A PNG picture with one chunk changed; checksums fit."""
    chunks, start = [], 8
    while start < len(data):
        (length,) = struct.unpack(">I", data[start : start + 4])
        chunks.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    number = rng.randrange(len(chunks))
    kind, content = chunks[number]
    if kind == b"IDAT" and rng.random() < 0.5:
        content = zlib.compress(damaged(rng, zlib.decompress(content)))
    else:
        content = damaged(rng, content)
    chunks[number] = (kind, content)
    if rng.random() < 0.2:
        chunks.insert(number, chunks[rng.randrange(len(chunks))])
    return data[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )  # fmt: skip
