"""What an exported model needs, and nothing more: NumPy, Pillow and onnxruntime; neither torch nor MMPretrain."""
