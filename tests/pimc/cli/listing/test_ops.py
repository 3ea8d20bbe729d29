"""``pimc ops``."""

from __future__ import annotations


def test_ops(pimc) -> None:
    done = pimc("ops", "--markdown")
    assert done.out.startswith("| operator | where | condition or note |\n")
    assert "| Conv | array |" in done.out
    table = {row["op"]: row["where"] for row in pimc("ops", "--json").json["ops"]}
    assert (table["Gemm"], table["Relu"]) == ("array", "digital")
    assert "Gemm: on the array" in pimc("ops").out
