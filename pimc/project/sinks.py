"""Where metrics of steps go: a CSV file, MLflow, TensorBoard, or what other packages add.

A sink is anything with ``log(done)``, see :class:`Sink`. Other packages add kinds under the
entry-point group ``pimc.metrics``: a function that takes the text behind ``KIND:`` and gives a
sink.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from pimc.errors import UsageError
from pimc.files.entry_points import Extensions
from pimc.project.metrics import CsvSink, Done

__all__ = ["MlflowSink", "Sink", "TensorBoardSink", "open_sink"]

#: ``KIND:WHERE``; a single letter is a drive.
_KIND = re.compile(r"(?P<kind>[a-z][a-z_0-9-]+):(?P<where>.*)", re.DOTALL)


class Sink(Protocol):
    """Takes the figures of steps that were done."""

    def log(self, done: Done) -> None:
        """Take those of one step."""
        ...


class TensorBoardSink:
    """Event files that TensorBoard reads, in a folder: a scalar ``COMMAND/FIGURE`` each.

    Raises:
        UsageError: the extra is not installed.
    """

    def __init__(self, where: str) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as cause:
            raise _missing("tensorboard") from cause
        self._writer, self._folder = SummaryWriter, Path(where)

    def log(self, done: Done) -> None:
        """Write one event file; the step's number is that of the files before."""
        number = len(list(self._folder.glob("events.out.tfevents.*")))
        with self._writer(str(self._folder), filename_suffix=f".{number}") as writer:
            for name, value in {"seconds": done.seconds, **done.figures}.items():
                writer.add_scalar(f"{done.command}/{name}", value, number)


class MlflowSink:
    """Runs of an MLflow experiment, one a step, called like the command.

    Args:
        where: a tracking URI; empty for what the environment says.

    Raises:
        UsageError: the extra is not installed, or there is no such place.
    """

    def __init__(self, where: str) -> None:
        try:
            import mlflow
        except ImportError as cause:
            raise _missing("mlflow") from cause
        self._mlflow, self._where = mlflow, where
        with self._heard():
            self._begin()

    def log(self, done: Done) -> None:
        """Add a run, with options as parameters.

        Raises:
            UsageError: MLflow does not take it.
        """
        with self._heard():
            self._begin()
            with self._mlflow.start_run(run_name=done.command):
                self._mlflow.log_params({"command": done.command, **done.options})
                self._mlflow.log_metrics({"seconds": done.seconds, "ok": float(done.ok)})
                self._mlflow.log_metrics(dict(done.figures))

    def _begin(self) -> None:
        if self._where:
            self._mlflow.set_tracking_uri(self._where)
        self._mlflow.set_experiment("pimc")

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """What MLflow refuses, in its words."""
        try:
            yield
        except (self._mlflow.exceptions.MlflowException, ImportError) as cause:
            raise UsageError(
                f"MLflow does not take metrics: {cause}",
                where=f"mlflow:{self._where}",
                hint="name a server; a database needs `pip install mlflow`, a folder the variable"
                " MLFLOW_ALLOW_FILE_STORE=true",
            ) from cause


def _missing(extra: str) -> UsageError:
    return UsageError(
        f"metrics for {extra} need a package that is not installed",
        where=f"{extra}:",
        hint=f"pip install 'pimc[{extra}]'",
    )


def _csv(where: str) -> CsvSink:
    sink = CsvSink(Path(where))
    sink.require()
    return sink


_KINDS = Extensions(
    group="pimc.metrics",
    noun="kind of metrics",
    built_in={
        "csv": _csv,
        "mlflow": MlflowSink,
        "tensorboard": TensorBoardSink,
    },
)
#: Those of ours that name files.
_FILES = ("csv", "tensorboard")


def open_sink(where: str, folder: Path) -> Sink:
    """The sink of ``FILE.csv`` or ``KIND:WHERE``.

    Args:
        folder: what files and folders are relative to.

    Raises:
        UsageError: there is no such kind, what it needs is not installed, or a file is no table of
            metrics.
    """
    found = _KIND.fullmatch(where)
    if found is None and not where.endswith(".csv"):
        hint = "name FILE.csv, mlflow:URI or tensorboard:DIR"
        raise UsageError("is no place for metrics", where, hint)
    kind, text = ("csv", where) if found is None else (found["kind"], found["where"])
    opened: Sink = _KINDS.load(kind, where=where)(str(folder / text) if kind in _FILES else text)
    return opened
