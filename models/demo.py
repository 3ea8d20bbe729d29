"""The main job on the embedded network: compile, lose accuracy on three dies, get it back."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from pimc.cli.failures import INTERRUPTED
from pimc.errors import PimcError, UsageError

HERE = Path(__file__).resolve().parent / "fashion"


def main(argv: list[str] | None = None) -> int:
    """Run the demo; files go to the folder named by ``--out``. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    parser.add_argument("--dies", type=int, default=3)
    options = parser.parse_args(argv)
    if options.dies < 1:
        parser.error(f"--dies must be 1 or more, not {options.dies}")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        run(options.out, options.dies)
    except (PimcError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, PimcError) else UsageError.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def run(out: Path, dies: int) -> None:
    """Compile, program, measure, recover and measure again; print a table, draw two pictures."""
    # Here, so that an interrupt during the seconds that importing takes is caught, too.
    import numpy as np

    from pimc.api import compile as compile_model
    from pimc.chip.design import Chip
    from pimc.cli.text import percent, table
    from pimc.data.dataset import load_data
    from pimc.passes.recover import RecoverOptions, recover
    from pimc.pictures.canvas import stands_on
    from pimc.pictures.cells import level_map_picture
    from pimc.pictures.plots import accuracy_picture
    from pimc.progress import progress
    from pimc.runtime.door.abilities import flush
    from pimc.runtime.door.drivers import open_device
    from pimc.runtime.door.program import program
    from pimc.runtime.session import Session
    from pimc.studies.evaluate import Batches, accuracy, float_session

    start = time.perf_counter()
    show = progress()
    chip = Chip.default()
    calib = load_data(HERE / "calib.npz", role="calib")
    labelled = Batches(load_data(HERE / "test.npz", role="test"))
    image = compile_model(HERE / "resnet8.onnx", chip, calib=calib)
    image.save(out / "resnet8.pimc")
    cells = int(image.used.sum())
    print(
        f"{HERE.name}/resnet8.onnx on {chip.name}: {cells:,} weights, one cell each, "
        f"in {image.arrays} arrays of {chip.array.rows}x{chip.array.cols}, "
        f"{chip.cell.levels} levels"
    )
    in_float = accuracy(float_session(image), labelled, progress=show)
    quantized = accuracy(Session(image), labelled, progress=show)
    rows: list[list[object]] = [
        ["float", percent(in_float), "", "", ""],
        ["quantized, perfect cells", percent(quantized), "", "", ""],
    ]
    before, after, names = [], [], []
    for seed in range(dies):
        device = open_device("sim", image, seed=seed)
        program(image, device)
        before.append(accuracy(Session(image, die=device), labelled, progress=show))
        recovery = recover(image, device, calib, RecoverOptions(seed=seed), progress=show)
        after.append(accuracy(Session(recovery.image, die=device), labelled, progress=show))
        recovery.image.save(out / f"resnet8.die{seed}.r1.pimc")
        flush(device, out / f"resnet8.die{seed}.r1.die")
        names.append(f"die {seed}")
        share = percent(recovery.cells_rewritten / cells, 1)
        rows.append(
            [
                names[-1],
                percent(before[-1]),
                percent(after[-1]),
                f"{recovery.cells_rewritten:,} ({share})",
                f"{recovery.seconds:.0f} s",
            ]
        )
        print(f"{names[-1]}: {percent(before[-1])} → {percent(after[-1])}", flush=True)
    print()
    print(table(["", "as programmed", "after recovery", "cells rewritten", "time"], rows))
    samples = len(labelled.data)
    print(f"accuracy on {samples:,} labelled samples, of {stands_on(dies)}")
    accuracy_picture(
        out / "accuracy.png", names, before, after, in_float, quantized, samples, chip.name
    )
    fullest = int(np.argmax(image.used.reshape(image.arrays, -1).sum(axis=1)))
    level_map_picture(out / "levels.png", recovery.image, fullest, recovery.writes[:, 0])
    print(f"\nimages, dies and pictures are in {out} ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    sys.exit(main())
