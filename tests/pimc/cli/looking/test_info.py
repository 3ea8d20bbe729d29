"""``pimc info``, and what all commands about images have in common."""

from __future__ import annotations

import json

import pytest


def test_image_is_found_where_it_is_the_only_one(pimc, model) -> None:
    assert pimc("compile", "tiny.onnx").code == 0
    assert pimc("info", "--json").json["image"] == "tiny.pimc"
    assert pimc("compile", "tiny.onnx", "-o", "other.pimc").code == 0
    done = pimc("info")
    assert done.code == 2
    assert "other.pimc, tiny.pimc" in done.err
    assert pimc("info", "other.pimc").code == 0


def test_broken_images_are_one_sentence(pimc, model) -> None:
    pimc("compile", "tiny.onnx")
    whole = (model / "tiny.pimc").read_bytes()
    for data in (b"", b"no image", whole[: len(whole) // 2], whole[:-9] + b"x" * 9):
        (model / "tiny.pimc").write_bytes(data)
        for command in (["info"], ["verify"], ["diff", "tiny.pimc", "tiny.pimc"]):
            done = pimc(*command)
            assert (done.code, done.out) == (2, "")
            assert done.err.startswith("error: tiny.pimc: ")


def test_json_is_one_line_that_parses_for_every_image_command(pimc, model) -> None:
    pimc("compile", "tiny.onnx", "--calib", "calib.npz")
    for command in (["info"], ["verify"], ["diff", "tiny.pimc", "tiny.pimc"]):
        done = pimc(*command, "--json")
        assert done.out.count("\n") == 1
        assert isinstance(json.loads(done.out), dict)


def test_every_number_of_a_summary_explains_itself(pimc, model) -> None:
    keys = {
        "arrays_used", "cell_utilization", "read_steps", "quantization_error",
        "programming_error", "energy_pj", "latency_ns", "area_um2", "figures",
    }  # fmt: skip
    assert "explained" not in pimc("compile", "tiny.onnx", "--json").json
    for command in (("compile", "tiny.onnx"), ("info", "tiny.pimc")):
        found = pimc(*command, "--explain", "--json").json
        assert found["explained"].keys() == keys
        text = pimc(*command, "--explain").out
        assert all(f"\n{key} " in text for key in keys)
        assert "ISAAC" in found["explained"]["figures"]
    parts = pimc("info", "--json").json["energy_parts_pj"]
    assert f"input conversions {parts['dac']:,.0f} pJ" in text


def test_layers_add_up_to_the_whole(pimc, model) -> None:
    found = pimc("compile", "tiny.onnx", "--json").json
    for key in ("energy_pj", "latency_ns", "area_um2"):
        assert sum(layer[key] for layer in found["layers"]) == pytest.approx(found[key])
    other = pimc("compile", "tiny.onnx", "--chip", "cmo", "--explain", "--json").json
    assert other["area_um2"] is None
    assert "states no area" in other["explained"]["area_um2"]
