"""Data sets, transforms and annotation files.

``annotations`` needs nothing but NumPy; the registered classes are imported by ``morn_plugin``
itself.
"""
