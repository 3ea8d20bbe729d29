"""The plan: what the compiler knows of one network on one chip, pass by pass.

Everything here is immutable; a pass returns ``dataclasses.replace(plan, ...)``.
Arrays inside are treated as read-only. Index letters used throughout:
``g`` group, ``k`` row (input) of a group, ``n`` column (output) of a group.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from pimc.chip.sections import LayerMapping
from pimc.files.strict import Rule, key
from pimc.files.weights.weight import Floats, Weight

if TYPE_CHECKING:
    import onnx_ir as ir

Ints = npt.NDArray[np.int64]

#: The largest kernel, stride, dilation or pad that is taken.
_LARGEST = 2**31 - 1
#: Domain of the graph nodes that stand for layers on the array.
DOMAIN = "pimc"
#: Their operator: one input, one output, string attribute ``layer``.
ARRAY_OP = "Array"


def layer_of(node: ir.Node) -> str:
    """Name of the layer that an array node stands for."""
    return node.attributes["layer"].as_string()


def is_array_node(node: ir.Node) -> bool:
    """Whether a node stands for a layer on the array."""
    return (node.domain, node.op_type) == (DOMAIN, ARRAY_OP)


def array_nodes(graph: ir.Model) -> list[ir.Node]:
    """The array nodes of a network, bodies of control flow included, in order."""
    return list(filter(is_array_node, graph.graph.all_nodes()))


def bodies(node: ir.Node) -> list[ir.Graph]:
    """The bodies of a control-flow node."""
    import onnx_ir as ir

    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found += attribute.as_graphs()
    return found


def repeated_layers(graph: ir.Model) -> frozenset[str]:
    """Layers that one run may use several times: of several nodes, or in a body."""
    nodes = array_nodes(graph)
    names = [layer_of(node) for node in nodes]
    inside = {layer_of(node) for node in nodes if node.graph is not graph.graph}
    return frozenset(inside | {name for name in names if names.count(name) > 1})


@dataclass(frozen=True)
class Window:
    """How a convolution cuts input vectors out of its input, in ONNX's terms.

    Attributes:
        kernel, strides, dilations: one entry per spatial dimension (1 to 3).
        pads: begin of each dimension, then end of each; zeros where ``auto_pad`` decides.
        auto_pad: ONNX's ``auto_pad``; SAME_* is resolved from the input's size when it runs.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("kernel", lambda w: 1 <= len(w.kernel) <= 3, "must have one to three dimensions"),
        Rule("strides", lambda w: len(w.strides) == len(w.kernel), "must be one a dimension"),
        Rule("dilations", lambda w: len(w.dilations) == len(w.kernel), "must be one a dimension"),
        Rule("pads", lambda w: len(w.pads) == 2 * len(w.kernel), "must be two a dimension"),
    )

    kernel: tuple[int, ...] = field(metadata=key("ints", "", low=1, high=_LARGEST))
    strides: tuple[int, ...] = field(metadata=key("ints", "", low=1, high=_LARGEST))
    dilations: tuple[int, ...] = field(metadata=key("ints", "", low=1, high=_LARGEST))
    pads: tuple[int, ...] = field(metadata=key("ints", "", low=0, high=_LARGEST))
    auto_pad: Literal["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"] = field(
        default="NOTSET",
        metadata=key("str", "", choices=("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")),
    )

    def resolved_pads(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Pads for an input of spatial ``size``: begins, then ends."""
        if self.auto_pad == "NOTSET":
            return self.pads
        if self.auto_pad == "VALID":
            return (0,) * (2 * len(self.kernel))
        begins, ends = [], []
        for length, kernel, stride, dilation in zip(
            size, self.kernel, self.strides, self.dilations, strict=True
        ):
            steps = -(-length // stride)
            total = max((steps - 1) * stride + (kernel - 1) * dilation + 1 - length, 0)
            small, large = total // 2, total - total // 2
            upper = self.auto_pad == "SAME_UPPER"
            begins.append(small if upper else large)
            ends.append(large if upper else small)
        return (*begins, *ends)


@dataclass(frozen=True)
class InputSteps:
    """What inputs can be in a network that was quantized elsewhere.

    Attributes:
        unit: the inputs are whole multiples of it.
        low, high: the least and the largest of these.
    """

    unit: float
    low: int
    high: int


@dataclass(frozen=True)
class Layer:
    """One weight matrix that goes on the chip, as the float network has it.

    Attributes:
        name: name of the weight initializer; with ``output`` it identifies the layer.
        output: name of the tensor the layer produces, where it is used first.
        op: the source operator.
        groups, rows, cols: the matrix is ``rows`` inputs × ``cols`` outputs, once a group.
        window: how input vectors are cut from the input; None for matrix products, whose
            vectors are the input's last dimension.
        weight: (groups, rows, cols).
        bias: float32 (groups * cols,).
        nonnegative_input: the graph proves that no input is below zero.
        input_steps: the steps that the inputs lie on, where the network says so.
        mapping: how its weights become cells; None as the chip says.
    """

    name: str
    output: str
    op: str
    groups: int
    rows: int
    cols: int
    window: Window | None
    weight: Weight = field(repr=False)
    bias: Floats = field(repr=False)
    nonnegative_input: bool = False
    input_steps: InputSteps | None = None
    mapping: LayerMapping | None = None


class CodeMatrix(Protocol):
    """Codes of weights (groups, rows, cols): an array, or what works them out when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Groups, rows, columns."""
        ...

    def __getitem__(self, block: Any, /) -> npt.NDArray[np.uint16]:
        """The codes of a block, three slices or indices."""
        ...


@dataclass(frozen=True)
class Quantized:
    """One layer in the chip's terms; all per-column vectors are (groups * cols,).

    A weight is ``scale · (v[code] − v[zero])`` where ``v`` is the codebook of the layer's
    mapping, effective conductances in µS.

    Attributes:
        codes: (groups, rows, cols), indices into the codebook.
        zero: uint16, the code that means weight 0.
        scale: float32, weight per µS.
        gain: float32, digital gain a column (1 after compiling).
        bias: float32, digital offset a column.
        importance: float32 (groups, rows), mean square of each row's DAC codes; ones without
            calibration data.
        input_scale: input units per DAC code, or None: each vector's largest magnitude is
            mapped to the largest code.
        input_signed: DAC codes are symmetric about zero, else they start at zero.
        adc_lsb_us: current of one ADC code, in µS times DAC code; the largest where every
            column has its own.
        adc_column_lsb_us: (groups, bitlines) that of each column, or None.
        weight_error: Σ(ŵ − w)² / Σw² of the layer.
    """

    codes: CodeMatrix = field(repr=False)
    zero: npt.NDArray[np.uint16] = field(repr=False)
    scale: Floats = field(repr=False)
    gain: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    importance: Floats = field(repr=False)
    input_scale: float | None
    input_signed: bool
    adc_lsb_us: float
    weight_error: float
    adc_column_lsb_us: Floats | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of one layer's matrix no larger than an array.

    ``row``/``rows`` count wordlines and ``col``/``cols`` bitlines, as the mapping lays the
    cells of weights on them, inside group ``group`` of layer number ``layer``.
    """

    layer: int
    group: int
    row: int
    rows: int
    col: int
    cols: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile sits: array number, first wordline and bitline."""

    array: int
    row: int
    col: int


@dataclass(frozen=True)
class Lines:
    """The wordline of each row and the bitline of each column of one tile."""

    wordlines: npt.NDArray[np.int32]
    bitlines: npt.NDArray[np.int32]


@dataclass(frozen=True)
class ReadStep:
    """A moment of the schedule: the listed tiles, all of one layer, are read together.

    Each array appears once at most, so a step costs one activation an array.
    """

    layer: int
    tiles: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Everything known so far. ``stage`` names the last of the compiler's passes that ran.

    Attributes:
        graph: the network; array layers become nodes of domain ``pimc`` in partition.
        model_name, model_sha256: file name and hash of the source model.
        arrays: arrays in use. From placement on, array ``a`` is slot ``a % n`` of core
            ``a // n`` on a chip with ``n`` arrays a core.
        phases: first array of each phase; where there are several, the arrays of the next replace
            those of the one before on the chip.
        lines: one entry a tile; None where rows and columns are simply consecutive.
        provenance: layer name → source node (op, name, output) for reports.
        notes: what was changed or assumed that a user should know of, a sentence each.
        own_passes: of each pass of the user's own that ran, its name, the stage that it followed
            (``after``) and its options.
    """

    graph: ir.Model
    model_name: str
    model_sha256: str
    stage: str = "frontend"
    layers: tuple[Layer, ...] = ()
    quantized: tuple[Quantized, ...] = ()
    tiles: tuple[Tile, ...] = ()
    places: tuple[Place, ...] = ()
    arrays: int = 0
    phases: tuple[int, ...] = (0,)
    lines: tuple[Lines | None, ...] = ()
    schedule: tuple[ReadStep, ...] = ()
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    own_passes: tuple[Mapping[str, Any], ...] = ()

    def slot(self, array: int) -> int:
        """Which of the chip's arrays holds ``array`` while its phase runs."""
        return array - self.phases[bisect_right(self.phases, array) - 1]
