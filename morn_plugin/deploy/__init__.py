"""What an exported model needs, and nothing more: NumPy, Pillow and onnxruntime.

Neither torch nor MMPretrain.
"""
