"""The source model beside an image is known by its hash, external data included."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from pimc.api import compile
from pimc.cli.lookup import find_model


@pytest.mark.parametrize("external", [False, True])
def test_the_source_model_is_found_while_it_is_the_same(
    tiny_model, tmp_path: Path, monkeypatch, external: bool
) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    model, weights = folder / "tiny.onnx", folder / "tiny.bin"
    onnx.save(
        tiny_model(), model, save_as_external_data=external, location="tiny.bin", size_threshold=0
    )
    image = compile(model)
    monkeypatch.chdir(tmp_path)
    assert find_model(image) is None
    assert find_model(image, folder / "tiny.pimc") == model
    monkeypatch.chdir(folder)
    assert find_model(image) == Path("tiny.onnx")
    if external:
        data = bytearray(weights.read_bytes())
        data[5] ^= 1
        weights.write_bytes(data)
        assert find_model(image) is None
        weights.unlink()
        assert find_model(image) is None
    model.write_bytes(b"no model")
    assert find_model(image) is None
