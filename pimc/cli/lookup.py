"""Find files that a user need not name."""

from __future__ import annotations

from pathlib import Path

from pimc.errors import ModelError, UsageError
from pimc.files.fingerprint import file_fingerprint
from pimc.image.image import SUFFIX, Image

__all__ = ["find_image", "find_model"]


def find_image(path: str | Path | None, folder: Path | None = None) -> Path:
    """``path``, or the only image in ``folder`` (default: the current folder).

    Raises:
        UsageError: no path, and none or several images stand in the folder.
    """
    if path is not None:
        return Path(path)
    found = sorted(entry for entry in (folder or Path()).glob(f"*{SUFFIX}") if entry.is_file())
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"no image was named and the current folder holds no {SUFFIX} file",
            hint="name the image, or make one with `pimc compile MODEL.onnx`",
        )
    raise UsageError(
        f"no image was named and the current folder holds {len(found)}",
        hint=f"name one of {', '.join(entry.name for entry in found)}",
    )


def find_model(image: Image, image_path: Path | None = None) -> Path | None:
    """The source model beside the image or in the current folder, if its hash still fits.

    The hash covers the model's external data too.
    """
    wanted = image.model
    folders = [Path()] if image_path is None else [image_path.parent, Path()]
    for folder in folders:
        candidate = folder / wanted.name
        if candidate.is_file() and _fits(candidate, wanted.sha256):
            return candidate
    return None


def _fits(candidate: Path, sha256: str) -> bool:
    try:
        return file_fingerprint(candidate) == sha256
    except ModelError:
        return False
