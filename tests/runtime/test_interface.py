"""What a network takes and gives, told without loading torch."""

from __future__ import annotations

import subprocess
import sys

from pimc.runtime import session
from pimc.runtime.interface import NodeArg, inputs_of, outputs_of

ONLY = """
import sys
import pimc.runtime.interface
print(sorted({"torch", "numba"} & set(sys.modules)))
"""


def test_they_are_those_of_a_session(tiny_image) -> None:
    bound = session.Session(tiny_image)
    assert inputs_of(tiny_image) == bound.get_inputs()
    assert outputs_of(tiny_image) == bound.get_outputs()
    (first,) = inputs_of(tiny_image)
    assert first == NodeArg("x", first.shape, "tensor(float)")
    assert first.shape[1:] == [2, 8, 8]


def test_neither_torch_nor_numba_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", ONLY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
