"""A plan read back after any stage is equal, and leads to the same image byte for byte."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pimc import api
from pimc.chip.design import Chip
from pimc.errors import ModelError, PlanError
from pimc.files import container
from pimc.passes.emit.dump import FORMAT, VERSION, dump
from pimc.passes.graph.frontend import load_model
from pimc.passes.graph.serialize import graph_bytes
from pimc.passes.layout.pack import Pack
from pimc.passes.own import OwnPasses
from pimc.passes.pipeline import load_chip, load_plan, run_pass
from pimc.passes.simplify import deferred
from pimc.passes.simplify.deferred import DeferredTensor
from pimc.passes.stages import STAGES
from pimc.plan.records import Layer, Plan, Quantized
from tests.conftest import build_tiny_model
from tests.passes.emit.cases import CASES, SMALL
from tests.passes.emit.dumps import after
from tests.passes.test_own import Louder, Mine


@pytest.fixture(autouse=True)
def small_weights_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of these networks are read as large ones are: where they lie, as codes."""
    monkeypatch.setattr(deferred, "_LARGE", 64)


def same(left: Any, right: Any) -> bool:
    """Whether two values of a plan are equal, arrays by type, content and order."""
    if isinstance(left, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Quantized):
        return all(same(getattr(left, f.name), getattr(right, f.name)) for f in fields(left))
    if isinstance(left, Layer):
        plain = replace(left, weight=right.weight, bias=right.bias) == right
        return plain and same(left.bias, right.bias) and same(left.weight, right.weight)
    if hasattr(left, "source"):
        kind, order = type(left.source) is type(right.source), left.by_column == right.by_column
        return kind and order and left.factor == right.factor and same(left[:], right[:])
    if hasattr(left, "shape"):
        left, right = left[:, :, :] if len(left.shape) == 3 else left, right[:]
        return left.dtype == right.dtype and np.array_equal(left, right)
    if hasattr(left, "wordlines"):
        return same(left.wordlines, right.wordlines) and same(left.bitlines, right.bitlines)
    return bool(left == right)


def check_equal(left: Plan, right: Plan) -> None:
    for part in fields(Plan):
        if part.name != "graph":
            assert same(getattr(left, part.name), getattr(right, part.name)), part.name
    ours, theirs = (graph_bytes(plan.graph).array().tobytes() for plan in (left, right))
    assert ours == theirs


