"""Converters from the layouts of published data sets to ``MultiLabelDataset`` JSON.

A converter is a function that reads the files of one data set into a :class:`~.base.Parsed`, with
the published counts for comparison; see ``voc.py``, the shortest. Finding images and repeats, the
report, the command line and writing are shared (``images.py``, ``report.py``, ``cli.py``).
"""

from .base import Converter, Image, Parsed, Published, Split
from .cli import run

__all__ = ['Converter', 'Image', 'Parsed', 'Published', 'Split', 'run']
