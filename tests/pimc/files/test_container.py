"""The container: equal content gives equal bytes, and no change goes unnoticed."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from pimc.errors import CaptureError, DeviceError, ImageError
from pimc.files import container

FMT, VERSION = "pimc-test", 3
TENSORS: dict[str, container.Tensor] = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([1, 2, 3], np.uint8),
    "c": np.array([[-1, 5]], np.int32),
    "empty": np.zeros((0, 4), np.int32),
}
MANIFEST = {"name": "Größe", "step": 1e-07, "nested": {"z": [1, None, True], "a": 2.5}}


def saved(tmp_path: Path) -> Path:
    path = tmp_path / "x.bin"
    container.save(path, *container.seal(FMT, VERSION, MANIFEST, TENSORS))
    return path


def load(path: Path) -> tuple[dict[str, Any], dict[str, container.Tensor]]:
    return container.load(path, FMT, VERSION, ImageError)


def with_manifest(path: Path, text: str) -> None:
    """Replace the manifest's text, the rest of the file as it was."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["manifest"] = text
    new = json.dumps(header).encode()
    new += b" " * (-len(new) % 8)
    path.write_bytes(struct.pack("<Q", len(new)) + new + data[8 + length :])


def test_round_trip(tmp_path: Path) -> None:
    manifest, tensors = load(saved(tmp_path))
    assert {key: manifest[key] for key in MANIFEST} == MANIFEST
    assert (manifest["format"], manifest["version"]) == (FMT, VERSION)
    assert sorted(tensors) == sorted(TENSORS)
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert np.array_equal(tensors[name], value)


def test_equal_content_equal_bytes() -> None:
    first = container.to_bytes(*container.seal(FMT, VERSION, MANIFEST, TENSORS))
    shuffled = dict(reversed(TENSORS.items()))
    # The same values behind other strides.
    shuffled["b"] = np.asfortranarray(TENSORS["b"])
    manifest = dict(reversed(MANIFEST.items()))
    assert container.to_bytes(*container.seal(FMT, VERSION, manifest, shuffled)) == first


def test_sealing_again_changes_nothing() -> None:
    sealed = container.seal(FMT, VERSION, MANIFEST, TENSORS)
    assert container.seal(FMT, VERSION, *sealed)[0] == sealed[0]


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in range(len(data)):
        for flip in (1 << int(rng.integers(8)), 0x20, 0xFF):
            path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            with pytest.raises(ImageError):
                load(path)


def test_truncated_or_longer_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(data) // 2, len(data) - 17, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ImageError, match="truncated or damaged") as caught:
            load(path)
        assert caught.value.where == str(path)
        assert caught.value.hint
    path.write_bytes(data + b"\0")
    with pytest.raises(ImageError):
        load(path)


def test_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    container.save(path, *container.seal(FMT, VERSION + 1, MANIFEST, TENSORS))
    with pytest.raises(ImageError, match="version 4 is newer than this pimc reads") as caught:
        load(path)
    assert caught.value.hint == "install a newer pimc"


def test_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    container.save(path, *container.seal("pimc-other", VERSION, MANIFEST, TENSORS))
    with pytest.raises(CaptureError, match="this is a pimc-other file, not a pimc-test file"):
        container.load(path, FMT, VERSION, CaptureError)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "x.safetensors"
    save_file(TENSORS, path)
    with pytest.raises(ImageError, match="not a pimc-test file"):
        load(path)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "7", "{}", '{"format":"pimc-test"}', '{"format":7,"version":"x"}']
)
def test_a_manifest_of_another_shape_is_refused(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path)
    with_manifest(path, text)
    with pytest.raises(ImageError):
        load(path)


@pytest.mark.parametrize("version", ["1", 1.0, True, None, [1]])
def test_a_version_that_is_no_whole_number_is_refused(tmp_path: Path, version: Any) -> None:
    path = tmp_path / "x.bin"
    container.save(path, *container.seal(FMT, version, MANIFEST, TENSORS))
    with pytest.raises(ImageError, match="version: must be a whole number"):
        load(path)


def resealed(path: Path, manifest: dict[str, Any]) -> None:
    """The file with another manifest and the right hash of it."""
    manifest = {key: value for key, value in manifest.items() if key != "sha256"}
    digest = hashlib.sha256(container.canonical_json(manifest).encode()).hexdigest()
    with_manifest(path, container.canonical_json(manifest | {"sha256": digest}))


@pytest.mark.parametrize("hashes", [None, [], ["a"], "abc", {"a": 1, "b": 2, "c": 3}])
def test_hashes_that_are_none_are_refused(tmp_path: Path, hashes: Any) -> None:
    path = saved(tmp_path)
    manifest, _ = load(path)
    resealed(path, manifest)
    load(path)
    for in_place in (False, True):
        resealed(path, manifest | {"tensors": hashes})
        with pytest.raises(ImageError, match=r"truncated or damaged|altered"):
            container.load(path, FMT, VERSION, ImageError, in_place=in_place)


