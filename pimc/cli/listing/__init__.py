"""Commands that list what is shipped and installed."""
