"""Everything that an exported model needs: NumPy, Pillow, pydantic, onnx and onnxruntime.

Neither torch nor MMPretrain.
"""
