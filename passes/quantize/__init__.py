"""Weights to codes, inputs and converters to ranges."""
