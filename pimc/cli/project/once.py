"""A step of a project is done once: what is up to date is told and not done again."""

from __future__ import annotations

import glob
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from pimc.cli.project.given import SIMULATED, Use
from pimc.cli.project.keys import ALWAYS, DIES, NEVER, OF_CAPTURES, OUTPUTS, STEPS
from pimc.cli.project.typed import typed_line
from pimc.files.writing.atomic import written_files
from pimc.project.hashes import CAPTURE, Hashes
from pimc.project.steps import Present, Record, Steps, key_of

__all__ = ["Step", "step_of"]

#: Parameters that name a network, and data.
_MODELS, _DATA = frozenset({"model"}), frozenset({"calib", "data"})
#: What is left of a run that was cut, and goes when it goes on.
_PASSING = (".recovery", ".journal")


def step_of(use: Use | None, given: Mapping[str, Any]) -> Step | None:
    """The step that a command is; None where no project is used, or nobody can tell what it reads.

    What a chip on a bench, a function of Python or a task of one's own gives is known to nobody
    beforehand; so is an image that is not named.
    """
    if use is None or use.command not in STEPS:
        return None
    known = (
        SIMULATED.fullmatch(str(given.get("device", "sim")))
        and ":" not in str(given.get("task") or "")
        and not given.get("own_passes")
        and given.get("image", "") is not None
        and not given.get("list_strategies")
    )
    step = Step(use, dict(given))
    return step if known and step.readable else None


class Step:
    """One command of a project with its values.

    Args:
        given: the values by parameter.
    """

    def __init__(self, use: Use, given: Mapping[str, Any]) -> None:
        self._use, self._given = use, given
        self._inputs: dict[str, str | None] = {}
        self._dies: dict[str, str | None] = {}

    @cached_property
    def _steps(self) -> Steps:
        return Steps(self._use.project.records / "steps")

    @cached_property
    def _hashes(self) -> Hashes:
        return Hashes(self._use.project.records / "hashes.json")

    @property
    def readable(self) -> bool:
        """Whether all that is read are files and folders that are named."""
        listed = any(str(path).startswith("@") for path in self._paths(DIES))
        return not listed and all(path.exists() for path in self._paths(_DATA))

    def up_to_date(self) -> tuple[Record | None, str]:
        """The record of the step where nothing has changed since; else why it is to be done."""
        self._inputs.update({label: self._now(label) for label in self._read()})
        self._dies.update({label: self._now(label) for label in self._held()})
        record = None if self._use.command in ALWAYS else self._steps.load(self._key)
        if record is None:
            self._hashes.save()
            return None, ""
        present = Present(_version(), self._now, self._defaults)
        why = self._steps.changed(record, self._inputs, self._dies, present)
        self._hashes.save()
        return (None, why) if why else (record, "")

    def done(self, run: Callable[[], Any]) -> Any:
        """Do the step and note it, where it ends well.

        Args:
            run: gives the report.
        """
        start = time.perf_counter()
        with written_files() as written:
            report = run()
        if report.exit_code == 0:
            dies = {label: (digest, self._now(label)) for label, digest in self._dies.items()}
            outputs = {
                label: self._now(label)
                for label in (self._label("file", path) for path in _lasting(written))
                if label not in dies
            }
            record = Record(
                version=_version(),
                command=self._use.command,
                options=self._options,
                defaults=self._defaults(self._use.command) or {},
                inputs=self._inputs,
                outputs=outputs,
                dies=dies,
                data=report.data,
                text=report.text,
                answer=report.answer,
                finished=datetime.now(UTC).isoformat(timespec="microseconds"),
                seconds=round(time.perf_counter() - start, 3),
                line=typed_line(),
            )
            self._steps.save(self._key, record)
            self._hashes.save()
        return report

    @cached_property
    def _options(self) -> dict[str, str]:
        return {name: self._text(value) for name, value in self._given.items() if name not in NEVER}

    @cached_property
    def _key(self) -> str:
        # Of what is done each time each is noted, by what it found.
        found = self._dies.items() if self._use.command in ALWAYS else ()
        return key_of(self._use.command, self._options | {die: str(held) for die, held in found})

    def _defaults(self, command: str) -> Mapping[str, str] | None:
        """What the project file says for a command, as text.

        None where it cannot be read, and of what is never up to date.
        """
        found = None if command in ALWAYS else self._use.says(command)
        if found is None:
            return None
        return {name: self._text(value) for name, value in found.items() if name not in NEVER}

    def _paths(self, names: frozenset[str]) -> list[Path]:
        return [
            path for name in sorted(names & set(self._given)) for path in _all(self._given[name])
        ]

    def _read(self) -> list[str]:
        """What is read, as labels."""
        # `verify` takes its inputs from calibration data.
        tests = frozenset[str]() if self._use.command == "verify" else frozenset({"data"})
        others = frozenset(self._given) - _MODELS - _DATA - OUTPUTS - DIES - NEVER
        kinds = {"model": _MODELS, "test": tests, "calib": _DATA - tests, "file": others}
        found = [
            self._label(kind, path) for kind, names in kinds.items() for path in self._paths(names)
        ]
        chip = self._given.get("chip")
        besides = [Path(chip)] if chip and Path(chip).is_file() else []
        if self._use.command in OF_CAPTURES:
            folders = self._paths(frozenset({"calib"}))
            besides += (one for folder in folders for one in sorted(folder.glob(f"*{CAPTURE}")))
        return found + [self._label("file", path) for path in besides]

    def _held(self) -> list[str]:
        """Dies that are read or written, as labels; those that patterns name, too."""
        found: list[Path] = []
        for path in self._paths(DIES):
            fitting = sorted(glob.glob(str(path))) if glob.has_magic(str(path)) else []
            found += [Path(one) for one in fitting] or [path]
        return [self._label("file", path) for path in dict.fromkeys(found)]

    def _label(self, kind: str, path: Path) -> str:
        """A file by its place in the project, however it was called."""
        real, folder = os.path.abspath(path), os.path.abspath(self._use.project.folder)
        inside = os.path.commonpath([real, folder]) == folder
        return f"{kind}:{os.path.relpath(real, folder) if inside else real}"

    def _now(self, label: str) -> str | None:
        kind, _, name = label.partition(":")
        path = self._use.project.folder / name
        if kind == "model":
            return self._hashes.model(path)
        if kind in ("calib", "test"):
            return self._hashes.data(path, kind, self._written)
        return self._hashes.file(path)

    @cached_property
    def _written(self) -> frozenset[Path]:
        """What steps wrote, which is no input."""
        labels = {label for record in self._steps.all() for label in record.outputs}
        paths = ((self._use.project.folder / label.partition(":")[2]) for label in labels)
        return frozenset(path.resolve() for path in paths)

    def _text(self, value: Any) -> str:
        if isinstance(value, Path):
            return self._label("file", value).partition(":")[2]
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._text(one) for one in value)}]"
        return str(value)


def _all(value: Any) -> list[Path]:
    values = value if isinstance(value, tuple | list) else [value]
    return [one for one in values if isinstance(one, Path)]


def _lasting(written: list[Path]) -> list[Path]:
    """Files that are still there, once each."""
    return [
        path for path in dict.fromkeys(written) if path.suffix not in _PASSING and path.exists()
    ]


def _version() -> str:
    return metadata.version("pimc")
