"""The parts of a plan as JSON entries and tensors, and back: nothing is lost on the way.

``docs/passes.md`` describes what the files hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import onnx_ir as ir

from pimc.chip.sections import LayerMapping
from pimc.files.container import Content, Deferred, Tensor
from pimc.files.weights.weight import Weight
from pimc.passes.emit.sources import (
    get_array,
    get_source,
    lies_in_order,
    put_array,
    put_source,
)
from pimc.passes.simplify.deferred import DeferredTensor
from pimc.plan.records import (
    CodeMatrix,
    InputSteps,
    Layer,
    Lines,
    Place,
    Plan,
    Quantized,
    ReadStep,
    Tile,
    Window,
)

__all__ = [
    "get_constants",
    "get_layers",
    "get_quantized",
    "get_tables",
    "put_codes",
    "put_constants",
    "put_layers",
    "put_quantized",
    "put_tables",
]

Entry = dict[str, Any]
Contents = dict[str, Content]
Tensors = Mapping[str, Tensor]

_TILE = ("layer", "group", "row", "rows", "col", "cols")
_PLACE = ("array", "row", "col")
_VECTORS = ("zero", "scale", "gain", "bias", "importance")
#: Codes that are worked out together: entries, and rows at least.
_PART, _LEAST_ROWS = 1 << 22, 256


# --- the graph's constants that its file does not hold as they are -------------------------------


def put_constants(graph: ir.Model, contents: Contents) -> Entry:
    """Constants that are worked out when asked for, or do not lie row by row, by name.

    The graph's own file holds their values, but layers made of them are read another way.
    """
    entries: Entry = {}
    for name, value in graph.graph.initializers.items():
        tensor, key = value.const_value, f"constant.{len(entries):04d}"
        if isinstance(tensor, DeferredTensor):
            source = put_source(key, tensor.source, contents)
            entries[name] = {"source": source, "type": tensor.dtype.name}
        elif isinstance(tensor, ir.Tensor) and tensor.dtype != ir.DataType.STRING:
            array = tensor.numpy()
            if not lies_in_order(array):
                source = {"array": put_array(key, array, contents)}
                entries[name] = {"source": source, "type": None}
    return entries


def get_constants(graph: ir.Model, entries: Entry, tensors: Tensors) -> None:
    """Put these constants into a graph that was read from its file."""
    for name, entry in entries.items():
        source, value = get_source(entry["source"], tensors), graph.graph.initializers[name]
        made: ir.TensorProtocol
        if entry["type"] is None:
            made = ir.Tensor(get_array(entry["source"]["array"], tensors), name=name)
        else:
            made = DeferredTensor(source, ir.DataType[entry["type"]])
            made.name = name
        value.const_value = made


# --- layers --------------------------------------------------------------------------------------


def put_layers(layers: Sequence[Layer], contents: Contents) -> list[Entry]:
    """Layers with their weights."""
    entries = []
    for number, layer in enumerate(layers):
        weight, bias = f"layer.{number:04d}.weight", f"layer.{number:04d}.bias"
        contents[bias] = layer.bias
        entries.append(
            {
                "name": layer.name,
                "output": layer.output,
                "op": layer.op,
                "groups": int(layer.groups),
                "rows": int(layer.rows),
                "cols": int(layer.cols),
                "window": None if layer.window is None else asdict(layer.window),
                "weight": put_source(weight, layer.weight.source, contents),
                "factor": float(layer.weight.factor),
                "nonnegative_input": bool(layer.nonnegative_input),
                "input_steps": None if layer.input_steps is None else asdict(layer.input_steps),
                "mapping": None if layer.mapping is None else asdict(layer.mapping),
            }
        )
    return entries


def get_layers(entries: Sequence[Entry], tensors: Tensors) -> tuple[Layer, ...]:
    """The same layers."""
    found = []
    for number, entry in enumerate(entries):
        plain = {key: entry[key] for key in ("name", "output", "op", "groups", "rows", "cols")}
        window, steps, mapping = entry["window"], entry["input_steps"], entry["mapping"]
        layer = Layer(
            **plain,
            window=None if window is None else _window(window),
            weight=Weight(get_source(entry["weight"], tensors), entry["factor"]),
            bias=tensors[f"layer.{number:04d}.bias"].copy(),
            nonnegative_input=entry["nonnegative_input"],
            input_steps=None if steps is None else InputSteps(**steps),
            mapping=None if mapping is None else LayerMapping(**mapping),
        )
        found.append(layer)
    return tuple(found)


def _window(entry: Entry) -> Window:
    numbers = {key: tuple(entry[key]) for key in ("kernel", "strides", "dilations", "pads")}
    return Window(**numbers, auto_pad=entry["auto_pad"])


# --- quantized layers: codes in a file of their own, the rest with the tables ---------------------


def put_codes(quantized: Sequence[Quantized], contents: Contents) -> None:
    """Codes of all layers, worked out part by part."""
    for number, entry in enumerate(quantized):
        shape = tuple(int(size) for size in entry.codes.shape)
        parts = partial(_code_parts, entry.codes)
        contents[_codes(number)] = Deferred(np.dtype(np.uint16), shape, parts)


def _codes(number: int) -> str:
    return f"layer.{number:04d}.codes"


def _code_parts(codes: CodeMatrix) -> Iterator[Tensor]:
    groups, rows, cols = codes.shape
    together = max(1, _PART // (rows * cols))
    size = max(_LEAST_ROWS, _PART // (together * cols))
    for group in range(0, groups, together):
        for row in range(0, rows, size):
            block = slice(group, group + together), slice(row, row + size), slice(None)
            yield np.ascontiguousarray(codes[block])


def put_quantized(quantized: Sequence[Quantized], contents: Contents) -> list[Entry]:
    """All of quantized layers but their codes."""
    entries = []
    for number, entry in enumerate(quantized):
        names = {name: f"layer.{number:04d}.{name}" for name in _VECTORS}
        contents.update({key: getattr(entry, name) for name, key in names.items()})
        column = entry.adc_column_lsb_us
        if column is not None:
            contents[f"layer.{number:04d}.adc_column_lsb_us"] = column
        entries.append(
            {
                "input_scale": None if entry.input_scale is None else float(entry.input_scale),
                "input_signed": bool(entry.input_signed),
                "adc_lsb_us": float(entry.adc_lsb_us),
                "weight_error": float(entry.weight_error),
            }
        )
    return entries


def get_quantized(
    entries: Sequence[Entry], tensors: Tensors, codes: Tensors
) -> tuple[Quantized, ...]:
    """The same quantized layers."""
    found = []
    for number, entry in enumerate(entries):
        name = f"layer.{number:04d}"
        vectors: Entry = {key: tensors[f"{name}.{key}"].copy() for key in _VECTORS}
        column = tensors.get(f"{name}.adc_column_lsb_us")
        if column is not None:
            vectors["adc_column_lsb_us"] = column.copy()
        found.append(Quantized(codes=codes[_codes(number)], **vectors, **entry))
    return tuple(found)


# --- tiles, places, lines, steps ------------------------------------------------------------------


def put_tables(plan: Plan, contents: Contents) -> None:
    """Where everything lies, and when it is read."""
    contents["tiles"] = _table([[getattr(t, key) for key in _TILE] for t in plan.tiles], 6)
    contents["places"] = _table([[getattr(p, key) for key in _PLACE] for p in plan.places], 3)
    lengths = [(-1, -1) if x is None else (len(x.wordlines), len(x.bitlines)) for x in plan.lines]
    contents["lines.lengths"] = _table(lengths, 2)
    moved = [part for x in plan.lines if x is not None for part in (x.wordlines, x.bitlines)]
    contents["lines"] = np.concatenate([*moved, np.empty(0, np.int32)])
    contents["steps"] = _table([(step.layer, len(step.tiles)) for step in plan.schedule], 2)
    read = [number for step in plan.schedule for number in step.tiles]
    contents["steps.tiles"] = np.asarray(read, np.int64)


def get_tables(plan: Plan, tensors: Tensors) -> Plan:
    """``plan`` with all of that."""
    lines: list[Lines | None] = []
    start = 0
    for rows, cols in tensors["lines.lengths"].tolist():
        if rows < 0:
            lines.append(None)
            continue
        middle, end = start + rows, start + rows + cols
        lines.append(Lines(tensors["lines"][start:middle], tensors["lines"][middle:end]))
        start = end
    steps = tensors["steps"].tolist()
    ends = np.cumsum([0, *(count for _, count in steps)]).tolist()
    read = tensors["steps.tiles"].tolist()
    return replace(
        plan,
        tiles=tuple(Tile(*row) for row in tensors["tiles"].tolist()),
        places=tuple(Place(*row) for row in tensors["places"].tolist()),
        lines=tuple(lines),
        schedule=tuple(
            ReadStep(layer, tuple(read[start:end]))
            for (layer, _), (start, end) in zip(steps, pairwise(ends), strict=True)
        ),
    )


def _table(rows: Sequence[Sequence[int]], width: int) -> Tensor:
    return np.asarray(rows, np.int64).reshape(-1, width)
