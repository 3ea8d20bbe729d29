"""Fold what is constant, so that every weight stands in the open."""
