"""Samplers."""

from .seeded import SeededSampler, Visit, seed_all

__all__ = ['SeededSampler', 'Visit', 'seed_all']
