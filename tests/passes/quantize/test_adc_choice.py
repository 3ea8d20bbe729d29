"""ADC ranges by layer."""

from __future__ import annotations

import numpy as np
import pytest

import pimc
from pimc.api import Options
from pimc.chip.design import Chip
from pimc.errors import ChipError, UsageError
from pimc.image.image import Image
from pimc.passes.quantize.adc_choice import parse_range, with_ranges
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session

CHIP = Chip.default().with_array(16, 8)


def compiled(model, inputs, chip=CHIP, **ranges) -> Image:
    return pimc.compile(model, chip, calib=inputs, options=Options(adc_range=ranges))


def test_words() -> None:
    assert parse_range("column,percentile:100") == {
        "adc.range": "column", "adc.range_method": "percentile", "adc.percentile": 100.0,
    }  # fmt: skip
    assert parse_range("mse") == {"adc.range_method": "mse"}
    for wrong in ("", "rows", "mse,percentile", "percentile:10", "percentile:x", "layer,layer"):
        with pytest.raises(UsageError):
            parse_range(wrong)
    chip = with_ranges(CHIP, [("", "percentile:99"), ("w1", "mse")])
    assert (chip.adc.range_method, chip.adc.percentile) == ("percentile", 99.0)
    assert with_ranges(CHIP, [("w1", "mse")]) is CHIP


def test_a_layer_has_the_range_that_is_asked_for(tiny_model, tiny_inputs) -> None:
    model = tiny_model()
    plain = compiled(model, tiny_inputs)
    whole = compiled(model, tiny_inputs, with_ranges(CHIP, [("", "percentile:100")]))
    mixed = compiled(model, tiny_inputs, w2="percentile:100")
    assert "adc_range" not in plain.options
    assert mixed.options["adc_range"] == {"w2": "percentile:100"}
    lsb = [[layer.adc_lsb_us for layer in image.layers] for image in (plain, whole, mixed)]
    assert lsb[2] == [lsb[0][0], lsb[1][1], lsb[0][2]]
    assert lsb[1][1] > lsb[0][1], "nothing is clipped"
    assert Image.from_bytes(mixed.to_bytes()).to_bytes() == mixed.to_bytes()


def test_columns_may_share_a_range_where_they_need_not(tiny_model, tiny_inputs) -> None:
    by_column = CHIP.with_(**{"adc.range": "column"})
    image = compiled(tiny_model(), tiny_inputs, by_column, **{"w[12]": "layer"})
    assert [layer.adc_column_lsb_us is None for layer in image.layers] == [True, True, False]
    again = Image.from_bytes(image.to_bytes())
    y = Session(again, die=Die.ideal()).run(None, {"x": tiny_inputs[:8]})[0]
    assert np.isfinite(y).all()


def test_the_later_choice_counts_in_what_it_says(tiny_model, tiny_inputs) -> None:
    by_column = CHIP.with_(**{"adc.range": "column"})
    one = compiled(tiny_model(), tiny_inputs, by_column, **{"*": "layer", "w1": "percentile:100"})
    two = compiled(tiny_model(), tiny_inputs, w1="percentile:100")
    assert one.layers[0].adc_lsb_us == two.layers[0].adc_lsb_us


def test_what_cannot_be_is_refused(tiny_model, tiny_inputs) -> None:
    model = tiny_model()
    with pytest.raises(ChipError, match="share the range"):
        compiled(model, tiny_inputs, w1="column")
    with pytest.raises(UsageError, match="no layer on the array has this name"):
        compiled(model, tiny_inputs, w9="mse")
    fixed = CHIP.with_(**{"adc.range": "fixed", "adc.full_scale_us": 100.0})
    with pytest.raises(ChipError, match="one fixed range"):
        compiled(model, tiny_inputs, fixed, w1="mse")
    with pytest.raises(UsageError):
        Options(adc_range={"w1": "odd"})
