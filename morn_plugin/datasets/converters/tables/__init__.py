"""Tables of tags, as people and tools write them.

``text`` decodes a file, ``records`` and ``exports`` make rows of it, ``cells`` reads what is in a
cell, ``layouts`` which tags an image has, ``image_names`` finds the files that are meant,
``guessing`` guesses what is not said and says so, and ``sources`` puts these together.
"""
