"""``pimc eval --explain``."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image as Picture

from pimc.data.dataset import load_data
from pimc.studies.ablation import explain
from pimc.studies.evaluate import Batches, float_session


@pytest.fixture
def data(tiny_image, tiny_inputs, here):
    """The image as ``tiny.pimc``, and inputs with the labels of the float network."""
    tiny_image.save("tiny.pimc")
    labels = float_session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    np.savez("data.npz", x=tiny_inputs, y=labels)


def test_explanation_as_json_and_picture(pimc, tiny_image, data, here) -> None:
    arguments = ["eval", "--data", "data.npz", "--dies", "2", "--seed", "3", "--limit", "32"]
    done = pimc(*arguments, "--explain", "-o", "why.png", "--json")
    assert (done.code, done.err) == (0, "")
    result = done.json
    some = load_data("data.npz").subset(np.arange(32))
    wanted = explain(tiny_image, Batches(some), (3, 4))
    assert result.pop("explain") == {**wanted.to_dict(), "picture": "why.png"}
    plain = pimc(*arguments, "--json").json
    other = {"images_per_second": 0, "command_line": ""}
    assert {**plain, **other} == {**result, **other}
    with Picture.open("why.png") as picture:
        assert picture.width > 1000
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert sorted(entry.name for entry in here.iterdir()) == ["data.npz", "tiny.pimc", "why.png"]


def test_explanation_as_text(pimc, tiny_image, data) -> None:
    out = pimc("eval", "--data", "data.npz", "--dies", "2", "--limit", "16", "--explain").out
    for name in ("programming", "reference column", "read noise", "DAC", "ADC", "all together"):
        assert f"\n{name} " in out
    for layer in tiny_image.layers:
        assert f"\n{layer.name} " in out
    assert "accuracy with perfect cells, 16 samples\n" in out
    assert "costs and their 95 % intervals, 2 dies, 16 samples\n" in out
    assert "the layer's own, 2 dies, 16 samples\n" in out
    assert re.search(r"all together +\S+ \(-?\d+\.\d\d to -?\d+\.\d\d\)", out)
    assert "picture" not in out
    single = pimc("eval", "--data", "data.npz", "--dies", "1", "--limit", "4", "--explain").out
    assert "95 % intervals, 1 die, 4 samples\n" in single


def test_the_check_that_was_asked_for_still_counts(pimc, data) -> None:
    arguments = ["eval", "--data", "data.npz", "--dies", "1", "--limit", "64", "--explain"]
    assert pimc(*arguments, "--min-accuracy", "100").code == 1


def test_what_cannot_be_explained_is_refused_at_once(pimc, data, here) -> None:
    pimc("program", "--die", "a.die")
    files = {entry.name for entry in here.iterdir()}
    for arguments, message in [
        (["--explain", "--die", "a.die"], "which --die does not allow"),
        (["--explain", "--ideal"], "which --ideal does not allow"),
        (["--explain", "--device", "replay"], "which --device replay does not allow"),
        (["--explain", "--device", "bench", "--die", "tcp:1"], "--die does not allow"),
        (["-o", "why.png"], "add --explain"),
        (["--explain", "-o", "gone/why.png"], "make the folder first"),
    ]:
        done = pimc("eval", "--data", "data.npz", *arguments)
        assert done.code == 2
        assert message in done.err, arguments
        assert done.out == ""
    assert {entry.name for entry in here.iterdir()} == files
