"""Scaling and grouping the input channels of layers, before they are quantized."""
