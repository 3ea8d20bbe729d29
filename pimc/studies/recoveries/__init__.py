"""Recoveries of many dies: each by a worker, a row each, and what they say together."""
