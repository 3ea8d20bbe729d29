"""Recovery: make a programmed die compute accurately again."""

from pimc.passes.recover.distill import DistillOptions
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions, Recovery, Stage

__all__ = ["DistillOptions", "RecoverOptions", "Recovery", "Stage", "recover"]
