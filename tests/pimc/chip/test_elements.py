"""The table of elements: its keys exist, what it says of them is so, and its views agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc.api import Options, compile
from pimc.chip.design import Chip
from pimc.chip.element import Place, element_table
from pimc.chip.elements import (
    ADC,
    ELEMENTS,
    NOTES,
    acting_on,
    present,
    seen_by_compiler,
    without,
)
from pimc.data.dataset import Dataset
from pimc.errors import UsageError
from pimc.files.key_table import key_table
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.ablation import on_chip
from pimc.studies.drawn import Reading
from pimc.studies.snr import layer_snr

KEYS = re.findall(r"^\| `([^`]+)`", key_table(Chip), re.M)
#: A chip with much of everything.
MUCH = Chip.default().with_(
    **{
        "read_noise.sigma_us": 0.1,
        "read_noise.rtn_share": 0.2,
        "disturb.tau0_s": 1e-3,
        "array.wire_ohm": 2.0,
        "cell.iv_alpha": 1.0,
        "faults.stuck_gmax_rate": 0.02,
        "faults.stuck_gmin_rate": 0.02,
        "faults.dead_row_rate": 0.02,
        "faults.dead_col_rate": 0.02,
        "variation.cell_relative": 0.02,
        "variation.row_relative": 0.02,
        "variation.col_relative": 0.02,
        "retention": {
            "kind": "log",
            "log_shift_us": -0.1,
            "log_sigma_us": 0.1,
            "sigma_1s_us": 1.0,
            "least_age_s": 1.0,
        },
        "adc.gain_error": 0.02,
        "adc.offset_error_lsb": 0.5,
    }
)


def with_every(chip: Chip) -> Chip:
    """The chip, with a little of every element that it does not have."""
    for element in ELEMENTS:
        if not element.in_chip(chip) and element.off is not None:
            chip = chip.with_(**dict.fromkeys(element.off(chip), 0.01))
    return chip


WORST = with_every(MUCH)
NAMES = [element.name for element in ELEMENTS]


def within(key: str, table: str) -> bool:
    """Whether a key is ``table``, or one of its keys."""
    return key == table or key.startswith(f"{table}.")


def names(chip: Chip) -> list[str]:
    return [element.name for element in present(chip, age_s=60.0)]


def test_every_row_sets_keys_of_the_chip_file_and_says_what_it_is() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for element in ELEMENTS:
        assert element.meaning
        assert element.without
        off = set() if element.off is None else set(element.off(WORST))
        assert bool(off) != (element is ADC)
        # Cells become exact, and the reference column stays what it was.
        beside = {"mapping.reference_sigma_us"} if element.name == "programming" else set()
        assert all(any(within(key, mine) for mine in element.keys) for key in off - beside)
    listed = [key for element in ELEMENTS for key in element.keys] + list(NOTES)
    assert all(any(within(key, one) for key in KEYS) for one in listed)
    assert all(sum(within(key, one) for one in listed) <= 1 for key in KEYS)


def test_a_chip_has_what_makes_a_difference_in_it() -> None:
    assert names(WORST) == NAMES
    assert names(Chip.default()) == ["programming", "reference column", "read noise", "DAC", "ADC"]
    exact = Chip.default().with_sigma(0.0)
    assert names(exact) == ["read noise", "DAC", "ADC"]
    assert names(exact.with_(**{"mapping.reference_sigma_us": 1.0}))[0] == "reference column"
    # Where no cell is read as younger than a second, time always shows.
    assert "retention" in [element.name for element in present(WORST)]
    fresh = WORST.with_(**{"retention.least_age_s": None})
    assert "retention" not in [element.name for element in present(fresh)]
    assert names(fresh) == NAMES
    digital = Chip.default().with_(**{"mapping.pedestal": "digital"})
    assert "reference column" not in names(digital)
    assert "DAC" not in names(Chip.default().with_(**{"dac.bits": 16}))
    serial = {"dac.mode": "bit_serial", "adc.bits": 16}
    assert "DAC" not in names(Chip.default().with_(**serial))


@pytest.mark.parametrize("name", [name for name in NAMES if name != ADC.name])
def test_what_is_switched_off_is_gone_and_nothing_else_is(name: str) -> None:
    assert names(without(WORST, {name})) == [other for other in NAMES if other != name]


def test_cells_and_reference_column_are_switched_off_apart() -> None:
    sigma_us = WORST.reference_sigma_us
    assert sigma_us == pytest.approx(0.05 * 38)
    cells = without(WORST, {"programming"})
    assert not cells.cell.sigma.sigma_us(np.array(cells.cell.g_levels_us)).any()
    assert cells.reference_sigma_us == sigma_us
    reference = without(WORST, {"reference column"})
    assert reference.reference_sigma_us == 0.0
    assert reference.cell.sigma == WORST.cell.sigma
    assert without(WORST, {"programming", "reference column"}).reference_sigma_us == 0.0
    assert without(WORST, set()) is WORST


@pytest.mark.parametrize("chip", [*Chip.shipped(), "worst"])
def test_without_any_element_a_die_is_perfect(chip: str, tiny_model, tiny_inputs) -> None:
    """Every element that a chip has must have a row, or this die differs from a perfect one."""
    design = WORST if chip == "worst" else Chip.load(chip)
    image = compile(tiny_model(), design.with_array(16, 8), calib=tiny_inputs)
    bare = on_chip(image, without(image.chip, NAMES))
    x = {"x": tiny_inputs[:8]}
    die = Die.simulated(3)
    session = Session(bare, die=die, converters=False)
    die.age(86400.0)
    (got,) = session.run(None, x)
    (wanted,) = Session(bare, die=Die.ideal(), converters=False).run(None, x)
    assert np.array_equal(got, wanted)


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"stuk cells: .* \(did you mean stuck cells\?\)"
    ) as caught:
        without(WORST, {"stuk cells"})
    assert "read noise" in str(caught.value.hint)
    with pytest.raises(UsageError, match="no such element"):
        without(WORST, {"read noise", "gravity"})


# --- what the compiler looks at --------------------------------------------------------------

#: Values that change one key, where the rules between keys need more than one change.
_LOG = {"kind": "log", "log_shift_us": -0.3, "log_sigma_us": 0.2, "sigma_1s_us": 0.4}
_AT = {"kind": "sigma_at", "at_s": [1.0, 60.0], "coefficients_us": [[0.1], [0.4, 0.1]],
       "variable": "x"}  # fmt: skip
CHANGES: dict[str, Any] = {
    **{f"retention.{key}": {"retention": _LOG} for key in _LOG},
    **{f"retention.{key}": {"retention": _AT} for key in _AT},
    "disturb.g_sat_us": {"disturb.g_sat_us": 7.0},
    "disturb.net_stress": {"disturb.net_stress": 0.5},
    "mapping.reference_sigma_us": {"mapping.reference_sigma_us": 0.7},
    "read_noise.log_t_r_s": {"read_noise.log_t_r_s": 2e-6},
    **{name: {name: "other"} for name in ("name", "description", "source")},
}
UNSEEN = [
    key
    for key in KEYS
    if any(within(key, one) for e in ELEMENTS if not e.seen for one in e.keys)
    or any(within(key, one) for one in NOTES)
]


def changed(chip: Chip, key: str) -> Chip:
    """The chip with another value of one key: a larger one, where nothing else is said."""
    if key in CHANGES:
        return chip.with_(**CHANGES[key])
    value: Any = chip.to_dict()
    for name in key.split("."):
        value = value.get(name, 0.0)
    return chip.with_(**{key: value + 1 if isinstance(value, int) else 1.5 * value + 0.01})


def compiled_part(image: Image) -> dict[str, Any]:
    """All of an image that is not the chip's table itself."""
    own = {name: v for name, v in image.manifest.items() if name not in ("chip", "sha256")}
    return own | {name: value.tobytes() for name, value in image.tensors.items()}


