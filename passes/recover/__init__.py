"""Recovery: make a programmed die compute accurately again."""

from pimc.passes.recover.distill import DistillOptions
from pimc.passes.recover.loop import RecoverOptions, Recovery, Stage, recover

__all__ = ["DistillOptions", "RecoverOptions", "Recovery", "Stage", "recover"]
