"""The contenders: each builds, in a process of its own, a function from inputs to outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from adapter import Array32, Build, Run, SkippedError, of_module
from settings import SEED

if TYPE_CHECKING:
    from pimc.runtime.session import Session


@dataclass(frozen=True)
class Contender:
    """One row of the table.

    Attributes:
        label: for people.
        build: makes the function that is timed.
        peer: runs in the Python of the peers.
    """

    label: str
    build: Build
    peer: bool = False


def _onnxruntime(folder: Path, x: Array32, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def _torch(folder: Path, x: Array32, threads: int) -> Run:
    import torch
    from graph_net import GraphNet

    net = GraphNet(folder / "folded.onnx").eval()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return of_module(net, channels_last=True)


def _ours(image: str) -> Build:
    def build(folder: Path, x: Array32, threads: int) -> Run:
        session = _session(folder, image)
        name = session.get_inputs()[0].name

        def run(batch: Array32) -> Array32:
            found: Array32 = session.run(None, {name: batch})[0]
            return found

        return run

    return build


def _ours_in_torch(folder: Path, x: Array32, threads: int) -> Run:
    """The path that recovery differentiates and a GPU runs: plain torch, every code in memory."""
    import torch

    from pimc.plan.records import layer_of

    session = _session(folder, OURS)
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(batch: Array32) -> Array32:
        found: Array32 = session.evaluate(
            {source: torch.from_numpy(batch)},
            array=lambda node, values: session.layers[layer_of(node)].record(values)[0],
        )[target].numpy()
        return found

    return run


def _session(folder: Path, image: str) -> Session:
    from pimc.runtime.die.die import Die
    from pimc.runtime.session import Session

    reason = folder / f"{image}.skip"
    if reason.exists():
        raise SkippedError(reason.read_text(encoding="utf-8"))
    return Session(folder / f"{image}.pimc", die=Die.simulated(SEED), seed=SEED)


#: Time is given as a multiple of these.
LIMIT, OURS = "onnxruntime", "pimc"

#: In the order of the table.
CONTENDERS: dict[str, Contender] = {
    "onnxruntime": Contender("ONNX Runtime, float", _onnxruntime),
    "torch": Contender("torch, float, channels-last", _torch),
    "pimc": Contender("pimc", _ours("pimc")),
    "pimc_quiet": Contender("pimc, read noise off", _ours("pimc_quiet")),
    "pimc_bit_serial": Contender("pimc, bit-serial input", _ours("pimc_bit_serial")),
    "pimc_torch": Contender("pimc, torch path", _ours_in_torch),
    "lightning": Contender("aihwkit-lightning", peers.lightning, peer=True),
    "aihwkit": Contender("aihwkit, torch tiles", peers.aihwkit, peer=True),
    "crosssim": Contender("CrossSim", peers.crosssim, peer=True),
}