@pytest.mark.parametrize("name", CASES)
def test_from_every_stage_on_the_image_is_the_same(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    first = load_model(case.model())
    whole = api.compile(first, case.chip, dump_dir=tmp_path, **case.more())
    dump(first, case.chip, tmp_path / "frontend")
    seen = []
    for folder in sorted(tmp_path.iterdir()):
        plan, chip = load_plan(folder), load_chip(folder)
        assert chip == case.chip
        seen.append(plan.stage)
        image = api.compile(plan, chip, **case.more())
        assert image.to_bytes() == whole.to_bytes(), folder.name
    calib, faults = (case.more().get(key) is not None for key in ("calib", "faults"))
    chosen = {"replicate": name == "copies", "equalize": calib, "settle": calib and faults}
    chosen |= dict.fromkeys(("rotate", "split", "learn"), False)
    assert set(seen) == {stage.name for stage in STAGES if chosen.get(stage.name, True)}


@pytest.mark.parametrize("name", ["around faults", "sliced", "codes", "brain", "phases"])
def test_what_is_read_back_is_equal_and_is_written_as_it_was(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    plan, written = load_model(case.model()), None
    chosen = case.more()
    for number, stage in enumerate(STAGES):
        if stage.optional:
            continue
        if number:
            plan = api.plan(plan, case.chip, stop_after=stage.name, **chosen)
        written = dump(plan, case.chip, tmp_path / stage.name, written)
        again = load_plan(tmp_path / stage.name)
        check_equal(plan, again)
        dump(again, case.chip, tmp_path / "again")
        for path in sorted((tmp_path / stage.name).glob("*.[!j]*")):
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
        shutil.rmtree(tmp_path / "again")


def test_weights_stay_where_they_lie(tmp_path: Path) -> None:
    api.plan(CASES["codes"].model(), SMALL, dump_dir=tmp_path)
    plan = load_plan(after(tmp_path, "simplify"))
    kept = [v.const_value for v in plan.graph.graph.initializers.values()]
    assert sum(isinstance(tensor, DeferredTensor) for tensor in kept) == 3
    weight = load_plan(after(tmp_path, "partition")).layers[2].weight
    assert weight.by_column
    assert not np.asarray(weight.source).flags.owndata
    assert not np.asarray(weight.source).flags.writeable


def test_one_pass_alone_on_a_saved_plan(tmp_path: Path) -> None:
    model = build_tiny_model()
    api.plan(model, SMALL, dump_dir=tmp_path)
    folder = after(tmp_path, "tile")
    packed = run_pass(Pack("parallel"), load_plan(folder), load_chip(folder))
    parallel = api.Options(packing="parallel")
    assert packed.places == api.plan(model, SMALL, options=parallel, stop_after="pack").places
    assert packed.places != load_plan(after(tmp_path, "pack")).places


def test_passes_of_ones_own_are_noted_in_what_is_saved(tmp_path: Path) -> None:
    passes: OwnPasses = {"tile": [Louder()], "place": [Mine()]}
    whole = api.compile(build_tiny_model(), SMALL, passes=passes, dump_dir=tmp_path)
    for name in ("tile", "louder", "pack", "mine"):
        image = api.compile(load_plan(after(tmp_path, name)), SMALL, passes=passes)
        assert image.to_bytes() == whole.to_bytes(), name
    assert load_plan(after(tmp_path, "louder")).stage == "tile"


def test_what_a_pass_of_ones_own_changes_in_place_is_saved_too(tmp_path: Path) -> None:
    def overwrite(plan: Plan, chip: Chip) -> Plan:
        plan.layers[0].bias[:] = 0.25
        return plan

    api.plan(build_tiny_model(), SMALL, passes={"partition": [Mine(overwrite)]}, dump_dir=tmp_path)
    assert (load_plan(after(tmp_path, "mine")).layers[0].bias == 0.25).all()
    assert not (load_plan(after(tmp_path, "partition")).layers[0].bias == 0.25).any()


# --- files that do not belong there, or are not what they were -----------------------------------


@pytest.fixture
def dumped(tmp_path: Path) -> Path:
    api.plan(build_tiny_model(), SMALL, dump_dir=tmp_path / "a")
    other = api.Options(digital=("w3",))
    api.plan(build_tiny_model(), SMALL, options=other, dump_dir=tmp_path / "b")
    return tmp_path / "a"


@pytest.mark.parametrize("name", ["graph.onnx", "layers.safetensors", "codes.safetensors"])
def test_a_file_that_is_missing_altered_or_of_another_plan(name: str, dumped: Path) -> None:
    folder = after(dumped, "schedule")
    path, other = folder / name, after(dumped.parent / "b", "schedule") / name
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(PlanError, match=f"{name} is missing") as caught:
        load_plan(folder)
    assert caught.value.hint == "write the plan again with --dump-dir"
    shutil.copy(other, path)
    with pytest.raises(PlanError, match=f"{name}: belongs to another plan"):
        load_plan(folder)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(PlanError, match=r"was altered|belongs to another plan"):
        load_plan(folder)
    path.write_bytes(data)
    assert load_plan(folder).stage == "schedule"


def test_where_no_plan_is(tmp_path: Path, dumped: Path) -> None:
    with pytest.raises(PlanError, match=r"plan\.safetensors: no such file"):
        load_plan(tmp_path)
    with pytest.raises(PlanError, match=r"plan\.safetensors: no such file"):
        load_chip(tmp_path / "gone")
    shutil.copy(
        after(dumped, "schedule") / "graph.onnx", after(dumped, "schedule") / "plan.safetensors"
    )
    with pytest.raises(PlanError, match="not a pimc-plan file"):
        load_plan(after(dumped, "schedule"))


def altered(folder: Path, **changes: Any) -> None:
    """Write a plan's main file again, sealed, with other entries."""
    path = folder / "plan.safetensors"
    manifest, tensors = container.load(path, FORMAT, VERSION, PlanError)
    container.save(path, *container.seal(FORMAT, VERSION, {**manifest, **changes}, tensors))


@pytest.mark.parametrize(
    "changes",
    [{"model": {}}, {"phases": 3}, {"quantized": [{"volume": 11}]}, {"own_passes": None}],
)
def test_a_manifest_that_is_not_understood(changes: dict[str, Any], dumped: Path) -> None:
    altered(after(dumped, "schedule"), **changes)
    with pytest.raises(PlanError, match="is not understood: ") as caught:
        load_plan(after(dumped, "schedule"))
    assert caught.value.where is not None
    assert caught.value.where.endswith("plan.safetensors")


def test_a_graph_that_cannot_be_read(dumped: Path) -> None:
    folder = after(dumped, "simplify")
    (folder / "graph.onnx").write_bytes(b"")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    altered(folder, files={"graph.onnx": digest})
    with pytest.raises(ModelError, match="empty"):
        load_plan(folder)
