"""``pimc run`` for networks with a state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pimc.data.dataset import Dataset
    from pimc.progress import Progress
    from pimc.runtime.session import Session

__all__ = ["load_sequences", "run_sequences"]


def load_sequences(path: Path, session: Session, states: Mapping[str, str]) -> Dataset:
    """Inputs of a network with a state from a file, as :func:`load_inputs` reads them.

    The states themselves may be left out: they start as zeros.

    Raises:
        DataError: no such file, inputs that do not fit, or outputs that do not feed them.
    """
    from pimc.cli.running.arrays import load_inputs
    from pimc.data.arrays import npz_names
    from pimc.data.inputs import free_inputs
    from pimc.data.read import Stored
    from pimc.data.samples import checked
    from pimc.data.stateful.states import expanded, ordinary
    from pimc.runtime.sequences import checked_states

    inputs = session.get_inputs()
    wanted = free_inputs(inputs)
    states = expanded(states, [arg.name for arg in inputs])
    ordinary(wanted, states, str(path))
    held = npz_names(path) if path.suffix == ".npz" and path.is_file() else []
    given = load_inputs(path, [arg for arg in inputs if arg.name not in states or arg.name in held])
    data = checked(Stored(given), {}, str(path), wanted, states)
    checked_states(data, session)
    return data


def run_sequences(
    session: Session, data: Dataset, size: int, progress: Progress
) -> dict[str, npt.NDArray[Any]]:
    """Outputs by name, (samples, steps, …), ``size`` sequences at a time."""
    from pimc.runtime.sequences import in_steps

    names = [arg.name for arg in session.get_outputs()]
    starts = range(0, len(data), size)
    parts = [
        in_steps(session, data, data.feed(start, start + size), names)
        for start in progress(starts, "run", len(starts))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}
