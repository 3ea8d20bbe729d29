"""Draws docs/images/yield.png from the table of a recovery of eight dies, yield.dies.csv.

The table is what these lines wrote; ``data`` holds 400 calibration and 1,000 test images of
``models/fashion``:

    pimc compile models/fashion/resnet8.onnx --calib models/fashion -o model.pimc
    pimc recover model.pimc --calib data --data data --dies 8 --seed 900 --max-drop 1 --map map.csv
"""

from __future__ import annotations

from pathlib import Path

from pimc.pictures.wafer import pictures_of_dies
from pimc.studies.recoveries.columns import read_rows
from pimc.studies.recoveries.summary import Target
from pimc.tasks.classification import CLASSIFICATION

DOCS = Path(__file__).parent


def draw(path: Path = DOCS / "images" / "yield.png") -> Path:
    """Draw the share of dies that reach an accuracy."""
    rows, metric = read_rows(DOCS / "yield.dies.csv"), CLASSIFICATION.metric
    in_float = rows[0]["float_accuracy"]
    target = Target(drop=0.01).limit(metric, in_float)
    (_, picture), *_ = pictures_of_dies(
        rows, metric, in_float=in_float, target=target, chip="generic-128"
    )
    picture(path)
    return path


if __name__ == "__main__":
    print(draw())
