"""Text in JSON lines: what the network's inputs get, what is refused, and commands alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pimc.data.dataset import load_data
from pimc.errors import UsageError
from pimc.runtime.session import NodeArg
from tests.pimc.data.data_files import refused
from tests.pimc.data.kinds.standins import (
    USUAL,
    encoder,
    language_model,
    lines,
    sentences,
    tokenizer,
)

pytest.importorskip("tokenizers", reason="an extra")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "data.toml").write_text("[text]\n")
    return tmp_path


def load(folder: Path, *entries: Any, inputs: Any = USUAL, toml: str = "") -> Any:
    if toml:
        (folder / "data.toml").write_text(toml)
    lines(folder / "calib.jsonl", entries)
    return load_data(folder, inputs=inputs)


def test_three_inputs_are_made_of_text(folder: Path) -> None:
    data = load(folder, {"text": "the cat sat"}, {"text": "a dog", "text_pair": "ran on", "n": 1.5})
    feed = data.feed(0, 2)
    assert list(feed) == ["input_ids", "attention_mask", "token_type_ids"]
    assert all(value.dtype == np.int64 for value in feed.values())
    assert feed["input_ids"].tolist() == [[2, 5, 6, 8, 3, 0, 0], [2, 4, 7, 3, 9, 10, 3]]
    assert feed["attention_mask"].tolist() == [[1] * 5 + [0] * 2, [1] * 7]
    assert feed["token_type_ids"].tolist() == [[0] * 7, [0, 0, 0, 0, 1, 1, 1]]
    assert not data.targets  # the first line has no n


def test_labels_and_other_numbers_become_targets(folder: Path) -> None:
    data = load(
        folder,
        {"text": "a cat", "label": 2, "pair": 0, "source": "here", "tags": [1, 2]},
        {"text": "a dog", "label": 0, "pair": 1, "tags": [5]},
    )
    assert data.targets["y"][:].tolist() == [2, 0]
    assert sorted(data.targets) == ["pair", "tags", "y"]
    assert data.targets["tags"][:].tolist() == [[1, 2], [5, -1]]


def test_labels_may_be_names_of_classes(folder: Path) -> None:
    toml = 'classes = ["bad", "good"]\n[text]\n'
    data = load(folder, {"text": "a", "label": "good"}, {"text": "a", "label": "bad"}, toml=toml)
    assert data.targets["y"][:].tolist() == [1, 0]
    assert data.classes == ("bad", "good")


def test_keys_and_inputs_have_the_names_that_are_said(folder: Path) -> None:
    inputs = [
        NodeArg("tok", ["N", "S"], "tensor(int32)"),
        NodeArg("hide", ["N", "S"], "tensor(bool)"),
    ]
    toml = (
        '[text]\nkey = "sentence"\nlabel = "score"\nids = "tok"\nspecial_tokens = false\n'
        '[sequences]\nmask = "hide"\nmask_marks = "padding"\npad = 15\nlength = 4\n'
    )
    entries = {"sentence": "a", "score": 1}, {"sentence": "a cat sat on the mat", "score": 0}
    data = load(folder, *entries, inputs=inputs, toml=toml)
    feed = data.feed(0, 2)
    assert feed["tok"].tolist() == [[4, 15, 15, 15], [4, 6, 8, 10]]
    assert feed["hide"].tolist() == [[False, True, True, True], [False] * 4]
    assert data.targets["y"][:].tolist() == [1, 0]


def test_the_network_says_how_long_a_text_is(folder: Path) -> None:
    inputs = [NodeArg(arg.name, ["N", 5], arg.type) for arg in USUAL]
    data = load(folder, {"text": "the cat sat on a mat"}, {"text": "a"}, inputs=inputs)
    assert data.feed(0, 2)["input_ids"].tolist() == [[2, 5, 6, 8, 3], [2, 4, 3, 0, 0]]
    toml = "[text]\nmax_length = 4\n[sequences]\nlength = 6\n"
    data = load(folder, {"text": "the cat sat on a mat"}, inputs=inputs[:1], toml="[text]\n")
    assert data.feed(0, 1)["input_ids"].tolist() == [[2, 5, 6, 8, 3]]
    data = load(folder, {"text": "the cat sat on a mat"}, toml=toml)
    assert data.feed(0, 1)["input_ids"].tolist() == [[2, 5, 6, 3, 0, 0]]
    data = load(folder, {"text": "the cat sat on a mat"}, toml="[text]\nmax_length = 4\n")
    assert data.feed(0, 1)["input_ids"].tolist() == [[2, 5, 6, 3]]


def test_the_only_input_takes_the_tokens_whatever_its_name(folder: Path) -> None:
    inputs = [NodeArg("words", ["N", "S"], "tensor(int64)")]
    data = load(folder, {"text": "a cat"}, {"text": "a dog"}, inputs=inputs)
    assert data.feed(1, 2)["words"].tolist() == [[2, 4, 7, 3]]
    told = refused(lines(folder / "calib.jsonl", [{"text": "a"}, {"text": "a cat"}]), inputs=inputs)
    assert "words is 3 to 4 long, is to be 4, and no input of the network is a mask" in told


def test_positions_and_other_inputs(folder: Path) -> None:
    inputs = [
        *USUAL[:2],
        NodeArg("position_ids", ["N", "S"], "tensor(int64)"),
        NodeArg("speaker", ["N"], "tensor(int64)"),
    ]
    data = load(folder, {"text": "a", "speaker": 4}, {"text": "a cat", "speaker": 2}, inputs=inputs)
    feed = data.feed(0, 2)
    assert feed["position_ids"].tolist() == [[0, 1, 2, 0], [0, 1, 2, 3]]
    assert feed["speaker"].tolist() == [4, 2]
    told = refused(lines(folder / "calib.jsonl", [{"text": "a"}]), inputs=inputs)
    assert "line 1: holds no numbers under speaker, and no text makes them" in told


def test_the_file_says_what_fills_up(folder: Path) -> None:
    tokenizer(folder / "tokenizer.json", pad_id=1, pad_token="[UNK]", length=64)
    data = load(folder, {"text": "a"}, {"text": "a cat"})
    assert data.feed(0, 1)["input_ids"].tolist() == [[2, 4, 3, 1]]


def test_windows_of_a_long_text_tell_every_token_once(folder: Path) -> None:
    text = "the cat sat on a mat under the big tree"
    toml = "[text]\nwindow = 4\nstride = 2\nspecial_tokens = false\n"
    inputs = [NodeArg("input_ids", ["N", "S"], "tensor(int64)")]
    data = load(
        folder, {"text": text}, {"text": "a"}, {"text": "dog ran"}, inputs=inputs, toml=toml
    )
    ids = data.feed(0, 9)["input_ids"]
    whole = [5, 6, 8, 10, 4, 12, 11, 5, 14, 13]
    assert ids.tolist() == [whole[0:4], whole[2:6], whole[4:8], whole[6:10], [7, 9, 0, 0]]
    y = data.targets["y"][:].tolist()
    assert y[1] == [-1, -1, 4, 12]
    assert y[4] == [7, 9, -1, -1]
    assert [number for row in y[:4] for number in row if number >= 0] == whole
    whole_windows = load(
        folder, {"text": text}, inputs=inputs, toml=toml.replace("stride = 2\n", "")
    )
    y = whole_windows.targets["y"][:].tolist()
    assert y == [whole[0:4], whole[4:8], [-1, -1, *whole[8:10]]]


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b'{"text": "a"}\n\n{"text": 5}\n', "line 3: text is int, no text"),
        (b'{"text": "a"}\n{"text": "a"\n', "line 2: is no JSON"),
        (b'"a"\n', "line 1: is str, no object"),
        (b'{"txt": "a"}\n', "line 1: has no text (did you mean txt?)"),
        (b'{"text": "a", "label": "good"}\n', "line 1: label is 'good', no number and no class"),
        (b'{"text": "a", "label": 1, "y": 1}\n', "line 1: has both label and y"),
        (b'{"text": "a", "y": 1}\n{"text": "a"}\n', "sample 1 has no label that is a number"),
        (b'{"text": "a", "t": 1}\n{"text": "a", "t": [1]}\n', "t has 0 axes in one sample and 1"),
        (b'{"text": "a\\ud800"}\n', "line 1: its text cannot be made into tokens"),
        (b"\xff\n", "line 1: is no JSON"),
        (b"[" * 100_000 + b"\n", "line 1: is nested too deeply"),
        (b'{"text": "a", "text_pair": 1}', "line 1: text_pair is int, no text"),
        (b"", "holds no samples"),
    ],
)
def test_broken_lines_are_told_with_their_numbers(
    folder: Path, content: bytes, wanted: str
) -> None:
    (folder / "calib.jsonl").write_bytes(content)
    assert wanted in refused(folder / "calib.jsonl", inputs=USUAL)


@pytest.mark.parametrize(
    ("toml", "wanted"),
    [
        ('text = "tokenizer.json"\n', "text: must be a table, [text]"),
        ('[text]\ntokeniser = "a"\n', "text.tokeniser: unknown key (did you mean tokenizer?)"),
        ("[text]\nstride = 4\n", "text.stride: needs a window"),
        ("[text]\nwindow = 4\nstride = 5\n", "text.stride: must not be larger"),
        ("[text]\nwindow = 4\nmax_length = 5\n", "text.window: excludes max_length"),
        ('[text]\ntokenizer = "gone.json"\n', "gone.json: no such file"),
        ('[text]\ntokenizer = "data.toml"\n', "data.toml: is no tokenizer's file"),
        ('[text]\nids = "tokens"\n', "text.ids: the network has no input tokens"),
        ('[text]\n[sequences]\nmask = "m"\n', "sequences.mask: the network has no input m"),
        ("[text]\n[sequences]\npad = 0.5\n", "pad: 0.5 is no int32, as the values are"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder: Path, toml: str, wanted: str) -> None:
    (folder / "data.toml").write_text(toml)
    lines(folder / "calib.jsonl", [{"text": "a"}, {"text": "a cat"}])
    assert wanted in refused(folder / "calib.jsonl", inputs=USUAL)


def test_a_missing_library_is_told_with_the_extra(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError, match=r"text needs the package tokenizers") as caught:
        load(folder, {"text": "a"})
    assert caught.value.hint == "pip install 'pimc[text]'"


def test_lines_may_hold_the_inputs_themselves(tmp_path: Path) -> None:
    entries = {"input_ids": [5, 6], "token_type_ids": [0, 0], "label": 1}, {
        "input_ids": [7, 8, 9], "token_type_ids": [0, 0, 1], "label": 0,
    }  # fmt: skip
    data = load_data(lines(tmp_path / "a.jsonl", entries), inputs=USUAL)
    feed = data.feed(0, 2)
    assert feed["input_ids"].tolist() == [[5, 6, 0], [7, 8, 9]]
    assert feed["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert data.targets["y"][:].tolist() == [1, 0]
    path = lines(tmp_path / "b.jsonl", [{"x": [0.5, 1.0]}, {"x": [2, 3]}])
    assert load_data(path).all().tolist() == [[0.5, 1.0], [2, 3]]
    assert "line 1: holds no numbers under input_ids" in refused(path, inputs=USUAL)
    path.write_text('{"input_ids": ["a"]}')
    assert "did you mean" not in refused(path, inputs=USUAL)
    lines(path, [{**entries[0], "attention_mask": [1, 1]}, entries[1]])
    assert "sample 1 and sample 0 differ in whether they hold attention_mask" in refused(
        path, inputs=USUAL
    )


def test_commands_alone_take_a_sentence_encoder(pimc, here: Path) -> None:
    onnx.save(encoder(), "encoder.onnx")
    for name, seed in (("calib", 1), ("test", 2)):
        entries = [{"text": text} for text in sentences(24, seed)]
        (here / "text").mkdir(exist_ok=True)
        lines(here / "text" / f"{name}.jsonl", entries)
    tokenizer(here / "text" / "tokenizer.json")
    (here / "text" / "data.toml").write_text("[text]\n")
    done = pimc("compile", "encoder.onnx", "--calib", "text", "--quiet")
    assert done.code == 0, done.err
    shared = ("--data", "text", "--task", "embedding", "--dies", 1, "--json")
    done = pimc("eval", "encoder.pimc", *shared)
    assert done.code == 0, done.err
    assert done.json["metric_mean"] > 0.5
    done = pimc("recover", "encoder.pimc", "--calib", "text", *shared, "--strategy", "affine")
    assert done.code == 0, done.err
    assert Path("encoder.r1.pimc").exists()
    text = [{"text": " ".join(sentences(12, seed))} for seed in range(2)]
    onnx.save(language_model(), "language.onnx")
    (here / "text" / "data.toml").write_text("[text]\nwindow = 8\nspecial_tokens = false\n")
    for name in ("calib", "test"):
        lines(here / "text" / f"{name}.jsonl", text)
    assert pimc("compile", "language.onnx", "--calib", "text", "--quiet").code == 0
    shared = ("--data", "text", "--task", "language-model", "--dies", 1, "--json")
    done = pimc("eval", "language.pimc", *shared)
    assert done.code == 0, done.err
    assert done.json["float_metric"] > 1
    json.dumps(done.json)