#: Chips and options that lead through other parts of the compiler.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}),
    "bit-serial": ({"dac.mode": "bit_serial", "mapping.pedestal": "digital"}, {}),
    "pairs": (
        {"mapping.kind": "differential", "mapping.pair": "rows", "adc.range": "column"},
        {"feedback": False},
    ),
    "slices": (
        {"mapping.kind": "sliced", "adc.range_method": "percentile", "dac.mode": "pulse_count"},
        {"packing": "parallel", "copies": 40},
    ),
    "fixed": ({"adc.range": "fixed", "adc.full_scale_us": 200.0, "dac.signed": False}, {}),
}


def flat(table: dict[str, Any], prefix: str = "") -> set[str]:
    """The keys of nested tables by dotted path."""
    keys = {f"{prefix}{name}": value for name, value in table.items()}
    inner = [flat(v, f"{key}.") for key, v in keys.items() if isinstance(v, dict)]
    return {key for key, v in keys.items() if not isinstance(v, dict)}.union(*inner)


def test_what_the_compiler_looks_at_is_all_but_what_is_declared_unseen() -> None:
    assert len(UNSEEN) > 40
    assert flat(seen_by_compiler(WORST)) == flat(WORST.to_dict()) - set(UNSEEN)
    for key in UNSEEN:
        other = changed(WORST, key)
        assert other.fingerprint != WORST.fingerprint, key
        assert seen_by_compiler(other) == seen_by_compiler(WORST), key


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_the_compiler_does_not_look_at_changes_no_image(
    setting: str, calibrated: bool, tiny_model: Any, tiny_inputs: np.ndarray
) -> None:
    keys, options = SETTINGS[setting]
    calib = tiny_inputs[:16] if calibrated else None

    def image(chip: Chip) -> Image:
        return compile(tiny_model(), chip, calib=calib, options=Options(**options))

    chip = Chip.default().with_array(16, 8).with_(**keys)
    wanted = compiled_part(image(chip))
    everything = chip
    for key in UNSEEN:
        everything = changed(everything, key)
    assert compiled_part(image(everything)) == wanted
    # One by one on the plain chip, so that no two changes can cancel out.
    for key in UNSEEN if setting == "default" else ():
        assert compiled_part(image(changed(chip, key))) == wanted, key


