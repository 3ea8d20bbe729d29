"""What an image computes, held against ONNX Runtime."""
