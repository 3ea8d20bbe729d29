"""Dies, the crossbars that read them, the executor of the rest, and devices of all kinds."""
