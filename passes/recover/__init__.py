"""Recovery: make a programmed die compute accurately again."""

from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery, Stage
from pimc.passes.recover.train.distill import DistillOptions

__all__ = ["DistillOptions", "RecoverOptions", "Recovery", "Stage", "recover"]
