"""Sequences of networks with a state: which output feeds which input, and how they are parted."""
