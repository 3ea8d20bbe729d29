"""``pimc verify``."""

from __future__ import annotations

import onnx


def test_verify(pimc, model, tiny_model) -> None:
    pimc("compile", "tiny.onnx", "--calib", "calib.npz")
    done = pimc("verify", "--json")
    assert done.code == 0
    assert done.json["ok"]
    assert done.json["first_diverging_layer"] is None
    assert done.json["max_abs_error"] < 1e-2
    assert done.json["model"] == "tiny.onnx"
    assert 0 < done.json["relative_error_converted"] < 0.2
    assert set(done.json["saturation"]) == {"w1", "w2", "w3"}
    assert pimc("verify", "--data", "calib.npz", "--samples", "7").out.startswith("ok: 3 layers")
    onnx.save(tiny_model(seed=9), "other.onnx")
    wrong = pimc("verify", "--model", "other.onnx")
    assert wrong.code == 1
    assert "against the source model" in wrong.out
    (model / "tiny.onnx").write_bytes((model / "other.onnx").read_bytes())
    # Another model under the recorded name is not the source.
    assert pimc("verify", "--json").json["model"] is None
