"""Measurements of images and dies: accuracy, sweeps, what costs what, verification."""
