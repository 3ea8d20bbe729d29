"""Data: arrays in .npy, .npz and IDX files, folders of pictures."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np

from pimc.data.dataset import load_data
from tests.fuzz.archives import gzipped, npy_head, png_chunks, zipped
from tests.fuzz.oracle import Mutate, Target
from tests.fuzz.raw import damaged
from tests.released import write_samples

__all__ = ["MAKERS"]

_IMAGE = (Path(write_samples.__file__).parent / "0.1.0" / "tiny.pimc").read_bytes()


def _read(path: Path) -> None:
    data = load_data(path)
    assert np.isfinite(data.all()).all()


def _read_folder(path: Path) -> None:
    data = load_data(path.parent.parent)
    assert np.isfinite(data.all()).all()


def _target(name: str, file: str, samples: list[bytes], kind: str, change: Mutate) -> Target:
    return Target(
        name,
        file,
        frozenset({2}),
        samples,
        {"raw": damaged, kind: change},
        _read,
        lambda path: ["verify", "tiny.pimc", "--data", path.name],
        beside={"tiny.pimc": _IMAGE},
    )


def _npy() -> Target:
    streams = [io.BytesIO() for _ in range(3)]
    rng = np.random.default_rng(0)
    np.save(streams[0], rng.standard_normal((20, 4)).astype(np.float32))
    np.save(streams[1], rng.integers(0, 255, (20, 6, 6, 3)).astype(np.uint8))
    np.lib.format.write_array(streams[2], rng.standard_normal((20, 4)), version=(2, 0))
    return _target("npy", "x.npy", [s.getvalue() for s in streams[:2]], "head", npy_head)


def _npz() -> Target:
    plain, packed = io.BytesIO(), io.BytesIO()
    x, y = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32), np.arange(20)
    np.savez(plain, x=x, y=y)
    np.savez_compressed(packed, x=x, y=y)
    return _target("npz", "x.npz", [plain.getvalue(), packed.getvalue()], "members", zipped)


def _idx_bytes() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 6, 6)).astype(np.uint8)
    images = b"\0\0\x08\x03" + struct.pack(">III", *pixels.shape) + pixels.tobytes()
    reals = b"\0\0\x0d\x02" + struct.pack(">II", 20, 2) + np.ones((20, 2), ">f4").tobytes()
    return [gzip.compress(data, mtime=0) for data in (images, reals)]


def _idx() -> Target:
    return _target("idx", "x-images-idx3-ubyte.gz", _idx_bytes(), "content", gzipped)


def _pictures(name: str, suffix: str, kinds: dict[str, Mutate]) -> Target:
    from PIL import Image

    samples = []
    for mode, shape in (("L", (6, 6)), ("RGB", (6, 6, 3))):
        pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels, mode).save(stream, {"png": "PNG", "bmp": "BMP"}[name])
        samples.append(stream.getvalue())
    return Target(
        name,
        f"pictures/a/one.{suffix}",
        frozenset({2}),
        samples,
        kinds,
        _read_folder,
        lambda path: ["verify", "../../tiny.pimc", "--data", "..", "--size", "6x6"],
        beside={f"pictures/b/two.{suffix}": samples[0], "tiny.pimc": _IMAGE},
    )


MAKERS = {
    "npy": _npy,
    "npz": _npz,
    "idx": _idx,
    "png": lambda: _pictures("png", "png", {"raw": damaged, "chunks": png_chunks}),
    "bmp": lambda: _pictures("bmp", "bmp", {"raw": damaged}),
}
