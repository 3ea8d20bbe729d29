"""The table of kinds: what a file is called, and the command that takes it.

A file that a reader cannot read is looked up here by its bytes, never by its name, so that the
error can say what it is (:mod:`pimc.files.kinds.reading`). A new kind is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pimc.files.kinds import marks
from pimc.files.kinds.marks import File, Mark

__all__ = ["KINDS", "WANTED", "Kind", "kind_of"]

#: The line of docs/from-pytorch.md; braces are doubled, since hints are formatted.
_EXPORT = (
    'torch.onnx.export(model.eval(), (x,), "model.onnx", dynamo=True, '
    'dynamic_shapes=({{0: "batch"}},))'
)
_KERAS = 'load it in Keras and export it: model.export("model.onnx", format="onnx")'
_TF2ONNX = "convert it: python -m tf2onnx.convert --{option} {file} --output model.onnx"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        key: what readers ask for; kinds that one reader takes share it.
        name: what a file of this kind is, with its article.
        use: what to do with it: the command that takes it, with ``{file}`` for its path.
        fits: whether a file is of this kind.
    """

    key: str
    name: str
    use: str
    fits: Mark = field(repr=False)


#: What readers take, by key, as users call it.
WANTED = {
    "image": "a chip image",
    "die": "a die file",
    "capture": "a capture",
    "model": "an ONNX model",
    "data": "data",
    "chip": "a chip file",
    "faults": "a fault map",
    "report": "the report of a recovery",
    "measured": "a table of measured conductances",
    "sweep": "the table of a sweep",
    "recoveries": "the table of recoveries",
}
_DATA = "`--calib` and `--data` take it, `pimc run --input` the network's inputs as they are"

