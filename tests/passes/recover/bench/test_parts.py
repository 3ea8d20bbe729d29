"""Large tensors of a checkpoint are written when they change, and found whenever all was cut."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pimc.errors import RecoveryError
from pimc.files import container
from pimc.passes.recover.bench import checkpoint as checkpoint_module
from pimc.passes.recover.bench import parts
from pimc.passes.recover.bench.checkpoint import FORMAT, VERSION, Checkpoint
from pimc.passes.recover.bench.parts import discard
from pimc.passes.recover.bench.state import State
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from tests.passes.recover.bench.test_stored import rich, same_image

JOB = {"image": "", "die": "", "strategy": "selective", "options": "", "calibration data": ""}


@pytest.fixture(autouse=True)
def all_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_LARGE_BYTES", 1)
    monkeypatch.setattr(Checkpoint, "_job", lambda self, bench: JOB)
    # Cells are written here that no recovery knows of.
    monkeypatch.setattr(checkpoint_module, "require_kept", lambda *arguments: None)


@pytest.fixture
def bench(tiny_image) -> Any:
    device = SimDevice(Die.simulated(7), tiny_image.chip, tiny_image.arrays, read_seed=7)
    program(tiny_image, device)
    return SimpleNamespace(device=device)


def written(folder: Path) -> dict[str, int]:
    """Parts that lie in a folder, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.part")}


def noted(path: Path) -> dict[str, Any]:
    return container.load(path, FORMAT, VERSION, RecoveryError)[0]["parts"]


def test_what_does_not_change_is_written_once(tiny_image, bench, tmp_path) -> None:
    checkpoint = Checkpoint(tmp_path / "a.recovery", tiny_image, "selective")
    state = rich(tiny_image)
    checkpoint.save(bench, state, 1)
    first, places = written(tmp_path), noted(checkpoint.path)
    checkpoint.save(bench, state, 2)
    assert written(tmp_path) == first
    bench.device.program(np.arange(3), np.full(3, 1))
    checkpoint.save(bench, state, 3)
    assert first.items() <= written(tmp_path).items()
    moved = {name for name, place in noted(checkpoint.path).items() if place != places[name]}
    assert moved
    assert all(name.startswith("device.") for name in moved)


def test_it_goes_on_from_the_parts_in_another_process(tiny_image, bench, tmp_path) -> None:
    state, path = rich(tiny_image), tmp_path / "a.recovery"
    Checkpoint(path, tiny_image, "selective").save(bench, state, 3)
    inside = container.load(path, FORMAT, VERSION, RecoveryError)[1]
    assert all(value.size == 0 for value in inside.values())
    before = written(tmp_path)
    again = Checkpoint(path, tiny_image, "selective")
    done, found = again.load(bench, State.first(tiny_image, 0))
    assert done == 3
    assert same_image(found.image, state.image)
    for index, estimate in state.estimates.items():
        for name, value in vars(estimate).items():
            np.testing.assert_array_equal(getattr(found.estimates[index], name), value)
    again.save(bench, found, 4)
    assert written(tmp_path) == before
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_files_of_which_little_is_in_use_are_written_anew(tiny_image, bench, tmp_path) -> None:
    """However often all but little changes, what lies there stays below twice what is needed."""
    checkpoint = Checkpoint(tmp_path / "a.recovery", tiny_image, "selective")
    state, rng = rich(tiny_image), np.random.default_rng(0)
    for number in range(6):
        cells = np.flatnonzero(tiny_image.used)
        bench.device.program(cells, rng.integers(0, 4, len(cells)))
        checkpoint.save(bench, state, number)
        needed = sum(
            value.nbytes for value in parts.take(checkpoint.path, noted_places(checkpoint)).values()
        )
        held = sum(path.stat().st_size for path in tmp_path.glob("*.part"))
        assert held < 2 * needed + 20_000  # headers of small files


def noted_places(checkpoint: Checkpoint) -> dict[str, tuple[str, str]]:
    return {name: (place[0], place[1]) for name, place in noted(checkpoint.path).items()}


