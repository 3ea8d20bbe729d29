"""Operators that hold weights become Conv, Gemm and MatMul: one file an operator family."""
