"""ONNX graphs run node by node in torch."""
