"""Devices: what is asked of a chip, the drivers that answer, and writing through them."""
