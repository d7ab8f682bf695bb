"""Open Clip Art Library: from its Debian packages to a data set.

``packages`` downloads, ``svg`` and ``keywords`` read and choose the labels, ``collection`` lists
the pictures, ``pictures`` renders them, ``entries`` puts them on sides, ``conversion`` writes, and
``readme`` reports. Everything is a function of the content alone, so that every machine gets the
same data set: files are taken in the order of their names, the split hashes the content
(``datasets/splitting.py``), and the perceptual hash is exact (``datasets/near_duplicates.py``).
"""

from .cli import run

__all__ = ['run']
