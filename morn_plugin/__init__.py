"""Multi-order RNN for MMPretrain. Importing the package registers everything."""

from .version import __version__

__all__ = ['__version__']
