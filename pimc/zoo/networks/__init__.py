"""One TOML file a network: where it comes from, what it is judged on, and what was measured."""
