"""``pimc run`` and ``pimc eval``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pimc.cli.common import (
    DURATION,
    FILE,
    SEED_LIMIT,
    Report,
    Settings,
    command,
    data_options,
    image_argument,
    ir_drop_option,
    worker_options,
)
from pimc.cli.text import facts, percent

if TYPE_CHECKING:
    from pimc.image.image import Image
    from pimc.runtime.physics.ir_drop import Method
    from pimc.runtime.session import Session
    from pimc.studies.evaluate import Batches
    from pimc.studies.montecarlo import Trial

__all__ = ["DIES", "eval_", "run"]

DEVICE_HELP = "See `pimc devices`; cuda or mps: the simulated chip, computed there."
#: Dies that ``pimc eval`` draws where none is named.
DIES = 5
#: Share of clipped conversions above which a layer is named, and how many are.
SATURATION_SHOWN, SATURATED_SHOWN = 1e-3, 4


@command("run")
@image_argument
@click.option(
    "--input",
    "source",
    type=FILE,
    required=True,
    metavar="X.npy|X.npz",
    help="Inputs as the network takes them; an .npz holds them by name.",
)
@click.option("-o", "--output", type=FILE, help="OUT.npz, or OUT.npy for a single output.")
@click.option("--die", type=FILE, help="A programmed die; without, one is drawn from --seed.")
@click.option("--device", default="sim", show_default=True, help=DEVICE_HELP)
@click.option("--age", type=DURATION, help="Time between writing and reading a drawn die: 1d.")
@click.option("--ideal", is_flag=True, help="Cells that hold exactly what they should, no noise.")
@ir_drop_option
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True)
def run(
    settings: Settings,
    image: Path | None,
    source: Path,
    output: Path | None,
    die: Path | None,
    device: str,
    age: float | None,
    ideal: bool,
    ir_drop: Method | None,
    batch_size: int,
) -> Report:
    """Outputs for inputs, written to a file by output name (default: INPUT.out.npz)."""
    from pimc.cli.arrays import file_keys, load_inputs, run_in_batches, save_outputs
    from pimc.cli.lookup import find_image
    from pimc.image.image import Image
    from pimc.runtime.door.abilities import keep_disturb

    loaded = Image.load(find_image(image))
    target = output or Path(f"{source.stem}.out.npz")
    _one_of({"--die": die, "--ideal": ideal})
    session = _session(loaded, settings.seed, die, device, ideal, age, ir_drop)
    keys = file_keys(target, [arg.name for arg in session.get_outputs()])
    feed = load_inputs(source, session.get_inputs())
    start = time.perf_counter()
    found = run_in_batches(session, feed, batch_size, settings.progress)
    outputs = {keys[name]: value for name, value in found.items()}
    seconds = time.perf_counter() - start
    save_outputs(target, outputs)
    keep_disturb(session.device, die)
    data = {
        "device": session.device.name,
        "output": str(target),
        "outputs": {
            name: {"shape": list(value.shape), "dtype": str(value.dtype)}
            for name, value in outputs.items()
        },
        "seconds": round(seconds, 3),
    }
    pairs = [("device", session.device.name)]
    pairs += [(name, f"{list(value.shape)} {value.dtype}") for name, value in outputs.items()]
    pairs.append(("written", str(target)))
    return Report(data, facts(pairs), answer=False)


@command("eval")
@image_argument
@click.option("--data", type=FILE, required=True, metavar="DATA", help="Labelled data.")
@data_options
@click.option("--dies", type=click.IntRange(1), help="Dies drawn from --seed on [default: 5].")
@click.option("--die", type=FILE, help="A programmed die.")
@click.option("--device", default="sim", show_default=True, help=DEVICE_HELP)
@click.option("--age", type=DURATION, help="Time between writing and reading a drawn die: 1d.")
@click.option("--ideal", is_flag=True, help="Perfect cells with the chip's converters.")
@ir_drop_option
@click.option("--limit", type=click.IntRange(1), help="Only the first samples.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True)
@worker_options
@click.option(
    "--min-accuracy",
    type=click.FloatRange(0, 100),
    metavar="P",
    help="Exit with 1 if the mean is below P: 0.9, or 90 for per cent.",
)
@click.option("--explain", is_flag=True, help="Say what costs how much, element by element.")
@click.option("-o", "--output", type=FILE, metavar="FILE.png", help="A picture of --explain.")
def eval_(settings: Settings, image: Path | None, **chosen: Any) -> Report:
    """Accuracy of IMAGE on labelled data: over several drawn dies, one programmed or ideal one.

    The float accuracy is that of the weights the image was compiled from. The confidence
    interval is Student's over dies, or Wilson's over samples for a single die.
    """
    import numpy as np

    from pimc.cli.explain import check_options, explained
    from pimc.cli.lookup import find_image
    from pimc.data.dataset import load_data
    from pimc.image.image import Image
    from pimc.runtime.door.device import Saturation
    from pimc.runtime.session import inputs_of
    from pimc.runtime.teacher import has_teacher
    from pimc.studies.evaluate import (
        Batches,
        accuracy,
        deviation,
        float_session,
        input_shape,
        interval,
    )

    check_options(chosen)
    loaded = Image.load(find_image(image))
    _one_of({"--dies": chosen["dies"], "--die": chosen["die"], "--ideal": chosen["ideal"]})
    data = load_data(
        chosen["data"],
        overrides=chosen["preprocess"],
        input_shape=input_shape(inputs_of(loaded)),
        role="test",
    )
    if chosen["limit"] is not None:
        data = data.subset(np.arange(min(chosen["limit"], len(data))))
    batches = Batches(data, chosen["batch_size"])
    in_float = None
    if has_teacher(loaded):
        in_float = accuracy(
            float_session(loaded), batches, progress=settings.progress, description="float"
        )
    start = time.perf_counter()
    trials = _trials(loaded, batches, settings, chosen)
    rate = len(trials) * len(data) / max(time.perf_counter() - start, 1e-9)
    values = [trial.accuracy for trial in trials]
    saturation: dict[str, Saturation] = {}
    for trial in trials:
        for layer, found in trial.saturation.items():
            saturation[layer] = saturation.get(layer, Saturation()) + found
    mean = float(np.mean(values))
    wanted = _share(chosen["min_accuracy"])
    passed = wanted is None or mean >= wanted
    result: dict[str, Any] = {
        "samples": len(data),
        "float_accuracy": in_float,
        "accuracy_mean": mean,
        "accuracy_std": deviation(values),
        "accuracy_interval_95": list(interval(values, len(data))),
        "accuracy_per_die": values,
        "dies": [trial.die for trial in trials],
        "age_s": chosen["age"] or 0.0,
        "saturation": {layer: found.share for layer, found in saturation.items()},
        "images_per_second": rate,
        "min_accuracy": wanted,
        "ok": passed,
    }
    text = _text(result)
    if chosen["explain"]:
        result["explain"], more = explained(loaded, batches, settings, result, chosen)
        text += f"\n\n{more}"
    return Report(result, text, exit_code=0 if passed else 1)


def _one_of(options: Mapping[str, object]) -> None:
    from pimc.errors import UsageError

    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other", hint="give one of them")


def _session(
    image: Image,
    seed: int,
    die: Path | None,
    device: str,
    ideal: bool,
    age_s: float | None,
    ir_drop: Method | None,
) -> Session:
    """A session on perfect cells, on a programmed die or chip, or on a die drawn from ``seed``.

    A drawn die is read ``age_s`` after it was written.
    """
    from pimc.errors import DeviceError, UsageError
    from pimc.runtime.die.die import Die
    from pimc.runtime.door.drivers import open_device, require_programmed, simulates
    from pimc.runtime.read.processor import driver_and_processor
    from pimc.runtime.session import Session
    from pimc.studies.drawn import Reading

    driver, processor = driver_and_processor(device)
    simulated = simulates(driver)
    drawn = die is None and simulated and not ideal
    if age_s is not None and not drawn:
        raise UsageError(
            "--age is for dies that are drawn from --seed", hint="a die file ages by `pimc age`"
        )
    if ideal:
        _one_of({"--ideal": ideal, "--ir-drop": ir_drop})
        return Session(image, Die.ideal(), seed=seed, device=processor)
    if drawn:
        return Reading(age_s or 0.0, ir_drop or "first", processor, driver).session(image, seed)
    if die is not None and simulated and not die.exists():
        raise DeviceError("no such die file", str(die), "make it with `pimc program`")
    chip = open_device(driver, image, die=die, seed=seed, ir_drop=ir_drop, processor=processor)
    require_programmed(image, chip)
    return Session(image, chip, device=processor)


def _trials(
    image: Image, batches: Batches, settings: Settings, chosen: Mapping[str, Any]
) -> list[Trial]:
    """One die or chip, or dies drawn from the seed on, measured."""
    from pimc.errors import UsageError
    from pimc.runtime.door.abilities import keep_disturb
    from pimc.runtime.door.drivers import require_simulator, simulates
    from pimc.runtime.read.processor import driver_and_processor
    from pimc.studies.drawn import Reading
    from pimc.studies.montecarlo import measure_dies, measure_session
    from pimc.work.pool import open_pool

    die, device, ideal = chosen["die"], chosen["device"], chosen["ideal"]
    jobs, cluster = chosen["jobs"], chosen["cluster"]
    age_s, ir_drop = chosen["age"], chosen["ir_drop"]
    driver, processor = driver_and_processor(device)
    if ideal or die is not None or not simulates(driver):
        if jobs > 1 or cluster is not None:
            raise UsageError(
                "--jobs and --cluster are for dies drawn from the seed",
                hint="leave them out, or give --dies in place of a die, a device or --ideal",
            )
        if chosen["dies"] is not None:
            require_simulator(driver, "--dies")
        session = _session(image, settings.seed, die, device, ideal, age_s, ir_drop)
        trial = measure_session(session, batches, settings.progress)
        keep_disturb(session.device, die)
        return [trial]
    seeds = [(settings.seed + number) % SEED_LIMIT for number in range(chosen["dies"] or DIES)]
    reading = Reading(age_s or 0.0, ir_drop or "first", processor, driver)
    with open_pool(jobs, cluster) as pool:
        return measure_dies(
            image, batches, seeds, reading=reading, pool=pool, progress=settings.progress
        )


def _share(value: float | None) -> float | None:
    """A share; numbers above 1 are per cent."""
    return value / 100 if value is not None and value > 1 else value


def _text(result: Mapping[str, Any]) -> str:
    values, names = result["accuracy_per_die"], result["dies"]
    low, high = result["accuracy_interval_95"]
    spread = f" ± {percent(result['accuracy_std'])} over {len(values)} dies" * (len(values) > 1)
    each = "  ".join(f"{n} {percent(v)}" for n, v in zip(names, values, strict=True))
    wanted = result["min_accuracy"]
    verdict = "reached" if result["ok"] else "NOT reached"
    pairs = [
        ("samples", f"{result['samples']:,}"),
        ("float", percent(result["float_accuracy"])),
        ("accuracy", percent(result["accuracy_mean"]) + spread),
        ("95 % interval", f"{percent(low)} to {percent(high)}"),
        ("dies", each),
        ("saturation", _saturated(result["saturation"])),
        ("speed", f"{result['images_per_second']:,.0f} images a second"),
        ("minimum", "" if wanted is None else f"{percent(wanted)} {verdict}"),
    ]
    return facts(pairs)


def _saturated(shares: Mapping[str, float]) -> str:
    """The layers whose converters clip most, where any clips noticeably."""
    found = sorted((-share, layer) for layer, share in shares.items() if share > SATURATION_SHOWN)
    shown = "  ".join(f"{layer} {percent(-share)}" for share, layer in found[:SATURATED_SHOWN])
    more = len(found) - SATURATED_SHOWN
    return f"{shown}  and {more} more" if more > 0 else shown
