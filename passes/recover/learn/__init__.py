"""Rounding that learns: codes, scales and ranges trained toward the float network."""
