"""The multiply-accumulates of the fused read: eight lanes of products of small whole numbers.

Numba has no vectors of its own, and its loops leave half of what a processor can do with small
integers unused. This emits plain LLVM vector code. Pairs of 16-bit numbers become the multiply-add
instruction of whatever processor runs it (``vpmaddwd`` on x86). Quads of 8-bit numbers become
``vpdpbusd`` where the processor has it (VNNI of AVX-512), twice as many products an instruction,
and two products of pairs elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pimc.runtime.read.fused.jit import inner
from pimc.runtime.read.fused.records import COLUMNS, LANES, VECTORS

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_PAIRS = ir.VectorType(ir.IntType(16), 2 * LANES)
_WIDE = ir.VectorType(_I32, 2 * LANES)
_SUMS = ir.VectorType(_I32, LANES)
#: x86: adds four products of unsigned and signed bytes to every lane.
_BYTES = "llvm.x86.avx512.vpdpbusd.256"

#: Adds products of two words, one in every lane each, to the lanes of a sum.
_Adder = Callable[[ir.IRBuilder, ir.Value, ir.Value, ir.Value], ir.Value]


def _everywhere(builder: ir.IRBuilder, word: ir.Value) -> ir.Value:
    """One word in all lanes."""
    nowhere = ir.Constant(_SUMS, ir.Undefined)
    first = builder.insert_element(nowhere, word, _I32(0))
    return builder.shuffle_vector(first, nowhere, ir.Constant(_SUMS, [0] * LANES))


def _add_pairs(builder: ir.IRBuilder, total: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """Products of signed 16-bit numbers, two a lane."""
    wide = [builder.sext(builder.bitcast(words, _PAIRS), _WIDE) for words in (left, right)]
    product = builder.mul(*wide)
    nowhere = ir.Constant(_WIDE, ir.Undefined)
    even, odd = (
        builder.shuffle_vector(
            product, nowhere, ir.Constant(_SUMS, list(range(half, 2 * LANES, 2)))
        )
        for half in (0, 1)
    )
    return builder.add(total, builder.add(even, odd))


def _add_quads(builder: ir.IRBuilder, total: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """Products of unsigned and signed 8-bit numbers, four a lane, as two times two of 16 bits."""

    def shift(by: int) -> ir.Value:
        return ir.Constant(_PAIRS, [by] * 2 * LANES)

    bytes_, signed = (builder.bitcast(words, _PAIRS) for words in (left, right))
    even, odd = builder.and_(bytes_, shift(0xFF)), builder.lshr(bytes_, shift(8))
    even_signed = builder.ashr(builder.shl(signed, shift(8)), shift(8))
    total = _add_pairs(builder, total, even, even_signed)
    return _add_pairs(builder, total, odd, builder.ashr(signed, shift(8)))


def _add_quads_at_once(
    builder: ir.IRBuilder, total: ir.Value, left: ir.Value, right: ir.Value
) -> ir.Value:
    """The same in one instruction."""
    kind = ir.FunctionType(_SUMS, [_SUMS] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, _BYTES)
    return builder.call(function, [total, left, right])


def _turned(adder_on: Callable[[Any], _Adder]) -> Callable[[Any], _Adder]:
    """The same with the signs of codes and weights the other way round."""

    def turned_on(context: Any) -> _Adder:
        add = adder_on(context)
        return lambda builder, total, left, right: add(builder, total, right, left)

    return turned_on


def has_bytes(features: str) -> bool:
    """Whether a processor of these LLVM features multiplies bytes in one instruction."""
    return {"+avx512vnni", "+avx512vl"} <= set(features.split(","))


def _pairs_on(context: Any) -> _Adder:
    return _add_pairs


def _quads_on(context: Any) -> _Adder:
    _, _, features = context.codegen().magic_tuple()
    return _add_quads_at_once if has_bytes(features) else _add_quads


def _multiplier(columns: int, count: int, adder_on: Callable[[Any], _Adder]) -> Any:
    """The code that multiplies ``columns`` columns by ``count`` vectors of positions."""

    def multiply(
        typing: Any, codes: Any, offsets: Any, bases: Any, first: Any, weights: Any, sums: Any
    ) -> Any:
        signature = types.void(codes, offsets, bases, first, weights, sums)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
            def array(number: int) -> Any:
                return context.make_array(signature.args[number])(context, builder, values[number])

            add, first = adder_on(context), values[3]
            x, offset, base, w, result = (array(number).data for number in (0, 1, 2, 4, 5))
            length = builder.extract_value(array(1).shape, 0)
            stride = builder.extract_value(array(5).shape, sums.ndim - 1)
            vectors = []
            for vector in range(count):
                place = builder.gep(base, [builder.add(first, _I64(vector))])
                vectors.append(builder.gep(x, [builder.load(place)]))
            totals = [cgutils.alloca_once(builder, _SUMS) for _ in range(columns * count)]
            for total in totals:
                builder.store(ir.Constant(_SUMS, [0] * LANES), total)
            with cgutils.for_range(builder, length) as loop:
                here = builder.sext(builder.load(builder.gep(offset, [loop.index])), _I64)
                inputs = []
                for vector in vectors:
                    address = builder.bitcast(builder.gep(vector, [here]), ir.PointerType(_SUMS))
                    inputs.append(builder.load(address, align=4))
                row = builder.mul(loop.index, _I64(columns))
                for column in range(columns):
                    address = builder.gep(w, [builder.add(row, _I64(column))])
                    weight = _everywhere(builder, builder.load(address))
                    for vector, value in enumerate(inputs):
                        total = totals[count * column + vector]
                        builder.store(add(builder, builder.load(total), value, weight), total)
            position = builder.mul(first, _I64(LANES))
            for column in range(columns):
                for vector in range(count):
                    row = builder.mul(stride, _I64(column))
                    place = builder.add(builder.add(position, row), _I64(LANES * vector))
                    address = builder.bitcast(builder.gep(result, [place]), ir.PointerType(_SUMS))
                    builder.store(builder.load(totals[count * column + vector]), address, align=4)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(multiply)


#: Whether there are registers for sixteen sums, which hide how long an instruction takes.
_WIDE_FILE = has_bytes(get_host_cpu_features().flatten())
#: Vectors of a call for four columns and for one: as many sums for each.
_MANY_OF_FOUR, _MANY_OF_ONE = (4, 16) if _WIDE_FILE else (2, 8)
_four, _few_of_four = (_multiplier(COLUMNS, count, _pairs_on) for count in (_MANY_OF_FOUR, VECTORS))
_one, _few_of_one = (_multiplier(1, count, _pairs_on) for count in (_MANY_OF_ONE, VECTORS))
_four_quads = _multiplier(COLUMNS, _MANY_OF_FOUR, _quads_on)
_few_quads_of_four = _multiplier(COLUMNS, VECTORS, _quads_on)
_one_quads = _multiplier(1, _MANY_OF_ONE, _quads_on)
_few_quads_of_one = _multiplier(1, VECTORS, _quads_on)
_one_rests = _multiplier(1, _MANY_OF_ONE, _turned(_quads_on))
_few_rests_of_one = _multiplier(1, VECTORS, _turned(_quads_on))


@inner
def multiply_four(codes, offsets, bases, weights, sums):
    """``sums[c, LANES·v + l] = Σ_k weights[COLUMNS·k + c] · codes[offsets[k] + bases[v] + l]``.

    Codes and weights are int32 numbers that hold two 16-bit ones each; a product is the sum of
    both products. ``k`` counts offsets, ``c`` columns, ``v`` vectors, ``l`` lanes. Nothing is
    checked for overflow or bounds; the number of vectors is even.
    """
    most = len(bases) // _MANY_OF_FOUR * _MANY_OF_FOUR
    for v in range(0, most, _MANY_OF_FOUR):
        _four(codes, offsets, bases, v, weights, sums)
    for v in range(most, len(bases), VECTORS):
        _few_of_four(codes, offsets, bases, v, weights, sums)


@inner
def multiply_one(codes, offsets, bases, weights, sums):
    """The same for a single column, with ``sums`` (positions,)."""
    most = len(bases) // _MANY_OF_ONE * _MANY_OF_ONE
    for v in range(0, most, _MANY_OF_ONE):
        _one(codes, offsets, bases, v, weights, sums)
    for v in range(most, len(bases), VECTORS):
        _few_of_one(codes, offsets, bases, v, weights, sums)


@inner
def multiply_four_quads(codes, offsets, bases, weights, sums):
    """:func:`multiply_four` for numbers of four 8-bit ones: codes without sign, weights with."""
    most = len(bases) // _MANY_OF_FOUR * _MANY_OF_FOUR
    for v in range(0, most, _MANY_OF_FOUR):
        _four_quads(codes, offsets, bases, v, weights, sums)
    for v in range(most, len(bases), VECTORS):
        _few_quads_of_four(codes, offsets, bases, v, weights, sums)


@inner
def multiply_one_quads(codes, offsets, bases, weights, sums):
    """:func:`multiply_one` for numbers of four 8-bit ones."""
    most = len(bases) // _MANY_OF_ONE * _MANY_OF_ONE
    for v in range(0, most, _MANY_OF_ONE):
        _one_quads(codes, offsets, bases, v, weights, sums)
    for v in range(most, len(bases), VECTORS):
        _few_quads_of_one(codes, offsets, bases, v, weights, sums)


@inner
def multiply_one_rests(codes, offsets, bases, weights, sums):
    """:func:`multiply_one_quads` where codes have signs and weights none."""
    most = len(bases) // _MANY_OF_ONE * _MANY_OF_ONE
    for v in range(0, most, _MANY_OF_ONE):
        _one_rests(codes, offsets, bases, v, weights, sums)
    for v in range(most, len(bases), VECTORS):
        _few_rests_of_one(codes, offsets, bases, v, weights, sums)
