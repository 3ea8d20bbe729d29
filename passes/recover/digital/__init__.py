"""What the digital side makes up for: gains, offsets, rows, ranges."""
