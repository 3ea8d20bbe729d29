"""Layers of networks: products, normalisation, pooling, recurrence, resampling."""
