"""The multiply-accumulate of the fused read: eight lanes of paired 16-bit products.

Numba has no vectors of its own, and its loops leave half of what a processor can do with
16-bit integers unused. This emits plain LLVM vector code, which becomes the multiply-add
instruction of whatever processor runs it (``vpmaddwd`` on x86).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pimc.runtime.read.fused.jit import compiled

#: Positions of one vector, vectors and columns that one call multiplies.
LANES, VECTORS, COLUMNS = 8, 2, 4
#: Positions that :func:`multiply`'s caller works on at a time: the stride of its result.
CHUNK = 256

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)
_WIDE = ir.VectorType(_I32, 2 * LANES)
_SUMS = ir.VectorType(_I32, LANES)


def _everywhere(builder: ir.IRBuilder, pair: ir.Value) -> ir.Value:
    """One pair in all lanes."""
    nowhere = ir.Constant(_SUMS, ir.Undefined)
    first = builder.insert_element(nowhere, pair, _I32(0))
    lanes = builder.shuffle_vector(first, nowhere, ir.Constant(_SUMS, [0] * LANES))
    return builder.bitcast(lanes, _PAIRS)


def _pair_sums(builder: ir.IRBuilder, left: ir.Value, right: ir.Value) -> ir.Value:
    """Products of 16-bit numbers, neighbours added: one 32-bit sum a lane."""
    product = builder.mul(builder.sext(left, _WIDE), builder.sext(right, _WIDE))
    nowhere = ir.Constant(_WIDE, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(
            product, nowhere, ir.Constant(_SUMS, list(range(half, 2 * LANES, 2)))
        )
        for half in (0, 1)
    )
    return builder.add(even, odd)


def _multiplier(columns: int) -> Any:
    """The code that multiplies ``columns`` columns by two vectors of positions."""

    def multiply(
        typing: Any, codes: Any, offsets: Any, base_0: Any, base_1: Any, weights: Any, sums: Any,
        position: Any,
    ) -> Any:  # fmt: skip
        signature = types.void(codes, offsets, base_0, base_1, weights, sums, position)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            def array(number: int) -> Any:
                return context.make_array(signature.args[number])(context, builder, values[number])

            x, offset, w, result = (array(number).data for number in (0, 1, 4, 5))
            length = builder.extract_value(array(1).shape, 0)
            stride = builder.extract_value(array(5).shape, sums.ndim - 1)
            vectors = [builder.gep(x, [base]) for base in (values[2], values[3])]
            totals = [cgutils.alloca_once(builder, _SUMS) for _ in range(columns * VECTORS)]
            for total in totals:
                builder.store(ir.Constant(_SUMS, [0] * LANES), total)
            with cgutils.for_range(builder, length) as loop:
                here = builder.sext(builder.load(builder.gep(offset, [loop.index])), _I64)
                inputs = []
                for vector in vectors:
                    address = builder.bitcast(builder.gep(vector, [here]), ir.PointerType(_PAIRS))
                    inputs.append(builder.load(address, align=4))
                row = builder.mul(loop.index, _I64(columns))
                for column in range(columns):
                    address = builder.gep(w, [builder.add(row, _I64(column))])
                    weight = _everywhere(builder, builder.load(address))
                    for vector, value in enumerate(inputs):
                        total = totals[VECTORS * column + vector]
                        more = _pair_sums(builder, value, weight)
                        builder.store(builder.add(builder.load(total), more), total)
            for column in range(columns):
                for vector in range(VECTORS):
                    row = builder.mul(stride, _I64(column))
                    place = builder.add(builder.add(values[6], row), _I64(LANES * vector))
                    address = builder.bitcast(builder.gep(result, [place]), ir.PointerType(_SUMS))
                    builder.store(builder.load(totals[VECTORS * column + vector]), address, align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(multiply)


_four, _one = _multiplier(COLUMNS), _multiplier(1)


@compiled
def multiply_four(codes, offsets, bases, weights, sums):
    """``sums[c, LANES·v + l] = Σ_k weights[COLUMNS·k + c] · codes[offsets[k] + bases[v] + l]``.

    Codes and weights are int32 numbers that hold two 16-bit ones each; a product is the sum of
    both products. ``k`` counts offsets, ``c`` columns, ``v`` vectors, ``l`` lanes. Nothing is
    checked for overflow or bounds.
    """
    for v in range(0, len(bases), VECTORS):
        _four(codes, offsets, bases[v], bases[v + 1], weights, sums, np.int64(v * LANES))


@compiled
def multiply_one(codes, offsets, bases, weights, sums):
    """The same for a single column, with ``sums`` (CHUNK,)."""
    for v in range(0, len(bases), VECTORS):
        _one(codes, offsets, bases[v], bases[v + 1], weights, sums, np.int64(v * LANES))
