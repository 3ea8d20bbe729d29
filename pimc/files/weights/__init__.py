"""Weights that stay in their file: ONNX files in outline, codes, blocks, packed levels."""
