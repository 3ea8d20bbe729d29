"""The fused read: a layer from its input to sums of ADC codes in one go, on the processor."""

from pimc.runtime.read.fused.layer import Draws, FusedBank, FusedLayer

__all__ = ["Draws", "FusedBank", "FusedLayer"]
