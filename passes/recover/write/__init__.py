"""Which cells to write, and which weights to add digitally."""
