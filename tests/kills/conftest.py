"""One warm process, and what undisturbed commands leave."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kills.jobs import JOBS, Job, prepare
from tests.kills.warm import Ended, Warm


@dataclass(frozen=True)
class Whole:
    """What a job leaves that nobody disturbs.

    Attributes:
        before: files of the folder that it begins with.
        outputs: what was compared of each output.
        after: files of the folder when it is done.
    """

    job: Job
    base: Path
    before: Mapping[str, bytes]
    outputs: Mapping[str, object]
    after: frozenset[str]
    ended: Ended

    def folder(self, path: Path) -> Path:
        """A folder to do the job in."""
        shutil.copytree(self.base, path)
        return path

    def done_in(self, folder: Path) -> bool:
        """Whether all of its outputs are there as they should be."""
        return all(
            (folder / name).exists() and content(folder / name) == self.outputs[name]
            for name, content in self.job.outputs.items()
        )

    def sound_in(self, folder: Path) -> None:
        """What an output may be at any moment: what it was before, or whole."""
        for name, content in self.job.outputs.items():
            path = folder / name
            if path.exists() and path.read_bytes() != self.before.get(name):
                content(path)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    process = Warm()
    yield process
    process.close()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills") / "base"
    folder.mkdir()
    prepare(folder)
    return folder


@pytest.fixture(scope="session")
def wholes(warm: Warm, base: Path) -> dict[str, Whole]:
    """By job, as they are asked for."""

    class Made(dict[str, Whole]):
        def __missing__(self, name: str) -> Whole:
            job, folder = JOBS[name], base.with_name(f"whole-{name}")
            shutil.copytree(base, folder)
            ended = warm.run(folder, *job.words)
            assert ended.code == 0, ended.err
            before = {path.name: path.read_bytes() for path in base.iterdir()}
            outputs = {name: content(folder / name) for name, content in job.outputs.items()}
            after = frozenset(path.name for path in folder.iterdir())
            self[name] = Whole(job, base, before, outputs, after, ended)
            return self[name]

    return Made()
