"""The parts of a session that have the shape of ONNX Runtime's."""