@pytest.mark.parametrize("name", [e.name for e in ELEMENTS if e is not ADC])
def test_what_the_table_says_of_the_compiler_is_so(
    name: str, tiny_model: Any, tiny_inputs: np.ndarray
) -> None:
    chip = without(WORST, set(NAMES) - {"programming", "variation", ADC.name, name})
    chip = chip.with_array(16, 8)
    images = [
        compiled_part(compile(tiny_model(), one, calib=tiny_inputs[:16]))
        for one in (chip, without(chip, {name}))
    ]
    (element,) = [e for e in ELEMENTS if e.name == name]
    assert (images[0] != images[1]) == element.seen


# --- the views ----------------------------------------------------------------------------------


def test_what_writing_makes_up_for_is_what_acts_on_cells() -> None:
    of_cells = {
        "programming", "reference column", "variation", "retention", "stuck cells", "dead lines",
    }  # fmt: skip
    assert acting_on(WORST, Place.CELL, Place.TIME) == of_cells


@pytest.mark.parametrize("name", [e.name for e in ELEMENTS if e.part in ("cells", "read noise")])
def test_an_element_is_counted_where_the_table_says(
    name: str, tiny_model: Any, tiny_inputs: np.ndarray
) -> None:
    """Alone on, it makes up what every read repeats, or what differs between two reads."""
    (element,) = [e for e in ELEMENTS if e.name == name]
    chip = without(WORST, set(NAMES) - {name}).with_array(16, 8)
    # Both change more slowly than such a measurement lasts.
    chip = chip.with_(**{"read_noise.rtn_dwell_samples": 1, "disturb.every_samples": 32})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    age_s = 60.0 if element.place is Place.TIME else 0.0
    layers = layer_snr(image, (1, 2), Dataset.of(tiny_inputs), reading=Reading(age_s))
    repeated, fluctuating = (
        sum(getattr(layer, part) for layer in layers) for part in ("cells", "read_noise")
    )
    assert repeated + fluctuating > 0
    larger, smaller = (repeated, fluctuating) if element.lasts else (fluctuating, repeated)
    assert smaller < 0.05 * larger


def test_the_page_on_physics_has_the_table() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "physics.md"
    assert element_table(ELEMENTS) in page.read_text(encoding="utf-8")
