"""Where matrices lie: tiles, arrays, cores, cells, read steps, and copies of layers."""
