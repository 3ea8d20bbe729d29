"""What the layers of a network give in a run."""
