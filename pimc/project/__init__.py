"""The project file, what is up to date, and where metrics go."""
