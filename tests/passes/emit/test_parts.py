"""Tables of a plan come back whole: moved and unmoved tiles, steps of many tiles, nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from hypothesis import given
from hypothesis import strategies as st

from pimc.errors import PlanError
from pimc.files import container
from pimc.files.container import Content, Deferred
from pimc.passes.emit import parts
from pimc.passes.emit.parts import (
    get_constants,
    get_tables,
    put_codes,
    put_constants,
    put_tables,
)
from pimc.plan.records import Lines, Place, Plan, Quantized, ReadStep, Tile
from tests.passes.layout.made_plans import plan_of

NUMBERS = st.integers(0, 2**31 - 1)
LINES = st.lists(st.integers(0, 99), min_size=1, max_size=5).map(lambda x: np.array(x, np.int32))
TILES = st.lists(
    st.tuples(
        st.builds(Tile, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
        st.builds(Place, NUMBERS, NUMBERS, NUMBERS),
        st.none() | st.builds(Lines, LINES, LINES),
    ),
    max_size=6,
)
STEPS = st.lists(st.builds(ReadStep, NUMBERS, st.lists(NUMBERS, max_size=4).map(tuple)), max_size=5)
EMPTY = plan_of(())


def again(plan: Plan) -> Plan:
    contents: dict[str, Content] = {}
    put_tables(plan, contents)
    return get_tables(EMPTY, {name: np.asarray(array) for name, array in contents.items()})


@given(TILES, STEPS)
def test_tables_come_back(
    tiles: list[tuple[Tile, Place, Lines | None]], steps: list[ReadStep]
) -> None:
    plan = replace(
        EMPTY,
        tiles=tuple(tile for tile, _, _ in tiles),
        places=tuple(place for _, place, _ in tiles),
        lines=tuple(lines for _, _, lines in tiles),
        schedule=tuple(steps),
    )
    found = again(plan)
    assert (found.tiles, found.places, found.schedule) == (plan.tiles, plan.places, plan.schedule)
    assert len(found.lines) == len(plan.lines)
    for ours, wanted in zip(found.lines, plan.lines, strict=True):
        assert (ours is None) == (wanted is None)
        if ours is not None and wanted is not None:
            np.testing.assert_array_equal(ours.wordlines, wanted.wordlines)
            np.testing.assert_array_equal(ours.bitlines, wanted.bitlines)
            assert ours.wordlines.dtype == np.int32


def test_codes_are_written_in_parts_of_any_size(monkeypatch) -> None:
    monkeypatch.setattr(parts, "_LEAST_ROWS", 2)
    rng = np.random.default_rng(0)
    for shape in ((1, 9, 4), (5, 3, 2), (3, 7, 5)):
        codes = rng.integers(0, 16, shape).astype(np.uint16)
        zero, vector = np.zeros(1, np.uint16), np.zeros(1, np.float32)
        entry = Quantized(codes, zero, vector, vector, vector, vector, 1.0, True, 1.0, 0.0)
        for most in (1, 8, 30, 1000):
            monkeypatch.setattr(parts, "_PART", most)
            contents: dict[str, Content] = {}
            put_codes([entry], contents)
            (deferred,) = contents.values()
            assert isinstance(deferred, Deferred)
            np.testing.assert_array_equal(deferred.array(), codes)


def test_constants_keep_the_order_in_which_they_lie(tmp_path: Path) -> None:
    """What was folded into a view of another array is read column by column again."""
    weights = {
        "turned": np.arange(12, dtype=np.float32).reshape(4, 3).T,
        "plain": np.arange(12, dtype=np.float32).reshape(3, 4),
    }
    values = [
        ir.Value(name=name, const_value=ir.Tensor(array, name=name))
        for name, array in weights.items()
    ]
    graph = ir.Graph([], [], nodes=[], initializers=values, opset_imports={"": 17})
    model = ir.Model(graph, ir_version=10)
    contents: dict[str, Content] = {}
    entries = put_constants(model, contents)
    assert list(entries) == ["turned"]
    container.stream(tmp_path / "a", "test", 1, {}, contents)
    again = ir.from_proto(ir.to_proto(model))
    tensors = container.load(tmp_path / "a", "test", 1, PlanError, in_place=True)[1]
    get_constants(again, entries, tensors)
    for name, array in weights.items():
        found = again.graph.initializers[name].const_value
        assert found is not None
        np.testing.assert_array_equal(found.numpy(), array)
        assert found.numpy().flags.c_contiguous == (name == "plain")
        assert found.name == name
