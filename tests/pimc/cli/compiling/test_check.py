"""``pimc check``."""

from __future__ import annotations

import onnx


def test_check_names_places_and_reasons(pimc, model, tiny_model) -> None:
    done = pimc("check", "tiny.onnx", "--digital", "w2", "--json")
    assert (done.code, done.json["ok"], done.json["array"]) == (0, True, 2)
    assert "w1: Conv" in pimc("check", "tiny.onnx").out
    odd = tiny_model()
    odd.graph.node[1].op_type = "Reluu"
    onnx.save(odd, "odd.onnx")
    done = pimc("check", "odd.onnx")
    assert done.code == 1
    assert "Reluu" in done.out
    assert pimc("check", "odd.onnx", "--json").json["refused"] == 1
    assert pimc("compile", "odd.onnx").code == 2
