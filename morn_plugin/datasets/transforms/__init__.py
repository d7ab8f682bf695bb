"""Transforms that MMCV and MMPretrain do not have."""

from .loading import ImageError, LoadCheckedImage

__all__ = ['ImageError', 'LoadCheckedImage']
