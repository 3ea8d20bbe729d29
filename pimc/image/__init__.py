"""The chip image: its file, its tables, what it costs and what it means."""
