"""What an exported model needs, and nothing more: NumPy, Pillow, pydantic, onnx and onnxruntime.

Neither torch nor MMPretrain.
"""
