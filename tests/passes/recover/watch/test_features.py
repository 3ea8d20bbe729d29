"""How far layers are from the float network's, against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.passes.recover.watch.features import Noted
from pimc.plan.records import layer_of
from pimc.runtime.session import Session
from pimc.runtime.teacher import teacher_array


def test_errors_are_root_mean_squares_over_spreads(tiny_model, tiny_inputs, tiny_chip) -> None:
    """Of the batches that the features are of; later ones do not count."""
    image = compile_model(tiny_model(), tiny_chip, calib=tiny_inputs)
    session, teacher = Session(image), teacher_array(image)
    (name,) = (arg.name for arg in session.get_inputs())
    batches = [{name: torch.from_numpy(part)} for part in np.array_split(tiny_inputs[:30], 3)]
    wanted: dict[str, list[torch.Tensor]] = {}
    found: dict[str, list[torch.Tensor]] = {}

    def both(node, x: torch.Tensor) -> torch.Tensor:
        wanted.setdefault(layer_of(node), []).append(teacher(node, x))
        return wanted[layer_of(node)][-1]

    def chip(node, x: torch.Tensor) -> torch.Tensor:
        found.setdefault(layer_of(node), []).append(session.array(node, x))
        return found[layer_of(node)][-1]

    noted = Noted(both, 2)
    for feed in batches:
        session.evaluate(feed, array=noted)
    watch = noted.features().watch(chip)
    for feed in batches:
        session.evaluate(feed, array=watch)
    errors = watch.errors()
    assert errors.keys() == {layer.name for layer in image.layers}
    for layer, error in errors.items():
        ours, theirs = (
            torch.cat([part.flatten() for part in values[layer][:2]]) for values in (found, wanted)
        )
        away = (ours - theirs).square().mean().sqrt()
        assert error == pytest.approx(float(away / theirs.std(correction=0)), rel=1e-5)
        assert error > 0
