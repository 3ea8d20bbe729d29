"""Plans written out: what people look at, and files that plans share."""

from __future__ import annotations

import json
import os
from pathlib import Path

import networkx as nx
import onnx
import pytest

from pimc import api
from pimc.errors import UsageError
from pimc.passes.emit.dump import dump
from pimc.passes.pipeline import load_plan
from tests.passes.emit.dumps import after


@pytest.fixture
def folders(tiny_model, tiny_chip, tmp_path: Path) -> Path:
    api.plan(tiny_model(), tiny_chip, dump_dir=tmp_path / "dump")
    return tmp_path / "dump"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_holds_what_the_plan_has(folders: Path) -> None:
    assert names(after(folders, "simplify")) == {"graph.onnx", "plan.json", "plan.safetensors"}
    partition = names(after(folders, "partition"))
    assert partition - names(after(folders, "simplify")) == {"layers.graphml", "layers.safetensors"}
    assert names(after(folders, "schedule")) - partition == {"codes.safetensors"}


def test_people_can_look_at_it(folders: Path) -> None:
    text = json.loads((after(folders, "tile") / "plan.json").read_text(encoding="utf-8"))
    assert (text["stage"], text["chip"]) == ("tile", "generic-128")
    assert text["layers"][0]["name"] == "w1"
    assert text["layers"][0]["bias"] == "float32[6]"
    flow = nx.read_graphml(after(folders, "tile") / "layers.graphml")
    assert list(flow.edges) == [("w1", "w2"), ("w2", "w3")]
    graph = onnx.load(after(folders, "tile") / "graph.onnx").graph
    assert [node.op_type for node in graph.node].count("Array") == 3


def inode(path: Path) -> int:
    return path.stat().st_ino


def test_what_a_pass_leaves_alone_is_not_written_again(folders: Path) -> None:
    tile, last = after(folders, "tile"), after(folders, "schedule")
    for name in ("layers.safetensors", "graph.onnx", "codes.safetensors"):
        assert inode(tile / name) == inode(last / name)
    assert inode(after(folders, "lower") / "graph.onnx") != inode(
        after(folders, "partition") / "graph.onnx"
    )
    assert inode(tile / "plan.safetensors") != inode(last / "plan.safetensors")


def test_a_folder_stands_alone_and_may_be_written_over(
    folders: Path, tiny_model, tiny_chip
) -> None:
    before = {path: path.read_bytes() for path in folders.rglob("*") if path.is_file()}
    plan = api.plan(tiny_model(seed=1), tiny_chip)
    dump(plan, tiny_chip, after(folders, "partition"))
    for path, data in before.items():
        assert (path.read_bytes() == data) or path.parent.name.endswith("-partition")
    assert load_plan(after(folders, "partition")).stage == "schedule"
    assert load_plan(after(folders, "schedule")).layers


def test_where_files_cannot_be_linked_they_are_copied(
    tiny_model, tiny_chip, tmp_path: Path, monkeypatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    api.plan(tiny_model(), tiny_chip, dump_dir=tmp_path)
    first, last = (
        after(tmp_path, name) / "layers.safetensors" for name in ("partition", "schedule")
    )
    assert inode(first) != inode(last)
    assert first.read_bytes() == last.read_bytes()
    assert load_plan(last.parent).stage == "schedule"


def test_a_folder_that_cannot_be_made(tiny_model, tiny_chip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot create the folder"):
        api.plan(tiny_model(), tiny_chip, dump_dir=tmp_path / "file")
