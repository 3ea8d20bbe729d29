"""Boxes in COCO's format: images with the boxes that are there, moved as the images are.

T.-Y. Lin et al., doi:10.1007/978-3-319-10602-1_48; https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.images import Frame, frame_of, image_rows, size_of
from pimc.data.kinds.folders import file_in
from pimc.data.kinds.sequences import KeptItems, filled
from pimc.data.kinds.stored import Stored
from pimc.data.layout import Preprocess
from pimc.data.rows import Rows
from pimc.errors import DataError
from pimc.files.strict import setting, settle

__all__ = ["Boxes", "read_boxes"]

_HINT = "see https://cocodataset.org/#format-data"
#: Entries of a row without a box.
_NONE = -1


@dataclass(frozen=True)
class Boxes:
    """How boxes become targets."""

    units: str = setting(
        "pixels",
        "str",
        "of corners: pixels of the image as the network gets it, or shares of its width and height",
        choices=("pixels", "shares"),
    )
    numbers: str = setting(
        "order",
        "str",
        "of classes: from 0 in the order of the categories' ids, or the ids themselves",
        choices=("order", "ids"),
    )

    def __post_init__(self) -> None:
        if problems := settle(self):
            raise DataError("; ".join(problems), where="boxes")


@dataclass(frozen=True)
class _Picture:
    """One entry of ``images``, its file, and how that is resized and cut."""

    file: Path
    size: tuple[int, int]
    frame: Frame


def read_boxes(
    path: Path, name: str, how: Preprocess, channels: int | None, boxes: Boxes
) -> Stored:
    """The images that a file of annotations lists, with ``boxes``, ``classes`` and ``crowd``.

    Args:
        path: the file; see :func:`_places` for where images lie.
        name: of the network's input.
        how: how images are resized and cut.
        channels: that the network takes, where it says so.

    Returns:
        Images, and as targets corners x1, y1, x2, y2 (images, most, 4), numbers of classes
        (images, most), −1 where an image has fewer, and 1 for crowds (images, most). Boxes are cut
        at the edges of what the network gets; those of which nothing is left are left out.

    Raises:
        DataError: the file is none of these, or an image is missing or has another size.
    """
    told = _parsed(path)
    pictures = _pictures(path, told, how)
    names = _categories(path, told)
    numbers = dict(zip(names, range(len(names)), strict=True))
    if boxes.numbers == "ids":
        numbers = {number: number for number in names}
    rows: dict[int, list[list[float]]] = {number: [] for number in pictures}
    for place, entry in enumerate(_list(path, told, "annotations")):
        where = f"{path}, annotations[{place}]"
        image, row = _box(entry, where, pictures, numbers)
        if row[2] > row[0] and row[3] > row[1]:
            rows[image].append(row)
    for image, inside in rows.items():
        if boxes.units == "shares":
            width, height = pictures[image].frame.size
            for row in inside:
                row[:4] = np.divide(row[:4], (width, height, width, height)).tolist()
    files = [picture.file for picture in pictures.values()]
    targets = {
        "boxes": _rows([np.array(r, np.float32).reshape(-1, 6)[:, :4] for r in rows.values()]),
        "classes": _rows([np.array([r[4] for r in rs], np.int64) for rs in rows.values()]),
        "crowd": _rows([np.array([r[5] for r in rs], np.int64) for rs in rows.values()]),
    }
    classes = tuple(names.values()) if boxes.numbers == "order" else ()
    return Stored({name: image_rows(files, how, channels)}, targets, "NHWC", classes)


def _rows(arrays: Sequence[npt.NDArray[Any]]) -> Rows:
    """Values by image; images with fewer boxes than the others are filled up with −1."""
    items = KeptItems.of(arrays)
    shape = items.shapes.max(axis=0)
    return filled(items, [max(int(shape[0]), 1), *shape[1:]], _NONE)


def _parsed(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as cause:
        raise DataError(f"cannot be read: {cause.strerror or cause}", str(path)) from cause
    except (ValueError, RecursionError) as cause:
        raise DataError(f"is no JSON: {cause}", str(path), _HINT) from cause
    if not isinstance(found, dict):
        raise DataError(f"holds {type(found).__name__}, no object", str(path), _HINT)
    return found


def _list(path: Path, told: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """The objects under a key."""
    found = told.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        said = "has no" if key not in told else "holds no list of objects under"
        raise DataError(f"{said} {key}", str(path), _HINT)
    return found


def _categories(path: Path, told: Mapping[str, Any]) -> dict[int, str]:
    """Names of the classes by id, in the order of the ids."""
    found: dict[int, str] = {}
    for place, entry in enumerate(_list(path, told, "categories")):
        where = f"{path}, categories[{place}]"
        number = _whole(entry, "id", where)
        if number in found:
            raise DataError(f"the id {number} is there twice", where, _HINT)
        found[number] = str(entry.get("name", number))
    return dict(sorted(found.items()))


def _pictures(path: Path, told: Mapping[str, Any], how: Preprocess) -> dict[int, _Picture]:
    """Every image by its id, in the order of the file."""
    found: dict[int, _Picture] = {}
    folders = _places(path)
    for place, entry in enumerate(_list(path, told, "images")):
        where = f"{path}, images[{place}]"
        number = _whole(entry, "id", where)
        if number in found:
            raise DataError(f"the id {number} is there twice", where, _HINT)
        file = file_in(folders, entry, "file_name", where)
        size = size_of(file)
        said = entry.get("width", size[0]), entry.get("height", size[1])
        if said != size:
            message = f"{file.name} is {size[0]}x{size[1]}, said is {said[0]!r}x{said[1]!r}"
            raise DataError(message[:300], where, "boxes are those of another image: mend the file")
        found[number] = _Picture(file, size, frame_of(size, how, file))
    if not found:
        raise DataError("lists no images", str(path), _HINT)
    return found


def _places(path: Path) -> list[Path]:
    """Where images lie: beside the file, in ``images`` there, or as COCO is unpacked.

    That is ``val2017``, or ``images/val2017``, beside the folder of ``instances_val2017.json``.
    """
    here, split = path.parent, path.stem.rpartition("_")[2]
    return [here, here / "images", here.parent / split, here.parent / "images" / split]


def _box(
    entry: Mapping[str, Any],
    where: str,
    pictures: Mapping[int, _Picture],
    numbers: Mapping[int, int],
) -> tuple[int, list[float]]:
    """The image that a box is in; its corners there, its class, and whether it is a crowd."""
    image, category = _whole(entry, "image_id", where), _whole(entry, "category_id", where)
    if image not in pictures:
        raise DataError(f"there is no image {image}", where, _HINT)
    if category not in numbers:
        raise DataError(f"there is no category {category}", where, _HINT)
    given = entry.get("bbox")
    if not isinstance(given, list) or len(given) != 4 or not all(map(_is_number, given)):
        raise DataError("bbox is no list of four numbers: x, y, width, height", where, _HINT)
    if min(given[2:]) < 0:
        raise DataError("bbox has a negative width or height", where, "x, y, width, height")
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"iscrowd is {str(crowd)[:40]}, not 0 or 1", where, _HINT)
    picture = pictures[image]
    x, y, width, height = map(float, given)
    corners = _moved(np.array([x, y, x + width, y + height]), picture.size, picture.frame)
    return image, [*corners.tolist(), float(numbers[category]), float(crowd)]


def _moved(
    corners: npt.NDArray[np.float64], size: tuple[int, int], frame: Frame
) -> npt.NDArray[np.float64]:
    """Corners in what the network gets, cut at its edges."""
    scale = np.tile(np.array(frame.resized) / np.array(size), 2)
    moved = corners * scale - (frame.left, frame.top, frame.left, frame.top)
    return np.asarray(np.clip(moved, 0, np.tile(frame.size, 2)))


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**31


def _whole(entry: Mapping[str, Any], key: str, where: str) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise DataError(f"{key} is {str(value)[:40]}, no whole number from 0", where, _HINT)
    return value