def test_a_string_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    resealed(path, load(path)[0] | {"name": "\ud800"})
    with pytest.raises(ImageError, match="truncated or damaged"):
        load(path)


def test_a_manifest_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    with_manifest(path, "[" * 100_000 + "]" * 100_000)
    with pytest.raises(ImageError, match="truncated or damaged"):
        load(path)


def test_a_manifest_that_was_edited_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path)
    manifest, _ = load(path)
    with_manifest(path, container.canonical_json({**manifest, "name": "other"}))
    with pytest.raises(ImageError, match="manifest was altered"):
        load(path)
    # The same values in another spelling.
    with_manifest(path, container.canonical_json(manifest).replace("1e-07", "1E-07"))
    with pytest.raises(ImageError, match="manifest was altered"):
        load(path)
    with_manifest(path, container.canonical_json(manifest))
    load(path)


def test_tensors_left_out_or_added_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    manifest, tensors = container.seal(FMT, VERSION, MANIFEST, TENSORS)
    fewer = {name: value for name, value in tensors.items() if name != "a"}
    for changed in (fewer, {**tensors, "z": np.zeros(2, np.uint8)}):
        container.save(path, manifest, changed)
        with pytest.raises(ImageError, match="manifest was altered"):
            load(path)


def test_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DeviceError, match="no such file"):
            container.load(path, FMT, VERSION, DeviceError)


def test_not_a_number_has_no_place_in_a_manifest() -> None:
    with pytest.raises(ValueError, match="JSON"):
        container.seal(FMT, VERSION, {"x": float("nan")}, {})


@pytest.mark.parametrize("names", ["abc", "zya"])
def test_the_bytes_are_those_of_the_library(names: str) -> None:
    kinds = ["bool", "uint8", "int8", "int16", "uint16", "float16", "int32", "uint32", "float32"]
    kinds += ["float64", "int64", "uint64"]
    tensors: dict[str, np.ndarray[Any, Any]] = {
        f"{name}.{kind}": (np.arange(6) * (k + 1)).astype(kind).reshape(shape)
        for k, kind in enumerate(kinds)
        for name, shape in zip(names, [(6,), (2, 3), (1, 6, 1)], strict=True)
    }
    tensors |= {"é": np.zeros((0, 4), np.float32), "t": np.arange(6.0).reshape(2, 3).T}
    manifest = {"text": 'ü "quoted" \n', "number": 1.5}
    library = safetensors.numpy.save(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()},
        metadata={"manifest": container.canonical_json(manifest)},
    )
    assert container.to_bytes(manifest, tensors) == library


def deferred(value: container.Tensor, size: int) -> container.Deferred:
    """``value``, ``size`` entries at a time."""
    flat = value.reshape(-1)
    return container.Deferred(
        value.dtype,
        value.shape,
        lambda: (flat[k : k + size] for k in range(0, flat.size, size)),
    )


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_streamed_file_has_the_same_bytes(tmp_path: Path, size: int) -> None:
    contents = {
        name: deferred(value, size) if name in "ac" else value for name, value in TENSORS.items()
    }
    path = tmp_path / "streamed.bin"
    manifest, tensors = container.stream(path, FMT, VERSION, MANIFEST, contents)
    sealed, _ = container.seal(FMT, VERSION, MANIFEST, TENSORS)
    assert manifest == sealed
    assert path.read_bytes() == saved(tmp_path).read_bytes()
    assert sorted(tensors) == sorted(TENSORS)
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], value)
        assert tensors[name].dtype == value.dtype


def test_a_deferred_tensor_in_memory() -> None:
    value = np.arange(12, dtype=np.int32).reshape(3, 4)
    np.testing.assert_array_equal(deferred(value, 5).array(), value)


def test_what_fails_while_it_is_streamed_leaves_the_old_file(tmp_path: Path) -> None:
    def parts() -> Iterator[container.Tensor]:
        yield np.zeros(4, np.uint8)
        raise RuntimeError("no more")

    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    contents = {"a": container.Deferred(np.dtype(np.uint8), (8,), parts)}
    with pytest.raises(RuntimeError, match="no more"):
        container.stream(path, FMT, VERSION, MANIFEST, contents)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_read_in_place_is_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path)
    manifest, tensors = container.load(path, FMT, VERSION, ImageError, in_place=True)
    assert manifest == load(path)[0]
    for name, value in TENSORS.items():
        np.testing.assert_array_equal(tensors[name], value)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match="was altered"):
        container.load(path, FMT, VERSION, ImageError, in_place=True)
