"""Metrics reach TensorBoard, MLflow and sinks of other packages."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from pimc.errors import UsageError
from pimc.project.metrics import Done
from pimc.project.sinks import open_sink

DONE = Done("2026-01-01T00:00:00+00:00", "eval", True, 1.5, {"accuracy": 0.75}, {"seed": "900"})


def scalars(folder: Path) -> dict[tuple[str, int], float]:
    """What event files hold: records of a length, its checksum, an event and its checksum."""
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[import-untyped, unused-ignore]

    found = {}
    for path in folder.glob("events.out.tfevents.*"):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


def test_tensorboard_gets_a_point_a_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="the extra `tensorboard` is not installed")
    for _ in range(2):
        open_sink("tensorboard:runs", tmp_path).log(DONE)
    assert scalars(tmp_path / "runs") == {
        (f"eval/{name}", number): value
        for name, value in (("accuracy", 0.75), ("seconds", 1.5))
        for number in range(2)
    }


def test_mlflow_gets_a_run_a_step(tmp_path: Path, monkeypatch) -> None:
    try:
        import mlflow  # type: ignore[import-not-found, unused-ignore]
    except ImportError as cause:
        pytest.skip(f"mlflow cannot be imported: {cause}")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "runs").as_uri()
    open_sink(f"mlflow:{uri}", tmp_path).log(DONE)
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("pimc")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {"accuracy": 0.75, "seconds": 1.5, "ok": 1.0}
    assert run.data.params == {"command": "eval", "seed": "900"}
    assert run.info.run_name == "eval"


def test_what_mlflow_refuses_is_told_when_it_is_opened(tmp_path: Path, monkeypatch) -> None:
    try:
        import mlflow  # noqa: F401
    except ImportError as cause:
        pytest.skip(f"mlflow cannot be imported: {cause}")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.setitem(sys.modules, "alembic", None)
    for where in ("nowhere://x", f"sqlite:///{tmp_path / 'runs.db'}"):
        with pytest.raises(UsageError, match="MLflow does not take metrics"):
            open_sink(f"mlflow:{where}", tmp_path)


@pytest.mark.parametrize(
    ("kind", "module"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")]
)
def test_a_missing_extra_is_told(kind: str, module: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as caught:
        open_sink(f"{kind}:x", tmp_path)
    assert caught.value.hint == f"pip install 'pimc[{kind}]'"


def test_a_sink_of_another_package(install, tmp_path: Path) -> None:
    source = (
        "class Sink:\n    told = []\n    def __init__(self, where):\n        self.where = where\n"
        "    def log(self, done):\n        self.told.append((self.where, done.command))\n"
    )
    install("lab-metrics", "pimc.metrics", {"lab": "Sink"}, source)
    open_sink("lab:http://host/x", tmp_path).log(DONE)
    import lab_metrics  # type: ignore[import-not-found, unused-ignore]  # on the path only here

    assert lab_metrics.Sink.told == [("http://host/x", "eval")]


@pytest.mark.parametrize(
    ("where", "told"),
    [("tensorbord:x", "did you mean tensorboard?"), ("metrics.txt", "is no place for metrics")],
)
def test_what_is_no_place(where: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        open_sink(where, tmp_path)


def test_a_csv_lies_in_the_folder(tmp_path: Path) -> None:
    open_sink("csv:a.csv", tmp_path).log(DONE)
    open_sink("b.csv", tmp_path).log(DONE)
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
