"""What cells and wires do that a chip file describes: one module an element."""