#: All kinds, the first that fits; those with the clearest marks come first.
KINDS: tuple[Kind, ...] = (
    Kind(
        "image",
        "a chip image",
        "`pimc info {file}` looks into it; `verify`, `run`, `eval` and `program` take it, too",
        marks.container("pimc-image"),
    ),
    Kind(
        "die",
        "a die file",
        "`--die {file}` of `pimc run`, `eval`, `capture`, `recover` and `age` takes it",
        marks.container("pimc-die"),
    ),
    Kind(
        "capture",
        "a capture",
        "`pimc recover IMAGE --calib FOLDER` takes it, FOLDER being where it lies together with "
        "its calibration data",
        marks.container("pimc-capture"),
    ),
    Kind(
        "checkpoint",
        "the state of a recovery that was cut",
        "`pimc recover` with `--resume` goes on from it",
        marks.container("pimc-recovery"),
    ),
    Kind(
        "checkpoint",
        "a part of the state of a recovery that was cut",
        "`pimc recover` with `--resume` reads it where it lies, beside the state",
        marks.container("pimc-recovery-part"),
    ),
    Kind(
        "plan",
        "part of a plan that --dump-dir wrote",
        "docs/passes.md says how a pass is run on it",
        marks.container("pimc-plan"),
    ),
    Kind(
        "weights",
        "a .safetensors file of weights, without the network that they belong to",
        f"load them into their model in PyTorch and export that: {_EXPORT}",
        marks.weights,
    ),
    Kind(
        "data",
        "an .npy file of an array",
        _DATA,
        marks.begins(b"\x93NUMPY"),
    ),
    Kind("data", "an .npz file of arrays", _DATA, marks.npz),
    Kind("data", "a gzipped IDX file", _DATA, marks.idx),
    Kind(
        "torchscript",
        "a TorchScript file",
        f"export the PyTorch model that it was made from: {_EXPORT}",
        marks.members("/data.pkl", "constants.pkl"),
    ),
    Kind(
        "torch",
        "a PyTorch file (torch.save)",
        "load it in PyTorch, into its model where it holds weights alone, and export that: "
        f"{_EXPORT}",
        marks.any_of(marks.members("/data.pkl"), marks.legacy_pickle),
    ),
    Kind(
        "exported",
        "an exported PyTorch program (torch.export.save)",
        'export it: torch.onnx.export(torch.export.load("{file}"), f="model.onnx", dynamo=True)',
        marks.any_of(
            marks.members("archive_format"), marks.members("serialized_exported_program.json")
        ),
    ),
    Kind(
        "pickle",
        "a Python pickle, which may run code and is not read",
        f"a PyTorch model: load it there and export it, {_EXPORT}; arrays: save them with "
        "numpy.savez",
        marks.begins(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    ),
    Kind("keras", "a Keras model", _KERAS, marks.members("config.json", "model.weights.h5")),
    Kind(
        "keras",
        "an HDF5 file, as Keras saves models",
        _KERAS,
        marks.begins(b"\x89HDF\r\n\x1a\n"),
    ),
    Kind(
        "tflite",
        "a TensorFlow Lite model",
        _TF2ONNX.replace("{option}", "tflite") + " (pip install 'pimc[tflite]')",
        marks.flatbuffer(b"TFL3"),
    ),
    Kind(
        "ort",
        "a model in ONNX Runtime's own format",
        "give the .onnx file that it was made from",
        marks.flatbuffer(b"ORTM"),
    ),
    Kind(
        "saved model",
        "a folder with a TensorFlow SavedModel",
        _TF2ONNX.replace("{option}", "saved-model"),
        marks.saved_model,
    ),
    Kind(
        "picture",
        "a picture",
        "`--calib` and `--data` take a folder of pictures with a sub-folder a class",
        marks.begins(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*"),
    ),
    Kind(
        "model",
        "an ONNX model",
        "`pimc compile {file}` makes a chip image of it; `check` and `layouts` take it, too",
        marks.onnx,
    ),
    Kind(
        "sweep",
        "the table of a sweep",
        "`pimc sweep MODEL.onnx -o {file}` goes on with it",
        marks.csv_of("point_sha256", "image_sha256"),
    ),
    Kind(
        "recoveries",
        "the table of recoveries",
        "`pimc recover IMAGE --dies N --table {file} --resume` goes on with it",
        marks.csv_of("source", "parent_sha256"),
    ),
    Kind(
        "faults",
        "a fault map",
        "`pimc compile MODEL.onnx --faults {file}` takes it",
        marks.csv_of("array", "row", "col", "fault"),
    ),
    Kind(
        "cells",
        "a list of cells that change",
        "it is there to be looked at; `pimc program` writes the image that it lies beside",
        marks.csv_of("array", "row", "col"),
    ),
    Kind(
        "measured",
        "a table of measured conductances",
        "`pimc chips import {file}` makes a chip file of it",
        marks.any_of(marks.csv_of("g_us"), marks.csv_of("mean_us", "sigma_us")),
    ),
    Kind(
        "report",
        "the report of a recovery",
        "`pimc recover IMAGE --since {file}` takes it",
        marks.json_with("sha256", "stages"),
    ),
    Kind(
        "evaluation",
        "what `pimc eval --json` told",
        "`pimc report {file}` shows it",
        marks.any_of(
            marks.json_with("accuracy_mean", "accuracy_per_die"),
            marks.json_with("metric_mean", "metric_per_die"),
        ),
    ),
    Kind(
        "comparison",
        "a comparison of strategies",
        "`pimc report {file}` shows it",
        marks.json_with("outcomes"),
    ),
    Kind(
        "journal",
        "the journal of a die that is being written",
        "`pimc program` with `--resume` goes on from it",
        marks.journal,
    ),
    Kind(
        "chip",
        "a chip file",
        "`pimc compile MODEL.onnx --chip {file}` takes it, `pimc chips {file}` shows it",
        marks.toml_with("schema", "cell", "array", "adc", "dac", "mapping"),
    ),
    Kind(
        "preprocessing",
        "the preprocessing of data",
        "`--calib` and `--data` take the folder in which it lies beside the data",
        marks.toml_with("layout", "scale", "mean", "std", "size"),
    ),
)


def kind_of(path: Path) -> Kind | None:
    """The kind of a file or folder, told by what it holds; None where none fits.

    Nothing but regular files and folders is opened, and nothing is raised.
    """
    file = File(path)
    try:
        if not (path.is_file() or path.is_dir()):
            return None
    except (OSError, ValueError):
        return None
    return next((kind for kind in KINDS if marks.there(kind.fits, file)), None)
