"""Projects: what ``pimc.toml`` says, which steps are up to date, and where metrics go."""
