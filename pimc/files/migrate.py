"""Files of older versions of a format, brought up to date while they are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pimc.errors import PimcError
from pimc.files.container import Manifest, Tensor

__all__ = ["Step", "up_to_date"]

#: Manifest and tensors of one version → those of the next; what it is given stays as it was.
Step = Callable[[Manifest, dict[str, Tensor]], tuple[Manifest, dict[str, Tensor]]]


def up_to_date(
    manifest: Manifest,
    tensors: dict[str, Tensor],
    version: int,
    steps: Mapping[int, Step],
    error: type[PimcError],
    where: str,
    *,
    hint: str = "write the file again",
) -> tuple[Manifest, dict[str, Tensor]]:
    """Manifest and tensors as ``version`` has them; the hashes in the manifest stay.

    Args:
        steps: from each older version to the next.

    Raises:
        error: there is no step from the version of the file, or it meets what it cannot read.
    """
    number = manifest["version"]
    while number < version:
        if number not in steps:
            raise error(
                f"format version {number} is older than this pimc reads",
                where=where,
                hint=hint,
            )
        try:
            manifest, tensors = steps[number](manifest, tensors)
        except (KeyError, IndexError, TypeError, ValueError) as cause:
            message = f"a key or tensor of version {number} is missing or malformed: {cause}"
            raise error(message, where=where, hint=hint) from cause
        number += 1
    return manifest | {"version": version}, tensors
