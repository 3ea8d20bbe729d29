"""What a recovery works with."""
