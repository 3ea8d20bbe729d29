"""How files are changed: whole or not at all, line by line, and by one process at a time."""
