"""Sizes that an exporter leaves open although the others say what they are.

``view(n, length, heads, -1)`` becomes a Reshape whose last axis has a name in place of a size. A
reshape keeps the number of entries, so what is left of it once equal names cancel is the size.
"""

from __future__ import annotations

from collections import Counter
from math import prod

import onnx_ir as ir

__all__ = ["settle_sizes"]


def settle_sizes(graph: ir.Graph) -> None:
    """Give axes that reshapes settle their size, wherever the same name stands."""
    sizes: dict[str, int] = {}
    for node in graph:
        if node.op_type == "Reshape" and not node.domain:
            sizes |= _open_axis(_dims(node.inputs[0], sizes), _dims(node.outputs[0], sizes))
    for node in graph:
        for value in node.outputs:
            dims = _dims(value, sizes)
            if dims is not None:
                value.shape = ir.Shape(dims)


def _dims(value: ir.Value | None, sizes: dict[str, int]) -> list[int | str | None] | None:
    """Sizes and names of a value's axes; None where even their number is not known."""
    if value is None or value.shape is None:
        return None
    dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
    return [sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in dims]


def _open_axis(
    before: list[int | str | None] | None, after: list[int | str | None] | None
) -> dict[str, int]:
    """The size of the one axis whose name nothing cancels."""
    if before is None or after is None or None in before or None in after:
        return {}
    left = Counter(dim for dim in after if isinstance(dim, str))
    left.subtract(dim for dim in before if isinstance(dim, str))
    names = [(name, count) for name, count in left.items() if count]
    entries, known = (prod(dim for dim in dims if isinstance(dim, int)) for dims in (before, after))
    if len(names) != 1 or names[0][1] != 1 or known == 0 or entries % known:
        return {}
    return {names[0][0]: entries // known}
