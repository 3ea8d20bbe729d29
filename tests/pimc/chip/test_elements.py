"""The table of non-idealities: its keys exist, and without all of them a die is perfect."""

from __future__ import annotations

import re

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.chip.elements import (
    ADC,
    NON_IDEALITIES,
    present,
    without,
)
from pimc.files.strict import key_table
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.ablation import on_chip

KEYS = set(re.findall(r"^\| `([^`]+)`", key_table(Chip), re.M))
#: A chip that has every element.
WORST = Chip.default().with_(
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
        "retention": {"kind": "log", "log_shift_us": -0.1, "log_sigma_us": 0.1, "sigma_1s_us": 0.2},
        "adc.gain_error": 0.02,
        "adc.offset_error_lsb": 0.5,
    }
)
NAMES = [element.name for element in NON_IDEALITIES]


def names(chip: Chip) -> list[str]:
    return [element.name for element in present(chip, age_s=60.0)]


def test_every_row_sets_keys_of_the_chip_file_and_says_what_it_is() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for element in NON_IDEALITIES:
        assert element.meaning
        keys = element.off(WORST)
        assert bool(keys) != element.is_adc
        # A key may be a table: cell.sigma.
        assert all(any(key == k or k.startswith(f"{key}.") for k in KEYS) for key in keys)


def test_a_chip_has_what_makes_a_difference_in_it() -> None:
    assert names(WORST) == NAMES
    assert names(Chip.default()) == ["programming", "reference column", "read noise", "DAC", "ADC"]
    exact = Chip.default().with_sigma(0.0)
    assert names(exact) == ["read noise", "DAC", "ADC"]
    assert names(exact.with_(**{"mapping.reference_sigma_us": 1.0}))[0] == "reference column"
    assert "retention" not in [element.name for element in present(WORST)]
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
    from pimc.api import compile

    design = WORST if chip == "worst" else Chip.load(chip)
    image = compile(tiny_model(), design.with_array(16, 8), calib=tiny_inputs)
    bare = on_chip(image, without(image.chip, NAMES))
    x = {"x": tiny_inputs[:8]}
    die = Die.simulated(3)
    session = Session(bare, die, converters=False)
    die.age(86400.0)
    (got,) = session.run(None, x)
    (wanted,) = Session(bare, Die.ideal(), converters=False).run(None, x)
    assert np.array_equal(got, wanted)
