"""What cells and wires do that a design does not say: one file an element."""
