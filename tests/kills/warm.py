"""A process that has imported everything, and runs each command in a copy of itself.

``Warm`` talks to it: it reads a JSON line for each command and answers with one.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.kills.faults import Fault, install

__all__ = ["Ended", "Warm"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code, negative where a signal ended it.
        steps: of writing that it did; 0 where a signal ended it.
    """

    code: int
    out: str
    err: str
    seconds: float
    steps: int


class Warm:
    """The warm process."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kills.warm"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(
        self,
        folder: Path,
        *words: object,
        fault: Fault | None = None,
        after_s: float | None = None,
        number: int = signal.SIGKILL,
    ) -> Ended:
        """One command in a folder.

        Args:
            fault: what happens at a step of its writing.
            after_s: seconds after which signal ``number`` is sent to it.
        """
        asked = {
            "words": [str(word) for word in words],
            "fault": None if fault is None else asdict(fault),
            "after_s": after_s,
            "number": int(number),
        }
        (ended,) = self._answers(folder, [asked])
        return ended

    def race(self, folder: Path, *commands: Sequence[object]) -> list[Ended]:
        """Several commands at once."""
        plain = {"fault": None, "after_s": None, "number": 0}
        return self._answers(folder, [{"words": [*map(str, c)], **plain} for c in commands])

    def _answers(self, folder: Path, commands: list[dict[str, Any]]) -> list[Ended]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"folder": str(folder), "commands": commands}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the warm process died"
        return [Ended(**ended) for ended in json.loads(answer)]

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def _serve() -> None:
    _import_all()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        begun = [_begun(asked["folder"], n, one) for n, one in enumerate(asked["commands"])]
        answers = [asdict(_ended(*child)) for child in begun]
        print(json.dumps(answers), flush=True)


def _begun(folder: str, place: int, asked: Mapping[str, Any]) -> tuple[Any, ...]:
    """A command in a copy of this process: its number, when it began, where it writes."""
    files = [Path(f"{folder}.{place}.{name}") for name in ("out", "err", "steps")]
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        code = _command(folder, asked, files)
        # All that a process does at its end, but to forget what it shares with this one.
        atexit._run_exitfuncs()
        os._exit(code)
    return child, started, files, asked


def _ended(child: int, started: float, files: Sequence[Path], asked: Mapping[str, Any]) -> Ended:
    if asked["after_s"] is not None:
        time.sleep(asked["after_s"])
        # It is ours until it was waited for, so its number is nobody else's.
        os.kill(child, asked["number"])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    seconds = time.monotonic() - started
    out, err, steps = (file.read_text() if file.exists() else "" for file in files)
    for file in files:
        file.unlink(missing_ok=True)
    return Ended(code, out, err, seconds, int(steps or 0))


def _import_all() -> None:
    """What commands import when they are first used, and the kernel that is compiled."""
    import tempfile

    from pimc.cli.registry import commands

    for entry in commands().values():
        entry.load()
    with tempfile.TemporaryDirectory() as folder:
        from tests.kills.jobs import prepare

        prepare(Path(folder))


def _command(folder: str, asked: Mapping[str, Any], files: Sequence[Path]) -> int:
    import pimc.functions.program as program
    from pimc.cli.main import main

    os.chdir(folder)
    for stream, file in zip((1, 2), files, strict=False):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), stream)
    program.CHECKPOINT_S = 0.0
    taken = install(None if asked["fault"] is None else Fault(**asked["fault"]))
    try:
        main(asked["words"])
    except SystemExit as end:
        code = end.code
    descriptor = os.open(files[2], os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, str(taken()).encode())
    os.close(descriptor)
    return int(code or 0)


if __name__ == "__main__":
    _serve()
