"""The floor: what no recovery can pass, because every read meets it anew."""

from __future__ import annotations

from pimc.image import Image
from pimc.nonideal import without
from pimc.passes.recover.bench import Bench, outputs
from pimc.passes.recover.options import Floor
from pimc.runtime.die import Die
from pimc.runtime.session import Session

#: What writing can, at best, make up for.
_OF_CELLS = (
    "programming", "reference column", "variation", "retention", "stuck cells", "dead lines",
)  # fmt: skip


def with_perfect_cells(image: Image) -> Image:
    """The image on a chip whose cells hold what they are asked to; reads stay as they are."""
    return image.updated(chip=without(image.chip, _OF_CELLS).to_dict())


def floor_of(bench: Bench) -> Floor:
    """The floor of the image on the bench, by simulation: nothing is asked of the chip.

    Perfect cells under the chip's read noise and converters, with the digital side as compiled.
    A recovery that also tunes the digital side can come out slightly below this loss.
    """
    image = with_perfect_cells(bench.image)
    session = Session(image, Die.simulated(bench.options.seed), seed=bench.options.seed)
    found = outputs(session, bench.held_out, bench.progress, "estimating the floor", None)
    return Floor(
        float(bench.goal.loss(found, bench.wanted)), bench.goal.agreement(found, bench.wanted)
    )
