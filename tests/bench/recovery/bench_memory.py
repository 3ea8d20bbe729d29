"""Peak memory of a recovery under several budgets, each in a process of its own.

    python tests/bench/recovery/bench_memory.py IMAGE --calib DATA [--memory 1G ...] [-- OPTION ...]

Prints peak, seconds and the hash of the next image, which must be the same under all budgets.
Without ``--memory`` the default is measured. Options after ``--`` go to ``pimc recover``. Peaks
are taken to be in KiB, as Linux tells them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pimc.files.writing.atomic import sha256_file

#: The command, by the interpreter that runs this.
PIMC = (sys.executable, "-c", "import sys; from pimc.cli import main; sys.exit(main())")


def measured(image: Path, calib: Path, memory: str, more: list[str]) -> tuple[float, float, str]:
    """Peak in MB, seconds, and the hash of the next image."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "next.pimc"
        words = [
            *PIMC, "recover", str(image), "--calib", str(calib),
            "-o", str(output), "--seed", "900", "-q", *more,
        ]  # fmt: skip
        words += ["--memory", memory] if memory else []
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"recover ended with {process.returncode}")
        seconds = time.perf_counter() - start
        return usage.ru_maxrss * 1024 / 1e6, seconds, sha256_file(output)


def main() -> None:
    """One line a budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--memory", action="append")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    given, more = parser.parse_args(words[:end]), words[end + 1 :]
    for memory in given.memory or [""]:
        peak, seconds, digest = measured(given.image, given.calib, memory, more)
        print(f"{memory or 'default':8} {peak:7.0f} MB {seconds:6.0f} s  {digest[:16]}", flush=True)


if __name__ == "__main__":
    main()
