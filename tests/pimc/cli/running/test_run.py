"""``pimc run``."""

from __future__ import annotations

import os

import numpy as np
import onnx

from pimc.api import compile as compile_model
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session


def test_run_is_the_session_and_repeats_with_the_seed(pimc, image, tiny_inputs, here) -> None:
    np.save("x.npy", tiny_inputs)
    assert pimc("run", "--input", "x.npy", "--ideal", "-o", "ideal.npz").code == 0
    wanted = Session(image).run(None, {"x": tiny_inputs})[0]
    np.testing.assert_array_equal(np.load("ideal.npz")["y"], wanted)
    # Noise is drawn read by read, so both take all samples at once.
    seeded = ("run", "--input", "x.npy", "--seed", "3", "--batch-size", len(tiny_inputs))
    assert pimc(*seeded).code == 0
    noisy = np.load("x.out.npz")["y"]
    wanted = Session(image, die=Die.simulated(3), seed=3).run(None, {"x": tiny_inputs})[0]
    np.testing.assert_array_equal(noisy, wanted)
    # On a programmed die of the same seed the same cells are read.
    pimc("program", "--die", "d.die", "--seed", "3")
    assert pimc(*seeded, "--die", "d.die", "-o", "d.npy").code == 0
    np.testing.assert_array_equal(np.load("d.npy"), noisy)


def test_run_in_batches_gives_the_same_on_perfect_cells(pimc, image, tiny_inputs) -> None:
    np.savez("x.npz", x=tiny_inputs.astype(np.float64))
    for size in (5, 64):
        name = f"{size}.npy"
        args = ["run", "--input", "x.npz", "--ideal", "--batch-size", size, "-o", name]
        assert pimc(*args).code == 0
    np.testing.assert_allclose(np.load("5.npy"), np.load("64.npy"), rtol=1e-5, atol=1e-6)


def named_outputs(*names: str) -> onnx.ModelProto:
    """A small network with outputs of these names: x · w, and more of x each."""
    text = "agraph (float[N,4] x) => (float[N,3] y) { y = MatMul (x, w) }"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')
    weight = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model.graph.node[0].output[0] = names[0]
    model.graph.output[0].name = names[0]
    for number, name in enumerate(names[1:]):
        last = names[number]
        model.graph.node.append(onnx.helper.make_node("Neg", [last], [name]))
        output = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3])
        model.graph.output.append(output)
    return model


def test_outputs_of_any_name_get_into_the_file(pimc, here, tiny_chip) -> None:
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    np.save("x.npy", x)
    names = ("file", "/head/out", "a b.npy", "/")
    image = compile_model(named_outputs(*names), tiny_chip)
    image.save("a.pimc")
    done = pimc("run", "--input", "x.npy", "--ideal", "--json")
    assert done.code == 0
    keys = ["file", "head_out", "a b.npy", "_"]
    assert list(done.json["outputs"]) == keys
    found = np.load("x.out.npz")
    for key, wanted in zip(keys, Session(image).run(None, {"x": x}), strict=True):
        np.testing.assert_array_equal(found[key], wanted)
    first = (here / "x.out.npz").read_bytes()
    assert pimc("run", "--input", "x.npy", "--ideal").code == 0
    assert (here / "x.out.npz").read_bytes() == first


def test_outputs_that_would_share_a_name_are_refused(pimc, here, tiny_chip) -> None:
    np.save("x.npy", np.zeros((1, 4), np.float32))
    compile_model(named_outputs("/a", "a"), tiny_chip).save("a.pimc")
    done = pimc("run", "--input", "x.npy", "--ideal")
    assert (done.code, done.out) == (2, "")
    assert "outputs '/a' and 'a' would both be called 'a' in the file" in done.err
    assert not (here / "x.out.npz").exists()


def test_run_refuses_bad_inputs(pimc, image, tiny_inputs, here) -> None:
    np.save("bytes.npy", np.zeros((2, 2, 8, 8), np.uint8))
    np.save("shape.npy", np.zeros((2, 3, 8, 8), np.float32))
    np.save("nan.npy", np.full((2, 2, 8, 8), np.nan, np.float32))
    np.save("none.npy", np.zeros((0, 2, 8, 8), np.float32))
    np.savez("names.npz", a=tiny_inputs)
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    (here / "text.npy").write_text("1, 2, 3")
    np.save("good.npy", tiny_inputs)
    os.mkfifo("pipe.npy")
    damaged = bytearray((here / "names.npz").read_bytes())
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        damaged[damaged.index(head) + flags] |= 1  # as of an encrypted member
    (here / "encrypted.npz").write_bytes(damaged)
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 99999)}".ljust(117)
    (here / "beyond.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + head + b"\n")
    files = {entry.name for entry in here.iterdir()}
    for arguments, message in [
        (["bytes.npy"], "uint8 is not float32"),
        (["shape.npy"], "does not fit"),
        (["nan.npy"], "NaN"),
        (["none.npy"], "is empty"),
        (["names.npz"], "the model's inputs are x"),
        (["objects.npy"], "not an .npy or .npz"),
        (["text.npy"], "not an .npy or .npz"),
        (["encrypted.npz"], "not an .npy or .npz"),
        (["beyond.npy"], "not an .npy or .npz"),
        (["pipe.npy"], "is no regular file"),
        (["gone.npy"], "no such file"),
        (["good.npy", "-o", "y.txt"], "go to .npz or .npy"),
        (["good.npy", "--ideal", "--die", "d.die"], "exclude each other"),
        (["good.npy", "--die", "d.die"], "no such die file"),
    ]:
        done = pimc("run", "--input", *arguments)
        assert done.code in (2, 3)
        assert message in done.err, arguments
        assert done.out == ""
    assert {entry.name for entry in here.iterdir()} == files


def test_run_tells_which_layers_saturate(pimc, narrow, tiny_inputs) -> None:
    np.save("x.npy", tiny_inputs)
    shares = pimc("run", "narrow.pimc", "--input", "x.npy", "--ideal", "--json").json["saturation"]
    assert set(shares) == {"w1", "w2", "w3"}
    assert max(shares.values()) > 0.001
    lines = pimc("run", "narrow.pimc", "--input", "x.npy", "--ideal").out.splitlines()
    (line,) = [line for line in lines if line.startswith("saturation")]
    assert all(name in line for name, share in shares.items() if share > 0.001)


def test_run_refuses_outputs_that_are_no_numbers(pimc, undefined, tiny_inputs, here) -> None:
    np.save("x.npy", tiny_inputs)
    done = pimc("run", "undefined.pimc", "--input", "x.npy", "--ideal")
    assert (done.code, done.out) == (2, "")
    assert "values of output scores are NaN or infinite" in done.err
    assert not (here / "x.out.npz").exists()
