"""The policy as a network: torch, ONNX, and which operators the NPU has."""
