"""Terms of a laboratory's own in the chip file: strict, canonical, and elements like others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.api import compile
from pimc.chip.design import Chip, Physics
from pimc.chip.element import Place
from pimc.chip.elements import acting_on, elements_of, present, seen_by_compiler, without
from pimc.chip.grid import chip_at, parse_axis, points
from pimc.errors import ChipError, ImageError, UsageError
from pimc.image.image import Image
from tests.lab import install

#: What the shipped chips' canonical forms hash to: no such term is named in them.
FINGERPRINTS = {
    "cmo": "f1b937c8",
    "generic-128": "bfe4029d",
    "ihp": "fa82d625",
    "neurram": "ea264b9d",
    "taox": "8ea1cd9c",
}
OWN: dict[str, Any] = {
    "physics.read.shot.factor_us": 0.3,
    "physics.read.thermal.sigma_us": 0.2,
    "physics.cell.relax": {},
    "physics.time.drift.exponent": 0.02,
    "physics.converter.inl.bow": 0.5,
    "physics.converter.drivers.gain": 0.01,
}


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)


def test_a_chip_without_such_terms_is_what_it_was() -> None:
    for name in Chip.shipped():
        chip = Chip.load(name)
        assert chip.fingerprint.startswith(FINGERPRINTS[name])
        assert "physics" not in chip.to_dict()
        assert chip.physics == Physics()


def test_parameters_are_the_tables_keys_and_defaults_are_filled_in() -> None:
    chip = Chip.default().with_(**OWN)
    table = chip.to_dict()
    assert table["physics"]["read"] == {"shot": {"factor_us": 0.3}, "thermal": {"sigma_us": 0.2}}
    assert table["physics"]["cell"] == {"relax": {"share": 0.2, "sigma": 0.5}}
    assert Chip.from_dict(table) == chip
    assert Chip.from_dict(table).fingerprint == chip.fingerprint
    assert hash(chip) == hash(Chip.from_dict(table))
    other = chip.with_(**{"physics.cell.relax.share": 0.3})
    assert other != chip
    assert other.fingerprint != chip.fingerprint
    # Whole numbers are numbers, as everywhere in a chip file.
    assert chip.with_(**{"physics.cell.relax.sigma": 1}).to_dict()["physics"]["cell"]["relax"] == {
        "share": 0.2,
        "sigma": 1.0,
    }
    many = Chip.default().with_(**{"physics.read.many": {"list": [1, 2], "word": "b"}})
    assert many.to_dict()["physics"]["read"]["many"] == {
        "low": 1.0, "high": 2.0, "list": [1.0, 2.0], "word": "b",
    }  # fmt: skip
    assert Chip.from_dict(many.to_dict()) == many
    made = Physics(read=(("shot", (("factor_us", 0.3),)),))
    assert made == Chip.default().with_(**{"physics.read.shot.factor_us": 0.3}).physics


def test_a_table_that_is_taken_away_leaves_nothing() -> None:
    chip = Chip.default()
    assert chip.with_(**{"physics.read.shot": {}}).with_(**{"physics.read.shot": None}) == chip
    assert chip.with_(**{"physics.read.shot": None}) == chip
    both = chip.with_(**{"physics.read.shot": {}, "physics.cell.relax": {}})
    assert both.with_(physics=None) == chip


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"physics.raed.shot": {}}, r"physics.raed: unknown key \(did you mean read\?\)"),
        ({"physics.read.shott": {}}, r"physics.read.shott: no such plugin \(did you mean shot\?\) "
                                     r"\(installed are broken, cubic, flicker"),
        ({"physics.time.shot": {}}, r"physics.time.shot: no such plugin \(installed are drift\)"),
        ({"physics.read.shot.factr_us": 1.0}, r"shot.factr_us: unknown key \(did you mean factor_"),
        ({"physics.read.shot.factor_us": -1.0}, "factor_us: must be a number, 0 to 100, not -1.0"),
        ({"physics.read.shot.factor_us": "x"}, "factor_us: must be a number, 0 to 100, not 'x'"),
        ({"physics.read.shot.factor_us": float("nan")}, "factor_us: must be a number"),
        ({"physics.read.thermal": {}}, "physics.read.thermal.sigma_us: missing"),
        ({"physics.read.many.low": 3.0}, "physics.read.many.low: must not be above high"),
        ({"physics.read.many.word": "c"}, "physics.read.many.word: must be one of a, b"),
        ({"physics.read": 3}, "physics.read: must be tables by name, not 3"),
        ({"physics.read.shot": 3}, "physics.read.shot: must be a table, not 3"),
        ({"physics.read.missing": {}}, "read.missing: the plugin cannot be loaded: .*Missing"),
        ({"physics.read.plain": {}}, "read.plain: the plugin is no dataclass"),
        ({"physics.read.vague": {}}, "read.vague: the plugin does not say what its field size may"),
        ({"physics.read.idle": {}}, "read.idle: the plugin has no method variance_us2"),
        ({"physics.converter.idle": {}}, "converter.idle: the plugin has no method dac"),
        ({"physics.read.broken": {}}, "read.broken: the plugin failed: no calibration"),
        ({"physics.read.cubic": {}}, "read.cubic: the plugin says power = 3, which must be 0 to 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_once(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ChipError, match=message):
        Chip.default().with_(**keys)


def test_all_problems_of_a_file_are_named_together(tmp_path: Path) -> None:
    text = (Path(__file__).parents[4] / "pimc/chip/shipped/generic-128.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(f"{text}\n[physics.read.shot]\nfactor_us = -1\n[physics.cell.relaks]\n")
    with pytest.raises(ChipError) as caught:
        Chip.load(path)
    for part in ("2 problems", "physics.read.shot.factor_us: must", "physics.cell.relaks: no such"):
        assert part in str(caught.value)


@pytest.mark.parametrize("what", ["nan", "negative", "shape", "text", "error"])
def test_what_a_class_returns_is_checked(what: str) -> None:
    chip = Chip.default().with_(**{"physics.read.returns.what": what})
    (term,) = chip.physics.of_reads
    with pytest.raises(ChipError, match=r"^read.returns: the plugin (returned|failed)"):
        term.variance_us2(np.ones((2, 2)), np.ones(()))


# --- elements -----------------------------------------------------------------------------------


def test_they_are_elements_like_others() -> None:
    chip = Chip.default().with_(**OWN)
    names = [element.name for element in present(chip, age_s=1.0)]
    own = ["cell.relax", "time.drift", "read.shot", "read.thermal", "converter.drivers",
           "converter.inl"]  # fmt: skip
    assert names[-len(own) :] == own
    assert "time.drift" not in [element.name for element in present(chip)]
    assert [e.name for e in present(chip, 1.0) if e.name not in own] == [
        element.name for element in present(Chip.default(), 1.0)
    ]
    by_name = {element.name: element for element in elements_of(chip)}
    assert by_name["read.shot"].meaning == "Shot noise: its variance goes with the current"
    assert by_name["read.shot"].keys == ("physics.read.shot",)
    assert {n: by_name[n].place for n in own} == {
        "cell.relax": Place.CELL, "time.drift": Place.TIME, "read.shot": Place.READ,
        "read.thermal": Place.READ, "converter.drivers": Place.CONVERTER,
        "converter.inl": Place.CONVERTER,
    }  # fmt: skip
    assert [by_name[n].lasts for n in own] == [True, True, False, False, False, False]
    assert {"cell.relax", "time.drift"} <= acting_on(chip, Place.CELL, Place.TIME)
    assert without(chip, own) == Chip.default()
    assert [e.name for e in present(without(chip, {"read.shot"}), 1.0)] == [
        name for name in names if name != "read.shot"
    ]
    with pytest.raises(UsageError, match=r"did you mean read.shot\?"):
        without(chip, {"read.shots"})
    with pytest.raises(UsageError, match="no such element"):
        without(Chip.default(), {"read.shot"})


def test_of_their_kinds_the_compiler_looks_at_cells_alone(
    tiny_model: Any, tiny_inputs: np.ndarray
) -> None:
    chip = Chip.default().with_array(16, 8)
    wanted = compile(tiny_model(), chip, calib=tiny_inputs[:16])
    for key, value in OWN.items():
        other = chip.with_(**{key: value})
        image = compile(tiny_model(), other, calib=tiny_inputs[:16])
        same = all(np.array_equal(image.tensors[n], v) for n, v in wanted.tensors.items())
        assert same == (seen_by_compiler(other) == seen_by_compiler(chip)) == ("cell" not in key)


def test_the_compiler_reckons_with_the_spread_of_cells() -> None:
    chip = Chip.default().with_(**{"physics.cell.relax.sigma": 3.0})
    assert chip.spread_us([2.0, 40.0]) == pytest.approx([np.hypot(1.9, 3.0)] * 2)


def test_parameters_can_be_swept() -> None:
    axis = parse_axis("physics.read.shot.factor_us=0,0.5")
    _, second = points(Chip.default(), [axis])
    assert chip_at(Chip.default(), second).to_dict()["physics"] == {
        "read": {"shot": {"factor_us": 0.5}}
    }
    with pytest.raises(ChipError, match=r"physics.read.shut: no such plugin"):
        points(Chip.default(), [parse_axis("physics.read.shut.factor_us=0,0.5")])
    for text in ("physics.read=1,2", "adc.bits.x=1,2", "physics=1,2", "physic.read.shot.a=1"):
        with pytest.raises(UsageError, match="no such parameter"):
            parse_axis(text)


def test_an_image_needs_what_its_chip_is_made_of(
    tiny_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip = Chip.default().with_array(16, 8).with_(**{"physics.read.shot": {}})
    compile(tiny_model(), chip).save(tmp_path / "a.pimc")
    assert Image.load(tmp_path / "a.pimc").chip == chip
    (tmp_path / "pimc_test_terms-1.0.dist-info" / "entry_points.txt").write_text("")
    with pytest.raises(ImageError, match=r"physics.read.shot: no such plugin \(install its pack"):
        _ = Image.load(tmp_path / "a.pimc").chip
