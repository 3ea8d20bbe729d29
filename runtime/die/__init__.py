"""What the cells of one specimen hold at this moment."""
