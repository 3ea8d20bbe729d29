"""The image of a finished plan, and plans written out for people."""
