"""Run an image the way ONNX Runtime runs a model."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.plan.records import layer_of
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.die.die import Die, require_age
from pimc.runtime.digital import as_read
from pimc.runtime.door.abilities import ReadsLayers, Resumable, age_of
from pimc.runtime.door.device import Device
from pimc.runtime.door.program import program
from pimc.runtime.door.sim_driver import simulated
from pimc.runtime.graph.executor import ArrayCall, Executor, JointCall
from pimc.runtime.interface import NodeArg, inputs_of, node_arg, outputs_of
from pimc.runtime.ort.arguments import fitting
from pimc.runtime.ort.methods import ModelMetadata, OrtMethods
from pimc.runtime.ort.options import (
    Provider,
    check_run_options,
    check_session_options,
    providers_of,
)
from pimc.runtime.physics.ir_drop import Method
from pimc.runtime.read.processor import require_processor
from pimc.runtime.read.threads import at_most, torch_on_one

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

__all__ = ["BATCH_SIZE", "NodeArg", "Session", "inputs_of", "node_arg", "outputs_of"]

#: Samples to run at a time where nobody says otherwise: what an array reads for more no longer
#: fits a processor's caches, and takes longer a sample.
BATCH_SIZE = 16


class Session(OrtMethods):
    """An image on a chip, in the shape of ``onnxruntime.InferenceSession``.

    Args:
        path_or_bytes: an image, its path or its bytes.
        sess_options: ``onnxruntime.SessionOptions``. ``intra_op_num_threads`` is the largest number
            of threads of a read; docs/session.md lists the others.
        providers: ``CPUExecutionProvider`` or ``CUDAExecutionProvider``, alone or with options.
        provider_options: of each provider.
        die: the simulated specimen, or a device that already holds the image. Without one
            the cells hold exactly what the image says and reads are free of noise.
        seed: seed of the read noise.
        converters: False leaves the ADC out.
        device: torch device to compute on, where no providers name one.
        ir_drop: how a simulated die's wires are taken into account: ``first`` order or ``exact``.
        age_s: how long ago the cells were written, for an image whose digital side follows drift
            (:attr:`~pimc.image.content.ImageContent.drift`). A simulated die tells it by itself,
            and so does a device with :class:`~pimc.runtime.door.abilities.TellsAge`; of others
            the cells are taken to be fresh where nothing is said.

    Raises:
        ImageError: the image cannot be read.
        DeviceError: the die is of another chip, or the chip failed.
        UsageError: an option that is not offered, an age that is none, or no such treatment of IR
            drop.
    """

    def __init__(
        self,
        path_or_bytes: str | Path | bytes | Image,
        sess_options: SessionOptions | None = None,
        providers: Sequence[Provider] | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
        *,
        die: Die | Device | None = None,
        seed: int = 0,
        converters: bool = True,
        device: str | None = None,
        ir_drop: Method = "first",
        age_s: float | None = None,
    ) -> None:
        self._threads_allowed = check_session_options(sess_options)
        self._options = sess_options
        self._providers = providers_of(providers, provider_options, device)
        require_processor(self._providers.device)
        self._die, self._seed = die, seed
        self._converters = converters
        self._ir_drop: Method = ir_drop
        self._told_age_s = None if age_s is None else require_age(age_s, "age_s")
        self.image = _image(path_or_bytes)
        self._bind(self._attached(die or Die.ideal(), seed))

    def _bind(self, device: Device) -> None:
        """Load the image's network, its layers on ``device``."""
        self.device = device
        self._age_s = self._age_now()
        self.layers = self._bound()
        graph = self.image.graph()
        self.inputs = [node_arg(value) for value in graph.graph.inputs]
        self.outputs = [node_arg(value) for value in graph.graph.outputs]
        self.executor = Executor(graph, device=self._torch_device)

    def _bound(self) -> dict[str, CrossbarLayer]:
        """The layers on the session's device, whose cells have the session's age."""
        return {
            layer.name: CrossbarLayer.of(
                self.image, layer, self.device, self._torch_device, self._age_s
            )
            for layer in self.image.layers
        }

    def _age_now(self) -> float | None:
        """How old the cells are, where that is of concern to the image."""
        if self.image.drift is None:
            return None
        return age_of(self.device) if self._told_age_s is None else self._told_age_s

    def _follow_age(self) -> None:
        """Bind the layers anew where time has passed for the device."""
        if (now := self._age_now()) != self._age_s:
            self._age_s = now
            self.layers = self._bound()

    def __repr__(self) -> str:
        values = (
            ", ".join(f"{arg.name} {arg.shape}" for arg in args)
            for args in (self.inputs, self.outputs)
        )
        return f"Session({self.image.model.name!r} on {self.device.name}: {' → '.join(values)})"

    def with_die(self, die: Die | Device, *, seed: int = 0) -> Session:
        """The same image on another die; all that does not depend on the die is shared.

        Args:
            die: the simulated specimen, or a device that already holds the image.
            seed: seed of the read noise.

        Raises:
            DeviceError: the die is of another chip, or the chip failed.
        """
        other = Session.__new__(Session)
        vars(other).update(vars(self))
        other._die, other._seed = die, seed
        other.device = other._attached(die, seed)
        other.layers = {
            name: replace(layer, device=other.device) for name, layer in self.layers.items()
        }
        other._follow_age()
        return other

    def get_inputs(self) -> list[NodeArg]:
        """The model's inputs."""
        return self.inputs

    def get_outputs(self) -> list[NodeArg]:
        """The model's outputs."""
        return self.outputs

    def get_modelmeta(self) -> ModelMetadata:
        """What the image says of its network."""
        graph = self.image.graph()
        return ModelMetadata(
            producer_name="pimc",
            graph_name=graph.graph.name or "",
            graph_description=graph.graph.doc_string or "",
            description=graph.doc_string or "",
            domain=graph.domain or "",
            version=graph.model_version or 0,
            custom_metadata_map={"model": self.image.model.name, "chip": self.image.chip.name},
        )

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: Any = None,
    ) -> list[npt.NDArray[Any]]:
        """Outputs for inputs; all of them where ``output_names`` is None or empty.

        Args:
            output_names: of those wanted.
            input_feed: arrays, or what NumPy makes arrays of, by name.
            run_options: ``onnxruntime.RunOptions``; none of them changes anything here.

        Raises:
            UsageError: an unknown input or output name; options that are none, or terminate.
            DataError: an input of the wrong shape or type.
        """
        check_run_options(run_options)
        names = list(output_names or (arg.name for arg in self.outputs))
        unknown = set(names) - {arg.name for arg in self.outputs}
        if unknown:
            raise UsageError(
                f"no such output: {', '.join(sorted(unknown))}",
                hint=f"outputs are {', '.join(arg.name for arg in self.outputs)}",
            )
        values = self.evaluate(self._checked(input_feed), want=names)
        return [_arrays(values[name]) for name in names]

    def evaluate(
        self,
        inputs: Mapping[str, torch.Tensor],
        *,
        want: Sequence[str] | None = None,
        array: ArrayCall | None = None,
    ) -> dict[str, torch.Tensor]:
        """Values by name as tensors; ``array`` replaces what array layers compute."""
        self._follow_age()
        with torch.inference_mode(), at_most(self._threads_allowed), self._threads():
            return self.executor.run(inputs, want=want, array=array or _Reads(self))

    def evaluate_together(self, inputs: Mapping[str, torch.Tensor], array: JointCall) -> None:
        """Run the network for all samples, :data:`BATCH_SIZE` at a time between the layers.

        All go together where a layer lies in a body, or an input does not count samples first.

        Args:
            array: told of a layer's inputs for all samples, part by part; gives its outputs.
        """
        count = max((len(value) for value in inputs.values() if value.dim()), default=1)
        samples_first = not any(arg.shape and isinstance(arg.shape[0], int) for arg in self.inputs)
        apart = samples_first and not self.executor.layers_in_bodies
        step = BATCH_SIZE if apart else count
        parts = [
            {n: v[start : start + step] if v.dim() else v for n, v in inputs.items()}
            for start in range(0, max(1, count), max(1, step))
        ]
        self._follow_age()
        with torch.inference_mode(), at_most(self._threads_allowed), self._threads():
            self.executor.run_together(parts, array)

    def array(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        """What an array layer gives on the chip."""
        return self.layers[layer_of(node)](x)

    def _threads(self) -> AbstractContextManager[None]:
        """Torch's threads stay out of the way where reads have threads of their own."""
        chip = self.device
        whole = isinstance(chip, ReadsLayers) and all(
            chip.reads_whole(as_read(layer)) for layer in self.image.layers
        )
        return torch_on_one() if whole else nullcontext()

    @property
    def _torch_device(self) -> str:
        return self._providers.device

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy goes on from the same state of the die and of the noise.

        Raises:
            UsageError: a chip is no part of a file.
        """
        if not isinstance(self._die or Die.ideal(), Die) or not isinstance(self.device, Resumable):
            raise UsageError(
                "a session on a device cannot be pickled", hint="open one on the other side"
            )
        names = (
            *("_threads_allowed", "_providers", "_converters", "_ir_drop", "_seed"),
            "_told_age_s",
        )
        settings = {name: getattr(self, name) for name in names}
        die = copy.deepcopy(self._die or Die.ideal())
        return _unpickled, (self.image.to_bytes(), die, self.device.state(), settings)

    def _attached(self, die: Die | Device, seed: int) -> Device:
        """The device that stands for ``die``; a simulated one is written first."""
        if isinstance(die, str | bytes | int | Path):
            raise UsageError(
                f"{type(die).__name__} is no die",
                where="die",
                hint="give pimc.Die.load(path), pimc.Die.simulated(seed) or an open device",
            )
        if not isinstance(die, Die):
            return die
        device = self._simulated(die, seed)
        program(self.image, device)
        return device

    def _simulated(self, die: Die, seed: int) -> Device:
        return simulated(
            die,
            self.image,
            seed=seed,
            ir_drop=self._ir_drop,
            processor=self._torch_device,
            converters=self._converters,
        )

    def _checked(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
        expected = {arg.name: arg for arg in self.inputs}
        if set(feed) != set(expected):
            raise UsageError(
                f"inputs given: {', '.join(sorted(feed)) or 'none'}",
                hint=f"the model's inputs are {', '.join(expected)}",
            )
        return {
            name: torch.from_numpy(fitting(feed[name], name, arg.shape, arg.type)).to(
                self._torch_device
            )
            for name, arg in expected.items()
        }


@dataclass(frozen=True)
class _Reads:
    """What the executor asks for the output of array layers."""

    session: Session

    def __call__(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return self.session.array(node, x)

    def rectified(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor | None:
        """See :class:`~pimc.runtime.graph.steps.RectifiesArrays`."""
        layer = self.session.layers[layer_of(node)]
        # Whoever put something else in its place wants to be asked for every output.
        return layer.rectified(x) if isinstance(layer, CrossbarLayer) else None


def _image(given: str | Path | bytes | Image) -> Image:
    if isinstance(given, Image):
        return given
    if not isinstance(given, str | Path | bytes):
        raise UsageError(
            f"{type(given).__name__} is no image", hint="give an image, its path or its bytes"
        )
    return Image.from_bytes(given) if isinstance(given, bytes) else Image.load(given)


def _unpickled(
    image: bytes,
    die: Die,
    state: Mapping[str, npt.NDArray[Any]],
    settings: Mapping[str, Any],
) -> Session:
    session = Session.__new__(Session)
    vars(session).update(settings, _options=None, _die=die, image=Image.from_bytes(image))
    device = session._simulated(die, session._seed)
    if isinstance(device, Resumable):
        device.restore(state)
    session._bind(device)
    return session


def _arrays(value: Any) -> Any:
    """A tensor, or the tensors of a sequence, as NumPy has them."""
    return [_arrays(each) for each in value] if isinstance(value, list) else value.cpu().numpy()
