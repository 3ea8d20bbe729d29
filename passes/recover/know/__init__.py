"""What the cells of a die hold: from codes, sums or outputs; and its faults by name."""
