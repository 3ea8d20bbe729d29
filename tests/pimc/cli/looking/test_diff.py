"""``pimc diff``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from pimc.image.image import Image


def test_diff(pimc, model) -> None:
    pimc("compile", "tiny.onnx", "--calib", "calib.npz", "-o", "a.pimc", "--array", "16x8")
    a = Image.load("a.pimc")
    levels = a.levels.copy()
    where = np.argwhere(a.used)[[3, 50, 200]]
    levels[tuple(where.T)] ^= 1
    a.updated(levels=levels, columns={1: {"bias": a.layers[1].bias + 1}}).save("b.pimc")

    same = pimc("diff", "a.pimc", "a.pimc", "--exit-code", "--json")
    assert (same.code, same.json["identical"], same.json["cells_changed"]) == (0, True, 0)
    done = pimc("diff", "a.pimc", "b.pimc", "--json", "-o", "cells.csv")
    assert done.code == 0
    assert done.json["cells_changed"] == done.json["cells_to_write"] == 3
    assert done.json["arrays_changed"] == len(set(where[:, 0].tolist()))
    assert done.json["digital"] == {"w2": ["bias"]}
    assert pimc("diff", "a.pimc", "b.pimc", "--exit-code").code == 1
    table = np.loadtxt("cells.csv", delimiter=",", skiprows=1, dtype=int)
    np.testing.assert_array_equal(table[:, :3], where)
    np.testing.assert_array_equal(table[:, 3] ^ 1, table[:, 4])
    text = pimc("diff", "a.pimc", "b.pimc").out
    assert "3 cells" in text
    assert "w2" in text

    pimc("compile", "tiny.onnx", "-o", "c.pimc", "--array", "8x8")
    done = pimc("diff", "a.pimc", "c.pimc")
    assert done.code == 2
    assert "different chips" in done.err


def test_images_of_different_networks_are_refused(pimc, model, tiny_model) -> None:
    onnx.save(tiny_model(seed=1), "other.onnx")
    for name in ("tiny", "other"):
        pimc("compile", f"{name}.onnx", "--calib", "calib.npz")
    for more in ((), ("--exit-code",), ("-o", "cells.csv")):
        done = pimc("diff", "tiny.pimc", "other.pimc", *more)
        assert done.code == 2
        assert "different networks: tiny.onnx (3 layers, " in done.err
        assert "and other.onnx" in done.err
    assert not Path("cells.csv").exists()
