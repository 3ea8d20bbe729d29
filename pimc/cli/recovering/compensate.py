"""``pimc compensate``: Make up for drift digitally, from the chip's statistics."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pimc.cli.command import Report, Settings, command, warned
from pimc.cli.options.data import DataOptions
from pimc.cli.options.fields import flag, group, named_by_user, option
from pimc.cli.options.single import image_argument
from pimc.cli.options.values import DURATION, FILE
from pimc.cli.recovering.dies import inputs_for
from pimc.cli.text import age_text, facts, percent, table

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.runtime.compensation import AgeCost

__all__ = ["COMMAND", "CompensateArguments", "compensate"]


@dataclass(frozen=True)
class CompensateArguments:
    """What ``pimc compensate`` takes."""

    image: Path | None = image_argument()
    calib: Path | None = option(
        "--calib",
        type=FILE,
        metavar="DATA",
        help="Calibration data, which say how rows are driven; labels are not used.",
    )
    preprocess: DataOptions = group(DataOptions)
    since: float = option(
        "--from",
        type=DURATION,
        default=0.0,
        metavar="TIME",
        help="Age of the cells when gains and offsets were fitted: 30d [default: fresh].",
    )
    off: bool = flag("--off", help="Take the compensation that the image has off.")
    output: Path | None = option(
        "-o", "--output", type=FILE, help="Default: IMAGE.drift.pimc; with --off IMAGE.bare.pimc."
    )


def compensate(settings: Settings, arguments: CompensateArguments) -> Report:
    """Let the digital side make up for what time does to the cells on average.

    From the chip's retention statistics it works out what every column gives at each age, and
    which gain, pedestal and offset bring it back; the image that is written holds them, and
    whatever runs it takes those of the die's age. No die is read, and no cell is written. The
    table tells what drift costs before and after, and what the cells' scatter costs, which nothing
    learnt beforehand takes off. --from is for images that were recovered on a die that had aged.
    """
    from pimc.cli.lookup import find_image
    from pimc.errors import UsageError
    from pimc.image.image import Image

    _require_used(arguments)
    path = find_image(arguments.image)
    image = Image.load(path)
    target = arguments.output or path.with_suffix(".bare.pimc" if arguments.off else ".drift.pimc")
    if arguments.off:
        if image.drift is None:
            raise UsageError("has no compensation to take off", where=str(path))
        from pimc.runtime.compensation import without

        bare = without(image)
        bare.save(target)
        return Report(_told(target, bare, ()), facts([("written", str(target))]), answer=False)
    data = None
    if arguments.calib is not None:
        inputs = inputs_for(image)
        data = arguments.preprocess.load(arguments.calib, inputs, states=image.states)
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.functions.compensate import compensate as learn
    from pimc.studies.input_warnings import data_warnings

    found = learn(image, data, from_s=arguments.since, progress=settings.progress)
    if not found.costs:
        raise UsageError(
            f"the cells of chip {image.chip.name} do not change with time",
            where=str(path),
            hint="there is nothing to compensate: the chip file has no [retention]",
        )
    found.image.save(target)
    told = _told(target, found.image, found.costs)
    told["warnings"] = warned([] if data is None else data_warnings(image, data))
    return Report(told, _text(target, found.costs), answer=False)


COMMAND = command(
    "compensate",
    CompensateArguments,
    compensate,
    example="pimc compensate model.r1.pimc --calib data",
    needs=("torch",),
)


def _require_used(arguments: CompensateArguments) -> None:
    """Make sure that everything that was given is looked at.

    Raises:
        UsageError: something would change nothing.
    """
    from pimc.errors import UsageError

    prepared = [f"--{name}" for name in arguments.preprocess.given]
    learning = ["--calib"] * (arguments.calib is not None) + ["--from"] * named_by_user("since")
    if arguments.off and (learning or prepared):
        given = ", ".join([*learning, *prepared])
        raise UsageError(f"{given} would change nothing", where="--off", hint="leave it out")
    if arguments.calib is None and prepared:
        raise UsageError(
            f"{', '.join(prepared)} given without --calib", hint="name the data with --calib"
        )


def _told(target: Path, image: Image, costs: tuple[AgeCost, ...]) -> dict[str, Any]:
    ages = [asdict(one) for one in costs]
    return {"output": str(target), "sha256": image.sha256, "ages": ages, "warnings": []}


def _text(target: Path, costs: tuple[AgeCost, ...]) -> str:
    rows = [
        (age_text(one.age_s), f"{one.gain:.4f}", *map(_share, (one.before, one.after, one.spread)))
        for one in costs
    ]
    header = ("age", "gain", "mean drift", "compensated", "scatter")
    return (
        f"error power of the layers' outputs, over their power\n{table(header, rows)}\n\n"
        + facts([("written", str(target))])
    )


def _share(value: float) -> str:
    return percent(value, 3)
