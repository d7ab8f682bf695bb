"""Reads tables of tags that people or tools wrote.

``text`` decodes a file, ``records`` and ``exports`` turn it into rows, ``cells`` reads a cell,
``layouts`` reads the tags of an image, ``image_names`` finds the image files, ``guessing`` guesses
missing options and reports them, and ``sources`` combines these.
"""
