"""A chip as a design: its tables, its cells, its converters, and what keeps it from being ideal."""
