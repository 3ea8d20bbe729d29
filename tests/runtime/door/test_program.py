"""Programming writes what differs, can be cut at any moment, and resumes to the same end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pimc.chip.design import Chip
from pimc.errors import DeviceError, RecoveryError
from pimc.files.container import Tensor
from pimc.files.weights.packing import pack_levels
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.drivers import require_programmed
from pimc.runtime.door.program import (
    Journal,
    Programmed,
    journal_path,
    program,
    require_kept,
    write,
)
from pimc.runtime.door.sim import SimDevice

CHIP = Chip.default().with_array(4, 5)
ARRAYS = 3


def image_of(seed: int = 0) -> Image:
    """One tile of 3×5 on each of three arrays; the fourth wordline is not used."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 16, (ARRAYS, 4, 5)).astype(np.uint16)
    layer = {
        "name": "w", "output": "y", "op": "MatMul", "groups": 1, "rows": 9, "cols": 5, "planes": 1,
        "mapping": {"kind": "offset", "slices": 2, "pair": "columns"},
        "row_block": 3, "col_block": 5, "window": None, "input_scale": 1.0, "input_signed": True,
        "adc_lsb_us": 1.0, "weight_error": 0.0,
    }  # fmt: skip
    columns = np.ones(5, np.float32)
    tensors: dict[str, Tensor] = {
        "levels": pack_levels(levels.reshape(ARRAYS, -1), 4),
        "tiles": np.array([[0, 0, 3 * n, 3, 0, 5, n, 0, 0] for n in range(ARRAYS)], np.int32),
        "layer.0000.zero": np.full(5, 8, np.uint16),
        "layer.0000.scale": columns,
        "layer.0000.gain": columns,
        "layer.0000.bias": columns,
    }
    return Image.build({"chip": CHIP.to_dict(), "layers": [layer]}, tensors)


