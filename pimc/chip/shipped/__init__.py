"""The chip files that come with pimc, TOML beside this file."""
