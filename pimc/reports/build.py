"""From sources to a page: chapters, what belongs together, and a size that a phone takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pimc.errors import ImageError, UsageError
from pimc.image.changes import changes
from pimc.image.image import Image
from pimc.reports.blocks import Block, Facts, Part
from pimc.reports.chapters.evaluation import part_of_comparison, part_of_eval
from pimc.reports.chapters.image import brief_of_image, part_of_image
from pimc.reports.chapters.recovery import brief_of_recovery, part_of_recovery
from pimc.reports.chapters.tables import brief_of_sweep, part_of_recoveries, part_of_sweep
from pimc.reports.page import Page, page_of
from pimc.reports.sources import Source

__all__ = ["MOST_BYTES", "brief_part", "built"]

#: No page is larger.
MOST_BYTES = 3_000_000
#: What arrays may take in all, one try after the other.
_BUDGETS = (1_900_000, 600_000, 0)
_AS_TYPED = "As they were typed, in the order in which they were run."
#: Layers that a notebook shows.
_NOTEBOOK_ROWS = 100


def built(sources: Sequence[Source], title: str, notes: Sequence[str] = ()) -> Page:
    """The page of some sources.

    Raises:
        UsageError: it would be too large, or a source does not hold what its kind has.
    """
    counts = Counter(source.kind for source in sources)
    about = ", ".join(f"{count} × {kind}" if count > 1 else kind for kind, count in counts.items())
    told = " ".join([f"Of: {about}.", *notes])
    size = 0
    for budget in _BUDGETS:
        page = page_of(title, told, _parts(sources, budget))
        size = len(page.html.encode())
        if size < MOST_BYTES:
            return page
    raise UsageError(
        f"the page would take {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f} MB",
        hint="name fewer images and tables",
    )


def brief_part(source: Source) -> Part:
    """What a notebook shows of a source: the first blocks of its chapter."""
    from pimc.reports.chapters.die import brief_of_die

    builders: Mapping[str, Callable[[Any], list[Block]]] = {
        "image": lambda image: brief_of_image(image, most=_NOTEBOOK_ROWS),
        "die": brief_of_die,
        "recovery": brief_of_recovery,
        "sweep": brief_of_sweep,
    }
    return Part(source.kind, source.name, builders[source.kind](source.content))


def _parts(sources: Sequence[Source], budget: int) -> list[Part]:
    images: list[Image] = [source.content for source in sources if source.kind == "image"]
    share = budget // max(len(images), 1)
    return [_with_lines(_part(source, images, share), source) for source in sources]


def _with_lines(part: Part, source: Source) -> Part:
    """A chapter that ends with the command lines that made what it is of."""
    if not source.lines:
        return part
    rows = [(f"{number}", line) for number, line in enumerate(source.lines, 1)]
    lines = Facts(rows=rows, wide=True, title="Command lines", note=_AS_TYPED)
    return replace(part, blocks=[*part.blocks, lines])


def _part(source: Source, images: Sequence[Image], budget: int) -> Part:
    if source.kind == "image":
        return _image(source, images, budget)
    if source.kind == "die":
        return _die(source, images)
    try:
        part: Part = _OTHERS[source.kind](source.content, source.name)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as cause:
        raise UsageError(
            f"is not what pimc writes: {type(cause).__name__}: {cause}", where=source.name
        ) from cause
    if not source.sha256:
        return part
    file: Block = Facts(rows=[("SHA-256 of the file", source.sha256)], wide=True)
    return replace(part, blocks=[*part.blocks, file])


def _image(source: Source, images: Sequence[Image], budget: int) -> Part:
    image: Image = source.content
    parent = None if image.recovery is None else image.recovery.parent
    before = next((one for one in images if one.sha256 == parent), None)
    if before is None:
        return part_of_image(image, source.name, budget)
    try:
        found = changes(before, image)
    except ImageError:
        return part_of_image(image, source.name, budget)
    array = image.chip.array
    cells = (found.array * array.rows + found.row) * array.cols + found.col
    digital = f"{len(found.digital):,} of {len(image.layers):,} layers"
    facts = [
        ("Image before", f"{before.model.name}, {before.sha256}"),
        (
            "Cells with another level",
            f"{len(cells):,} in {len(set(found.array.tolist())):,} arrays",
        ),
        ("Digital side changed", digital if found.digital else "no"),
    ]
    return part_of_image(image, source.name, budget, cells, facts)


def _die(source: Source, images: Sequence[Image]) -> Part:
    from pimc.reports.chapters.die import holds, part_of_die

    image = next((one for one in images if holds(source.content, one)), None)
    return part_of_die(source.content, source.name, image, source.sha256)


_OTHERS: dict[str, Any] = {
    "recovery": part_of_recovery,
    "sweep": part_of_sweep,
    "recoveries": part_of_recoveries,
    "comparison": part_of_comparison,
    "evaluation": part_of_eval,
}
