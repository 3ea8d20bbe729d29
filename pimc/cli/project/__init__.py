"""How ``pimc.toml`` reaches the commands, and how a step is done once."""
