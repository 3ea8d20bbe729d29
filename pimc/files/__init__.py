"""Bytes on disk: containers, hashes, whole writes, journals, weights that stay in their file."""
