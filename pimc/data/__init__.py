"""Calibration and labelled data: readers, preprocessing, inputs by name."""
