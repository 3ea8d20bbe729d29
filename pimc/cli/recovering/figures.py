"""Figures of a recovery with what they leave open: how many samples, and 95 % intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pimc.cli.text import percent

if TYPE_CHECKING:
    from pimc.passes.recover.recovery import Floor, LayerCost, Stage

__all__ = ["agreement_text", "basis_lines", "floor_text", "intervals_of", "loss_text"]

Figure = dict[str, Any]

#: Layers that are named with what they cost.
_COSTLIEST = 3
#: Part of a layer's conversions from which clipping is named as the reason.
_MANY_CLIPPED = 0.01


def intervals_of(figure: Stage | Floor, held_out: int) -> dict[str, list[float] | None]:
    """95 % intervals over samples: of the loss by Student's t, of the agreement Wilson's.

    Args:
        held_out: samples that the figure is of.
    """
    from scipy.stats import t

    from pimc.studies.intervals import CONFIDENCE, wilson_interval

    loss = agreement = None
    if figure.loss_error is not None:
        half = float(t.ppf((1 + CONFIDENCE) / 2, held_out - 1)) * figure.loss_error
        loss = [max(figure.loss - half, 0.0), figure.loss + half]
    if figure.agreement is not None:
        agreement = list(wilson_interval(figure.agreement, held_out))
    return {"loss_interval_95": loss, "agreement_interval_95": agreement}


def loss_text(figure: Figure) -> str:
    """The loss of a stage or the floor, with half of its interval."""
    limits = figure["loss_interval_95"]
    spread = "" if limits is None else f" ± {limits[1] - figure['loss']:.4f}"
    return f"{figure['loss']:.4f}{spread}"


def agreement_text(figure: Figure) -> str:
    """The agreement of a stage or the floor, with its interval."""
    limits = figure["agreement_interval_95"]
    return f"{percent(figure['agreement'], 1)}{_between(limits)}"


def floor_text(floor: Floor) -> str:
    """What perfect cells would give, and the layers that cost most of what is missing."""
    figure = vars(floor) | intervals_of(floor, floor.samples)
    same = ""
    if floor.agreement is not None:
        same = f", {agreement_text(figure)} as the float network"
    lines = [
        f"floor: perfect cells reach a held-out loss of {loss_text(figure)}{same}",
        f"  on {floor.samples:,} held-out samples, with 95 % intervals",
    ]
    costs = [_cost(layer, floor.layer_samples) for layer in floor.layers[:_COSTLIEST]]
    return "\n".join([*lines, *costs])


def basis_lines(basis: Figure) -> Iterator[str]:
    """What the figures of a recovery stand on, and which images did not fit into memory."""
    given, held_out = basis["samples"], basis["held_out"]
    yield (
        f"held out: {held_out:,} of {given:,} calibration samples; intervals are 95 % ones over"
        " these samples"
    )
    for limit in basis["limits"]:
        yield (
            f"limit: {limit['what']} on {limit['used']:,} images, not {limit['asked']:,}: what"
            " all layers give for more does not fit into memory"
        )


def _cost(layer: LayerCost, samples: int) -> str:
    from pimc.studies.intervals import wilson_interval

    costs = f"a loss of {layer.loss:.4f}"
    if layer.disagreement:
        low, high = wilson_interval(layer.disagreement, samples)
        costs = f"{100 * layer.disagreement:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    why = "read noise" if layer.noise > 1 / 2 else "rounding to levels and codes"
    if layer.clipped >= _MANY_CLIPPED:
        why = f"its ADC range clips {percent(layer.clipped, 1)} of the codes"
    return f"  {layer.layer} alone costs {costs}: {why}"


def _between(limits: list[float] | None) -> str:
    return "" if limits is None else f" ({100 * limits[0]:.1f} to {100 * limits[1]:.1f})"
