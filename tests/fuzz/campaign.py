"""Hours of mutations, shared out to processes."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

from tests.fuzz.oracle import Tally, fuzz, mutation, summary
from tests.fuzz.targets import TARGETS, target_named

#: Files in memory, where there are such.
_MEMORY = Path("/dev/shm")
#: Mutations that a process is given at a time.
_PART = 2000

Piece = tuple[str, str, int, int, int]


def main() -> int:
    """Run what is asked for; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", nargs="*", choices=[[], *TARGETS], help="default: all")
    parser.add_argument("--kind", help="one way of changing files; default: all")
    parser.add_argument("--count", type=int, default=1000, help="mutations a target and kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="write the first file here instead")
    given = parser.parse_args()
    pieces = list(_pieces(given))
    if given.keep:
        name, kind, first, _, seed = pieces[0]
        given.keep.write_bytes(mutation(target_named(name), kind, seed, first))
        return 0
    return _report(_run(pieces, given.jobs))


def _pieces(given: argparse.Namespace) -> Iterator[Piece]:
    last = given.first + given.count
    for name in given.target or TARGETS:
        for kind in TARGETS[name]:
            if given.kind in (None, kind):
                for start in range(given.first, last, _PART):
                    yield name, kind, start, min(start + _PART, last), given.seed


def _piece(piece: Piece) -> tuple[Piece, Tally, float]:
    name, kind, start, stop, seed = piece
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        tally = fuzz(target_named(name), kind, range(start, stop), seed, Path(folder))
    return piece, tally, time.monotonic() - began


def _run(pieces: Sequence[Piece], jobs: int) -> dict[tuple[str, str], tuple[Tally, float]]:
    found: dict[tuple[str, str], tuple[Tally, float]] = {}
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        waiting = {pool.submit(_piece, piece): piece for piece in pieces}
        for done in as_completed(waiting):
            try:
                (name, kind, *_), tally, seconds = done.result()
            except BrokenProcessPool:
                print(f"a process died at or beside {waiting[done]}", file=sys.stderr)
                raise
            old, took = found.setdefault((name, kind), (Tally(), 0.0))
            old.taken += tally.taken
            old.refused += tally.refused
            old.findings += tally.findings
            found[name, kind] = (old, took + seconds)
    return found


def _report(found: dict[tuple[str, str], tuple[Tally, float]]) -> int:
    heads = ("ran", "taken", "refused", "findings", "a second")
    print(f"{'target':13} {'kind':9}", *(f"{head:>8}" for head in heads))
    for (name, kind), (tally, seconds) in sorted(found.items()):
        print(
            f"{name:13} {kind:9} {tally.ran:8} {tally.taken:8} {tally.refused:8} "
            f"{len(tally.findings):8} {tally.ran / max(seconds, 1e-9):8.0f}"
        )
    findings = [finding for tally, _ in found.values() for finding in tally.findings]
    print(summary(findings))
    return 1 if findings else 0
