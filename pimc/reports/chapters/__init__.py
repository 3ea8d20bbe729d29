"""What a page tells of an image, a die, a recovery, a table: a chapter each."""
