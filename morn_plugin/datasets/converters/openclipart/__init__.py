"""Converts the Open Clip Art Library from its Debian packages to a data set.

``packages`` downloads, ``svg`` and ``keywords`` read and choose the labels, ``collection`` lists
the pictures, ``pictures`` renders them, ``entries`` assigns them to sides, ``conversion`` writes,
and ``readme`` reports. The result depends on the content alone, so every machine gets the same data
set: files are processed in the order of their names, the split hashes the content
(``datasets/splitting.py``), and the perceptual hash is exact (``datasets/near_duplicates.py``).
"""

from .cli import run

__all__ = ['run']
