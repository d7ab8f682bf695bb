"""Data sets, transforms and annotation files."""
