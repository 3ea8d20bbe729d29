"""PP-OCR (PaddlePaddle, arXiv 2009.09941) as RapidOCR ships it: where text is, which way up, what
it says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pimc.zoo.made import Array, Made, fixed, with_outputs
from pimc.zoo.makers.rendered import line, pasted, phrase
from pimc.zoo.wheels import Wheels

__all__ = ["detection", "direction", "recognition"]

_PACKAGE, _FOLDER = "rapidocr-onnxruntime", "rapidocr_onnxruntime/models"
#: As the package's own code prepares pictures: (x / 255 - 0.5) / 0.5.
_SETTINGS = 'layout = "NHWC"\nscale = 255.0\nmean = [0.5]\nstd = [0.5]\n'
#: Two classes: pixels of text are called where their share is above the package's threshold.
_THRESHOLD = 0.3


def direction(wheels: Wheels) -> Made:
    """Class 0: the line is upright, 1: it stands on its head."""
    model = _model(wheels, "ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 48, 192))

    def samples(seed: int, count: int) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        turned = rng.permutation(np.arange(count) % 2)
        x = [_upright(rng, 18, 192, head_down=bool(one)) for one in turned]
        return {"x": np.stack(x), "y": turned.astype(np.int64)}

    return Made(model.SerializeToString(), samples(0, 512), samples(1, 1000), _SETTINGS)


def recognition(wheels: Wheels) -> Made:
    """Lines of up to twelve characters; ``y`` holds the numbers of what they say.

    Token 0 is the blank, the last one the space, as the package's own decoder has it.
    """
    model = _model(wheels, "ch_PP-OCRv4_rec_infer.onnx", (3, 48, 192))
    (characters,) = (p.value.splitlines() for p in model.metadata_props if p.key == "character")
    number = {one: place + 1 for place, one in enumerate([*characters, " "])}

    def samples(seed: int, count: int) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        y, x = np.full((count, 12), -1), []
        for place in range(count):
            text = phrase(rng, 12)
            x.append(pasted(line(rng, text, 48).pixels, 48, 192))
            y[place, : len(text)] = [number[one] for one in text]
        return {"x": np.stack(x), "y": y}

    return Made(model.SerializeToString(), samples(0, 256), samples(1, 200), _SETTINGS)


def detection(wheels: Wheels) -> Made:
    """Pictures of 96x96 with lines of text; ``y`` is 1 on their boxes, shrunk as the network does.

    The network gives one share a pixel. Here it gives two classes, of which text is the larger
    one above the threshold that the package takes.
    """
    from onnx import TensorProto, helper, numpy_helper

    model = _model(wheels, "ch_PP-OCRv4_det_infer.onnx", (3, 96, 96))
    (share,) = (one.name for one in model.graph.output)
    twice = numpy_helper.from_array(np.array(2 * _THRESHOLD, np.float32), "zoo_twice")
    model.graph.initializer.append(twice)
    nodes = [
        helper.make_node("Sub", ["zoo_twice", share], ["zoo_ground"]),
        helper.make_node("Concat", ["zoo_ground", share], ["zoo_classes"], axis=1),
    ]
    out = helper.make_tensor_value_info("zoo_classes", TensorProto.FLOAT, ["N", 2, 96, 96])
    model = with_outputs(model, [out], nodes)

    def samples(seed: int, count: int) -> dict[str, Array]:
        rng = np.random.default_rng(seed)
        pairs = [_scene(rng, 96) for _ in range(count)]
        x, y = (np.stack(part) for part in zip(*pairs, strict=True))
        return {"x": x, "y": y}

    return Made(model.SerializeToString(), samples(0, 128), samples(1, 100), _SETTINGS)


def _model(wheels: Wheels, name: str, shape: tuple[int, ...]) -> Any:
    import onnx

    model = onnx.load_from_string(wheels.read(_PACKAGE, f"{_FOLDER}/{name}"))
    return fixed(model, {"x": shape})


def _upright(rng: np.random.Generator, most: int, width: int, *, head_down: bool) -> Array:
    pixels = line(rng, phrase(rng, most), 48).pixels
    return pasted(pixels[::-1, ::-1] if head_down else pixels, 48, width)


def _scene(rng: np.random.Generator, side: int) -> tuple[Array, Array]:
    """A picture of noise with one to three lines, and where their shrunk boxes lie."""
    found = rng.integers(60, 200, 3) + rng.normal(0, 8, (side, side, 3))
    found, mask = found.clip(0, 255).astype(np.uint8), np.zeros((side, side), np.uint8)
    slots = rng.permutation(3)[: rng.integers(1, 4)]
    for slot in slots:
        height = int(rng.integers(16, 26))
        pixels = line(rng, phrase(rng, 7), height).pixels[:, : side - 4]
        top = slot * 32 + int(rng.integers(0, 32 - height + 1))
        left = int(rng.integers(0, side - pixels.shape[1]))
        bottom, right = top + pixels.shape[0], left + pixels.shape[1]
        found[top:bottom, left:right] = pixels
        # DB shrinks boxes by area (1 - 0.4²) / perimeter (arXiv 1911.08947).
        high, wide = pixels.shape[:2]
        by = round(high * wide * (1 - 0.4**2) / (2 * (high + wide)))
        mask[top + by : bottom - by, left + by : right - by] = 1
    return found, mask