@pytest.mark.parametrize("what", ["part", "name", "lost", "none"])
def test_a_part_that_is_not_what_it_was_is_refused(tiny_image, bench, tmp_path, what) -> None:
    path = tmp_path / "a.recovery"
    Checkpoint(path, tiny_image, "selective").save(bench, rich(tiny_image), 3)
    (part,) = tmp_path.glob("*.part")
    if what == "part":
        part.write_bytes(part.read_bytes()[:-1])
    elif what == "lost":
        part.unlink()
    else:
        manifest, tensors = container.load(path, FORMAT, VERSION, RecoveryError)
        places = dict(manifest["parts"])
        places["state.random.state"] = ["0" * 64, "../../x"] if what == "name" else 7
        container.save(path, *container.seal(FORMAT, VERSION, {**manifest, "parts": places},
                                             tensors))  # fmt: skip
    with pytest.raises(RecoveryError) as caught:
        Checkpoint(path, tiny_image, "selective").load(bench, State.first(tiny_image, 0))
    assert "\n" not in caught.value.message


def test_names_are_on_the_disk_before_what_relies_on_them(
    tiny_image, bench, tmp_path, monkeypatch
) -> None:
    """Parts before the checkpoint that names them, and that before others are removed."""
    path, told = tmp_path / "a.recovery", list[str]()
    checkpoint = Checkpoint(path, tiny_image, "selective")
    checkpoint.save(bench, rich(tiny_image), 1)
    (tmp_path / "a.recovery.0123456789abcdef.part").write_bytes(b"of a run that was cut")
    bench.device.program(np.arange(3), np.full(3, 1))
    sync, replace, unlink = os.fsync, Path.replace, Path.unlink

    def noting(what: Callable[[Any], str], call: Callable[..., Any]) -> Callable[..., Any]:
        def done(*given: Any, **options: Any) -> Any:
            found = call(*given, **options)
            told.append(what(given))
            return found

        return done

    def kind(given: Any) -> str:
        return "folder" if stat.S_ISDIR(os.fstat(given[0]).st_mode) else "content"

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", noting(kind, sync))
        patch.setattr(Path, "replace", noting(lambda given: Path(given[1]).suffix, replace))
        patch.setattr(Path, "unlink", noting(lambda given: "removed", unlink))
        checkpoint.save(bench, rich(tiny_image), 2)
    order = [one for one in told if one != "content"]
    assert order == [".part", "folder", ".recovery", "folder", "removed"]


def test_cut_at_any_step_of_writing_a_state_is_left(
    tiny_image, bench, tmp_path, monkeypatch
) -> None:
    """The one before or the one that was written, and no part too few; the next save tidies up."""
    state = rich(tiny_image)

    class CutError(BaseException):
        """The power went."""

    def saved(path: Path, step: int) -> bool:
        """Whether two saves came to their end with a cut before this step of the second."""
        checkpoint, steps = Checkpoint(path, tiny_image, "selective"), 0
        checkpoint.save(bench, state, 1)
        bench.device.program(np.flatnonzero(tiny_image.used)[:40], np.full(40, step % 4))

        def cutting(call: Any) -> Any:
            def done(*arguments: Any, **options: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps > step:
                    raise CutError
                return call(*arguments, **options)

            return done

        with monkeypatch.context() as patch:
            for name in ("replace", "unlink"):
                patch.setattr(Path, name, cutting(getattr(Path, name)))
            patch.setattr(container, "save", cutting(container.save))
            try:
                checkpoint.save(bench, state, 2)
            except CutError:
                return False
        return True

    for step in range(30):
        path = tmp_path / str(step) / "a.recovery"
        path.parent.mkdir()
        whole = saved(path, step)
        again = Checkpoint(path, tiny_image, "selective")
        done, _ = again.load(bench, State.first(tiny_image, 0))
        assert done == 2 if whole else done in (1, 2)
        again.save(bench, state, 3)
        used = {place[1] for place in noted(path).values()}
        assert {name.split(".")[-2] for name in written(path.parent)} == used
        if whole:
            break
    else:
        pytest.fail("never came to its end")
    discard(path)
    assert not list(path.parent.glob("a.recovery*"))
