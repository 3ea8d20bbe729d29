"""The image format: versions, manifest, tensors and tables, each described once."""
