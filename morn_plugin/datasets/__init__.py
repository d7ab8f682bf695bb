"""Data sets, transforms and annotation files.

``annotations`` needs only NumPy; ``morn_plugin`` itself imports the registered classes.
"""