class Bench:
    """A die that counts writes, and breaks down after so many calls or refuses some cells."""

    def __init__(self, seed: int = 1, calls: int = 99, refuses: frozenset[int] = frozenset()):
        self.inner = SimDevice(Die.simulated(seed), CHIP, ARRAYS)
        self.calls = calls
        self.refuses = refuses
        self.seen: list[int] = []

    @property
    def name(self) -> str:
        return self.inner.name

    def program(
        self, cells: npt.NDArray[np.int64], levels: npt.NDArray[np.uint16]
    ) -> npt.NDArray[np.bool_]:
        if self.calls == 0:
            raise DeviceError("the chip does not answer", where=self.name)
        self.calls -= 1
        taken = ~np.isin(cells, list(self.refuses))
        held = self.inner.die.cells.g_us.reshape(-1)[cells[~taken]].copy()
        self.inner.program(cells, levels)
        self.inner.die.cells.g_us.reshape(-1)[cells[~taken]] = held
        self.seen += cells.tolist()
        return taken

    def written(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return self.inner.written(cells)

    def read(self, region: Region, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner.read(region, inputs)


def held(bench: Bench) -> bytes:
    cells = bench.inner.die.cells
    return cells.level.tobytes() + cells.g_us.tobytes() + cells.writes.tobytes()


# --- what is written -------------------------------------------------------------------------


def test_all_used_cells_are_written_and_no_other() -> None:
    image, bench = image_of(), Bench()
    done: list[int] = []
    assert program(image, bench, done=done.append) == Programmed(45, 0, 3)
    assert done == [0, 1, 2]
    assert sorted(bench.seen) == np.flatnonzero(image.used).tolist()
    level = bench.inner.die.cells.level
    assert np.array_equal(level[:, :3], image.levels[:, :3])
    assert (level[:, 3] == -1).all()


def test_the_same_image_again_writes_nothing() -> None:
    image, bench = image_of(), Bench()
    program(image, bench)
    before = held(bench)
    assert program(image, bench) == Programmed(0, 45, 0)
    assert held(bench) == before


def test_only_cells_that_differ_are_written() -> None:
    image, bench = image_of(), Bench()
    program(image, bench)
    bench.seen.clear()
    levels = image.levels.copy()
    changed = [(0, 1, 2), (2, 0, 0), (2, 2, 4)]
    for cell in changed:
        levels[cell] = (levels[cell] + 1) % 16
    levels[1, 3, 3] += 1  # no tile uses it
    assert program(image.updated(levels=levels), bench) == Programmed(3, 42, 2)
    assert bench.seen == [int(np.ravel_multi_index(cell, levels.shape)) for cell in changed]


def test_arrays_to_skip() -> None:
    bench = Bench()
    assert program(image_of(), bench, skip=frozenset({0, 2})) == Programmed(15, 0, 1)
    assert {cell // 20 for cell in bench.seen} == {1}


def test_cells_that_do_not_take_a_write_are_counted() -> None:
    image, bench = image_of(), Bench(refuses=frozenset({2, 21, 22}))
    assert program(image, bench) == Programmed(45, 0, 3, cells_missed=3)
    require_programmed(image, bench)
    cells = np.array([20, 21, 22, 23])
    assert write(bench, cells, np.zeros(4, np.uint16), limit=99) == 2
    assert write(bench, cells[[0, 3]], np.zeros(2, np.uint16), limit=99) == 0


def test_a_device_that_takes_nothing_is_an_error() -> None:
    with pytest.raises(DeviceError, match="not one of 15 cells could be written") as caught:
        program(image_of(), Bench(refuses=frozenset(range(20, 40))))
    assert caught.value.where == "sim:1"
    assert caught.value.hint


def test_writing_nothing_does_not_ask_the_device() -> None:
    assert write(Bench(calls=0), np.zeros(0, np.int64), np.zeros(0, np.uint16), limit=99) == 0


# --- journal ---------------------------------------------------------------------------------


def run(path: Path, image: Image, bench: Bench, *, resume: bool) -> Programmed:
    """What the command does."""
    journal = Journal(path, image, bench)
    skip = journal.finished() if resume else frozenset()
    with journal.open(resume=resume) as done:
        result = program(image, bench, skip=skip, done=done)
    journal.remove()
    return result


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_resuming_ends_where_an_uncut_run_ends(tmp_path: Path, calls: int) -> None:
    image, whole, cut = image_of(), Bench(), Bench(calls=calls)
    path = tmp_path / "journal"
    run(path, image, whole, resume=False)
    assert not path.exists()
    with pytest.raises(DeviceError, match="does not answer"):
        run(path, image, cut, resume=False)
    assert Journal(path, image, cut).finished() == frozenset(range(calls))
    cut.calls = 99
    assert run(path, image, cut, resume=True) == Programmed(45 - 15 * calls, 0, 3 - calls)
    assert held(cut) == held(whole)
    assert not path.exists()


def test_a_journal_cut_at_any_byte_resumes(tmp_path: Path) -> None:
    image = image_of()
    path = tmp_path / "journal"
    cut = Bench(calls=2)
    with pytest.raises(DeviceError):
        run(path, image, cut, resume=False)
    text = path.read_bytes()
    header = text.index(b"\n") + 1
    for length in range(len(text) + 1):
        path.write_bytes(text[:length])
        lines = max(text[:length].count(b"\n") - 1, 0)
        assert Journal(path, image, cut).finished() == frozenset(range(lines))
        # Resumed and cut again, the journal is whole up to there.
        with Journal(path, image, cut).open(resume=True) as done:
            done(2)
        assert path.read_bytes().startswith(text[:header])
        assert Journal(path, image, cut).finished() == frozenset({*range(lines), 2})


def test_nothing_of_a_torn_line_stays(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, image_of(), Bench())
    with journal.open(resume=False) as done:
        done(0)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"array": 100000')
    with journal.open(resume=True) as done:
        done(1)
    assert path.read_bytes() == whole + b'{"array": 1}\n'


def test_without_a_journal_all_is_to_do(tmp_path: Path) -> None:
    bench = Bench()
    assert Journal(tmp_path / "none", image_of(), bench).finished() == frozenset()
    assert run(tmp_path / "none", image_of(), bench, resume=True).cells_written == 45


def test_a_fresh_start_forgets_the_old_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path, image_of(1), Bench()).open(resume=False) as done:
        done(0)
    with Journal(path, image_of(0), Bench()).open(resume=False):
        pass
    assert Journal(path, image_of(0), Bench()).finished() == frozenset()


@pytest.mark.parametrize(("seed", "die"), [(1, 1), (0, 2)])
def test_a_journal_of_another_image_or_die_is_refused(tmp_path: Path, seed: int, die: int) -> None:
    path = tmp_path / "journal"
    with Journal(path, image_of(0), Bench(seed=1)).open(resume=False) as done:
        done(0)
    with pytest.raises(DeviceError, match="of another image or device") as caught:
        Journal(path, image_of(seed), Bench(seed=die)).finished()
    assert caught.value.where == str(path)
    assert "--resume" in str(caught.value.hint)


@pytest.mark.parametrize(
    "content", [b"hello\n", b"[]\n[]\n", b'{"a":1}\n{"b":2}\n', b"\xff\xfe\n", b"{}\n{}\nx\n"]
)
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(DeviceError, match=r"not a journal|another image") as caught:
        Journal(path, image_of(), Bench()).finished()
    assert caught.value.where == str(path)
    assert path.read_bytes() == content


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="not a journal"):
        Journal(tmp_path, image_of(), Bench()).finished()


def test_the_journal_of_an_address_lies_in_the_current_folder(tmp_path: Path) -> None:
    image, folder = Path("model.pimc"), tmp_path
    kept = Bench()  # has no file of its own
    assert journal_path(None, image, kept) == Path("model.pimc.journal")
    assert journal_path(Path("a.die"), image, kept) == Path("a.die.journal")
    assert journal_path(folder / "a.die", image, kept) == folder / "a.die.journal"
    assert journal_path(Path("tcp:1"), image, kept) == Path("tcp:1.journal")
    found = {journal_path(Path(f"visa://host/{n}"), image, kept) for n in ("a/b", "a_b", "a%2Fb")}
    assert len(found) == 3
    assert all(len(path.parts) == 1 for path in found)
    # A folder that is missing is a mistake where the die is a file.
    gone = folder / "gone" / "a.die"
    assert journal_path(gone, image, kept.inner) == folder / "gone" / "a.die.journal"


# --- what a recovery has written ---------------------------------------------------------------

NONE = np.zeros(0, np.int64), np.zeros(0, np.uint16)


def test_what_a_recovery_has_written_must_be_there() -> None:
    before, bench = image_of(), Bench()
    program(before, bench)
    cells = np.array([0, 21, 44])
    levels = (before.levels.reshape(-1)[cells] + 1) % 16
    after = before.updated(cells=cells, levels=levels)
    require_kept(before, bench, *NONE)
    with pytest.raises(RecoveryError, match="3 of 45 cells do not hold") as caught:
        require_kept(after, bench, *NONE)
    assert caught.value.where == "sim:1"
    # Chosen writes may have been done in part.
    for count in range(4):
        write(bench, cells[:count], levels[:count], limit=99)
        require_kept(before, bench, cells, levels)
    require_kept(after, bench, *NONE)
    with pytest.raises(RecoveryError, match="1 of 45 cells"):
        require_kept(before, bench, cells[:2], levels[:2])
