"""What a reader may do with a file, however wrong: take it, or refuse it in one sentence."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from pimc.cli.main import run
from pimc.errors import PimcError

__all__ = ["Finding", "Mutate", "Tally", "Target", "fuzz", "mutation"]

#: Seconds and bytes that no small file may cost. The second beyond what the process has.
TIME_S = 20
MEMORY_BYTES = 2 << 30
#: One mutation in so many is looked at thoroughly, and one is given to the command line.
THOROUGH, COMMAND = 32, 256
#: The longest line: place, sentence and hint are cut where they are longer than 1,200.
LONGEST = 3700
#: What libraries announce of themselves, and nobody sees: not about what a file holds.
_OWN_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)

Mutate = Callable[[Random, bytes], bytes]


@dataclass(frozen=True)
class Target:
    """A format, and what reads it.

    Attributes:
        file: name of the file, inside a folder of its own; with folders where the reader takes
            a folder.
        exit_codes: that a refusal may end with.
        samples: sound files.
        kinds: ways of changing them, by name.
        read: what is done with every file: read it, and do the cheap thing that one does with it.
        thorough: what is done with some of them besides.
        command: arguments of the command line that reads it.
        beside: other files of the folder.
    """

    name: str
    file: str
    exit_codes: frozenset[int]
    samples: Sequence[bytes] = field(repr=False)
    kinds: Mapping[str, Mutate] = field(repr=False)
    read: Callable[[Path], object] = field(repr=False)
    command: Callable[[Path], Sequence[str | Path]] = field(repr=False)
    thorough: Callable[[Path], object] | None = field(default=None, repr=False)
    beside: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Finding:
    """A file on which a reader did what it must not."""

    target: str
    kind: str
    seed: int
    number: int
    what: str
    where: str = ""

    def __str__(self) -> str:
        again = f"python -m tests.fuzz {self.target} --kind {self.kind} --seed {self.seed}"
        return f"{self.what} [{again} --first {self.number} --count 1]\n{self.where}"


@dataclass
class Tally:
    """What came of many mutations."""

    taken: int = 0
    refused: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ran(self) -> int:
        """All of them."""
        return self.taken + self.refused + len(self.findings)


def mutation(target: Target, kind: str, seed: int, number: int) -> bytes:
    """One changed file; it depends on these alone."""
    rng = Random(f"{seed} {target.name} {kind} {number}")
    return target.kinds[kind](rng, rng.choice(target.samples))


def fuzz(target: Target, kind: str, numbers: Sequence[int], seed: int, folder: Path) -> Tally:
    """Give changed files to a reader.

    Args:
        numbers: of the mutations.
        folder: empty; what is being read lies there when a process is killed by it.
    """
    tally, path = Tally(), folder / target.file
    path.parent.mkdir(parents=True, exist_ok=True)
    for name, content in target.beside.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    path.touch()
    before = _names(folder)
    with _limited(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number in numbers:
            path.unlink(missing_ok=True)  # disks wait when a file is cut to nothing and filled
            path.write_bytes(mutation(target, kind, seed, number))
            what, where = _judged(target, path, number)
            loud = [entry for entry in told if not issubclass(entry.category, _OWN_WARNINGS)]
            if loud and what is None:
                what = f"{loud[0].category.__name__}: {loud[0].message}"
                where = f"{loud[0].filename}:{loud[0].lineno}"
            told.clear()
            if what is None and _names(folder) - before:
                what = f"left behind: {sorted(_names(folder) - before)}"
            if what is not None:
                tally.findings.append(Finding(target.name, kind, seed, number, what, where))
                _clear(folder, before)
            elif where:
                tally.refused += 1
            else:
                tally.taken += 1
    return tally


def _judged(target: Target, path: Path, number: int) -> tuple[str | None, str]:
    """What is wrong, and where; or nothing, and what a refusal said."""
    signal.signal(signal.SIGALRM, _late)
    signal.setitimer(signal.ITIMER_REAL, TIME_S)
    try:
        if number % COMMAND == 50:
            return _at_the_command_line(target, path)
        target.read(path)
        if target.thorough is not None and number % THOROUGH == 0:
            target.thorough(path)
    except PimcError as error:
        what = _unclear(str(error), error.exit_code, target)
        return what, str(error) if what is None else _place(error)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:200]}", _place(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None, ""


def _at_the_command_line(target: Target, path: Path) -> tuple[str | None, str]:
    out, err = io.StringIO(), io.StringIO()
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _filters_kept():
            code = run([str(word) for word in target.command(path)])
    finally:
        os.chdir(here)
    told = err.getvalue()
    if code in (0, 1):
        return None, ""
    _, error, said = f"\n{told}".rpartition("\nerror: ")
    if "internal error" in told or "Traceback" in told or not error:
        return f"exit code {code}: {told[-300:]}", "command line"
    return _unclear(said, code, target), "command line"


@contextlib.contextmanager
def _filters_kept() -> Iterator[None]:
    """The command line silences warnings, for the rest of a process that it has for itself."""
    kept = warnings.filters[:]
    try:
        yield
    finally:
        warnings.filters[:] = kept  # type: ignore[index]  # a list, which the stubs do not promise


def _unclear(text: str, code: int, target: Target) -> str | None:
    """What is wrong with a refusal."""
    if code not in target.exit_codes:
        return f"exit code {code}: {text[:200]}"
    longest = max(map(len, text.splitlines()), default=0)
    if not text.strip() or longest > LONGEST:
        return f"a line of {longest} characters: {text[:100]}"
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in text):
        return f"control characters: {text[:200]!r}"
    return None


def _late(*_: Any) -> None:
    raise TimeoutError(f"more than {TIME_S} s")


def _place(error: BaseException) -> str:
    """Where an exception came from: the last lines of ours, and the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]
    ours = [
        line for line, f in zip(lines, frames, strict=True)
        if any(part in f.filename for part in ("/pimc/", "/passes/", "/runtime/"))
        and "site-packages" not in f.filename
    ]  # fmt: skip
    return " > ".join([*ours[-3:], *([] if lines[-1:] == ours[-1:] else lines[-1:])])


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Let this process have no more memory than it has by so much."""
    old = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def _names(folder: Path) -> frozenset[str]:
    return frozenset(
        os.path.join(where, name) for where, _, names in os.walk(folder) for name in names
    )


def _clear(folder: Path, kept: frozenset[str]) -> None:
    for name in _names(folder) - kept:
        os.unlink(name)


def summary(findings: Sequence[Finding]) -> str:
    """Findings of one place together, the first of each in full."""
    first: dict[tuple[str, str, str], Finding] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    for finding in findings:
        key = (finding.target, finding.what.partition(":")[0], finding.where.rpartition(" > ")[0])
        first.setdefault(key, finding)
        counts[key] += 1
    return "\n".join(f"{count} × {first[key]}" for key, count in counts.most_common())
