"""What makes a network's files, by the name that its record says."""
