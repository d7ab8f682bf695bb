"""Runs exported models with NumPy, Pillow, pydantic, onnx and onnxruntime.

It needs neither torch nor MMPretrain.
"""
