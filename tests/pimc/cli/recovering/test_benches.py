"""Several chips of a laboratory, one of which fails: the others go on, and so does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pimc.errors import DeviceError
from pimc.image.image import Image
from pimc.runtime.door import drivers
from pimc.runtime.door.drivers import require_programmed
from tests.pimc.cli.lab import QUICK, rack
from tests.pimc.cli.recovering.test_together import rows


@pytest.fixture
def benches(lab: Any, noisy_reads: Image, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Three racks by address that keep their cells by themselves."""
    for member in ("save", "state", "restore"):
        monkeypatch.delattr(lab.Rack, member)
    found = {f"tcp:{seed}": rack(lab, noisy_reads, seed) for seed in (1, 2, 3)}

    def opens(image: Image, *, die: Path, seed: int) -> Any:
        if str(die) not in found:
            raise DeviceError("no answer within 5 s", where=str(die))
        return found[str(die)]

    monkeypatch.setitem(drivers._BUILT_IN, "bench", opens)
    return found


def test_a_bench_that_fails_is_gone_on_with_where_it_was_cut(pimc, lab, benches) -> None:
    failing = benches["tcp:2"]
    calls: list[int] = []
    uncut = lab.Rack.program

    def program(self: Any, *arguments: Any) -> Any:
        calls.append(1) if self is failing else None
        if self is failing and len(calls) == 2:
            raise DeviceError("the supply is off", where=self.name)
        return uncut(self, *arguments)

    command = (*QUICK, "--device", "bench", "--data", "data", "--json")
    dies = ("--die", "tcp:1", "--die", "tcp:2", "--die", "tcp:9", "--die", "tcp:3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.Rack, "program", program)
        done = pimc(*command, *dies)
    assert done.code == 3
    assert [bool(row["error"]) for row in rows()] == [False, True, True, False]
    assert "the supply is off" in rows()[1]["error"]
    assert [row["output"] for row in rows()] == [
        "tiny.r1.die0.pimc", "", "", "tiny.r1.die3.pimc",
    ]  # fmt: skip
    assert [path.name for path in Path().glob("*.recovery")] == ["tiny.r1.die1.recovery"]
    reached = done.json["accuracy_after"]

    # The others hold their next image by now, and would only be refused.
    done = pimc(*command, *dies)
    assert (done.code, "holds 2 of these dies" in done.err) == (2, True)
    benches["tcp:9"] = rack(lab, Image.load("tiny.pimc"), 9)
    done = pimc(*command, *dies, "--resume")
    assert (done.code, done.json["recovered"]) == (0, 2), done.err
    after = done.json["accuracy_after"]
    assert (after[0], after[3]) == (reached[0], reached[3])
    assert all(row["accuracy_before"] for row in rows())
    for row in rows():
        require_programmed(Image.load(row["output"]), benches[row["source"]])
    assert not list(Path().glob("*.recovery"))
