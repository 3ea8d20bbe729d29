"""Die files with right hashes and wrong content: refused in one sentence, or they can be used."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.errors import DeviceError, PimcError, UsageError
from pimc.image.image import Image
from pimc.runtime.die.cells import CELL_TENSORS, OLDEST_S
from pimc.runtime.die.die import FORMAT, LONGEST_S, VERSION, Die
from pimc.runtime.die.die_file import RULES
from pimc.runtime.session import Session
from tests.resealing import Content, changes_of, content_of, names, reseal

RELEASED = Path(__file__).parents[2] / "released" / "0.1.0"
DIE = RELEASED / "tiny.die"
CONTENT = content_of(DIE, FORMAT, VERSION)


def put(name: str, value: Any) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content.tensors[name].reshape(-1)[0] = value

    return change


def keyed(name: str, value: Any) -> Callable[[Content], None]:
    return lambda content: content.keys.update({name: value})


WRONG: list[tuple[Callable[[Content], Any], str]] = [
    (put("g_us", np.nan), "tensor g_us holds values that are no numbers or outside 0 to"),
    (put("g_us", -1e6), "tensor g_us holds values"),
    (put("g_us", 1e30), "tensor g_us holds values"),
    (put("reference_us", np.inf), "tensor reference_us holds values"),
    (put("age_s", -1), "tensor age_s holds values"),
    (put("level", 99), "tensor level holds values that are outside -1 to"),
    (put("stuck", 4), "tensor stuck holds values that are outside 0 to 3"),
    (put("writes", 2**32 - 1), "tensor writes holds values"),
    (put("writes", 0), "tensor writes does not fit the levels of 1 cells"),
    (put("stress_before", 2**61), "tensor stress_before is more than stress"),
    (put("stress", -1), "tensor stress holds values"),
    (lambda c: c.tensors.pop("stress"), "has no tensor stress"),
    (
        lambda c: c.tensors.update(stress_before=c.tensors["stress_before"][:, :0, :0]),
        "tensor stress_before is int64",
    ),
    (keyed("clock_s", -1e9), "clock_s: must be a number, 0 to 1e+15"),
    (keyed("seed", "x"), "seed: must be a whole number"),
    (keyed("perfect", 1), "perfect: must be true or false"),
    (keyed("chip", None), "chip: must be an object"),
    (lambda c: c.keys.pop("chip"), "chip: missing"),
    (lambda c: c.keys["chip"].update(new=1), "chip: new: unknown key"),
    (lambda c: c.keys["chip"]["physics"].update(x={"y": 1}), "chip: physics"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[text for _, text in WRONG])
def test_wrong_content_is_refused(
    tmp_path: Path, change: Callable[[Content], None], message: str
) -> None:
    if "physics" in message:
        CONTENT.keys["chip"].setdefault("physics", {})
    path = reseal(CONTENT, tmp_path / "x.die", change)
    before = path.read_bytes()
    with pytest.raises(DeviceError) as caught:
        Die.load(path)
    assert caught.value.exit_code == 3
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert path.read_bytes() == before


def test_a_damaged_chip_of_the_first_version_is_refused(tmp_path: Path) -> None:
    def older(content: Content) -> None:
        content.version = 1
        content.keys["chip"]["cell"]["levels"] = 0

    with pytest.raises(DeviceError, match=r"x\.die: chip: .*levels"):
        Die.load(reseal(CONTENT, tmp_path / "x.die", older))


def test_one_change_is_refused_or_can_be_used(tmp_path: Path) -> None:
    """Of any tensor or key: type, shape, value or absence. What is then saved can be read."""
    image = Image.load(RELEASED / "tiny.pimc")
    x = np.ones((2, 2, 6, 6), np.float32)

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.data())
    def each(data: st.DataObject) -> None:
        change = data.draw(changes_of(CONTENT))
        path = reseal(CONTENT, tmp_path / "x.die", change.apply)
        try:
            die = Die.load(path)
        except DeviceError as error:
            refused = str(error)
        else:
            used(die, image, x, path)
            return
        assert names(change, refused), f"{change}: {refused}"

    each()


def used(die: Die, image: Image, x: np.ndarray, path: Path) -> None:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        with contextlib.suppress(UsageError):
            die.age(3600.0)
        with contextlib.suppress(PimcError):
            session = Session(image, die=die)
            session.run(None, {session.get_inputs()[0].name: x})
    die.save(path)
    Die.load(path)


def test_no_die_gets_older_than_its_file_can_say(tmp_path: Path) -> None:
    die = Die.load(DIE)
    for _ in range(int(OLDEST_S / LONGEST_S)):
        with contextlib.suppress(UsageError):
            die.age(LONGEST_S)
    with pytest.raises(UsageError, match="does not age by"):
        die.age(LONGEST_S)
    die.save(tmp_path / "old.die")
    assert Die.load(tmp_path / "old.die").clock_s == die.clock_s


def test_everything_is_described() -> None:
    assert set(CONTENT.tensors) == set(CELL_TENSORS)
    assert all(rule.__doc__ for rule in RULES)
