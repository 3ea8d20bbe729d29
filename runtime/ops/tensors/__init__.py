"""Tensors as such: types, shapes, elements, picking and summing."""
