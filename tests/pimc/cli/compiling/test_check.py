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


def test_data_behind_links_are_read_where_the_user_allows_it(pimc, model, tiny_model) -> None:
    onnx.save(
        tiny_model(), "big.onnx", save_as_external_data=True, location="big.bin", size_threshold=0
    )
    (model / "blobs").mkdir()
    (model / "net").mkdir()
    for name in ("big.onnx", "big.bin"):
        (model / name).rename(model / "blobs" / name)
        (model / "net" / name).symlink_to(model / "blobs" / name)
    for command in ("check", "compile", "layouts"):
        refused = pimc(command, "net/big.onnx")
        assert (refused.code, refused.out) == (2, "")
        assert "link out of the model's folder" in refused.err
        assert "--follow-links" in refused.err
        assert pimc(command, "net/big.onnx", "--follow-links").code == 0
    assert pimc("verify", "--model", "net/big.onnx").code == 2
    assert pimc("verify", "--model", "net/big.onnx", "--follow-links").code == 0
