"""PyTorch modules become ONNX networks that compute the same, or are refused in one sentence."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pimc
from pimc.api import Options
from pimc.data.dataset import Dataset
from pimc.errors import ModelError, UsageError
from pimc.passes.graph.from_torch import exported
from pimc.studies.evaluate import float_session


class Two(nn.Module):
    """Two inputs and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, left: Any, right: Any) -> Any:
        return torch.relu(self.first(left)) + self.second(right), self.first(right)


class Branching(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


class Unknown(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.eigvals(x)


class Broken(nn.Module):
    def forward(self, x: Any) -> Any:
        return nn.functional.linear(x, torch.zeros(3, 5))


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_a_module_compiles_and_computes_what_it_did() -> None:
    module, x = net(), torch.randn(5, 4)
    image = pimc.compile(module, example_inputs=x)
    session = float_session(image)
    (arg,) = session.get_inputs()
    assert not isinstance(arg.shape[0], int)
    (found,) = session.run(None, {arg.name: x.numpy()})
    np.testing.assert_allclose(found, module.eval()(x).detach().numpy(), atol=1e-5)
    assert image.model.name == "Sequential.onnx"


def test_a_module_stays_as_it_was_and_gives_the_same_bytes_again() -> None:
    module = net().train()
    module[1].eval()
    x, before = torch.randn(5, 4), [part.training for part in module.modules()]
    first, second = (pimc.compile(module, example_inputs=x).to_bytes() for _ in range(2))
    assert [part.training for part in module.modules()] == before
    assert first == second
    assert b".py" not in first  # where the exporter met an operator


def test_calibration_data_serve_as_example_inputs() -> None:
    module, x = net(), np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)
    wanted = pimc.compile(module, calib=x, example_inputs=x).to_bytes()
    assert pimc.compile(module, calib=x).to_bytes() == wanted
    assert pimc.compile(module, calib=Dataset.of(x)).to_bytes() == wanted


def test_several_inputs_in_order_and_by_name() -> None:
    module, x = Two(), torch.randn(2, 3, 4)
    left, right = x[0], x[1].numpy()
    for examples in ((left, right), {"left": left, "right": right}):
        session = float_session(pimc.compile(module, example_inputs=examples))
        assert [arg.name for arg in session.get_inputs()] == ["left", "right"]
        found = session.run(None, {"left": x[0].numpy(), "right": right})
        for one, wanted in zip(found, module(*x), strict=True):
            np.testing.assert_allclose(one, wanted.detach().numpy(), atol=1e-5)


def test_what_torchs_exporters_made_compiles_too() -> None:
    module, x = net().eval(), torch.randn(5, 4)
    shapes: Any = ({0: torch.export.Dim("N")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (x,), dynamic_shapes=shapes)
        onnx_program = torch.onnx.export(
            module, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False
        )
    assert onnx_program is not None
    wanted = pimc.compile(module, example_inputs=x).levels
    for given in (program, onnx_program):
        np.testing.assert_array_equal(pimc.compile(given).levels, wanted)
    # A program that was compiled is left as it was.
    assert any(node.metadata_props for node in onnx_program.model.graph)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Branching(), "Branching: PyTorch's exporter fails: Could not guard on data-dependent"),
        (Unknown(), "Unknown: PyTorch's exporter fails: No ONNX function found for"),
        (Broken(), "Broken: PyTorch's exporter fails: a and b must have same reduction dim"),
    ],
)
def test_what_the_exporter_refuses_is_one_sentence(
    module: nn.Module, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError) as caught:
        exported(module, torch.randn(2, 4, 4))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert "docs/from-pytorch.md" in str(caught.value)
    out, err = capfd.readouterr()
    assert not out
    assert "torch" not in err


@pytest.mark.parametrize(
    ("model", "named", "message"),
    [
        (net(), {}, "a PyTorch module is exported with example inputs"),
        (b"", {"example_inputs": torch.zeros(2, 4)}, "example inputs are for a torch.nn.Module"),
    ],
)
def test_example_inputs_where_they_are_needed_and_nowhere_else(
    model: Any, named: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        pimc.compile(model, options=Options(), **named)


def test_torch_is_not_loaded_to_read_a_file() -> None:
    code = (
        "import sys, pimc.passes.graph.frontend as f\n"
        "try: f.load_model(b'x')\nexcept Exception: pass\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
