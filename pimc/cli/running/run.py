"""``pimc run``: Outputs for inputs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pimc.cli.command import Report, Settings, command, warned
from pimc.cli.options.fields import group, option, several
from pimc.cli.options.single import batch_size_option, image_argument
from pimc.cli.options.values import FILE, STATE, states_of
from pimc.cli.running.dies import DieOptions, one_of, session
from pimc.cli.text import clipping_layers, facts, states_text, told_of_states

__all__ = ["COMMAND", "RunArguments", "run"]


@dataclass(frozen=True)
class RunArguments:
    """What ``pimc run`` takes."""

    image: Path | None = image_argument()
    source: Path = option(
        "--input",
        type=FILE,
        required=True,
        metavar="X.npy|X.npz|PICTURE",
        help="Inputs as the network takes them, an .npz holds them by name; or a picture.",
    )
    output: Path | None = option(
        "-o", "--output", type=FILE, help="OUT.npz, or OUT.npy for a single output."
    )
    state: tuple[tuple[str, str], ...] = several(
        "--state",
        type=STATE,
        help="Of a network with a state: the output that feeds an input one step later"
        " [default: as calibration data said].",
    )
    dies: DieOptions = group(DieOptions)
    batch_size: int = batch_size_option()


def run(settings: Settings, arguments: RunArguments) -> Report:
    """Outputs for inputs, written to a file by output name (default: INPUT.out.npz).

    A picture is prepared as the image's calibration data were, and its class is told. Of a network
    with a state the inputs may be sequences, with an axis of steps after that of samples.
    """
    from pimc.cli.lookup import find_image
    from pimc.cli.running.arrays import file_keys, load_inputs, run_in_batches, save_outputs
    from pimc.cli.running.picture import class_of, is_picture, picture_feed
    from pimc.cli.running.stateful import load_sequences, run_sequences
    from pimc.image.image import Image
    from pimc.runtime.interface import inputs_of, outputs_of

    loaded = Image.load(find_image(arguments.image))
    target = arguments.output or Path(f"{arguments.source.stem}.out.npz")
    dies = arguments.dies
    one_of({"--die": dies.die, "--ideal": dies.ideal})
    keys = file_keys(target, [arg.name for arg in outputs_of(loaded)])
    pictured = is_picture(arguments.source)
    states = {**loaded.states, **states_of(arguments.state)}
    feed, sequences = {}, bool(states) and not pictured
    if pictured:
        feed = picture_feed(arguments.source, loaded, inputs_of(loaded))
    elif not sequences:
        feed = load_inputs(arguments.source, inputs_of(loaded))
    # Only now what takes long to load: what can be refused without it has been.
    from pimc.runtime.door.abilities import keep_disturb, saturation_of
    from pimc.runtime.finite import require_finite
    from pimc.studies.input_warnings import data_warnings, feed_warnings

    on_die = session(loaded, settings.seed, dies)
    data = load_sequences(arguments.source, on_die, states) if sequences else None
    start = time.perf_counter()
    if data is None:
        found = run_in_batches(on_die, feed, arguments.batch_size, settings.progress)
    else:
        found = run_sequences(on_die, data, arguments.batch_size, settings.progress)
    require_finite(found, on_die.device.name)
    outputs = {keys[name]: value for name, value in found.items()}
    seconds = time.perf_counter() - start
    save_outputs(target, outputs)
    keep_disturb(on_die.device, dies.die)
    met = saturation_of(on_die.device)
    saturation = {layer: found.share for layer, found in met.items()}
    result: dict[str, Any] = {
        "device": on_die.device.name,
        "output": str(target),
        "outputs": {
            name: {"shape": list(value.shape), "dtype": str(value.dtype)}
            for name, value in outputs.items()
        },
        "saturation": saturation,
        "seconds": round(seconds, 3),
        "warnings": warned(
            feed_warnings(loaded, feed)
            if data is None
            else data_warnings(loaded, data, prepared=True)
        ),
    }
    pairs = [("device", on_die.device.name)]
    if pictured:
        names = () if loaded.calibration is None else loaded.calibration.classes
        result["class"] = class_of(found, names)
        pairs.append(("class", _class_text(result["class"])))
    if data is not None:
        result |= told_of_states(data)
        pairs.append(("states", states_text(result)))
    pairs += [(name, f"{list(value.shape)} {value.dtype}") for name, value in outputs.items()]
    pairs += [("saturation", clipping_layers(saturation)), ("written", str(target))]
    return Report(result, facts(pairs), answer=False)


def _class_text(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    named = "" if found["name"] is None else f"{found['name']}, "
    return f"{named}number {found['class']}, value {found['value']:.4g}"


COMMAND = command(
    "run", RunArguments, run, example="pimc run model.pimc --input x.npy -o y.npz", needs=("torch",)
)
