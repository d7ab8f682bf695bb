"""Backbones that MMPretrain does not have."""

from .timm_stages import TIMMStages

__all__ = ['TIMMStages']
