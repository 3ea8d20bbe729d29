"""A session has the shape of ONNX Runtime's: the same, different and said so, or refused."""

from __future__ import annotations

import pickle
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from pimc.errors import DataError, ImageError, UsageError
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.ort.arguments import fitting
from pimc.runtime.read.threads import threads
from pimc.runtime.session import Session

PAGE = (Path(__file__).parents[2] / "docs" / "session.md").read_text()
#: Arguments that a refused method would be called with.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "set_tuning_results": ([],),
    "set_ep_dynamic_options": ({},),
    "bind_input": ("x", "cpu", 0, np.float32, [1], 0),
}


def rows(heading: str) -> dict[str, str]:
    """By name, what the table of a section says of it."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    found: dict[str, str] = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found |= dict.fromkeys(re.findall(r"`(\w+)`", cells[0]), cells[1])
    return found


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.fixture
def session(tiny_image: Image) -> Session:
    return Session(tiny_image, die=Die.simulated(3), seed=5)


def test_every_method_of_onnxruntime_is_in_the_table_and_does_what_it_says(
    session: Session,
) -> None:
    told = rows("Methods")
    assert told.keys() - {"InferenceSession"} == public(ort.InferenceSession)
    for name, kind in told.items():
        if kind == "refused":
            with pytest.raises(UsageError, match=f"Session.{name} is not offered") as raised:
                getattr(session, name)(*ARGUMENTS.get(name, ()))
            assert raised.value.hint
        elif name != "InferenceSession":
            assert callable(getattr(session, name))


def test_every_method_of_a_binding_is_in_the_table(session: Session) -> None:
    told = rows("Bindings")
    assert told.keys() - {"IOBinding"} == public(ort.IOBinding)
    binding = session.io_binding()
    for name, kind in told.items():
        if kind == "refused":
            with pytest.raises(UsageError, match=f"{name} is not offered"):
                getattr(binding, name)(*ARGUMENTS.get(name, ()))
        elif name != "IOBinding":
            assert callable(getattr(binding, name))


def test_every_option_of_a_session_is_in_the_table() -> None:
    options = ort.SessionOptions()
    values = {name for name in public(type(options)) if not callable(getattr(options, name))}
    assert rows("Session options").keys() - {"SessionOptions"} == values


def test_options_are_honoured_ignored_or_refused(tiny_image: Image, tiny_inputs: Any) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = Session(tiny_image, options)
    assert session.get_session_options() is options
    seen = []
    name = tiny_image.layers[0].name
    read = session.layers[name]

    class Watched:
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(threads())
            return read(x)

    session.layers[name] = Watched()  # type: ignore[assignment]  # called like a layer
    session.run(None, {"x": tiny_inputs})
    assert set(seen) == {1}
    for option, value in (("enable_profiling", True), ("optimized_model_filepath", "o.onnx")):
        refused = ort.SessionOptions()
        setattr(refused, option, value)
        with pytest.raises(UsageError, match=option):
            Session(tiny_image, refused)
    assert isinstance(Session(tiny_image).get_session_options(), ort.SessionOptions)


def test_a_die_is_not_taken_for_options_nor_options_for_a_die(tiny_image: Image) -> None:
    with pytest.raises(UsageError, match="sess_options is a Die") as raised:
        Session(tiny_image, Die.simulated(1))
    assert "die=" in str(raised.value.hint)


def test_providers_say_where_to_compute(tiny_image: Image) -> None:
    assert Session(tiny_image).get_providers() == ["CPUExecutionProvider"]
    session = Session(tiny_image, None, ["CPUExecutionProvider"], [{"arena": 1}])
    assert session.get_provider_options() == {"CPUExecutionProvider": {"arena": "1"}}
    paired = Session(tiny_image, providers=[("CPUExecutionProvider", {"arena": 1})])
    assert paired.get_provider_options() == session.get_provider_options()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"providers": ["TensorrtExecutionProvider"]}, "TensorrtExecutionProvider is not offered"),
        ({"provider_options": [{}]}, "without providers"),
        ({"providers": ["CPUExecutionProvider"], "provider_options": []}, "do not go with"),
        ({"providers": ["CPUExecutionProvider"], "device": "cpu"}, "both say where"),
    ]
    for arguments, message in wrong:
        with pytest.raises(UsageError, match=message):
            Session(tiny_image, **arguments)


def test_outputs_are_those_of_onnxruntimes_ways_to_run(
    session: Session, tiny_image: Image, tiny_inputs: Any
) -> None:
    def fresh() -> Session:
        return Session(tiny_image, die=Die.simulated(3), seed=5)

    (wanted,) = fresh().run(None, {"x": tiny_inputs})
    assert np.array_equal(fresh().run([], {"x": tiny_inputs})[0], wanted)
    assert np.array_equal(
        fresh().run(["y"], {"x": tiny_inputs.tolist()}, ort.RunOptions())[0], wanted
    )
    value = ort.OrtValue.ortvalue_from_numpy(tiny_inputs)
    (given,) = fresh().run_with_ort_values(None, {"x": value})
    assert np.array_equal(given.numpy(), wanted)
    bound = fresh()
    binding = bound.io_binding()
    binding.bind_cpu_input("x", tiny_inputs)
    binding.bind_output("y")
    bound.run_with_iobinding(binding)
    assert np.array_equal(binding.copy_outputs_to_cpu()[0], wanted)
    assert np.array_equal(binding.get_outputs()[0].numpy(), wanted)
    bound, target = fresh(), ort.OrtValue.ortvalue_from_numpy(np.zeros_like(wanted))
    binding = bound.io_binding()
    binding.bind_ortvalue_input("x", value)
    binding.bind_ortvalue_output("y", target)
    bound.run_with_iobinding(binding)
    assert np.array_equal(target.numpy(), wanted)
    found: list[Any] = []
    done = threading.Event()

    def callback(outputs: Any, data: Any, error: str) -> None:
        found.extend([outputs, data, error])
        done.set()

    fresh().run_async(None, {"x": tiny_inputs}, callback, "mine")
    assert done.wait(60)
    assert np.array_equal(found[0][0], wanted)
    assert found[1:] == ["mine", ""]


def test_what_goes_wrong_in_a_thread_is_told(session: Session, tiny_inputs: Any) -> None:
    found: list[Any] = []
    done = threading.Event()

    def callback(*given: Any) -> None:
        found.extend(given)
        done.set()

    session.run_async(None, {"x": tiny_inputs[0]}, callback, 0)
    assert done.wait(60)
    assert found[0] == []
    assert "shape" in found[2]


def test_bindings_that_do_not_fit_are_refused(session: Session, tiny_inputs: Any) -> None:
    binding = session.io_binding()
    with pytest.raises(UsageError, match="no output is bound"):
        session.run_with_iobinding(binding)
    with pytest.raises(UsageError, match="no such output: z"):
        binding.bind_output("z")
    with pytest.raises(UsageError, match="memory of the processor"):
        binding.bind_output("y", "cuda")
    binding.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(np.zeros(3, np.float32)))
    with pytest.raises(UsageError, match="inputs given: none"):
        session.run_with_iobinding(binding)
    binding.bind_cpu_input("x", tiny_inputs)
    with pytest.raises(UsageError, match="it is bound to"):
        session.run_with_iobinding(binding)
    binding.clear_binding_inputs()
    binding.clear_binding_outputs()
    assert (binding.inputs, binding.wanted) == ({}, [])


def test_a_run_that_is_to_end_does_not_begin(session: Session, tiny_inputs: Any) -> None:
    options = ort.RunOptions()
    options.terminate = True
    with pytest.raises(UsageError, match="terminated"):
        session.run(None, {"x": tiny_inputs}, options)
    with pytest.raises(UsageError, match="run_options is a dict"):
        session.run(None, {"x": tiny_inputs}, {})


def test_an_image_is_taken_as_path_and_as_bytes(
    tiny_image: Image, tiny_inputs: Any, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.pimc"
    tiny_image.save(path)
    (wanted,) = Session(tiny_image).run(None, {"x": tiny_inputs})
    for given in (path, str(path), path.read_bytes()):
        assert np.array_equal(Session(given).run(None, {"x": tiny_inputs})[0], wanted)
    with pytest.raises(ImageError, match=r"10 bytes: not a pimc-image file"):
        Session(b"not really")
    with pytest.raises(DataError, match="shape"):
        Session(path).run(None, {"x": tiny_inputs[0]})


def test_a_pickled_session_goes_on_where_it_was(session: Session, tiny_inputs: Any) -> None:
    session.run(None, {"x": tiny_inputs})
    other = pickle.loads(pickle.dumps(session))
    for _ in range(2):
        (wanted,), (found,) = (one.run(None, {"x": tiny_inputs}) for one in (session, other))
        assert np.array_equal(found, wanted)
    assert other.image.sha256 == session.image.sha256
    held = Session(session.image, die=session.device)
    with pytest.raises(UsageError, match="cannot be pickled"):
        pickle.dumps(held)


def test_a_session_says_what_it_is_in_one_line(session: Session) -> None:
    text = repr(session)
    assert "\n" not in text
    assert all(part in text for part in ("sim:3", "x ['N', 2, 8, 8]", "→ y"))
    meta = session.get_modelmeta()
    assert meta.producer_name == "pimc"
    assert set(meta.custom_metadata_map) == {"model", "chip"}
    assert {name for name in dir(meta) if not name.startswith("_")} == public(ort.ModelMetadata)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[1.0], [2.0, 3.0]], "input x: is no array"),
        (torch.zeros(1, 2, 8, 8, requires_grad=True), "input x: is no array"),
        ([[[["a"] * 8] * 8] * 2], "input x: type <U1 is not float32"),
        (np.zeros((1, 2, 8, 8)), "input x: type float64 is not float32"),
        (None, r"input x: shape \[\] does not fit"),
    ],
)
def test_inputs_that_are_no_arrays_of_the_networks_type_are_refused(session, given, said) -> None:
    with pytest.raises(DataError, match=said):
        session.run(None, {"x": given})


def test_every_type_of_input_is_held_to() -> None:
    shape: list[int | str | None] = ["N", 2]
    for kind, right in [("bool", bool), ("int32", np.int32), ("double", np.float64)]:
        assert fitting(np.ones((3, 2), right), "z", shape, f"tensor({kind})").dtype == right
        assert fitting([[1, 0]], "z", shape, f"tensor({kind})").dtype == right
        with pytest.raises(DataError, match="type int16 is not"):
            fitting(np.ones((3, 2), np.int16), "z", shape, f"tensor({kind})")
    for kind in ("bool", "int64"):
        with pytest.raises(DataError, match=f"type float64 is not {kind}"):
            fitting([[0.5, 1]], "z", shape, f"tensor({kind})")


def test_what_goes_wrong_in_a_thread_is_told_whatever_it_is(session, tiny_inputs, monkeypatch):
    found: list[Any] = []
    done = threading.Event()

    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    def callback(*given: Any) -> None:
        found.extend(given)
        done.set()

    monkeypatch.setattr(session, "run", broken)
    session.run_async(None, {"x": tiny_inputs}, callback, 0)
    assert done.wait(60)
    assert found == [[], 0, "ZeroDivisionError"]


def test_an_output_of_another_type_is_not_written_over(session, tiny_inputs) -> None:
    binding = session.io_binding()
    binding.bind_cpu_input("x", tiny_inputs)
    wider = ort.OrtValue.ortvalue_from_numpy(np.zeros((len(tiny_inputs), 4)))
    binding.bind_ortvalue_output("y", wider)
    with pytest.raises(
        UsageError, match=r"y is a tensor\(float\), it is bound to a tensor\(double\)"
    ):
        session.run_with_iobinding(binding)
    assert not wider.numpy().any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"die": "chip7.die"}, "die: str is no die"),
        ({"die": 3}, "die: int is no die"),
        ({"device": "foo"}, "foo: no such processor"),
        ({"providers": "CPUExecutionProvider"}, "providers are no list"),
        ({"providers": [("CPUExecutionProvider",)]}, "providers are no list"),
    ],
)
def test_arguments_of_another_kind_are_refused(tiny_image: Image, options: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Session(tiny_image, **options)
    with pytest.raises(UsageError, match="int is no image"):
        Session(3)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_a_processor_that_is_not_there_is_refused(tiny_image: Image) -> None:
    with pytest.raises(UsageError, match="cuda: torch finds no such processor here"):
        Session(tiny_image, providers=["CUDAExecutionProvider"])
