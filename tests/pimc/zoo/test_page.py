"""The tables of the zoo."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pimc.zoo.page import BRIEF, HEADER, brief, markdown, row
from pimc.zoo.record import Measured, network, networks

ROOT = Path(__file__).parents[3]
FASHION = network("fashion-resnet8")
FOUND = Measured(
    pimc="0.1.0", calib=4, samples=2000, in_float=0.9, perfect=0.89, weights=12345,
    cells_a_weight=1.0, arrays=3, energy_pj=1.25e7, dies=(0, 1), programmed=(0.5, 0.7),
    recovered=(0.8, 0.85),
)  # fmt: skip


def told(**changes: object) -> dict[str, str]:
    measured = dataclasses.replace(FOUND, **changes)  # type: ignore[arg-type]
    return dict(zip(HEADER, row(FASHION, measured), strict=True))


def test_the_page_has_what_the_records_say() -> None:
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert markdown(networks()) in page, "run `pimc zoo list --markdown`"


def test_a_row_tells_means_and_ends() -> None:
    found = told()
    assert found["as programmed"] == "60.00 % (50.00 to 70.00)"
    assert found["recovered"] == "82.50 % (80.00 to 85.00)"
    assert found["energy"] == "12.5 µJ"
    assert found["samples"] == "2,000"


def test_what_was_not_measured_is_a_dash() -> None:
    assert set(row(dataclasses.replace(FASHION, measured=None))[3:]) == {"–"}
    found = told(dies=(), programmed=(), recovered=(), energy_pj=None)
    assert [found[name] for name in ("as programmed", "recovered", "dies", "energy")] == ["–"] * 4
    assert found["float"] == "90.00 %"


def test_in_a_terminal_there_are_means_alone() -> None:
    found = brief(dataclasses.replace(FASHION, measured=FOUND))
    shown = dict(zip(BRIEF, found, strict=True))
    assert shown["recovered"] == "82.50 %"
    assert sum(max(map(len, pair)) + 2 for pair in shown.items()) < 100


def test_of_one_die_there_are_no_ends() -> None:
    found = told(dies=(0,), programmed=(0.5,), recovered=(0.8,), energy_pj=2500.0)
    assert found["recovered"] == "80.00 %"
    assert found["energy"] == "2.5 nJ"
    assert told(energy_pj=3.74e9)["energy"] == "3.74 mJ"
