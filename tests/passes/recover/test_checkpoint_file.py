"""The tensors of a checkpoint are as described; a file whose tensors are not is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.errors import RecoveryError
from pimc.files import container
from pimc.files.schema import Specs, by_field, misfits, missing, outside
from pimc.image.image import Image, layer_tensor
from pimc.passes.recover.bench import Bench
from pimc.passes.recover.checkpoint import (
    ESTIMATE,
    FORMAT,
    STATE,
    VERSION,
    WRITES,
    Checkpoint,
)
from pimc.passes.recover.identify import CellEstimate
from pimc.progress import silent
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from tests.released import write_samples

SAMPLE = Path(__file__).parents[2] / "released" / "0.1.0" / "tiny.recovery"
Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Takes the released recovery up again from a file with other tensors or another version."""
    manifest, tensors = container.load(SAMPLE, FORMAT, VERSION, RecoveryError)
    monkeypatch.setattr(Checkpoint, "_job", lambda self, bench: manifest["job"])
    image = Image.load(SAMPLE.with_suffix(".pimc"))
    device = Session(image, Die.load(SAMPLE.with_suffix(".die"))).device

    def resumed(change: Change = dict, version: int = VERSION) -> int:
        data, options = write_samples.calibration(), write_samples.OPTIONS
        bench = Bench.of(image, device, None, data, options, silent)
        path = tmp_path / "x.recovery"
        container.save(path, *container.seal(FORMAT, version, manifest, change(tensors)))
        return Checkpoint(path, image, "selective").load(bench)

    return resumed


def test_a_released_checkpoint_is_as_described() -> None:
    _, tensors = container.load(SAMPLE, FORMAT, VERSION, RecoveryError)
    parts: list[tuple[Specs, Mapping[str, Any]]] = [
        (STATE, by_field(STATE, tensors)),
        ({"writes.0": WRITES}, tensors),
    ]
    names = {*STATE, "writes.0"}
    for index in range(2):
        named = partial(layer_tensor, index)
        parts.append((ESTIMATE, by_field(ESTIMATE, tensors, named)))
        names |= {named(name) for name in ESTIMATE}
    for specs, contents in parts:
        assert missing(specs, contents) == []
        assert list(misfits(specs, contents, {})) == []
        assert all(outside(spec, contents[name]) is None for name, spec in specs.items())
    others = {name.partition(".")[0] for name in set(tensors) - names}
    assert others == {"image", "kept", "device"}


def test_all_of_an_estimate_is_described() -> None:
    assert list(ESTIMATE) == [item.name for item in fields(CellEstimate)]


def test_the_file_as_it_was_is_taken_up(resume: Callable[..., int]) -> None:
    assert resume() == write_samples.STEPS


@pytest.mark.parametrize(
    "name", ["generator", "chosen.cells", "writes.0", "layer.0000.mean_us", "layer.0001.rank"]
)
def test_a_tensor_that_is_missing_or_another_is_refused(
    resume: Callable[..., int], name: str
) -> None:
    wrong: list[Change] = [
        lambda tensors: {key: value for key, value in tensors.items() if key != name},
        lambda tensors: {**tensors, name: tensors[name].astype(np.float32)},
        lambda tensors: {**tensors, name: tensors[name][None]},
    ]
    for change in wrong:
        with pytest.raises(RecoveryError, match=f"x.recovery: .*tensor {name}") as caught:
            resume(change)
        assert "--resume" in (caught.value.hint or "")


def test_the_first_version_is_refused_in_a_sentence(resume: Callable[..., int]) -> None:
    with pytest.raises(RecoveryError, match=r"x\.recovery: format version 1 is older") as caught:
        resume(version=1)
    assert "--resume" in (caught.value.hint or "")
