"""Images with right hashes and wrong content: refused in one sentence, or they can be used."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pimc.errors import ImageError, PimcError
from pimc.image.golden import golden_model
from pimc.image.image import FORMAT, VERSION, Image
from pimc.image.rules.sound import RULES
from pimc.image.summary import summarize
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from tests.resealing import Content, changes_of, content_of, names, reseal

RELEASED = Path(__file__).parents[3] / "released" / "0.1.0"
#: Every tensor is there that an image may have; the second was written by a recovery.
SAMPLES = [RELEASED / "tiny.pimc", RELEASED / "tiny.r1.pimc"]
FIXED = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def put(name: str, place: Any, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content.tensors[name][place] = value

    return change


def keyed(*path: str | int, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        inner: Any = content.keys
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change


def without_teacher(layer: int) -> Callable[[Content], None]:
    """As many rows as can be said, where no tensor has them for a dimension."""

    def change(content: Content) -> None:
        content.keys["layers"][layer]["rows"] = 2**31 - 1
        del content.tensors[f"layer.{layer:04d}.teacher_weight"]

    return change


def on_top(content: Content) -> None:
    content.tensors["tiles"][1, 6:9] = content.tensors["tiles"][0, 6:9]


WRONG: list[tuple[Callable[[Content], Any], str]] = [
    (on_top, "tensor tiles: two tiles hold the same cells of array"),
    (put("tiles", (0, 6), -1), "tensor tiles holds values that are negative"),
    (put("tiles", (0, 6), 99), "tensor tiles: tile 0 lies in array 99 of"),
    (put("tiles", (0, 7), -1), "tensor tiles holds values that are negative"),
    (put("tiles", (0, 7), 9), "tensor tiles: tile 0 reaches beyond its array of 16x8"),
    (put("tiles", (0, 0), 7), "tensor tiles: tile 0 is of layer 7 of 3"),
    (put("tiles", (0, 1), 7), "tensor tiles: tile 0 is of group 7, which is none"),
    (put("tiles", (0, 4), 1), "tensor tiles: they do not cover layer 0 once"),
    (put("tiles", (0, 5), 1), "tensor tiles: they do not cover layer 0 once"),
    (put("tiles", (0, 2), 1), "tensor tiles: tile 0 is no block of its layer's rows"),
    (put("schedule", (0, 1), 1), "tensor schedule: it does not read every tile once"),
    (put("schedule", (0, 1), 99), "tensor schedule: it does not read every tile once"),
    (put("schedule", (0, 0), 7), "tensor schedule: its steps do not follow each other"),
    (put("schedule", (slice(None), 0), 0), "tensor schedule: step 0 reads tiles of two layers"),
    (put("layer.0000.gain", 0, np.nan), "tensor layer.0000.gain holds values that are not finite"),
    (put("layer.0000.scale", 0, 0), "tensor layer.0000.scale holds values that are not above zero"),
    (put("layer.0001.zero", 0, 999), "tensor layer.0001.zero holds values that are outside 0 to"),
    (lambda c: c.tensors.pop("levels"), "has no tensor levels"),
    (put("graph", slice(0, 4), 255), "tensor graph: holds no ONNX model"),
    (keyed("layers", 0, "groups", value=2**31), "groups: must be a whole number, 1 to 2147483647"),
    (keyed("layers", 0, "groups", value=2**31 - 1), "tensor layer.0000.zero is uint16"),
    (keyed("layers", 0, "cols", value=2**31 - 1), "tensor layer.0000.zero is uint16"),
    (keyed("layers", 0, "rows", value=2**31 - 1), "tensor layer.0000.teacher_weight is float32"),
    (without_teacher(0), "kernel: [3, 3] does not divide the 2147483647 rows"),
    (without_teacher(2), "tensor tiles: they leave out rows of layer 2"),
    (keyed("layers", 0, "planes", value=2), "planes: 2 of layer 0, its mapping has 1"),
    (keyed("layers", 0, "row_block", value=17), "row_block: 17 of layer 0"),
    (keyed("layers", 1, "name", value="w1"), "layers: two are called 'w1'"),
    (keyed("layers", 0, "window", "pads", value=[1]), "pads: must be two a dimension"),
    (keyed("phases", value=[0, 99]), "phases: one begins with array 99"),
    (keyed("provenance", value=[]), "provenance: must be an object"),
    (lambda c: c.keys.pop("recovery"), "recovery: missing"),
    (
        lambda c: c.tensors.update({"layer.0007.gain": np.ones(1, np.float32)}),
        "tensor layer.0007.gain: the manifest has 3 layers",
    ),
    (lambda c: c.keys.pop("chip"), "chip: missing"),
]  # fmt: skip


@pytest.fixture(scope="module")
def content(tiny_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Content:
    path = tmp_path_factory.mktemp("image") / "x.pimc"
    tiny_image.save(path)
    return content_of(path, FORMAT, VERSION)


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[text for _, text in WRONG])
def test_wrong_content_is_refused(
    content: Content, tmp_path: Path, change: Callable[[Content], None], message: str
) -> None:
    with pytest.raises(ImageError) as caught:
        Image.load(reseal(content, tmp_path / "x.pimc", change))
    assert caught.value.exit_code == 2
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "x.pimc"))


def test_every_rule_says_what_it_is() -> None:
    assert all(rule.__doc__ for rule in RULES)
    assert len({rule.__name__ for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("sample", SAMPLES, ids=[path.name for path in SAMPLES])
def test_one_change_is_refused_or_can_be_used(sample: Path, tmp_path: Path) -> None:
    """Of any tensor or key: type, shape, value or absence."""
    content = content_of(sample, FORMAT, VERSION)

    @FIXED
    @given(st.data())
    def each(data: st.DataObject) -> None:
        change = data.draw(changes_of(content))
        try:
            path = reseal(content, tmp_path / "x.pimc", change.apply)
            image = Image.load(path)
        except ImageError as error:
            refused = str(error)
        else:
            used(image)
            return
        assert names(change, refused), f"{change}: {refused}"

    each()


def used(image: Image) -> None:
    """Do all that can be done with an image; what cannot be is refused in one sentence."""
    # Numbers at the end of what float32 holds may give what is not finite; a run tells of that.
    with contextlib.suppress(PimcError), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        summarize(image)
        golden_model(image)
        session = Session(image, die=Die.simulated(1))
        arg = session.get_inputs()[0]
        shape = [dim if isinstance(dim, int) else 2 for dim in arg.shape]
        session.run(None, {arg.name: np.ones(shape, np.float32)})
