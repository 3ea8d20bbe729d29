"""What a written cell holds: the tables of a chip file that say it, and the errors of a write."""
