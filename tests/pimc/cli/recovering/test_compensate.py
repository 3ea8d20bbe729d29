"""``pimc compensate``: what it writes and says, and what the other commands make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.image.image import Image

RETENTION = {
    "retention.kind": "log",
    "retention.log_shift_us": -0.5,
    "retention.log_sigma_us": 0.05,
    "retention.sigma_1s_us": 0.2,
    "retention.within_range": True,
    "read_noise.relative": 0.0,  # reads of a die file draw other noise than those of a drawn die
}


@pytest.fixture
def aging(tiny_image: Image, tiny_inputs: np.ndarray, here) -> Image:
    """An image of a chip that drifts, and labelled data, in the current folder."""
    image = tiny_image.with_chip(tiny_image.chip.with_(**RETENTION))
    image.save("m.pimc")
    y = np.arange(len(tiny_inputs)) % 4
    np.save("x.npy", tiny_inputs)
    np.savez("calib.npz", x=tiny_inputs, y=y)
    np.savez("test.npz", x=tiny_inputs, y=y)
    return image


def test_it_writes_another_image_and_tells_what_drift_costs(aging: Image, pimc) -> None:
    done = pimc("compensate", "m.pimc", "--calib", "calib.npz", "--json")
    assert done.code == 0, done.err
    found = Image.load("m.drift.pimc")
    assert done.json["output"] == "m.drift.pimc"
    assert done.json["sha256"] == found.sha256
    assert found.drift is not None
    ages = [one["age_s"] for one in done.json["ages"]]
    assert ages == list(found.drift.ages_s)
    assert all(one["after"] <= one["before"] for one in done.json["ages"])
    text = pimc("compensate", "m.pimc").out
    assert "mean drift" in text
    assert "31.7 y" in text
    assert np.array_equal(found.levels, aging.levels)


def test_info_and_diff_show_it(aging: Image, pimc) -> None:
    assert pimc("compensate", "m.pimc", "--calib", "calib.npz", "-o", "new.pimc").code == 0
    assert "compensated from 1 s to 31.7 y, as calibration data drive rows" in pimc(
        "info", "new.pimc"
    ).out  # fmt: skip
    assert pimc("info", "new.pimc", "--json").json["drift"]["calibrated"] is True
    assert pimc("info", "m.pimc", "--json").json["drift"] is None
    changed = pimc("diff", "m.pimc", "new.pimc", "--json").json
    assert changed["cells_changed"] == 0
    assert {what for layer in changed["digital"].values() for what in layer} == {
        "drift_gain", "drift_pedestal", "drift_offset",
    }  # fmt: skip


def test_it_is_taken_off_again(aging: Image, pimc) -> None:
    assert pimc("compensate", "m.pimc", "-o", "new.pimc").code == 0
    assert pimc("compensate", "new.pimc", "--off", "-o", "back.pimc").code == 0
    assert Image.load("back.pimc").sha256 == aging.sha256
    refused = pimc("compensate", "back.pimc", "--off")
    assert refused.code == 2
    assert "no compensation" in refused.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--off", "--calib", "calib.npz"), "--off: --calib would change nothing"),
        (("--off", "--from", "30d", "--std", "2"), "--off: --from, --std would change nothing"),
        (("--layout", "NC"), "--layout given without --calib"),
    ],
)
def test_what_would_change_nothing_is_refused(aging: Image, pimc, arguments, message) -> None:
    assert pimc("compensate", "m.pimc", "-o", "new.pimc").code == 0
    refused = pimc("compensate", "new.pimc", *arguments, "-o", "other.pimc")
    assert (refused.code, message in refused.err) == (2, True), refused.err
    assert not Path("other.pimc").exists()


def test_a_chip_that_does_not_drift_is_refused(tiny_image: Image, here, pimc) -> None:
    tiny_image.save("m.pimc")
    refused = pimc("compensate", "m.pimc")
    assert refused.code == 2
    assert "do not change with time" in refused.err


def test_a_die_is_read_as_old_as_it_is(aging: Image, pimc) -> None:
    """Drawn dies, die files and images without compensation: what eval makes of each."""
    assert pimc("compensate", "m.pimc", "--calib", "calib.npz", "-o", "new.pimc").code == 0
    assert pimc("program", "m.pimc", "--die", "a.die", "--seed", "900").code == 0
    assert pimc("age", "10y", "--die", "a.die").code == 0

    def outputs(image: str, *chip: str) -> np.ndarray:
        done = pimc("run", image, "--input", "x.npy", "-o", "y.npz", *chip)
        assert done.code == 0, done.err
        return np.load("y.npz")["y"]

    plain, left = outputs("m.pimc", "--die", "a.die"), outputs("new.pimc", "--die", "a.die")
    fresh = outputs("m.pimc", "--seed", "900")
    assert np.mean((left - fresh) ** 2) < np.mean((plain - fresh) ** 2)
    drawn = outputs("new.pimc", "--seed", "900", "--age", "10y")
    np.testing.assert_array_equal(drawn, left)


def test_an_aged_die_is_recovered_by_its_columns_alone(aging: Image, pimc) -> None:
    assert pimc("compensate", "m.pimc", "-o", "new.pimc").code == 0
    assert pimc("program", "m.pimc", "--die", "a.die", "--seed", "900").code == 0
    assert pimc("age", "1y", "--die", "a.die").code == 0
    recover = ("recover", "new.pimc", "--calib", "calib.npz", "--die", "a.die")
    refused = pimc(*recover, "--rounds", "0", "--epochs", "0")
    assert refused.code == 2
    assert "--strategy affine" in refused.err
    done = pimc(*recover, "--strategy", "affine", "-o", "next.pimc")
    assert done.code == 0, done.err
    # What was fitted stands on top of it.
    assert Image.load("next.pimc").drift == Image.load("new.pimc").drift


def test_shipped_chips_that_drift() -> None:
    assert {n for n in Chip.shipped() if Chip.load(n).retention.kind != "none"} == {
        "cmo", "neurram",
    }  # fmt: skip
