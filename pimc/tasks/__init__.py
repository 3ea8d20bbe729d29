"""What a network's outputs mean, which figure is told of them, and what recovery holds them to."""
